"""Everything that may be asked about a scene."""

from random import Random

from .ask import Ask
from .asks_about_contents import CONTENTS
from .asks_about_layout import LAYOUT
from .asks_about_looks import LOOKS
from .seen import Seen


def asks(seen: Seen, rng: Random) -> dict[str, list[Ask]]:
    """List everything that may be asked about a scene, by family."""
    listed: dict[str, list[Ask]] = {}
    for family in (*LOOKS, *CONTENTS, *LAYOUT):
        for ask in family(seen, rng):
            listed.setdefault(ask.family, []).append(ask)
    return listed
