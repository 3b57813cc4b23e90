"""The kinds of things the small world holds, their colours, and the kind-colour pairs kept for the novel split.

A kind is painted in any of the colours, or comes as it is: a banana has no colour of its own to be asked for, though
`looks` says with which colour words a viewer might describe it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

COLORS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "white", "black")
"""The colour words, in the order in which the novel pairs are dealt."""

PLACES: Final = ("park", "beach", "street", "snow", "room", "kitchen")

LIVING: Final = frozenset({"person", "animal"})
"""The supercategories that make a Flickr30k scene."""

FIRST_OWN_CATEGORY: Final = 1000
"""Category ids from here on are the world's own; those below are COCO's."""


@dataclass(frozen=True)
class Paint:
    """Which part of a sprite takes on the colour: the pixels whose hue is near this one.

    Attributes:
        hue: Of the part as drawn, in [0, 1).
        reach: Largest distance of hues that still belongs to the part.
    """

    hue: float
    reach: float = 0.13


@dataclass(frozen=True)
class Kind:
    """What things of one kind have in common.

    Attributes:
        name: The word for it, as `Thing.kind` holds it.
        plural: The word for several.
        supercategory: COCO's, and "person", "animal", "container" … for kinds COCO lacks.
        category_id: COCO's where the kind is a COCO category, else from `FIRST_OWN_CATEGORY` on.
        usual_px: Longer side at the usual size.
        sprites: Names in the sprite table; things of the kind look like any of these.
        paint: The part that is painted; None where the kind comes as it is.
        looks: For a kind that is not painted, colours that a viewer may see in it. A phrase such as "the red thing"
            may fit it, and must not be used as if it could not.
        flies: Whether it may hang in the air.
        doing: What it is seen doing ("walking"), for people and animals.
    """

    name: str
    plural: str
    supercategory: str
    category_id: int
    usual_px: int
    sprites: tuple[str, ...]
    paint: Paint | None = None
    looks: tuple[str, ...] = ()
    flies: bool = False
    doing: str | None = None

    @property
    def is_paintable(self) -> bool:
        """Say whether a thing of this kind has one of the colours."""
        return self.paint is not None

    @property
    def is_living(self) -> bool:
        """Say whether it is a person or an animal."""
        return self.supercategory in LIVING

    @property
    def is_coco(self) -> bool:
        """Say whether it is a COCO category."""
        return self.category_id < FIRST_OWN_CATEGORY


CRATE: Final = "crate"
"""A closed wooden crate: whatever is said of its content is neither true nor false of the picture."""

_TONES: Final = ("light", "medium", "dark")


def _toned(name: str) -> tuple[str, ...]:
    return tuple(f"{name} {tone}" for tone in _TONES)


_PAINTABLE: Final = (
    Kind("car", "cars", "vehicle", 3, 72, ("car",), Paint(0.99)),
    Kind("bus", "buses", "vehicle", 6, 80, ("bus",), Paint(0.09)),
    Kind("truck", "trucks", "vehicle", 8, 78, ("truck",), Paint(0.10)),
    Kind("bicycle", "bicycles", "vehicle", 2, 74, ("bicycle",), Paint(0.97)),
    Kind("motorcycle", "motorcycles", "vehicle", 4, 72, ("motorcycle",), Paint(0.97)),
    Kind("umbrella", "umbrellas", "accessory", 28, 64, ("umbrella",), Paint(0.72)),
    Kind("backpack", "backpacks", "accessory", 27, 54, ("backpack",), Paint(0.95)),
    Kind("handbag", "handbags", "accessory", 31, 54, ("handbag",), Paint(0.06)),
    Kind("suitcase", "suitcases", "accessory", 33, 60, ("suitcase",), Paint(0.57)),
    Kind("guitar", "guitars", "instrument", 1001, 66, ("guitar",), Paint(0.96)),
    Kind("balloon", "balloons", "toy", 1002, 60, ("balloon",), Paint(0.96), flies=True),
    Kind("chair", "chairs", "furniture", 62, 62, ("chair",), Paint(0.02)),
    Kind("couch", "couches", "furniture", 63, 72, ("couch",), Paint(0.60)),
    Kind("bed", "beds", "furniture", 65, 78, ("bed",), Paint(0.66, 0.20)),
    Kind("book", "books", "indoor", 84, 50, ("book",), Paint(0.56)),
    Kind("bowl", "bowls", "kitchen", 51, 50, ("bowl",), Paint(0.60)),
    Kind("fish", "fish", "animal", 1003, 52, ("fish",), Paint(0.58), doing="swimming"),
    Kind("bird", "birds", "animal", 16, 54, ("bird",), Paint(0.95), doing="standing"),
    Kind("cat", "cats", "animal", 17, 60, ("cat",), Paint(0.07), doing="walking"),
    Kind("dog", "dogs", "animal", 18, 62, ("dog",), Paint(0.07), doing="walking"),
    Kind("horse", "horses", "animal", 19, 76, ("horse",), Paint(0.02), doing="running"),
    Kind("teddy bear", "teddy bears", "indoor", 88, 54, ("teddy bear",), Paint(0.07)),
    Kind("cell phone", "cell phones", "electronic", 77, 50, ("cell phone",), Paint(0.68)),
    Kind("house", "houses", "building", 1004, 84, ("house",), Paint(0.05)),
    Kind("shirt", "shirts", "clothing", 1005, 54, ("shirt",), Paint(0.28, 0.20)),
    Kind("dress", "dresses", "clothing", 1006, 62, ("dress",), Paint(0.60)),
    Kind("hat", "hats", "clothing", 1007, 48, ("hat",), Paint(0.58)),
    Kind("bucket", "buckets", "container", 1008, 52, ("bucket",), Paint(0.57)),
    Kind("teapot", "teapots", "kitchen", 1009, 52, ("teapot",), Paint(0.96)),
    Kind("flower", "flowers", "plant", 1010, 56, ("flower",), Paint(0.90)),
)

_AS_THEY_ARE: Final = (
    Kind("man", "men", "person", 1011, 86, _toned("man"), looks=("blue", "gray"), doing="standing"),
    Kind("woman", "women", "person", 1012, 84, _toned("woman"), looks=("red",), doing="dancing"),
    Kind("boy", "boys", "person", 1013, 52, _toned("boy"), looks=("brown", "black", "yellow"), doing="smiling"),
    Kind("girl", "girls", "person", 1014, 54, _toned("girl"), looks=("brown", "black", "yellow"), doing="smiling"),
    Kind("cow", "cows", "animal", 21, 74, ("cow",), looks=("white", "gray", "black", "pink"), doing="standing"),
    Kind("sheep", "sheep", "animal", 20, 62, ("sheep",), looks=("white", "gray", "brown"), doing="standing"),
    Kind("elephant", "elephants", "animal", 22, 80, ("elephant",), looks=("gray",), doing="walking"),
    Kind("giraffe", "giraffes", "animal", 25, 88, ("giraffe",), looks=("orange", "yellow", "brown"), doing="walking"),
    Kind("zebra", "zebras", "animal", 24, 76, ("zebra",), looks=("white", "black", "gray"), doing="standing"),
    Kind("pig", "pigs", "animal", 1015, 62, ("pig",), looks=("pink",), doing="walking"),
    Kind("duck", "ducks", "animal", 1016, 56, ("duck",), looks=("green", "brown", "gray", "white"), doing="swimming"),
    Kind("penguin", "penguins", "animal", 1017, 56, ("penguin",), looks=("black", "white", "purple"), doing="standing"),
    Kind("train", "trains", "vehicle", 7, 80, ("train",), looks=("black", "gray", "red", "pink")),
    Kind("airplane", "airplanes", "vehicle", 5, 74, ("airplane",), looks=("blue", "gray", "white"), flies=True),
    Kind("boat", "boats", "vehicle", 9, 74, ("boat",), looks=("yellow", "orange", "red", "brown", "blue")),
    Kind("kite", "kites", "sports", 38, 64, ("kite",), looks=("red", "green", "yellow", "blue"), flies=True),
    Kind("ball", "balls", "sports", 37, 46, ("ball",), looks=("white", "blue")),
    Kind("banana", "bananas", "food", 52, 50, ("banana",), looks=("yellow",)),
    Kind("apple", "apples", "food", 53, 46, ("apple",), looks=("red",)),
    Kind("pizza", "pizzas", "food", 59, 52, ("pizza",), looks=("yellow", "orange", "red")),
    Kind("broccoli", "broccoli", "food", 56, 48, ("broccoli",), looks=("green",)),
    Kind("donut", "donuts", "food", 60, 48, ("donut",), looks=("brown", "pink")),
    Kind("cake", "cakes", "food", 61, 50, ("cake",), looks=("white", "pink", "orange", "red", "yellow")),
    Kind("tv", "tvs", "electronic", 72, 62, ("tv",), looks=("gray", "blue")),
    Kind("laptop", "laptops", "electronic", 73, 60, ("laptop",), looks=("blue", "gray", "white")),
    Kind("potted plant", "potted plants", "furniture", 64, 58, ("potted plant",), looks=("green", "orange", "brown")),
    Kind("tree", "trees", "plant", 1018, 84, ("tree", "tree 2"), looks=("green", "brown")),
    Kind("clock", "clocks", "indoor", 85, 48, ("clock",), looks=("red", "white", "orange", "yellow")),
    Kind(CRATE, "crates", "container", 1019, 64, (CRATE,), looks=("brown", "orange", "yellow")),
)

KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _PAINTABLE + _AS_THEY_ARE}
"""Every kind by its name."""

PAINTABLE: Final = tuple(kind.name for kind in _PAINTABLE)

_NOVEL_STEP: Final = 2
_NOVEL_GAP: Final = 5
"""Kind number n loses the colours numbered 2n and 2n + 5 (modulo 11): each colour is lost by 5 or 6 of 30 kinds."""

NOVEL_PAIRS: Final = frozenset(
    (kind, COLORS[(_NOVEL_STEP * number + gap) % len(COLORS)])
    for number, kind in enumerate(PAINTABLE)
    for gap in (0, _NOVEL_GAP)
)
"""Pairs of kind and colour that only novel scenes hold: two colours of each paintable kind."""


def is_novel(kind: str, color: str | None) -> bool:
    """Say whether only novel scenes may hold a thing of this kind and colour."""
    return (kind, color) in NOVEL_PAIRS


def seen_colors(kind: str) -> tuple[str, ...]:
    """Give the colours in which train, val and test show a paintable kind."""
    return tuple(color for color in COLORS if not is_novel(kind, color))


def novel_colors(kind: str) -> tuple[str, ...]:
    """Give the colours in which only novel scenes show a paintable kind."""
    return tuple(color for color in COLORS if is_novel(kind, color))
