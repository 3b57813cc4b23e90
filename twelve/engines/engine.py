"""The engine: runs a batch through the four graphs, whatever runs each of them.

Shapes: N rows of a pass · T tokens · R regions (global one first) · D text width · V image width · B fused width.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from twelve.batch import Batch, Pass, Span, Text, Visual, pad
from twelve.engines.graphs import FUSE, REGIONS, TEXT, graphs, token_count
from twelve.heads.base import Head
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.runtimes.base import Runtime
from twelve.runtimes.module import ModuleRuntime


class RowStates(NamedTuple):
    """What the heads read of one row: [B] fused and [R, V] regions, padding cut off."""

    fused: Tensor
    regions: Tensor


class Engine:
    """Text once a distinct text, regions once a distinct picture, pairs in passes, heads on their own rows."""

    def __init__(self, config: ModelConfig, heads: Mapping[str, Head], runtimes: Mapping[str, Runtime]) -> None:
        self._config = config
        self._heads = heads
        self._runtimes = runtimes

    @classmethod
    def eager(cls, model: TwelveModel) -> Self:
        """Run the model's own modules."""
        runtimes = {
            graph.name: ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs)
            for graph in graphs(model)
        }
        return cls(model.config, heads_of(model), runtimes)

    def text(self, texts: Sequence[Text]) -> list[Tensor]:
        """Encode each distinct text, before any picture is seen.

        Args:
            texts: Distinct.

        Returns:
            [T, D] each.
        """
        return [self._one_text(text) for text in texts]

    def regions(self, visuals: Sequence[Visual]) -> list[Tensor]:
        """Embed each distinct picture's regions, before any text is seen.

        Args:
            visuals: Distinct.

        Returns:
            [R, V] each.
        """
        return [self._one_visual(visual) for visual in visuals]

    def fuse(
        self, batch: Batch, passes: Sequence[Pass], texts: Sequence[Tensor], regions: Sequence[Tensor]
    ) -> list[RowStates]:
        """Run the pairs.

        Args:
            batch: Whose rows the passes hold.
            passes: Each row once.
            texts: [T, D] by the batch's order of texts.
            regions: [R, V] by the batch's order of pictures.

        Returns:
            States by the batch's order of rows.
        """
        states: list[RowStates | None] = [None] * len(batch.rows)
        for one in passes:
            own_texts = [texts[batch.rows[row].text] for row in one.rows]
            own_regions = [regions[batch.rows[row].visual] for row in one.rows]
            for row, row_states in zip(one.rows, self._one_pass(own_texts, own_regions), strict=True):
                states[row] = row_states
        return [state for state in states if state is not None]

    def head(self, name: str, states: Sequence[RowStates], span: Span) -> Tensor:
        """Let a head see one request's rows, and no others.

        Args:
            name: Of the head.
            states: By the batch's order of rows.
            span: The request's own rows.

        Returns:
            The head's logits of this request, as one vector.
        """
        head = self._heads[name]
        own = torch.stack([getattr(state, head.reads) for state in states[span.start : span.stop]])
        return self._runtimes[name].run(states=head.arrange(own))["logits"].flatten()

    def scores(self, name: str, logits: Tensor) -> Tensor:
        """Turn a head's logits of one request into scores that mean what its loss trained."""
        return self._heads[name].scores(logits)

    def _one_text(self, text: Text) -> Tensor:
        ids = torch.tensor([text.token_ids])
        mask = torch.ones(1, token_count(ids.shape[1], self._config), dtype=torch.bool)
        tokens = torch.tensor([text.task_token])
        return self._runtimes[TEXT].run(token_ids=ids, text_mask=mask, task_tokens=tokens)["text"][0]

    def _one_visual(self, visual: Visual) -> Tensor:
        mask = torch.ones(1, len(visual), dtype=torch.bool)
        runtime = self._runtimes[REGIONS]
        return runtime.run(features=visual.features[None], locations=visual.locations[None], region_mask=mask)[
            "regions"
        ][0]

    def _one_pass(self, texts: Sequence[Tensor], regions: Sequence[Tensor]) -> list[RowStates]:
        text, text_mask = pad(texts)
        region, region_mask = pad(regions)
        answer = self._runtimes[FUSE].run(text=text, text_mask=text_mask, regions=region, region_mask=region_mask)
        return [
            RowStates(fused, row_regions[: len(own)])
            for fused, row_regions, own in zip(answer["fused"], answer["region_states"], regions, strict=True)
        ]


def heads_of(model: TwelveModel) -> dict[str, Head]:
    """Give a model's heads by name."""
    return {name: head for name, head in model.heads.items() if isinstance(head, Head)}
