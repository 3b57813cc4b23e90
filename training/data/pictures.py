"""Where each source keeps its pictures, relative to the data root. Names come from data and are never trusted."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from training.data.entries import Entry
from training.data.files import unreadable

_COCO_NAME = re.compile(r"COCO_(train2014|val2014|test2015)_\d{12}\.jpg", re.ASCII)
_VISUAL7W_NAME = re.compile(r"v7w_(\d+)\.jpg", re.ASCII)
_FLICKR30K_NAME = re.compile(r"(\d+)(?:\.jpg)?", re.ASCII)

_GENOME_FOLDERS = ("images/vg/VG_100K", "images/vg/VG_100K_2", "images/gqa")
"""Visual Genome comes in two archives; GQA's own one holds the pictures "n…" besides."""


class Identity(NamedTuple):
    """A picture's id in its source, and its path."""

    id: str
    image: str


Identify = Callable[[Entry], Identity]
"""Takes the picture that an entry is about."""


def coco_image(group: str, image_id: int) -> str:
    """Give the path of a COCO picture of a group (train2014, val2014, test2015)."""
    return f"images/coco/{group}/COCO_{group}_{image_id:012d}.jpg"


def named_coco_image(entry: Entry, field: str) -> str:
    """Give the path of the COCO picture that a field names; the name says which group it is of."""
    name = entry.matching(field, _COCO_NAME, expected="COCO_{train2014|val2014|test2015}_{12 digits}.jpg")
    return f"images/coco/{name[1]}/{name[0]}"


def flickr30k_id(entry: Entry, field: str) -> str:
    """Take a Flickr30k id, written with or without ".jpg"."""
    return entry.matching(field, _FLICKR30K_NAME, expected='digits, with or without ".jpg"')[1]


def flickr30k_image(image_id: str) -> str:
    """Give the path of a Flickr30k picture."""
    return f"images/flickr30k/flickr30k-images/{image_id}.jpg"


def coco_identity(entry: Entry, *, name_field: str, number_field: str) -> Identity:
    """Take a COCO picture that one field names and another one numbers."""
    path, number = named_coco_image(entry, name_field), entry.natural(number_field)
    if not path.endswith(f"_{number:012d}.jpg"):
        raise entry.complaint(number_field, f"got {number}, but {name_field} is {os.path.basename(path)}")
    return Identity(str(number), path)


def flickr30k_identity(entry: Entry, *, name_field: str) -> Identity:
    """Take a Flickr30k picture that a field names; its name is its id."""
    image_id = flickr30k_id(entry, name_field)
    return Identity(image_id, flickr30k_image(image_id))


def visual7w_identity(entry: Entry, *, name_field: str, number_field: str) -> Identity:
    """Take a Visual7W picture that one field names and another one, if it is there, numbers."""
    name = entry.matching(name_field, _VISUAL7W_NAME, expected="v7w_{image id}.jpg")
    if entry.has(number_field) and entry.natural(number_field) != int(name[1]):
        raise entry.complaint(number_field, f"got {entry.natural(number_field)}, but {name_field} is {name[0]}")
    return Identity(name[1], f"images/visual7w/{name[0]}")


class GenomePictures:
    """Finds the folder of each Visual Genome picture; the folders are listed once."""

    def __init__(self, root: Path) -> None:
        self._folders = [(folder, _names(root, folder)) for folder in _GENOME_FOLDERS]

    def path(self, image_id: str) -> str:
        """Give the path of a picture; in VG_100K where no folder has it."""
        name = f"{image_id}.jpg"
        folder = next((folder for folder, names in self._folders if name in names), _GENOME_FOLDERS[0])
        return f"{folder}/{name}"


def _names(root: Path, folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(root / folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise unreadable(folder, error) from error
