"""GQA's scene graphs: what people saw in a picture, where, and how it stands to the rest.

Files: gqa/{train|val}_sceneGraphs.json, a dict by picture; the larger one has 400 MB.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.data.entries import Entry
from training.data.faults import OnFault, each
from training.data.gqa import by_id

FILES = ("gqa/train_sceneGraphs.json", "gqa/val_sceneGraphs.json")


@dataclass(frozen=True)
class SceneObject:
    """A thing in a picture.

    Attributes:
        name: What it is.
        corner_px: Its left upper corner, x and y.
        size_px: Width and height.
        attributes: How it is ("red", "standing").
        relations: (how it stands to it, the other thing's id) each.
    """

    name: str
    corner_px: tuple[int, int]
    size_px: tuple[int, int]
    attributes: tuple[str, ...]
    relations: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SceneGraph:
    """A picture's things, by id; its size in pixels."""

    image_id: str
    width: int
    height: int
    objects: Mapping[str, SceneObject]


def scene_graphs(root: Path, name: str, on_fault: OnFault) -> Iterator[SceneGraph]:
    """Yield the scene graphs of a file in its order, one in memory at a time."""
    return each(_graph, by_id(root, name), on_fault)


def _graph(entry: Entry) -> SceneGraph:
    objects = entry.members("objects")
    known = frozenset(objects)
    return SceneGraph(
        image_id=entry.row,
        width=entry.positive("width"),
        height=entry.positive("height"),
        objects={key: _object(thing, known) for key, thing in objects.items()},
    )


def _object(thing: Entry, known: frozenset[str]) -> SceneObject:
    return SceneObject(
        name=thing.text("name"),
        corner_px=(thing.integer("x"), thing.integer("y")),
        size_px=(thing.natural("w"), thing.natural("h")),
        attributes=tuple(thing.texts("attributes")),
        relations=tuple(_relation(relation, known) for relation in thing.entries("relations")),
    )


def _relation(relation: Entry, known: frozenset[str]) -> tuple[str, str]:
    other = relation.text("object")
    if other not in known:
        raise relation.complaint("object", f"there is no object {other} in this picture")
    return relation.text("name"), other
