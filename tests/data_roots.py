"""Data roots of a few rows: the official files of all twelve data sets, as small as the readers take them.

Pictures are named by numbers. COCO's is the number plus one; Visual Genome's is 2,300,000 more, and an even one is the
COCO picture of the same number too, as image_data.json says; GQA calls those from `FIRST_OF_GQA` on "n…".
"""

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SPLITS = ("train", "val", "test")
FIRST_OF_GQA = 8
NUMBERS = range(10)
BOX = [1.0, 1.0, 4.0, 4.0]

Plan = Mapping[str, Mapping[str, Sequence[int]]]
"""By task and split (train, val, test): the picture of each row; NLVR2's rows show two pictures of that number."""

Picture = tuple[str, int]

Write = Callable[[Path, Mapping[str, Sequence[int]]], None]


def plans() -> st.SearchStrategy[Plan]:
    """Draw plans of all twelve tasks."""
    numbers = st.lists(st.sampled_from(NUMBERS), max_size=4)
    rows = st.fixed_dictionaries({split: numbers for split in SPLITS})
    drawn = st.fixed_dictionaries({task: rows.map(_AS_PUBLISHED.get(task, dict)) for task in WRITERS})
    return drawn.filter(lambda plan: any(any(rows.values()) for rows in plan.values()))


def _one_split_each(rows: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    taken: set[int] = set()
    kept = {}
    for split, numbers in rows.items():
        kept[split] = [number for number in numbers if number not in taken]
        taken.update(numbers)
    return kept


def _once_each(rows: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    return {split: list(dict.fromkeys(numbers)) for split, numbers in _one_split_each(rows).items()}


_AS_PUBLISHED: Mapping[str, Callable[[Mapping[str, Sequence[int]]], Mapping[str, Sequence[int]]]] = {
    "vg-qa": _one_split_each,
    "coco-retrieval": _once_each,
    "flickr30k-retrieval": _once_each,
    "visual7w": _one_split_each,
}
"""What a file forbids: a picture in two of its splits; a captioned picture has one row."""


def write_root(root: Path, plan: Plan) -> None:
    """Write the files of the tasks that a plan names; none for a split without rows."""
    images = [
        {"image_id": genome_id(number), "coco_id": coco_id(number) if number % 2 == 0 else None} for number in NUMBERS
    ]
    write_json(root / "vg/image_data.json", images)
    for task, rows in plan.items():
        WRITERS[task](root, rows)


def shown(task: str, split: str, number: int) -> set[Picture]:
    """Say which pictures a row shows, told apart by hand."""
    return SHOWN[task](split, number)


def coco_id(number: int) -> int:
    return number + 1


def genome_id(number: int) -> int:
    return 2_300_000 + number


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _vqa(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    for split, subset in (("train", "train2014"), ("val", "val2014"), ("test", "test2015")):
        if not rows[split]:
            continue
        asked = [
            {"question_id": place, "image_id": coco_id(one), "question": "What is it?"}
            for place, one in enumerate(rows[split])
        ]
        answers = [{"answer": "a cat"}] * 10
        write_json(root / f"vqa/v2_OpenEnded_mscoco_{subset}_questions.json", {"questions": asked})
        if split != "test":
            annotations = [{"question_id": row["question_id"], "answers": answers} for row in asked]
            write_json(root / f"vqa/v2_mscoco_{subset}_annotations.json", {"annotations": annotations})


def _genome(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    numbers = count()
    pictures = [
        {
            "id": genome_id(one),
            "qas": [{"image_id": genome_id(one), "qa_id": next(numbers), "question": "What?", "answer": "A cat."}],
        }
        for listed in rows.values()
        for one in listed
    ]
    if not pictures:
        return
    write_json(root / "vg/question_answers.json", pictures)
    write_json(
        root / "vg/splits.json", {split: [genome_id(one) for one in set(listed)] for split, listed in rows.items()}
    )


def _gqa(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    for split, subset in (("train", "train"), ("val", "val"), ("test", "testdev")):
        if not rows[split]:
            continue
        questions = {
            str(place): {
                "imageId": f"n{one}" if one >= FIRST_OF_GQA else str(genome_id(one)),
                "question": "What is it?",
                "answer": "cat",
                "types": {"semantic": "obj", "structural": "query", "detailed": "x"},
                "isBalanced": True,
                "groups": {"global": None, "local": None},
                "entailed": [],
                "equivalent": [],
            }
            for place, one in enumerate(rows[split])
        }
        write_json(root / f"gqa/{subset}_balanced_questions.json", questions)


def _captions(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    images = [
        {
            "cocoid": coco_id(one),
            "filename": f"COCO_val2014_{coco_id(one):012d}.jpg",
            "split": split,
            "sentences": [{"raw": "A cat."}],
        }
        for split, listed in rows.items()
        for one in listed
    ]
    if images:
        write_json(root / "coco/dataset_coco.json", {"images": images})


def _flickr30k(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    images = [
        {"filename": f"{one}.jpg", "split": split, "sentences": [{"raw": "A cat."}]}
        for split, listed in rows.items()
        for one in listed
    ]
    if images:
        write_json(root / "flickr30k/dataset_flickr30k.json", {"images": images})


def _refer(folder: str, splitter: str) -> Write:
    def write(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
        listed = [(split, one) for split, numbers in rows.items() for one in numbers]
        if not listed:
            return
        refs = [
            {
                "ann_id": place,
                "ref_id": place,
                "image_id": coco_id(one),
                "split": split,
                "sentences": [{"raw": "the cat", "sent_id": place}],
            }
            for place, (split, one) in enumerate(listed)
        ]
        images = [
            {"id": coco_id(one), "file_name": f"COCO_train2014_{coco_id(one):012d}.jpg", "width": 9, "height": 9}
            for one in NUMBERS
        ]
        annotations = [{"id": row["ann_id"], "image_id": row["image_id"], "bbox": BOX} for row in refs]
        write_json(root / folder / "instances.json", {"images": images, "annotations": annotations})
        (root / folder / f"refs({splitter}).p").write_bytes(pickle.dumps(refs, protocol=0))

    return write


def _visual7w(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    listed = [(split, one) for split, numbers in rows.items() for one in numbers]
    images = [
        {
            "image_id": genome_id(one),
            "split": split,
            "filename": f"v7w_{genome_id(one)}.jpg",
            "qa_pairs": [
                {
                    "qa_id": place,
                    "question": "Which?",
                    "answer": 0,
                    "multiple_choices": [1, 2, 3],
                    "type": "which",
                    "image_id": genome_id(one),
                }
            ],
        }
        for place, (split, one) in enumerate(listed)
    ]
    if not images:
        return
    boxes = [{"box_id": number, "x": number, "y": 0, "width": 5, "height": 5} for number in range(4)]
    write_json(root / "visual7w/dataset_v7w_pointing.json", {"images": images, "boxes": boxes})


def _guesswhat(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    for split, stem in (("train", "train"), ("val", "valid"), ("test", "test")):
        games = [
            {
                "status": "success",
                "dialogue_id": place,
                "object_id": 5,
                "picture": {"file_name": f"COCO_val2014_{coco_id(one):012d}.jpg", "width": 9, "height": 9},
                "picture_id": coco_id(one),
                "qas": [{"q": "Is it a cat?", "a": "Yes", "id": place}],
                "objects": {"5": {"object_id": 5, "bbox": BOX}},
            }
            for place, one in enumerate(rows[split])
        ]
        write_lines(root / f"guesswhat/guesswhat.{stem}.jsonl", games)


def _nlvr2(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    """Name pairs by their splits, as the files do: no two splits share a picture."""
    for split, stem in (("train", "train"), ("val", "dev"), ("test", "test1")):
        lines = [
            {"identifier": f"{stem}-{one}-0-{place}", "sentence": "There is a cat.", "label": "True"}
            for place, one in enumerate(rows[split])
        ]
        write_lines(root / f"nlvr2/{stem}.json", lines)


def _snli_ve(root: Path, rows: Mapping[str, Sequence[int]]) -> None:
    for split, stem in (("train", "train"), ("val", "dev"), ("test", "test")):
        lines = [
            {
                "Flickr30K_ID": str(one),
                "pairID": f"{one}.jpg#{place}",
                "sentence2": "A cat.",
                "gold_label": "entailment",
            }
            for place, one in enumerate(rows[split])
        ]
        write_lines(root / f"snli-ve/snli_ve_{stem}.jsonl", lines)


WRITERS: Mapping[str, Write] = {
    "vqa-v2": _vqa,
    "vg-qa": _genome,
    "gqa": _gqa,
    "coco-retrieval": _captions,
    "flickr30k-retrieval": _flickr30k,
    "refcoco": _refer("refcoco", "unc"),
    "refcoco+": _refer("refcoco+", "unc"),
    "refcocog": _refer("refcocog", "umd"),
    "visual7w": _visual7w,
    "guesswhat": _guesswhat,
    "nlvr2": _nlvr2,
    "snli-ve": _snli_ve,
}


def _of_coco(split: str, number: int) -> set[Picture]:
    return {("coco", number)}


def _of_genome(split: str, number: int) -> set[Picture]:
    return {("coco" if number % 2 == 0 else "genome", number)}


def _of_gqa(split: str, number: int) -> set[Picture]:
    return {("gqa", number)} if number >= FIRST_OF_GQA else _of_genome(split, number)


def _of_flickr30k(split: str, number: int) -> set[Picture]:
    return {("flickr30k", number)}


def _of_nlvr2(split: str, number: int) -> set[Picture]:
    return {(f"nlvr2 {split} left", number), (f"nlvr2 {split} right", number)}


SHOWN: Mapping[str, Callable[[str, int], set[Picture]]] = {
    "vqa-v2": _of_coco,
    "vg-qa": _of_genome,
    "gqa": _of_gqa,
    "coco-retrieval": _of_coco,
    "flickr30k-retrieval": _of_flickr30k,
    "refcoco": _of_coco,
    "refcoco+": _of_coco,
    "refcocog": _of_coco,
    "visual7w": _of_genome,
    "guesswhat": _of_coco,
    "nlvr2": _of_nlvr2,
    "snli-ve": _of_flickr30k,
}
