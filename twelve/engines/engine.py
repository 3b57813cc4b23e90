"""The engine: runs a batch through the four graphs, whatever runs each of them.

Shapes: N rows of a pass · T tokens · R regions (global one first) · D text width · V image width · B fused width.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from twelve.batch import Batch, BatchBuilder, Pass, Span, Text, Visual, pad, plan
from twelve.engines.graphs import FUSE, REGIONS, TEXT, graphs, token_count
from twelve.engines.savings import DEFAULT, Savings
from twelve.heads.base import Head
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.runtimes.base import Runtime
from twelve.runtimes.module import ModuleRuntime

Encoded = Mapping[str, Tensor]
"""What a graph gave of one text or one picture, by the names of its outputs: [T, …] or [R, …] each."""


class RowStates(NamedTuple):
    """What the heads' graphs read of one row: [B] fused and [R, V] regions, padding cut off."""

    fused: Tensor
    regions: Tensor


class Engine:
    """Text once a distinct text, regions once a distinct picture, pairs in passes, heads on their own rows."""

    def __init__(
        self,
        config: ModelConfig,
        heads: Mapping[str, Head],
        runtimes: Mapping[str, Runtime],
        savings: Savings = DEFAULT,
    ) -> None:
        self._config = config
        self._heads = heads
        self._runtimes = runtimes
        self._savings = savings

    @classmethod
    def eager(cls, model: TwelveModel, savings: Savings = DEFAULT) -> Self:
        """Run the model's own modules."""
        runtimes = {
            graph.name: ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs)
            for graph in graphs(model, savings)
        }
        return cls(model.config, heads_of(model), runtimes, savings)

    def builder(self) -> BatchBuilder:
        """Give what collects the rows of a batch for this engine."""
        return BatchBuilder(texts_once=self._savings.texts_once, pictures_once=self._savings.pictures_once)

    def plan(self, batch: Batch, *, rows_per_pass: int) -> list[Pass]:
        """Group a batch's rows into passes of at most so many."""
        return plan(batch, rows_per_pass=rows_per_pass, slack=self._savings.slack)

    def text(self, texts: Sequence[Text]) -> list[Encoded]:
        """Encode each text, before any picture is seen.

        Args:
            texts: Of a batch.

        Returns:
            [T, D] states of each.
        """
        return [self._one_text(text) for text in texts]

    def regions(self, visuals: Sequence[Visual]) -> list[Encoded]:
        """Embed each picture's regions, before any text is seen.

        Args:
            visuals: Of a batch.

        Returns:
            [R, V] states of each.
        """
        return [self._one_visual(visual) for visual in visuals]

    def fuse(
        self, batch: Batch, passes: Sequence[Pass], texts: Sequence[Encoded], regions: Sequence[Encoded]
    ) -> list[RowStates]:
        """Run the pairs.

        Args:
            batch: Whose rows the passes hold.
            passes: Each row once.
            texts: By the batch's order of texts.
            regions: By the batch's order of pictures.

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
        own = states[span.start : span.stop]
        for other, rows in self._unasked(name, own):
            self._logits(other, rows)
        return self._logits(name, own)

    def scores(self, name: str, logits: Tensor) -> Tensor:
        """Turn a head's logits of one request into scores that mean what its loss trained."""
        return self._heads[name].scores(logits)

    def _one_text(self, text: Text) -> Encoded:
        ids = torch.tensor([text.token_ids])
        mask = torch.ones(1, token_count(ids.shape[1], self._config), dtype=torch.bool)
        tokens = torch.tensor([text.task_token])
        return _first(self._runtimes[TEXT].run(token_ids=ids, text_mask=mask, task_tokens=tokens))

    def _one_visual(self, visual: Visual) -> Encoded:
        mask = torch.ones(1, len(visual), dtype=torch.bool)
        features, locations = visual.features[None], visual.locations[None]
        return _first(self._runtimes[REGIONS].run(features=features, locations=locations, region_mask=mask))

    def _one_pass(self, texts: Sequence[Encoded], regions: Sequence[Encoded]) -> list[RowStates]:
        text, text_mask = _stacked(texts)
        region, region_mask = _stacked(regions)
        answer = self._runtimes[FUSE].run(**text, **region, text_mask=text_mask, region_mask=region_mask)
        return [
            RowStates(fused, row_regions[: len(own[REGIONS])])
            for fused, row_regions, own in zip(answer["fused"], answer["region_states"], regions, strict=True)
        ]

    def _unasked(self, name: str, own: Sequence[RowStates]) -> Iterator[tuple[str, Sequence[RowStates]]]:
        """Give every other head with the rows of each item that it could see; none, where that is spared."""
        if self._savings.asked_heads_only:
            return
        for head in (head for head in self._heads.values() if head.name != name):
            for start in range(0, len(own) - head.rows_an_item + 1, head.rows_an_item):
                yield head.name, own[start : start + head.rows_an_item]

    def _logits(self, name: str, own: Sequence[RowStates]) -> Tensor:
        head = self._heads[name]
        states = torch.stack([getattr(state, head.reads) for state in own])
        return self._runtimes[name].run(states=head.arrange(states))["logits"].flatten()


def heads_of(model: TwelveModel) -> dict[str, Head]:
    """Give a model's heads by name."""
    return {name: head for name, head in model.heads.items() if isinstance(head, Head)}


def _first(outputs: Mapping[str, Tensor]) -> Encoded:
    return {name: tensor[0] for name, tensor in outputs.items()}


def _stacked(items: Sequence[Encoded]) -> tuple[dict[str, Tensor], Tensor]:
    """Stack what the rows of a pass have of one stream: [N, L, …] by name, and a [N, L] mask, True = no padding."""
    padded = {name: pad([item[name] for item in items]) for name in items[0]}
    return {name: stack for name, (stack, _) in padded.items()}, next(iter(padded.values()))[1]
