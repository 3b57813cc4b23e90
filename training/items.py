"""Items: records as the trainer and the evaluator read them, tokenised and with their regions, one task at a time.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · F feature width.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from training.data.identity import pictures_of
from training.data.sets import DataSets
from training.features import Regions, given_rows
from twelve.batch import Text, Visual, pad, visual
from twelve.errors import DataError
from twelve.regions.extractor import RegionSet
from twelve.schema import StoredImage
from twelve.tasks.base import AnswerList, Labelled, Prompt, Seen
from twelve.tasks.registry import TASKS, AnyTask
from twelve.text import TextEncoder

NEAR = 20
"""Nearest pictures among which a hard negative is drawn (the published code draws among 100 of 113,000)."""

ROWS_AT_ONCE = 1024
"""Pictures whose distances to all others are held at a time: 0.5 GB with the 113,000 of COCO."""

PICTURES_KEPT = 20_000
"""Pictures whose regions are held in memory, those last looked at; all of the small world's."""


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

    def __init__(self, regions: Regions, *, blind: bool = False) -> None:
        self._regions = regions
        self._blind = blind
        self._entry = lru_cache(maxsize=PICTURES_KEPT)(regions.entry)
        self._visual = lru_cache(maxsize=PICTURES_KEPT)(self._detected_visual)

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

    def mean(self, image: str) -> Tensor:
        """Give the mean of a picture's detected features, [F]."""
        entry = self._entry(self.key(image))
        return entry.features[: len(entry) - entry.given].mean(dim=0)

    def _shown(self, regions: RegionSet) -> Visual:
        seen = visual(regions)
        return Visual(torch.zeros_like(seen.features), torch.zeros_like(seen.locations)) if self._blind else seen

    def _detected_visual(self, key: str) -> Visual:
        entry = self._entry(key)
        return self._shown(_rows_of(entry, list(range(len(entry) - entry.given)), given=0))


class Gallery:
    """The pictures of a task's split, and which of them look alike.

    Attributes:
        images: Paths, each once; two of them may show one picture.
        of: Whose pictures these are, for errors.
    """

    def __init__(self, images: Sequence[str], shelf: PictureShelf, *, of: str) -> None:
        self.images = sorted(set(images))
        self.of = of
        self._shelf = shelf

    def key(self, image: str) -> str:
        """Give the hash by which a picture goes."""
        return self._shelf.key(image)

    @cached_property
    def different(self) -> int:
        """Count the pictures, those under two names once."""
        return len({self.key(image) for image in self.images})

    @cached_property
    def near(self) -> Mapping[str, Sequence[str]]:
        """Give each picture's nearest by mean feature (Euclidean, as the published hard negatives), nearest first."""
        means = torch.stack([self._shelf.mean(image) for image in self.images])  # [P, F]
        nearest = [rows for start in range(0, len(means), ROWS_AT_ONCE) for rows in _nearest(means, start)]
        return {image: [self.images[row] for row in rows] for image, rows in zip(self.images, nearest, strict=True)}


class SeededDraw:
    """Draws other pictures of a task's split: one hard negative, the rest at random. Equal seeds draw equally."""

    def __init__(self, gallery: Gallery, rng: random.Random) -> None:
        self._gallery = gallery
        self._rng = rng

    def others(self, image: str, count: int) -> Sequence[str]:
        """Draw `count` different pictures, none of them the given one, a near one first.

        Raises:
            DataError: The split has too few.
        """
        if self._gallery.different <= count:
            raise DataError(
                f"{self._gallery.of}: an item shows {count + 1} different pictures, "
                f"the split has {self._gallery.different}; add pictures to it, or leave the task out of the recipe"
            )
        chosen: list[str] = []
        taken = {self._gallery.key(image)}
        pool: Sequence[str] = self._gallery.near[image]
        while len(chosen) < count:
            other = self._rng.choice(pool)
            if self._gallery.key(other) not in taken:
                taken.add(self._gallery.key(other))
                chosen.append(other)
            pool = self._gallery.images
        return chosen

    def place(self, count: int) -> int:
        """Draw a number in [0, count)."""
        return self._rng.randrange(count)


class TaskItems:
    """All items of one task and split."""

    def __init__(
        self,
        task: AnyTask,
        records: Sequence[Any],
        shelf: PictureShelf,
        *,
        encoder: TextEncoder,
        answers: AnswerList,
        seed: int,
        split: str,
        most_tokens: int | None,
    ) -> None:
        self.task = task
        self.records = records
        self._shelf = shelf
        self._encoder = encoder
        self._answers = answers
        self._most_tokens = min(task.most_tokens, most_tokens or task.most_tokens)
        self._seed = seed
        self.split = split
        self._gallery = Gallery(
            [image for record in records for image in pictures_of(record)], shelf, of=f"task {task.name!r}, {split}"
        )
        self._texts: dict[str, Text] = {}
        self._orders: dict[int, list[int]] = {}

    @classmethod
    def read(
        cls,
        name: str,
        sets: DataSets,
        split: str,
        shelf: PictureShelf,
        *,
        encoder: TextEncoder,
        answers: Mapping[str, AnswerList],
        seed: int,
        most_tokens: int | None,
    ) -> "TaskItems":
        """Read a task's official files.

        Args:
            name: Of the task.
            sets: The data sets.
            split: train, val, test or novel.
            shelf: Regions of all pictures.
            encoder: Tokenises.
            answers: By head.
            seed: Of what is drawn.
            most_tokens: That the model can place; None where no model reads the items.

        Returns:
            The items.

        Raises:
            DataError: The split is empty, or a file is not as its format says.
        """
        task = TASKS[name]
        records = [one for record in sets.read(name, split) for one in task.expand(record)]
        if not records:
            raise DataError(
                f"task {name!r}, {split}: the files under {sets.root} hold no item of this split; it needs one"
            )
        return cls(
            task,
            records,
            shelf,
            encoder=encoder,
            answers=answers.get(task.head, AnswerList()),
            seed=seed,
            split=split,
            most_tokens=most_tokens,
        )

    def __len__(self) -> int:
        """Count the items."""
        return len(self.records)

    def batch(self, start: int, count: int) -> list[Item]:
        """Give the items of an endless shuffled stream, from the `start`-th on.

        The stream has no state: equal seeds and places give equal items, so a run resumes by its round alone.

        Differs: each pass over the data has a new order; the published loader repeats one order.
        """
        return [self.item(self._place_in_stream(serial), serial) for serial in range(start, start + count)]

    def item(self, place: int, serial: int) -> Item:
        """Make one item.

        Args:
            place: Of its record.
            serial: Seeds what is drawn for it.

        Returns:
            The item.
        """
        labelled = self.labelled(place, serial)
        prompt: Prompt = self.task.rows(labelled.request)
        keys = [image.key for image in prompt.images if isinstance(image, StoredImage)]
        looked = [self._shelf.look(key, () if slot else prompt.boxes_px) for slot, key in enumerate(keys)]
        seen = Seen(tuple(regions for regions, _ in looked), looked[0][1], self._answers)
        visuals = [self._shelf.visual(key, regions) for key, (regions, _) in zip(keys, looked, strict=True)]
        pairs = tuple((self._text(text), visuals[slot]) for text, slot in prompt.rows)
        return Item(
            labelled, seen, pairs, getattr(self.records[place], "kind", "") or self.task.label_of(labelled.target)
        )

    def labelled(self, place: int, serial: int) -> Labelled[Any]:
        """Give an item's request and its right answer; see `item`."""
        draw = SeededDraw(self._gallery, seeded(self._seed, self.task.name, self.split, serial))
        labelled: Labelled[Any] = self.task.labelled(self.records[place], draw)
        return labelled

    def _place_in_stream(self, serial: int) -> int:
        epoch, place = divmod(serial, len(self.records))
        if epoch not in self._orders:
            order = list(range(len(self.records)))
            seeded(self._seed, self.task.name, self.split, f"order {epoch}").shuffle(order)
            self._orders = {epoch: order}
        return self._orders[epoch][place]

    def _text(self, text: str) -> Text:
        if text not in self._texts:
            self._texts[text] = Text(self._encoder.encode(text, most=self._most_tokens), self.task.token)
        return self._texts[text]


def seeded(seed: int, task: str, split: str, serial: int | str) -> random.Random:
    """Give the source of what is drawn for one item; equal arguments draw equally, on any machine."""
    return random.Random(f"{seed}/{task}/{split}/{serial}")


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


def _nearest(means: Tensor, start: int) -> list[list[int]]:
    """Give the rows nearest to each of ROWS_AT_ONCE rows, nearest first."""
    distances = torch.cdist(means[start : start + ROWS_AT_ONCE], means)  # [C, P]
    own = torch.arange(len(distances))
    distances[own, start + own] = float("inf")
    nearest: list[list[int]] = distances.topk(min(NEAR, len(means) - 1), largest=False).indices.tolist()
    return nearest


def by_kind(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Average values by kind, kinds in order."""
    groups: dict[str, list[float]] = defaultdict(list)
    for kind, value in values:
        groups[kind].append(value)
    return {kind: sum(found) / len(found) for kind, found in sorted(groups.items())}
