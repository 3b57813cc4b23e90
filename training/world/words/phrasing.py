"""How each question data set words what it asks, and how often it asks which family.

Colour, existence and place are asked most, as they are learned first. Relations stay under a fifth, counts under an
eighth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Templates = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Style:
    """The manner of one data set.

    Attributes:
        templates: By family; the slots of `Ask` fill them.
        weights: How large a part of all questions each family shall be.
    """

    templates: Templates
    weights: Mapping[str, float]


_VQA_TEMPLATES: Final[Templates] = {
    "color": (
        "What color is the {thing}?",
        "What color is the {thing} in the picture?",
        "What color does the {thing} have?",
    ),
    "kind": ("What is the {color} thing?", "What is the {color} object?", "Which thing is {color}?"),
    "group": ("What {group} is in the picture?", "Which {group} is this?", "What kind of {group} is this?"),
    "who": ("Who is in the picture?", "Who is this?"),
    "exist": (
        "Is there {a_thing}?",
        "Is there {a_thing} in the picture?",
        "Do you see {a_thing}?",
        "Can you see {a_thing}?",
    ),
    "colored": ("Is there {a_thing}?", "Is there {a_thing} in the picture?", "Do you see {a_thing}?"),
    "verify color": ("Is the {thing} {color}?", "Is the color of the {thing} {color}?"),
    "place": ("Where is this?", "What place is this?", "Where was this picture taken?"),
    "verify place": ("Is this {at}?", "Was this picture taken {at}?", "Are we {at}?"),
    "light": ("Is it day or night?", "Is this by day or by night?"),
    "side": ("Is the {thing} on the left or on the right?", "Which side is the {thing} on?"),
    "size": ("Is the {thing} small or large?",),
    "count": (
        "How many {things} are there?",
        "How many {things} are in the picture?",
        "How many {things} do you see?",
    ),
    "relation": ("What is {relation} the {anchor}?", "Which thing is {relation} the {anchor}?"),
    "relation color": (
        "What color is the thing {relation} the {anchor}?",
        "What color is the object {relation} the {anchor}?",
    ),
    "verify relation": ("Is the {thing} {relation} the {anchor}?",),
}

_GQA_TEMPLATES: Final[Templates] = {
    "color": ("What color is the {thing}?", "Which color is the {thing}?", "What is the color of the {thing}?"),
    "kind": ("What is the {color} object?", "Which object is {color}?", "What object is {color}?"),
    "group": ("Which kind of {group} is it?", "What kind of {group} is it?", "What {group} is in the image?"),
    "who": ("Who is in the image?", "Who is it?"),
    "exist": (
        "Is there {a_thing} in the image?",
        "Are there any {things} in the image?",
        "Do you see any {things}?",
        "Is there {a_thing} in this scene?",
    ),
    "colored": ("Is there {a_thing}?", "Are there any {things}?", "Do you see {a_thing} in the picture?"),
    "verify color": (
        "Is the {thing} {color}?",
        "Does the {thing} look {color}?",
        "Does the {thing} have {color} color?",
    ),
    "choose color": ("Is the {thing} {first} or {second}?", "Does the {thing} look {first} or {second}?"),
    "place": ("Which place is it?", "What place is shown?", "Where was the picture taken?"),
    "verify place": ("Is it {at}?", "Was the picture taken {at}?"),
    "side": (
        "On which side of the picture is the {thing}?",
        "Is the {thing} on the left or on the right of the image?",
    ),
    "relation": ("What is {relation} the {anchor}?", "Which object is {relation} the {anchor}?"),
    "relation color": ("What color is the object {relation} the {anchor}?",),
    "verify relation": ("Is the {thing} {relation} the {anchor}?",),
    "choose relation": ("Is the {thing} to the left or to the right of the {anchor}?",),
    "both": ("Are there both {a_thing} and {another}?", "Are there {a_thing} and {another} in the image?"),
    "either": ("Is there {a_thing} or {another}?", "Are there either {a_thing} or {another} in the image?"),
    "same color": (
        "Do the {thing} and the {anchor} have the same color?",
        "Is the {thing} the same color as the {anchor}?",
    ),
    "size": ("Is the {thing} small or large?",),
}

_VG_TEMPLATES: Final[Templates] = {
    "color": (
        "What color is the {thing}?",
        "What is the color of the {thing}?",
        "What color does the {thing} have?",
        "What is the {thing}'s color?",
    ),
    "kind": ("What is {color}?", "What is the {color} thing?", "What object is {color}?", "What thing is {color}?"),
    "group": (
        "What {group} is shown?",
        "What kind of {group} is in the photo?",
        "What {group} can be seen?",
        "What is the {group}?",
    ),
    "who": ("Who is in the photo?", "Who is shown?", "Who can be seen?", "Who is here?"),
    "place": ("Where was this photo taken?", "Where is this scene?", "Where are the things?", "Where are we?"),
    "light": ("When was this photo taken?", "What time of day is it?"),
    "side": ("Where is the {thing}?", "Where in the photo is the {thing}?", "Where can the {thing} be seen?"),
    "count": ("How many {things} are there?", "How many {things} are in the photo?", "How many {things} are shown?"),
    "count colored": ("How many {things} are there?", "How many {things} are in the photo?"),
    "outermost": ("What is the {side}most thing?", "What is furthest to the {side}?"),
    "outermost color": ("What color is the {side}most thing?", "What is the color of the {side}most thing?"),
    "relation": ("What is {relation} the {anchor}?", "What can be seen {relation} the {anchor}?"),
    "relation color": (
        "What color is the thing {relation} the {anchor}?",
        "What is the color of the thing {relation} the {anchor}?",
    ),
}

VQA: Final = Style(
    _VQA_TEMPLATES,
    {
        "color": 0.25,
        "kind": 0.09,
        "group": 0.04,
        "who": 0.02,
        "exist": 0.13,
        "colored": 0.10,
        "verify color": 0.08,
        "place": 0.06,
        "verify place": 0.03,
        "light": 0.01,
        "side": 0.05,
        "size": 0.01,
        "count": 0.08,
        "relation": 0.02,
        "relation color": 0.02,
        "verify relation": 0.03,
    },
)

GQA: Final = Style(
    _GQA_TEMPLATES,
    {
        "color": 0.20,
        "kind": 0.09,
        "group": 0.03,
        "who": 0.02,
        "exist": 0.11,
        "colored": 0.10,
        "verify color": 0.08,
        "choose color": 0.08,
        "place": 0.05,
        "verify place": 0.03,
        "side": 0.05,
        "relation": 0.02,
        "relation color": 0.02,
        "verify relation": 0.02,
        "choose relation": 0.02,
        "both": 0.03,
        "either": 0.03,
        "same color": 0.02,
    },
)

VG: Final = Style(
    _VG_TEMPLATES,
    {
        "color": 0.31,
        "kind": 0.15,
        "group": 0.08,
        "who": 0.05,
        "place": 0.09,
        "light": 0.02,
        "side": 0.09,
        "count": 0.07,
        "count colored": 0.05,
        "outermost": 0.04,
        "outermost color": 0.04,
        "relation": 0.03,
        "relation color": 0.03,
    },
)
