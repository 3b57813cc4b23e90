"""Planning a world: every scene with its ground truth, from one seed.

Scenes are planned in families, an original and perhaps its twin. A family depends on the seed and its id alone, so it
is the same whatever else is planned and by whichever process.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from training.world.compose import Wish, compose
from training.world.kinds import PLACES
from training.world.layout import Stage, lay_out, things_seen
from training.world.places import ground
from training.world.profiles import Profile
from training.world.scene import Light, Scene, Split, Thing
from training.world.sketch import Placement, Sketch
from training.world.sources import CRATE_SHARES, NIGHT_SHARES, source_of_id
from training.world.sprites import SpriteCase
from training.world.twins import twin_of

TWIN_SHARE: Final = 0.42
"""Of the originals; three scenes in ten are then twins."""

_LAYOUTS: Final = 8
"""Tried for one composition before another one is drawn."""
_BACKDROPS: Final = 1 << 30


@dataclass(frozen=True)
class Family:
    """An original scene and perhaps its twin.

    Attributes:
        id: The original's; a twin has the next one.
        split: Of both.
        has_twin: Whether there is one.
    """

    id: int
    split: Split
    has_twin: bool


def families(profile: Profile, seed: int) -> Iterator[Family]:
    """Give every family of a world, by id."""
    rng = random.Random(f"families {seed}")
    first = 1
    for split, count in profile.scenes.items():
        end = first + count
        while first < end:
            has_twin = rng.random() < TWIN_SHARE and first + 1 < end
            yield Family(first, split, has_twin)
            first += 1 + has_twin


def plan_family(family: Family, profile: Profile, *, seed: int, case: SpriteCase) -> list[Sketch]:
    """Plan an original and its twin; an original that has no room for an edit is drawn again."""
    rng = random.Random(f"family {seed} {family.id}")
    while True:
        backdrop = rng.randrange(_BACKDROPS)
        stage = Stage(case, ground(backdrop, width=profile.width, height=profile.height))
        original = _original(family, stage, backdrop=backdrop, rng=rng)
        if not family.has_twin:
            return [original]
        twin = twin_of(original, id=family.id + 1, stage=stage, rng=rng)
        if twin is not None:
            return [original, twin]


def _original(family: Family, stage: Stage, *, backdrop: int, rng: random.Random) -> Sketch:
    light: Light = "night" if rng.random() < NIGHT_SHARES[source_of_id(family.id)] else "day"
    placements, things = _placed(_wish(family, rng), stage, rng)
    scene = Scene(
        id=family.id,
        split=family.split,
        place=rng.choice(PLACES),
        light=light,
        things=things,
        width=stage.ground.width,
        height=stage.ground.height,
    )
    return Sketch(scene, placements, backdrop)


def _wish(family: Family, rng: random.Random) -> Wish:
    source = source_of_id(family.id)
    return Wish(
        novel=family.split == "novel",
        living=source == "flickr30k",
        crate=rng.random() < CRATE_SHARES[source],
    )


def _placed(wish: Wish, stage: Stage, rng: random.Random) -> tuple[tuple[Placement, ...], tuple[Thing, ...]]:
    """Compose figures and lay them out, again and again until every margin is kept."""
    while True:
        figures = compose(wish, rng)
        for _ in range(_LAYOUTS):
            placements = lay_out(figures, stage, rng)
            things = placements and things_seen(placements, stage)
            if placements and things:
                return placements, things
