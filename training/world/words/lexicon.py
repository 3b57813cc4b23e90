"""The words for kinds, groups, colours and places: articles, plurals, prepositions, synonyms."""

from typing import Final

from training.world.kinds import COLORS, CRATE, KINDS, PLACES

__all__ = ["COLORS", "CRATE", "GROUPS", "KIND_NAMES", "PLACES"]

KIND_NAMES: Final = tuple(KINDS)

GROUPS: Final = ("person", "animal", "vehicle")
"""Supercategories that are a word of their own for one thing ("the animal")."""

_PLURAL_GROUPS: Final = {"person": "people", "animal": "animals", "vehicle": "vehicles"}

_AT: Final = {
    "park": "in the park",
    "beach": "on the beach",
    "street": "on the street",
    "snow": "in the snow",
    "room": "in a room",
    "kitchen": "in the kitchen",
}

_PLACE_NOUNS: Final = {"snow": "snowy place"}

_RELATIONS: Final = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}

_SYNONYMS: Final = {
    "gray": "grey",
    "cell phone": "phone",
    "couch": "sofa",
    "tv": "television",
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "donut": "doughnut",
    "airplane": "plane",
    "handbag": "purse",
    "potted plant": "plant",
}


_UNCOUNTED: Final = ("broccoli",)


def a(noun: str) -> str:
    """Give the noun after "a" or "an"; "broccoli" stands alone."""
    if noun in _UNCOUNTED:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """Give the word for several of a kind or a group."""
    return _PLURAL_GROUPS.get(noun) or KINDS[noun].plural


def counted(number: int, noun: str) -> str:
    """Give "one car", "two cars", "no cars"."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{words[number]} {noun if number == 1 else plural(noun)}"


def groups_of(kind: str) -> tuple[str, ...]:
    """Give the groups that a kind belongs to, () where it has none with a word of its own."""
    group = KINDS[kind].supercategory
    return (group,) if group in GROUPS else ()


def looks_of(kind: str) -> tuple[str, ...]:
    """Give the colours that a viewer may see in an unpainted kind."""
    return KINDS[kind].looks


def doing(kind: str) -> str | None:
    """Say what a person or an animal is seen doing."""
    return KINDS[kind].doing


def is_paintable(kind: str) -> bool:
    """Say whether a kind has a colour that can be asked for."""
    return KINDS[kind].is_paintable


def is_living(kind: str) -> bool:
    """Say whether it is a person or an animal."""
    return KINDS[kind].is_living


def at(place: str) -> str:
    """Give "on the beach"."""
    return _AT[place]


def place_noun(place: str) -> str:
    """Give a noun that "a" can stand before."""
    return _PLACE_NOUNS.get(place, place)


def relation_words(relation: str) -> str:
    """Give "to the left of"."""
    return _RELATIONS[relation]


def synonym(answer: str) -> str | None:
    """Give another common word for an answer, or None."""
    return _SYNONYMS.get(answer)
