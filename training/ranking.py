"""Scores of every caption before every picture of a gallery, kept row by row.

Shapes: C captions · P pictures · N rows of a pass · T tokens · R regions · D text width · V image width.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.evaluate import chunks
from training.items import PictureShelf, TaskItems
from training.loop import device_of
from twelve.batch import Text, pad
from twelve.engines.engine import heads_of
from twelve.engines.graphs import token_count
from twelve.errors import DataError
from twelve.heads.model import TwelveModel

PASS = 128
"""Pictures before which one caption is read at a time."""

CAPTIONS_OF_A_PICTURE = 5
"""Some of COCO's have six or seven; everybody evaluates the first five (Karpathy's split)."""

SCORE_BYTES = 4
"""Of a score: little-endian float32."""

DIGEST_BYTES = 64
"""Of the line that says what a file's scores are of: a sha256 in hexadecimal."""


@dataclass(frozen=True)
class Ranking:
    """Captions and pictures to be scored.

    Attributes:
        captions: Places of one item a caption.
        pictures: Paths, in the file's order.
        picture_of: [C], each caption's column.
    """

    captions: Sequence[int]
    pictures: Sequence[str]
    picture_of: Tensor


def gallery(source: TaskItems, pictures: int) -> Ranking:
    """Take the first pictures of a split, and the first five captions of each.

    Args:
        source: A retrieval task's items, one a caption.
        pictures: At most so many.

    Raises:
        DataError: There are none.
    """
    columns: dict[str, int] = {}
    taken: dict[str, list[int]] = {}
    for place, record in enumerate(source.records):
        if record.image in columns or len(columns) < pictures:
            columns.setdefault(record.image, len(columns))
            taken.setdefault(record.image, []).append(place)
    if not columns:
        raise DataError(f"task {source.task.name!r}, {source.split}: a gallery of {pictures} pictures holds none")
    chosen = [(place, columns[image]) for image, places in taken.items() for place in places[:CAPTIONS_OF_A_PICTURE]]
    return Ranking([place for place, _ in chosen], list(columns), torch.tensor([column for _, column in chosen]))


class Scorer:
    """Scores captions before all pictures of a gallery, each of which is embedded once."""

    def __init__(self, model: TwelveModel, source: TaskItems, shelf: PictureShelf, pictures: Sequence[str]) -> None:
        self._model = model
        self._source = source
        self._device = device_of(model)
        self._head = heads_of(model)[source.task.head]
        with torch.inference_mode():
            self._shown = [self._embedded(shelf, images) for images in chunks(pictures, PASS)]

    def row(self, place: int) -> Tensor:
        """Rate one caption before every picture, [P]; the caption is read alone once."""
        text, _ = self._source.item(place, place).pairs[0]
        with torch.inference_mode():
            states, mask = self._read(text)
            return torch.cat([self._rated(states, mask, *shown) for shown in self._shown])

    def _embedded(self, shelf: PictureShelf, images: Sequence[str]) -> tuple[Tensor, Tensor]:
        visuals = [shelf.visual(image, shelf.look(image, ())[0]) for image in images]
        features, mask = (tensor.to(self._device) for tensor in pad([one.features for one in visuals]))
        locations = pad([one.locations for one in visuals])[0].to(self._device)
        return self._model.trunk.encode_regions(features, locations, mask), mask  # [N, R, V], [N, R]

    def _read(self, text: Text) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([text.token_ids], device=self._device)
        tokens = torch.tensor([text.task_token], device=self._device)
        mask = torch.ones(1, token_count(ids.shape[1], self._model.config), dtype=torch.bool, device=self._device)
        return self._model.trunk.encode_text(ids, mask, tokens), mask  # [1, T, D], [1, T]

    def _rated(self, text: Tensor, text_mask: Tensor, regions: Tensor, mask: Tensor) -> Tensor:
        rows = len(regions)
        states = self._model.trunk.fuse(text.expand(rows, -1, -1), text_mask.expand(rows, -1), regions, mask)
        logits: Tensor = self._head(self._head.arrange(getattr(states, self._head.reads)))
        return logits.reshape(rows).float().cpu()  # [N]


def scores(
    scorer: Scorer,
    asked: Ranking,
    kept: Path,
    *,
    of: str,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Score every pair, or what is left of them.

    Args:
        scorer: Of the gallery's pictures.
        asked: The captions and pictures.
        kept: File of [C, P] float32, one row a caption; what it holds is not asked again.
        of: Tells one model and split from another; scores of another are thrown away.
        on_progress: Called with the number of captions done since the last call.

    Returns:
        [C, P] logits; only their order within a row or column means anything.
    """
    done = _whole_rows(kept, _digest(of, asked), row_bytes=SCORE_BYTES * len(asked.pictures))
    on_progress(done)
    with kept.open("ab") as file:
        for place in asked.captions[done:]:
            file.write(scorer.row(place).numpy().astype("<f4").tobytes())
            file.flush()
            on_progress(1)
    found = np.fromfile(kept, dtype="<f4", offset=DIGEST_BYTES)
    return torch.from_numpy(found.reshape(len(asked.captions), len(asked.pictures)))


def _digest(of: str, asked: Ranking) -> str:
    return hashlib.sha256(f"{of}\n{list(asked.captions)}\n{list(asked.pictures)}".encode()).hexdigest()


def _whole_rows(kept: Path, digest: str, *, row_bytes: int) -> int:
    """Count the rows of a file that begins with a digest; cut off one that a kill left short, begin another anew."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    held = kept.read_bytes()[:DIGEST_BYTES] if kept.is_file() else b""
    if held != digest.encode():
        kept.write_bytes(digest.encode())
        return 0
    rows = (kept.stat().st_size - DIGEST_BYTES) // row_bytes
    os.truncate(kept, DIGEST_BYTES + rows * row_bytes)
    return rows
