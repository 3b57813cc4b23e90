"""An eye that looks at scenes of the small world and understands what is said of them.

It reads sentences back by regular expressions and shares no code with those who wrote them, only the list of kinds.
"""

import re

from training.world.kinds import COLORS, KINDS

PLURALS = {kind.plural: kind.name for kind in KINDS.values()} | {
    "people": "person",
    "animals": "animal",
    "vehicles": "vehicle",
}
AT = {
    "in the park": "park",
    "on the beach": "beach",
    "on the street": "street",
    "in the snow": "snow",
    "in a room": "room",
    "in the kitchen": "kitchen",
}
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4}
DIRECTION = r"to the left of|to the right of|above|below"
COLOR = "|".join(COLORS)
RELATION = re.compile(rf"(.+?) (?:that is )?({DIRECTION}) the (.+)")


class Eye:
    """Looks at a scene as a person would, and resolves phrases to things."""

    def __init__(self, scene):
        self.scene = scene
        self.things = list(scene.things)

    def color(self, thing):
        return None if self.scene.light == "night" else thing.color

    def called(self, phrase):
        """Everything that a noun phrase could mean."""
        phrase = re.sub(r"^(?:the|that|an?|this) ", "", phrase)
        if found := RELATION.fullmatch(phrase):
            (anchor,) = self.called(found[3])
            return [t for t in self.called(found[1]) if t is not anchor and self.stands(t, found[2], anchor)]
        for where in AT:
            if phrase.endswith(f" that is {where}"):
                return self.called(phrase.removesuffix(f" that is {where}")) if AT[where] == self.scene.place else []
        if found := re.fullmatch(r"(.+) on (?:the )?(left|right)(?: side(?: of the picture)?)?", phrase):
            return [t for t in self.called(found[1]) if self.half(t) == found[2]]
        if found := re.fullmatch(r"(left|right)(?:most)? (.+)", phrase):
            ordered = sorted(self.called(found[2]), key=lambda t: t.center_px[0])
            return ordered[:1] if found[1] == "left" else ordered[-1:]
        if found := re.fullmatch(r"(small|large) (.+)", phrase):
            return [t for t in self.called(found[2]) if t.size == found[1]]
        if found := re.fullmatch(rf"({COLOR}) (.+)", phrase):
            return [t for t in self.called(found[2]) if self.looks(t, found[1], found[2])]
        return [t for t in self.things if self.is_a(t, phrase)]

    def looks(self, thing, color, noun):
        """A kind without paint has no colour, but "the red thing" may be it."""
        if thing.color is None and noun in ("thing", "object", "one") and self.scene.light == "day":
            return color in KINDS[thing.kind].looks
        return self.color(thing) == color

    def is_a(self, thing, noun):
        return noun in ("thing", "object", "one", thing.kind, KINDS[thing.kind].supercategory)

    def half(self, thing):
        share = thing.center_px[0] / self.scene.width
        return "left" if share < 0.45 else "right" if share > 0.55 else None

    def stands(self, one, words, other):
        (x, y), (u, v) = one.center_px, other.center_px
        return {"to the left of": x < u, "to the right of": x > u, "above": y < v, "below": y > v}[words]

    def the(self, phrase):
        found = self.called(phrase)
        assert len(found) == 1, f"{phrase!r} means {len(found)} things"
        return found[0]


def yes(truth):
    return "yes" if truth else "no"


def each_of(phrase):
    return re.sub(r"^an? ", "", phrase)


def singular(things):
    color, _, noun = things.rpartition(" ") if things not in PLURALS else ("", "", things)
    while noun not in PLURALS:
        color, _, last = color.rpartition(" ")
        noun = f"{last} {noun}"
    return f"{color} {PLURALS[noun]}".strip()


A = r"(an? .+?|broccoli)"
WHERE = r"(?: in the picture| in the image| in this scene| in the photo| here)?"
QUESTIONS = [
    (rf"(?:Is|Does) the (.+?) (?:look )?({COLOR}) or ({COLOR})\?", lambda e, m: e.color(e.the(m[1]))),
    (
        r"(?:What color (?:is|does)|Which color is|What is the color of) the ((?!thing |object ).+?)"
        r"(?: in the picture| have)?\?",
        lambda e, m: e.color(e.the(m[1])),
    ),
    (r"What is the (.+)'s color\?", lambda e, m: e.color(e.the(m[1]))),
    (
        rf"What (?:color is|is the color of) the (?:thing|object) ({DIRECTION}) the (.+)\?",
        lambda e, m: e.color(e.the(f"thing {m[1]} the {m[2]}")),
    ),
    (
        rf"(?:What|Which thing|Which object) (?:is|can be seen) ({DIRECTION}) the (.+)\?",
        lambda e, m: e.the(f"thing {m[1]} the {m[2]}").kind,
    ),
    (
        rf"(?:What|Which thing|What thing|What object|Which object) is ({COLOR})\?",
        lambda e, m: e.the(f"{m[1]} thing").kind,
    ),
    (rf"What is the ({COLOR}) (?:thing|object)\?", lambda e, m: e.the(f"{m[1]} thing").kind),
    (r"What is the (left|right)most thing\?", lambda e, m: e.the(f"{m[1]}most thing").kind),
    (r"What is furthest to the (left|right)\?", lambda e, m: e.the(f"{m[1]}most thing").kind),
    (r"Who (?:is|can be) .+\?|Who is it\?", lambda e, m: e.the("person").kind),
    (
        r"(?:What|Which)(?: kind of)? (animal|vehicle) (?:is|can) .+\?|What is the (animal|vehicle)\?",
        lambda e, m: e.the(m[1] or m[2]).kind,
    ),
    (
        rf"Is there (?:either )?{A} or {A}{WHERE}\?|Are there either {A} or {A}{WHERE}\?",
        lambda e, m: yes(any(e.called(each_of(p)) for p in m.groups() if p)),
    ),
    (rf"Are there (?:both )?{A} and {A}{WHERE}\?", lambda e, m: yes(all(e.called(each_of(p)) for p in m.groups()))),
    (rf"(?:Is there|Do you see|Can you see) {A}{WHERE}\?", lambda e, m: yes(e.called(m[1]))),
    (rf"(?:Are there any|Do you see any) (.+?){WHERE}\?", lambda e, m: yes(e.called(singular(m[1])))),
    (r"How many (.+?) (?:are|do) .+\?", lambda e, m: str(len(e.called(singular(m[1]))))),
    (
        r"(?:Do|Is) the (.+?) (?:and|the same color as) the (.+?)(?: have the same color)?\?",
        lambda e, m: yes(e.color(e.the(m[1])) == e.color(e.the(m[2]))),
    ),
    (rf"Is the color of the (.+) ({COLOR})\?", lambda e, m: yes(e.color(e.the(m[1])) == m[2])),
    (rf"(?:Is|Does) the (.+?) (?:look |have )?({COLOR})(?: color)?\?", lambda e, m: yes(e.color(e.the(m[1])) == m[2])),
    (
        r"Is the (.+) to the left or to the right of the (.+)\?",
        lambda e, m: "left" if e.stands(e.the(m[1]), "to the left of", e.the(m[2])) else "right",
    ),
    (r"Is the (.+) on the left or on the right(?: of the image)?\?", lambda e, m: e.half(e.the(m[1]))),
    (r"(?:Which side is|On which side of the picture is) the (.+?)(?: on)?\?", lambda e, m: e.half(e.the(m[1]))),
    (r"(?:Where is|Where in the photo is|Where can) the (.+?)(?: be seen)?\?", lambda e, m: e.half(e.the(m[1]))),
    (rf"Is the (.+?) ({DIRECTION}) the (.+)\?", lambda e, m: yes(e.stands(e.the(m[1]), m[2], e.the(m[3])))),
    (r"Is the (.+) small or large\?", lambda e, m: e.the(m[1]).size),
    (
        r"(?:Is this|Was this picture taken|Are we|Is it|Was the picture taken) ((?:in|on) (?:a|the) \w+)\?",
        lambda e, m: yes(AT[m[1]] == e.scene.place),
    ),
    (r"Is it day or night\?|Is this by day or by night\?|When was .+|What time of day .+", lambda e, m: e.scene.light),
    (r"Where (?:is|was|are) .+\?|(?:What|Which) place is .+\?", lambda e, m: e.scene.place),
]
"""The first pattern that fits a question tells how to look up its answer."""


def looked_up(scene, text):
    if re.fullmatch(r"Where (?:is this scene|are the things|is this|are we)\?", text):
        return scene.place
    for pattern, look in QUESTIONS:
        if found := re.fullmatch(pattern, text):
            return look(Eye(scene), found)
    raise AssertionError(f"the eye does not understand {text!r}")


def which_is_meant(eye, text):
    relation = re.fullmatch(rf"Which (?:thing|object|one) is ({DIRECTION}) the (.+)\?", text)
    if relation:
        return eye.the(f"thing {relation[1]} the {relation[2]}")
    if found := re.fullmatch(rf"Which (?:of (?:these|the) ?)?(.*?) ?is ({COLOR})\?", text):
        noun = found[1] or "thing"
        return eye.the(f"{found[2]} {PLURALS.get(noun, noun)}")
    if found := re.fullmatch(r"Which (.+) is (?:on the|furthest to the)? ?(left|right)(most)?\?", text):
        return eye.the(f"{found[2]}most {found[1]}")
    if found := re.fullmatch(r"Which (?:thing |object |one )?is (?:the |an? )?(.+)\?", text):
        return eye.the(found[1])
    raise AssertionError(f"the eye does not understand {text!r}")


def oracle(scene, thing, question):
    said = lambda truth: "Yes" if truth else "No"  # noqa: E731
    asked_for = re.fullmatch(r"Is (?:it|its color) (?:on|in the)? ?(?:the )?(.+?)(?: half)?\?", question)[1]
    across, down = thing.center_px[0] / scene.width, thing.center_px[1] / scene.height
    if asked_for in ("left", "right"):
        return "N/A" if 0.42 <= across <= 0.58 else said((across < 0.5) == (asked_for == "left"))
    if asked_for in ("upper", "lower"):
        return "N/A" if 0.42 <= down <= 0.58 else said((down < 0.5) == (asked_for == "upper"))
    if asked_for in ("small", "large"):
        return "N/A" if thing.size is None else said(thing.size == asked_for)
    if asked_for in COLORS:
        return "N/A" if thing.color is None or scene.light == "night" else said(thing.color == asked_for)
    groups = {
        "a piece of furniture": "furniture",
        "something to wear": "clothing",
        "an electronic device": "electronic",
    }
    noun = groups.get(asked_for, each_of(asked_for))
    return said(noun in (thing.kind, KINDS[thing.kind].supercategory))


PAIR_STATEMENTS = [
    (rf"The (left|right) (?:picture shows|image contains) {A}\.", lambda n, m: n(m[2])[m[1] == "right"] > 0),
    (rf"There is {A} in the (left|right) image\.", lambda n, m: n(m[1])[m[2] == "right"] > 0),
    (
        rf"At least one of the pictures shows {A}\.|There is {A} in at least one image\.",
        lambda n, m: sum(n(m[1] or m[2])) > 0,
    ),
    (rf"Both pictures show {A}\.|There is {A} in each image\.", lambda n, m: min(n(m[1] or m[2])) > 0),
    (rf"Neither picture shows {A}\.", lambda n, m: sum(n(m[1])) == 0),
    (r"There are no (.+) in the images\.", lambda n, m: sum(n(singular(m[1]))) == 0),
    (
        rf"Exactly one of the pictures shows {A}\.|Only one image contains {A}\.",
        lambda n, m: (n(m[1] or m[2])[0] > 0) != (n(m[1] or m[2])[1] > 0),
    ),
    (
        r"There are more (.+) in the left picture than in the right one\.",
        lambda n, m: n(singular(m[1]))[0] > n(singular(m[1]))[1],
    ),
    (
        r"There are fewer (.+) in the left picture than in the right one\.",
        lambda n, m: n(singular(m[1]))[0] < n(singular(m[1]))[1],
    ),
    (r"The (left|right) picture shows exactly two (.+)\.", lambda n, m: n(singular(m[2]))[m[1] == "right"] == 2),
    (r"There are at least three (.+) in the two pictures together\.", lambda n, m: sum(n(singular(m[1]))) >= 3),
]


def pair_truth(pair, text):
    assert all(scene.light == "day" for scene in pair)
    for pattern, truth in reversed(PAIR_STATEMENTS):
        if found := re.fullmatch(pattern, text):
            return truth(lambda noun: [len(Eye(scene).called(noun)) for scene in pair], found)
    raise AssertionError(f"the eye does not understand {text!r}")


def entailment_label(scene, text):
    eye = Eye(scene)
    crate = any(thing.kind == "crate" for thing in scene.things)
    about = re.fullmatch(
        rf"The (?:color of the )?(.+?)(?: in the picture| that is shown)? (?:is|has a) ({COLOR})(?: color)?\.", text
    )
    if about:
        thing = eye.the(about[1])
        return "neutral" if scene.light == "night" else "entailment" if thing.color == about[2] else "contradiction"
    noun = re.fullmatch(rf".+ (?:is|least one) (?:an? )?((?:(?:{COLOR}) )?(?:{'|'.join(KINDS)}))(?: .+)?\.", text)[1]
    kind = re.sub(rf"^({COLOR}) ", "", noun)
    if eye.called(noun):
        return "entailment"
    hidden = scene.light == "night" and noun != kind and eye.called(kind)
    return (
        "neutral"
        if hidden or (crate and KINDS[kind].usual_px <= 62 and KINDS[kind].supercategory != "person")
        else "contradiction"
    )
