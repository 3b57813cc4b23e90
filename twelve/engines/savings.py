"""What the engine need not compute: exact savings, each with its switch.

None changes an answer: with any of them on or off, results are equal to 1e-5 of the largest value (fp32 sums in another
order). docs/speed.md says what each is worth.
"""

from dataclasses import dataclass

from twelve.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Which savings are made.

    Attributes:
        unpadded: Rows share a pass only where they are of one length; otherwise the shorter are padded to the longest.
        texts_once: Layers that see no picture run once a distinct text of a batch; otherwise once a row.
        pictures_once: The embedding that sees no text runs once a distinct picture of a batch; otherwise once a row.
        first_meeting_once: So do the projections of the first co-attention, of texts and of pictures alike; otherwise
            once a row. It pays where a picture stands in many rows, and keeps three times the co-attention's width of
            each region meanwhile. Exported graphs have it where `python -m export` was given `--keep-first-meeting`.
        regions_unprojected: Co-attention multiplies the tokens with the matrices that would project the regions, which
            are many more; otherwise the regions. Made for models where that at least halves these products for an
            ordinary request; see `pays_unprojected`.
        last_layer_where_read: The last layer of each stream runs where its states are read: at [CLS] and at the global
            region, and at all regions where the grounding head answers; otherwise everywhere.
        asked_heads_only: A row is seen by the head of its request; otherwise by every head.
    """

    unpadded: bool = True
    texts_once: bool = True
    pictures_once: bool = True
    first_meeting_once: bool = False
    regions_unprojected: bool = True
    last_layer_where_read: bool = True
    asked_heads_only: bool = True

    @property
    def slack(self) -> float:
        """Give the share by which the longest row of a pass may be longer than the others; see `plan`."""
        return 0.0 if self.unpadded else 1.0


DEFAULT = Savings()
NO_SAVINGS = Savings(
    unpadded=False,
    texts_once=False,
    pictures_once=False,
    regions_unprojected=False,
    last_layer_where_read=False,
    asked_heads_only=False,
)

ORDINARY_TOKENS, ORDINARY_REGIONS = 14, 101
"""A caption of COCO, [CLS], [SEP] and the task token included, and what the published detector sees of a picture."""

WORTH = 0.5
"""Of the products, the most that may be left for the steps that come with them to be worth it (docs/speed.md)."""


def pays_unprojected(config: ModelConfig) -> bool:
    """Say whether `Savings.regions_unprojected` is worth it for a model.

    For T tokens, R regions, width B and heads of width E, a projection of the regions takes R B B products; the tokens
    in their place take T B B, and R T B products in each of B / E heads.
    """
    head_width = config.bi_hidden_size / config.bi_num_attention_heads
    return ORDINARY_TOKENS / ORDINARY_REGIONS + ORDINARY_TOKENS / head_width <= WORTH
