"""Items: records as the trainer and the evaluator read them, tokenised and with their regions, one task at a time.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · F feature width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from training.data.identity import pictures_of
from training.data.sets import DataSets
from training.features import Box, Regions, given_rows, nothing
from training.loading.gallery import Gallery, Nearest, NotedDraw, SeededDraw, compared, seeded
from twelve.batch import Text, Visual, pad, visual
from twelve.errors import DataError
from twelve.regions.extractor import RegionSet
from twelve.schema import StoredImage
from twelve.tasks.base import AnswerList, Labelled, Prompt, Seen
from twelve.tasks.registry import AnyTask
from twelve.text import TextEncoder

PICTURES_KEPT = 20_000
"""Pictures whose regions are held in memory, those last looked at; all of the small world's."""

TEXTS_KEPT = 100_000
"""Texts whose word pieces are held in memory, those last asked for."""


@dataclass(frozen=True)
class Asked:
    """What is asked of one item, drawn and decided: plain data from which any process makes the same item.

    Attributes:
        labelled: The request, and the right answer in the task's own form.
        kind: The record's own question type, for figures by type.
        shown_px: Boxes of the first picture that are shown although nobody gave them.
    """

    labelled: Labelled[Any]
    kind: str
    shown_px: Sequence[Box] = ()


@dataclass(frozen=True)
class Item:
    """One request with its right answer, ready for the model.

    Attributes:
        labelled: The request, and the right answer in the task's own form.
        seen: What the task may look at.
        pairs: Texts before pictures, row by row.
        kind: The record's own question type, for figures by type.
    """

    labelled: Labelled[Any]
    seen: Seen
    pairs: tuple[tuple[Text, Visual], ...]
    kind: str


@dataclass(frozen=True)
class Padded:
    """Rows of a step, padded to the longest of each."""

    token_ids: Tensor
    text_mask: Tensor
    task_tokens: Tensor
    features: Tensor
    locations: Tensor
    region_mask: Tensor

    def to(self, device: torch.device) -> "Padded":
        """Give the same rows on a device."""
        return Padded(**{name: tensor.to(device) for name, tensor in vars(self).items()})


class PictureShelf:
    """Region sets and visuals of a data root, those last used kept at hand; blind shelves show nothing."""

    def __init__(self, regions: Regions, *, blind: bool = False, kept: int = PICTURES_KEPT) -> None:
        self._regions = regions
        self._blind = blind
        self._entry = lru_cache(maxsize=kept)(regions.entry)
        self._visual = lru_cache(maxsize=kept)(self._detected_visual)
        self._counts: dict[str, int] = {}

    def look(self, image: str, boxes: Sequence[Sequence[float]]) -> tuple[RegionSet, tuple[int, ...]]:
        """Give a picture's detected regions followed by the given boxes, and where the boxes stand.

        Args:
            image: Path of the picture.
            boxes: Candidates, each of which was described when features were prepared.

        Returns:
            The region set and the candidates' rows.
        """
        entry = self._entry(self.key(image))
        detected = len(entry) - entry.given
        rows = given_rows(entry, boxes, at=image)
        chosen = _rows_of(entry, [*range(detected), *rows], given=len(rows))
        return chosen, tuple(range(detected, detected + len(rows)))

    def visual(self, image: str, regions: RegionSet) -> Visual:
        """Give what the model reads of a picture's regions; zeros for a blind model."""
        return self._shown(regions) if regions.given else self._visual(self.key(image))

    def key(self, image: str) -> str:
        """Give the hash by which a picture goes."""
        return self._regions.key(image)

    def count(self, image: str) -> int:
        """Count a picture's detected regions."""
        key = self.key(image)
        if key not in self._counts:
            entry = self._regions.entry(key)
            self._counts[key] = len(entry) - entry.given
        return self._counts[key]

    @property
    def detector_digest(self) -> str:
        """Name the detector that found the regions."""
        return self._regions.detector_digest

    def mean(self, image: str) -> Tensor:
        """Give the mean of a picture's detected features, [F]; the picture is not kept."""
        entry = self._regions.entry(self.key(image))
        return entry.features[: len(entry) - entry.given].mean(dim=0)

    def _shown(self, regions: RegionSet) -> Visual:
        seen = visual(regions)
        return Visual(torch.zeros_like(seen.features), torch.zeros_like(seen.locations)) if self._blind else seen

    def _detected_visual(self, key: str) -> Visual:
        entry = self._entry(key)
        return self._shown(_rows_of(entry, list(range(len(entry) - entry.given)), given=0))


class ItemMaker:
    """Makes one task's items of what is asked: tokenised, and with their regions.

    Attributes:
        task: Whose items.
    """

    def __init__(
        self, task: AnyTask, shelf: PictureShelf, encoder: TextEncoder, answers: AnswerList, *, most_tokens: int | None
    ) -> None:
        self.task = task
        self.shelf = shelf
        self._encoder = encoder
        self._answers = answers
        self._most_tokens = min(task.most_tokens, most_tokens or task.most_tokens)
        self._text = lru_cache(maxsize=TEXTS_KEPT)(self._encoded)

    def make(self, asked: Asked) -> Item:
        """Make an item; equal asking gives equal items."""
        prompt: Prompt = self.task.rows(asked.labelled.request)
        keys = _keys(prompt)
        boxes = (*prompt.boxes_px, *asked.shown_px)
        looked = [self.shelf.look(key, () if slot else boxes) for slot, key in enumerate(keys)]
        candidates = looked[0][1][: len(prompt.boxes_px)]
        seen = Seen(tuple(regions for regions, _ in looked), candidates, self._answers)
        visuals = [self.shelf.visual(key, regions) for key, (regions, _) in zip(keys, looked, strict=True)]
        pairs = tuple((self._text(text), visuals[slot]) for text, slot in prompt.rows)
        return Item(asked.labelled, seen, pairs, asked.kind)

    def length(self, asked: Asked) -> int:
        """Count the word pieces and regions of an item's longest row, without making it."""
        prompt: Prompt = self.task.rows(asked.labelled.request)
        regions = [self.shelf.count(key) for key in _keys(prompt)]
        regions[0] += len(prompt.boxes_px) + len(asked.shown_px)
        return max(len(self._text(text).token_ids) + regions[slot] for text, slot in prompt.rows)

    def _encoded(self, text: str) -> Text:
        return Text(self._encoder.encode(text, most=self._most_tokens), self.task.token)


class TaskItems:
    """All items of one task and split."""

    def __init__(
        self,
        maker: ItemMaker,
        records: Sequence[Any],
        *,
        seed: int,
        split: str,
        nearest: Nearest = compared,
        shown: Callable[[Any], Sequence[Box]] = nothing,
    ) -> None:
        self.maker = maker
        self.task = maker.task
        self.records = records
        self.seed = seed
        self.split = split
        self._shown = shown
        self.gallery = Gallery(
            [image for record in records for image in pictures_of(record)],
            maker.shelf,
            of=f"task {self.task.name!r}, {split}",
            nearest=nearest,
        )
        self._orders: dict[int, list[int]] = {}

    @classmethod
    def read(
        cls,
        maker: ItemMaker,
        sets: DataSets,
        split: str,
        *,
        seed: int,
        nearest: Nearest = compared,
        shown: Callable[[Any], Sequence[Box]] = nothing,
    ) -> "TaskItems":
        """Read a task's official files.

        Args:
            maker: Of the task's items.
            sets: The data sets.
            split: train, val, test or novel.
            seed: Of what is drawn.
            nearest: How the split's pictures come to know those that look alike.
            shown: Boxes of a record that are shown although nobody gives them.

        Returns:
            The items.

        Raises:
            DataError: The split is empty, or a file is not as its format says.
        """
        task = maker.task
        records = [one for record in sets.read(task.name, split) for one in task.expand(record)]
        if not records:
            raise DataError(
                f"task {task.name!r}, {split}: the files under {sets.root} hold no item of this split; it needs one"
            )
        return cls(maker, records, seed=seed, split=split, nearest=nearest, shown=shown)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.records)

    def draws(self) -> bool:
        """Say whether an item shows pictures beside its record's own."""
        draw = NotedDraw()
        self.task.labelled(self.records[0], draw)
        return draw.drew

    def batch(self, start: int, count: int) -> list[Item]:
        """Give the items of an endless shuffled stream, from the `start`-th on; see `streamed`."""
        return [self.maker.make(self.streamed(serial)) for serial in range(start, start + count)]

    def streamed(self, serial: int) -> Asked:
        """Say what an endless shuffled stream asks at a place.

        The stream has no state: equal seeds and places give equal items, so a run resumes by its round alone.

        Differs: each pass over the data has a new order; the published loader repeats one order.
        """
        return self.asked(self._place_in_stream(serial), serial)

    def item(self, place: int, serial: int) -> Item:
        """Make one item; see `asked`."""
        return self.maker.make(self.asked(place, serial))

    def asked(self, place: int, serial: int) -> Asked:
        """Say what an item asks.

        Args:
            place: Of its record.
            serial: Seeds what is drawn for it.

        Returns:
            All that is drawn and decided of it.
        """
        labelled, record = self.labelled(place, serial), self.records[place]
        kind = getattr(record, "kind", "") or self.task.label_of(labelled.target)
        return Asked(labelled, kind, self._shown(record))

    def labelled(self, place: int, serial: int) -> Labelled[Any]:
        """Give an item's request and its right answer; see `asked`."""
        draw = SeededDraw(self.gallery, seeded(self.seed, self.task.name, self.split, serial))
        labelled: Labelled[Any] = self.task.labelled(self.records[place], draw)
        return labelled

    def _place_in_stream(self, serial: int) -> int:
        epoch, place = divmod(serial, len(self.records))
        if epoch not in self._orders:
            order = list(range(len(self.records)))
            seeded(self.seed, self.task.name, self.split, f"order {epoch}").shuffle(order)
            self._orders = {epoch: order}
        return self._orders[epoch][place]


def padded(items: Sequence[Item]) -> Padded:
    """Stack the rows of all items, in order.

    Args:
        items: Of one task.

    Returns:
        [N, L] ids, [N, T] mask, [N] task tokens, [N, R, F] features, [N, R, 5] locations, [N, R] mask.
    """
    pairs = [pair for item in items for pair in item.pairs]
    ids, ids_mask = pad([torch.tensor(text.token_ids) for text, _ in pairs])
    features, region_mask = pad([seen.features for _, seen in pairs])
    locations, _ = pad([seen.locations for _, seen in pairs])
    text_mask = torch.cat([torch.ones_like(ids_mask[:, :1]), ids_mask], dim=1)  # [N, T]: the task token counts
    tokens = torch.tensor([text.task_token for text, _ in pairs])
    return Padded(ids, text_mask, tokens, features, locations, region_mask)


def _keys(prompt: Prompt) -> list[str]:
    return [image.key for image in prompt.images if isinstance(image, StoredImage)]


def _rows_of(entry: RegionSet, rows: list[int], *, given: int) -> RegionSet:
    return RegionSet(
        entry.features[rows],
        entry.boxes_px[rows],
        entry.scores[rows],
        entry.labels[rows],
        width=entry.width,
        height=entry.height,
        given=given,
    )
