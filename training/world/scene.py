"""What a picture of the small world shows: the ground truth from which every annotation is written.

A scene is drawn by `render`, planned by `plan`, and put into words by the writers. Boxes are visible extents, XYXY in
pixels, corner-exclusive.
"""

from dataclasses import dataclass
from typing import Literal

BoxXYXY = tuple[int, int, int, int]
Light = Literal["day", "night"]
Size = Literal["small", "large"]
Split = Literal["train", "val", "test", "novel"]


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        kind: A name from `kinds` ("car", "teddy bear", "crate").
        color: One of the 11 colours where the kind can be painted, else None (a banana is what it is).
        size: Relative to the kind's usual size; None inside the dead zone, where neither word may be used.
        box_px: Visible extent.
        polygon_px: Outline of what is visible, flat x, y, x, y …; a bounding polygon is enough.
        area_px: Visible pixels.
    """

    kind: str
    color: str | None
    size: Size | None
    box_px: BoxXYXY
    polygon_px: tuple[int, ...]
    area_px: int

    @property
    def center_px(self) -> tuple[float, float]:
        """Give the middle of the visible box."""
        x1, y1, x2, y2 = self.box_px
        return ((x1 + x2) / 2, (y1 + y2) / 2)


@dataclass(frozen=True)
class Scene:
    """One picture.

    Attributes:
        id: Unique over the world, from 1; also the picture's number in every official file.
        split: Where it may be used; "novel" scenes hold a kind-colour pair that no train or val scene holds.
        place: One of the six places.
        light: By "night" things are silhouettes: their colours cannot be seen and must not be asked as if they could.
        things: From back to front.
        width: Pixels.
        height: Pixels.
        twin: The id of the scene this one was edited from, or None.
        edit: For a twin, what was changed: ("color" | "kind" | "remove" | "move", index in the original's things).
    """

    id: int
    split: Split
    place: str
    light: Light
    things: tuple[Thing, ...]
    width: int
    height: int
    twin: int | None = None
    edit: tuple[str, int] | None = None
