"""The forward pass in the manner of the published code: padded to the data reader's lengths, every head, every row.

Our own modules compute it, so that what is compared is what is computed and not who wrote the layers.

Shapes: N rows · T tokens (task token included) · R regions (global one first).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twelve.batch import Text, Visual
from twelve.engines.engine import heads_of
from twelve.heads.model import TwelveModel
from twelve.model.trunk import Given, States


class PublishedForward(nn.Module):
    """`VILBertForVLTasks.forward`: one call, all outputs.

    Source: the published vilbert/vilbert.py. Its pre-training heads rate 30,522 words for each token and 1,601 classes
    for each region, whatever is asked.
    """

    def __init__(self, model: TwelveModel) -> None:
        super().__init__()
        self.model = model
        self.pretraining = model.pretraining or model.add_pretraining()

    def forward(self, given: Given) -> dict[str, Tensor]:
        """Run every row through everything.

        Args:
            given: A text before each picture, all of one padded length.

        Returns:
            Every output by name; that of the pair head is there where the rows come in pairs.
        """
        states: States = self.model.trunk(given)
        rows = len(states.fused)
        heads = [head for head in heads_of(self.model).values() if rows % head.rows_an_item == 0]
        return {
            **{head.name: head(head.arrange(getattr(states, head.reads))) for head in heads},
            "words": self.pretraining.words(states.text, self.model.trunk.text_embedding),
            "regions": self.pretraining.regions(states.regions),
            "aligned": self.pretraining.alignment(states.fused),
            "tokens": self.pretraining.tokens(states.text),
        }


def padded(texts: Sequence[Text], visuals: Sequence[Visual], *, tokens: int, regions: int) -> Given:
    """Stack rows at fixed lengths, zeros behind the end of each, as the published data readers do.

    Args:
        texts: One a row.
        visuals: Likewise.
        tokens: Most of a row, the task token included.
        regions: Most of a row.

    Returns:
        What the trunk reads.
    """
    pieces = tokens - 1
    return Given(
        token_ids=_filled([torch.tensor(text.token_ids) for text in texts], pieces),
        text_mask=_filled([torch.ones(len(text.token_ids) + 1, dtype=torch.bool) for text in texts], tokens),
        task_tokens=torch.tensor([text.task_token for text in texts]),
        features=_filled([visual.features for visual in visuals], regions),
        locations=_filled([visual.locations for visual in visuals], regions),
        region_mask=_filled([torch.ones(len(visual), dtype=torch.bool) for visual in visuals], regions),
    )


def _filled(items: Sequence[Tensor], length: int) -> Tensor:
    stack = items[0].new_zeros(len(items), length, *items[0].shape[1:])
    for row, item in zip(stack, items, strict=True):
        row[: len(item)] = item
    return stack
