"""Scenes beside their twins."""

from collections.abc import Sequence

from training.world.scene import Scene
from training.world.sources import original_id


def twin_groups(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Put each scene together with the scenes edited from it, the original first."""
    groups: dict[int, list[Scene]] = {}
    for scene in scenes:
        groups.setdefault(original_id(scene), []).append(scene)
    return [sorted(group, key=lambda scene: (scene.twin is not None, scene.id)) for group in groups.values()]
