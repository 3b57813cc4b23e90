"""Where pictures come from: folders, lists and archives, listed alike every time."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twelve.errors import DataError, TooLarge, UnreadableImage
from twelve.image import ImageLimits
from twelve.regions.extraction.sources import Archive, Folder, RecordList, Source, TextList, open_source

LIMITS = ImageLimits()
NAMES = ["a-b/2.png", "a/1.jpg", "a/3.PNG", "z.webp"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for number, name in enumerate([*reversed(NAMES), "a/notes.md"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 5, 3), number, np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (folder / name).write_bytes(stream.getvalue())
    return folder


def packed(folder: Path, to: Path, mode: str = "w") -> Archive:
    with tarfile.open(to, mode) as archive:
        archive.add(folder, "in")
    return Archive(to)


def names(source: Source, folder: Path) -> list[str]:
    return [entry.name.removeprefix(f"{folder}{os.sep}") for entry in source]


def test_a_folder_is_listed_depth_first_by_name_without_other_files(folder: Path) -> None:
    assert names(Folder(folder), folder) == ["a/1.jpg", "a/3.PNG", "a-b/2.png", "z.webp"]
    assert Folder(folder).count() == 4


def test_links_to_folders_are_not_followed_and_links_to_themselves_are_inputs(folder: Path) -> None:
    (folder / "a" / "up").symlink_to(folder)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "linked.png").symlink_to(folder / "z.webp")
    assert {"loop.jpg", "linked.png", *NAMES} == set(names(Folder(folder), folder))


def test_a_name_that_is_no_utf_8_is_read_and_printed(folder: Path) -> None:
    os.rename(folder / "z.webp", os.fsencode(folder) + b"/\xff.png")
    (entry,) = (entry for entry in Folder(folder) if "\\xff" in entry.name)
    assert os.stat(entry.parcel(LIMITS).path).st_size > 0


def test_a_list_keeps_its_order_and_goes_by_its_own_folder(folder: Path) -> None:
    listed = folder / "list.txt"
    listed.write_text(f"z.webp\n\n  \na/../a/1.jpg\r\n{folder}/a/notes.md\n")
    assert names(TextList(listed), folder) == ["z.webp", "a/1.jpg", "a/notes.md"]
    assert TextList(listed).count() == 3


def test_a_list_of_records_names_pictures_by_their_image(folder: Path) -> None:
    listed = folder / "list.jsonl"
    listed.write_text('{"image": "z.webp", "caption": "a cat"}\n{"image": "a/1.jpg"}\n')
    assert names(RecordList(listed), folder) == ["z.webp", "a/1.jpg"]


@pytest.mark.parametrize(
    "line", ["z.webp", "[1]", '{"picture": "z.webp"}', '{"image": 7}', '{"image": ""}', "[" * 9999]
)
def test_a_record_without_an_image_is_told_by_its_line(folder: Path, line: str) -> None:
    listed = folder / "list.jsonl"
    listed.write_text('{"image": "z.webp"}\n' + line + "\n")
    with pytest.raises(DataError, match=r'line 2 names no picture; write \{"image": "path/of/it.jpg"\}'):
        list(RecordList(listed))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.jsonl", '{"image": "a/1.jpg"}\n{"image": "a/\\u0000.jpg"}\n', r"line 2 names 'a/\\x00\.jpg'"),
        ("list.jsonl", '{"image": "a/1.jpg"}\n{"image": "a/\\ud800.jpg"}\n', r"line 2 names 'a/\\ud800\.jpg'"),
        ("list.txt", "a/1.jpg\na/\0.jpg\n", r"line 2 names 'a/\\x00\.jpg', which no file can be called"),
    ],
)
def test_a_path_that_no_file_can_have_is_told_by_its_line(folder: Path, name: str, content: str, said: str) -> None:
    (folder / name).write_text(content)
    entries = iter(open_source(folder / name))
    assert next(entries).name == f"{folder}/a/1.jpg"
    with pytest.raises(DataError, match=said):
        next(entries)


@pytest.mark.parametrize(("name", "line"), [("list.txt", "a/1.jpg"), ("list.jsonl", '{"image": "a/1.jpg"}')])
def test_a_mark_of_byte_order_is_no_part_of_the_first_path(folder: Path, name: str, line: str) -> None:
    (folder / name).write_text(f"\ufeff{line}\n", encoding="utf-8")
    assert names(open_source(folder / name), folder) == ["a/1.jpg"]


@pytest.mark.parametrize(
    ("suffix", "mode", "count"), [(".tar", "w", 4), (".tar.gz", "w:gz", None), (".tgz", "w:gz", None)]
)
def test_an_archive_gives_the_bytes_of_its_pictures(
    folder: Path, tmp_path: Path, suffix: str, mode: str, count: int | None
) -> None:
    archive = packed(folder, tmp_path / f"all{suffix}", mode)
    found = {entry.name: entry.parcel(LIMITS).data for entry in archive}
    assert found == {f"{tmp_path}/all{suffix}!/in/{name}": (folder / name).read_bytes() for name in NAMES}
    assert archive.count() == count


def test_an_archive_may_hold_two_pictures_of_one_name(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for _ in range(2):
            archive.add(folder / "z.webp", "z.webp")
    first, second = ((entry.name, entry.stamp) for entry in Archive(tmp_path / "all.tar"))
    assert first[0] == second[0]
    assert first != second


def test_a_link_in_an_archive_and_a_file_over_the_limit_are_refused_alone(folder: Path, tmp_path: Path) -> None:
    os.link(folder / "a" / "1.jpg", folder / "a" / "hard.jpg")
    (link,) = (entry for entry in packed(folder, tmp_path / "all.tar") if entry.stamp[0] == 0)
    with pytest.raises(UnreadableImage, match="but a link inside the archive"):
        link.parcel(LIMITS)
    entry = next(iter(Archive(tmp_path / "all.tar")))
    with pytest.raises(TooLarge, match="the picture file is too large"):
        entry.parcel(ImageLimits(max_bytes=10))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_that_ends_early_is_told_of(folder: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("all.tar" if mode == "w" else "all.tgz")
    packed(folder, path, mode)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match="the archive cannot be read to its end"):
        [entry.parcel(LIMITS) for entry in Archive(path)]


def test_an_archive_is_read_without_keeping_what_it_passed(folder: Path, tmp_path: Path) -> None:
    entries = iter(packed(folder, tmp_path / "all.tar"))
    for _ in range(len(NAMES)):
        member = next(entries)
        assert len(member.archive.members) <= 1


def test_the_kind_of_a_source_is_told_by_its_name(folder: Path, tmp_path: Path) -> None:
    packed(folder, tmp_path / "all.tar.gz", "w:gz")
    for name in ("list.txt", "list.jsonl"):
        (tmp_path / name).touch()
    found = [open_source(tmp_path / name) for name in ("in", "all.tar.gz", "list.txt", "list.jsonl")]
    assert [type(source) for source in found] == [Folder, Archive, TextList, RecordList]
    for name in ("nowhere", "in/z.webp"):
        with pytest.raises(DataError, match="got no source of pictures; give a folder, a"):
            open_source(tmp_path / name)
