"""How large a world is: the profiles that can be asked for by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.world.scene import Split


@dataclass(frozen=True)
class Profile:
    """The size of a world.

    Attributes:
        name: As the command line takes it.
        scenes: How many scenes each split holds, twins included; ids are given in this order.
        width: Of every picture, pixels.
        height: Likewise.
    """

    name: str
    scenes: Mapping[Split, int]
    width: int = 320
    height: int = 240


PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile("tiny", {"train": 36, "val": 24, "test": 30, "novel": 30}),
        Profile("default", {"train": 6000, "val": 500, "test": 1600, "novel": 800}),
        Profile("large", {"train": 60000, "val": 1500, "test": 3000, "novel": 1500}),
    )
}
"""`tiny` for tests, `default` for two CPU cores, `large` for a GPU."""
