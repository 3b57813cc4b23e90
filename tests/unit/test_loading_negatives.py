import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.loading import gallery as galleries
from training.loading import mining
from training.loading.gallery import NEAR, Gallery, SeededDraw
from twelve.errors import DataError

PICTURES, ROWS = 70, 16


class Shelf:
    """Pictures with drawn mean features."""

    def __init__(self, *, detector: str = "a detector") -> None:
        self.detector_digest = detector
        self.asked = 0
        means = torch.randn(PICTURES, 8, generator=torch.Generator().manual_seed(0))
        self._means = {f"{row:04d}.jpg": mean for row, mean in enumerate(means)}

    @property
    def names(self) -> list[str]:
        return list(self._means)

    def key(self, image: str) -> str:
        return f"sha256 of {image}"

    def mean(self, image: str) -> torch.Tensor:
        self.asked += 1
        return self._means[image]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleries, "ROWS_AT_ONCE", ROWS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "coco-retrieval-train"


def gallery(shelf: Shelf | None = None, *, pictures: int = PICTURES, nearest: Callable | None = None) -> Gallery:
    shelf = shelf or Shelf()
    return Gallery(shelf.names[:pictures], shelf, of="task 'coco-retrieval', train", nearest=nearest)


def mine(folder: Path, of: Gallery, *, most: int = NEAR) -> list[int]:
    steps: list[int] = []
    mining.mine(folder, of, most=most, on_progress=steps.append)
    return steps


def test_draws_from_a_mined_table_are_those_from_pictures_compared_in_memory(folder: Path) -> None:
    assert mine(folder, gallery()) == [16, 16, 16, 16, 6]
    mined = gallery(nearest=lambda of: mining.load(folder, of, most=NEAR))
    assert dict(mined.near) == dict(gallery().near)
    for seed in range(200):
        drawn = [SeededDraw(one, random.Random(seed)).others("0007.jpg", 3) for one in (mined, gallery())]
        assert drawn[0] == drawn[1]


def test_a_table_holds_as_many_nearest_as_it_was_asked_for(folder: Path) -> None:
    mine(folder, gallery(), most=33)
    assert {len(near) for near in mining.load(folder, gallery(), most=33).values()} == {33}


def test_mining_goes_on_where_it_was_cut_short(folder: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int) -> None:
        if (folder / "00002.npy").exists():
            raise Killed

    with pytest.raises(Killed):
        mining.mine(folder, gallery(), most=NEAR, on_progress=kill)
    with pytest.raises(DataError, match="holds no whole table of negatives; run `python -m training negatives"):
        mining.load(folder, gallery(), most=NEAR)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    assert len(before) == 3
    mine(folder, gallery())
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert dict(mining.load(folder, gallery(), most=NEAR)) == dict(gallery().near)


def test_a_whole_table_is_not_mined_again(folder: Path) -> None:
    mine(folder, gallery())
    shelf = Shelf()
    assert mine(folder, gallery(shelf)) == [PICTURES]
    assert shelf.asked == 0


def test_no_more_than_a_block_is_compared_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    cdist = torch.cdist

    def measured(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        sizes.append((len(rows), len(others)))
        return cdist(rows, others)

    monkeypatch.setattr(torch, "cdist", measured)
    mine(folder, gallery())
    assert sizes == [(ROWS, PICTURES)] * 4 + [(PICTURES % ROWS, PICTURES)]


@pytest.mark.parametrize(
    ("other", "most", "changed"),
    [
        (gallery(pictures=PICTURES - 1), NEAR, "pictures"),
        (gallery(Shelf(detector="another")), NEAR, "detector"),
        (gallery(), NEAR + 1, "most"),
    ],
)
def test_a_table_of_something_else_is_refused(folder: Path, other: Gallery, most: int, changed: str) -> None:
    mine(folder, gallery())
    for use in (lambda: mining.load(folder, other, most=most), lambda: mine(folder, other, most=most)):
        with pytest.raises(DataError, match=rf"the table was mined with {changed} .*; remove .* and run"):
            use()


def test_an_altered_or_missing_block_is_refused(folder: Path) -> None:
    mine(folder, gallery())
    block = folder / "00001.npy"
    block.write_bytes(block.read_bytes()[:-4] + bytes(4))
    with pytest.raises(DataError, match=r"00001\.npy: the block is missing or not the one that was mined; remove it"):
        mining.load(folder, gallery(), most=NEAR)
    block.unlink()
    with pytest.raises(DataError, match=r"00001\.npy: the block is missing"):
        mining.load(folder, gallery(), most=NEAR)
    (folder / "sums.json").unlink()
    mine(folder, gallery())
    assert dict(mining.load(folder, gallery(), most=NEAR)) == dict(gallery().near)


def test_equal_galleries_give_equal_tables(tmp_path: Path) -> None:
    for name in ("one", "other"):
        mine(tmp_path / name, gallery())
    one, other = (json.loads((tmp_path / name / "sums.json").read_text()) for name in ("one", "other"))
    assert one == other
    assert len(one) == 5
