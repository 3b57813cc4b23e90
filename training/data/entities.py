"""Flickr30k Entities: captions whose phrases are linked to the things they name.

Files: flickr30k/Sentences/{picture id}.txt, one caption a line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data.faults import Fault, OnFault
from training.data.streams import no_row, open_text

NOT_VISUAL = "0"
"""The chain of phrases that name nothing to be seen."""

FOLDER = "flickr30k/Sentences"
"""Relative to the root."""

_PHRASE = re.compile(r"\[/EN#(?P<chain>\d+)(?P<kinds>(?:/\w+)+) (?P<words>[^\[\]]*\S[^\[\]]*)\]")


@dataclass(frozen=True)
class Phrase:
    """A part of a caption that names something.

    Attributes:
        words: As they stand in the caption.
        start: The character of the caption's text they start at.
        chain: The same for phrases of one picture that name the same thing; its boxes are filed under it.
        kinds: people, clothing, bodyparts, animals, vehicles, instruments, scene, other, notvisual.
    """

    words: str
    start: int
    chain: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class LinkedCaption:
    """A caption without its marks, and its phrases in order."""

    image_id: str
    text: str
    phrases: tuple[Phrase, ...]


def linked_captions(root: Path, on_fault: OnFault) -> Iterator[LinkedCaption]:
    """Yield the captions of every file, by file name."""
    for path in sorted((root / FOLDER).glob("*.txt")):
        yield from captions_of(root, f"{FOLDER}/{path.name}", on_fault)


def captions_of(root: Path, name: str, on_fault: OnFault) -> Iterator[LinkedCaption]:
    """Yield the captions of one picture's file."""
    with open_text(root, name) as file:
        lines = file.read().splitlines()
    if not lines:
        raise no_row(name)
    for number, line in enumerate(lines, start=1):
        try:
            yield parse(line, image_id=Path(name).stem)
        except ValueError as error:
            on_fault(Fault(name, row=str(number), reason=str(error)))


def parse(line: str, *, image_id: str) -> LinkedCaption:
    """Take a marked caption apart.

    Raises:
        ValueError: A bracket belongs to no "[/EN#chain/kind words]", or nothing is left.
    """
    text, phrases, done = "", [], 0
    for found in _PHRASE.finditer(line):
        text += line[done : found.start()]
        kinds = tuple(found["kinds"].strip("/").split("/"))
        phrases.append(Phrase(found["words"], len(text), found["chain"], kinds))
        text += found["words"]
        done = found.end()
    text += line[done:]
    if "[" in text or "]" in text:
        raise ValueError(f"expected every bracket to be of the form [/EN#chain/kind words], got {text!r:.80}")
    if not text.strip():
        raise ValueError("expected a caption, got an empty line")
    return LinkedCaption(image_id, text.rstrip(), tuple(phrases))
