"""What the engine need not compute: exact savings, each with its switch.

None changes an answer: with any of them on or off, results are equal to 1e-5 of the largest value (fp32 sums in another
order). docs/speed.md says what each is worth.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Which savings are made.

    Attributes:
        unpadded: Rows share a pass only where they are of one length; otherwise the shorter are padded to the longest.
        texts_once: Layers that see no picture run once a distinct text of a batch; otherwise once a row.
        pictures_once: The embedding that sees no text runs once a distinct picture of a batch; otherwise once a row.
        first_meeting_once: So do the projections of the first co-attention, of texts and of pictures alike; otherwise
            once a row. It pays where a picture stands in many rows, and keeps three times the co-attention's width of
            each region meanwhile. Exported graphs have it or have it not, as they were exported.
        last_layer_where_read: The last layer of each stream runs where its states are read: at [CLS] and at the global
            region, and at all regions where the grounding head answers; otherwise everywhere.
        asked_heads_only: A row is seen by the head of its request; otherwise by every head.
    """

    unpadded: bool = True
    texts_once: bool = True
    pictures_once: bool = True
    first_meeting_once: bool = False
    last_layer_where_read: bool = True
    asked_heads_only: bool = True

    @property
    def slack(self) -> float:
        """Give the share by which the longest row of a pass may be longer than the others; see `plan`."""
        return 0.0 if self.unpadded else 1.0


DEFAULT = Savings()
NO_SAVINGS = Savings(
    unpadded=False, texts_once=False, pictures_once=False, last_layer_where_read=False, asked_heads_only=False
)
