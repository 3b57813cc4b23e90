import hashlib
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from training.world.build import link, plan_world, pool_picture, render_pictures
from training.world.compose import COUNTS
from training.world.kinds import COLORS, CRATE, KINDS, NOVEL_PAIRS, PAINTABLE, PLACES, is_novel
from training.world.layout import MIN_DISTANCE_PX, MIN_VISIBLE
from training.world.places import draw_place
from training.world.profiles import PROFILES, Profile
from training.world.render import draw, jpeg
from training.world.scene import Scene, Thing
from training.world.scenes import read_scenes, write_scenes
from training.world.sketch import LARGEST_SMALL, SMALLEST_LARGE, Sketch, bounds, look_at
from training.world.sources import source_of, sources_of
from training.world.sprites import ASSETS, SpriteCase
from twelve.errors import DataError

SEED = 12
PROFILE = Profile("of these tests", {"train": 200, "val": 20, "test": 40, "novel": 60})
SHADOW_PX = 12
"""A shadow reaches no further than this beyond its thing's box."""
FAINT = 6
"""Levels out of 255: resampled edges and the lightest pixels of an outline are no larger."""


@pytest.fixture(scope="module")
def case() -> SpriteCase:
    return SpriteCase.open()


@pytest.fixture(scope="module")
def sketches() -> list[Sketch]:
    return plan_world(PROFILE, SEED, processes=1)


@pytest.fixture(scope="module")
def scenes(sketches: list[Sketch]) -> list[Scene]:
    return [sketch.scene for sketch in sketches]


def pixels(sketch: Sketch, case: SpriteCase) -> np.ndarray:
    return np.asarray(draw(sketch, case)).astype(int)


def pairs_of(sketches: list[Sketch]) -> list[tuple[Sketch, Sketch]]:
    by_id = {sketch.scene.id: sketch for sketch in sketches}
    return [(by_id[sketch.scene.twin], sketch) for sketch in sketches if sketch.scene.twin is not None]


def test_one_seed_gives_the_same_bytes_whatever_the_number_of_processes(tmp_path: Path) -> None:
    digests = []
    for processes in (1, 2, 1):
        folder = tmp_path / str(len(digests))
        sketches = plan_world(PROFILES["tiny"], SEED, processes=processes)
        pictures = render_pictures(sketches, folder, processes=processes)
        write_scenes(folder / "scenes.jsonl", [sketch.scene for sketch in sketches])
        files = [*sorted(pictures.iterdir()), folder / "scenes.jsonl"]
        digests.append(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
    assert len(set(digests)) == 1


def test_another_seed_gives_another_world() -> None:
    one, other = (plan_world(PROFILES["tiny"], seed, processes=1) for seed in (1, 2))
    assert [sketch.scene for sketch in one] != [sketch.scene for sketch in other]


def test_a_profile_gives_exactly_its_scenes_with_ids_from_one(scenes: list[Scene]) -> None:
    assert [scene.id for scene in scenes] == list(range(1, sum(PROFILE.scenes.values()) + 1))
    assert {split: sum(scene.split == split for scene in scenes) for split in PROFILE.scenes} == PROFILE.scenes


def test_progress_counts_every_scene_once() -> None:
    counted: list[int] = []
    plan_world(PROFILES["tiny"], SEED, processes=1, on_progress=counted.append)
    assert sum(counted) == sum(PROFILES["tiny"].scenes.values())


def test_things_are_inside_visible_and_apart(sketches: list[Sketch], case: SpriteCase) -> None:
    for sketch in sketches:
        scene = sketch.scene
        views = look_at(sketch.placements, case, width=scene.width, height=scene.height)
        assert views is not None
        assert [view.thing for view in views] == list(scene.things)
        assert all(view.visible >= MIN_VISIBLE for view in views)
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box_px
            assert 0 < x1 < x2 < scene.width
            assert 0 < y1 < y2 < scene.height
        for one, other in combinations(scene.things, 2):
            assert np.hypot(*np.subtract(one.center_px, other.center_px)) >= MIN_DISTANCE_PX


def test_sizes_leave_a_dead_zone(sketches: list[Sketch]) -> None:
    for sketch in sketches:
        for placement, thing in zip(sketch.placements, sketch.scene.things, strict=True):
            scale = placement.figure.side_px / KINDS[thing.kind].usual_px
            assert (thing.size == "small") == (scale <= LARGEST_SMALL)
            assert (thing.size == "large") == (scale >= SMALLEST_LARGE)


def test_scenes_hold_three_to_eight_things(scenes: list[Scene]) -> None:
    assert {len(scene.things) for scene in scenes if scene.twin is None} == set(COUNTS)


def test_only_paintable_things_have_a_colour(scenes: list[Scene]) -> None:
    for thing in (thing for scene in scenes for thing in scene.things):
        assert (thing.color in COLORS) == (thing.kind in PAINTABLE)


def test_novel_pairs_are_in_every_novel_scene_and_in_no_other(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert any(is_novel(thing.kind, thing.color) for thing in scene.things) == (scene.split == "novel")


def test_every_paintable_kind_loses_two_colours() -> None:
    assert all(sum(pair[0] == kind for pair in NOVEL_PAIRS) == 2 for kind in PAINTABLE)


def test_a_box_is_where_a_thing_is_drawn(sketches: list[Sketch], case: SpriteCase) -> None:
    for sketch in sketches[:60]:
        empty = pixels(replace(sketch, placements=()), case)
        for placement in sketch.placements:
            alone = replace(sketch, placements=(placement,))
            views = look_at(alone.placements, case, width=sketch.scene.width, height=sketch.scene.height)
            assert views is not None
            x1, y1, x2, y2 = views[0].thing.box_px
            drawn = (np.abs(pixels(alone, case) - empty) > FAINT).any(axis=2)
            assert drawn[y1:y2, x1:x2].any()
            drawn[max(0, y1 - 2) : y2 + SHADOW_PX, max(0, x1 - SHADOW_PX) : x2 + SHADOW_PX] = False
            assert not drawn.any()


def test_what_hides_a_thing_is_not_in_its_area(sketches: list[Sketch], case: SpriteCase) -> None:
    sketch = next(sketch for sketch in sketches if _is_hidden_in_part(sketch, case))
    for placement, thing in zip(sketch.placements, sketch.scene.things, strict=True):
        whole = int(case.mask(placement.figure).sum())
        x1, y1, x2, y2 = bounds(placement, case)
        assert thing.area_px <= whole
        assert (thing.box_px[0] >= x1, thing.box_px[1] >= y1) == (True, True)
        assert (thing.box_px[2] <= x2, thing.box_px[3] <= y2) == (True, True)


def _is_hidden_in_part(sketch: Sketch, case: SpriteCase) -> bool:
    areas = [int(case.mask(placement.figure).sum()) for placement in sketch.placements]
    return any(thing.area_px < area for thing, area in zip(sketch.scene.things, areas, strict=True))


def test_polygons_stay_in_their_boxes_and_cover_the_thing(scenes: list[Scene]) -> None:
    for thing in (thing for scene in scenes for thing in scene.things):
        xs, ys = thing.polygon_px[::2], thing.polygon_px[1::2]
        x1, y1, x2, y2 = thing.box_px
        assert x1 <= min(xs) < max(xs) <= x2
        assert (min(ys), max(ys)) == (y1, y2)


def test_three_in_ten_scenes_are_twins_of_the_scene_before(scenes: list[Scene]) -> None:
    twins = [scene for scene in scenes if scene.twin is not None]
    assert len(twins) >= 0.25 * len(scenes)
    assert all(scene.twin == scene.id - 1 for scene in twins)


def test_twins_share_split_source_place_and_light(sketches: list[Sketch]) -> None:
    for original, twin in ((one.scene, other.scene) for one, other in pairs_of(sketches)):
        assert (original.split, original.place, original.light) == (twin.split, twin.place, twin.light)
        assert sources_of(original) == sources_of(twin)


def test_a_twin_differs_by_its_edit_and_nothing_else(sketches: list[Sketch]) -> None:
    for original, twin in pairs_of(sketches):
        assert twin.scene.edit is not None
        name, number = twin.scene.edit
        old, new = original.placements, twin.placements
        kept = old[:number] + old[number + 1 :]
        added = [placement for placement in new if placement not in kept]
        assert [placement for placement in new if placement in kept] == list(kept)
        assert len(added) == (name != "remove")
        assert _is_edit(name, original.scene.things[number], added and twin.scene.things[new.index(added[0])])


def _is_edit(name: str, before: Thing, after: Thing | list[object]) -> bool:
    if not isinstance(after, Thing):
        return name == "remove"
    same = (before.kind == after.kind, before.color == after.color, before.box_px == after.box_px)
    return same[:2] == {"color": (True, False), "kind": (False, True), "move": (True, True)}[name]


def test_a_twin_keeps_every_pixel_away_from_its_edit(sketches: list[Sketch], case: SpriteCase) -> None:
    for original, twin in pairs_of(sketches):
        changed = (pixels(original, case) != pixels(twin, case)).any(axis=2)
        assert changed.any()
        moved = set(original.placements) ^ set(twin.placements)
        for x1, y1, x2, y2 in (bounds(placement, case) for placement in moved):
            changed[y1 : y2 + SHADOW_PX, max(0, x1 - SHADOW_PX) : x2 + SHADOW_PX] = False
        assert not changed.any()


def test_a_recoloured_twin_has_the_same_boxes(sketches: list[Sketch]) -> None:
    for original, twin in pairs_of(sketches):
        if twin.scene.edit is not None and twin.scene.edit[0] == "color":
            assert [thing.box_px for thing in twin.scene.things] == [thing.box_px for thing in original.scene.things]


def test_night_hides_colours_altogether(sketches: list[Sketch], case: SpriteCase) -> None:
    sketch = next(sketch for sketch in sketches if sketch.scene.light == "night" and sketch.scene.split == "train")
    number = next(number for number, thing in enumerate(sketch.scene.things) if thing.color is not None)
    pictures = {
        color: jpeg(replace(sketch, placements=_painted(sketch, number, color)), case) for color in ("red", "blue")
    }
    assert pictures["red"] == pictures["blue"]


def _painted(sketch: Sketch, number: int, color: str) -> tuple[object, ...]:
    placements = list(sketch.placements)
    placements[number] = replace(placements[number], figure=replace(placements[number].figure, color=color))
    return tuple(placements)


def test_night_leaves_every_outline_darker_than_the_place(sketches: list[Sketch], case: SpriteCase) -> None:
    for sketch in (sketch for sketch in sketches if sketch.scene.light == "night"):
        picture = pixels(sketch, case).mean(axis=2)
        empty = pixels(replace(sketch, placements=()), case).mean(axis=2)
        for thing in sketch.scene.things:
            x1, y1, x2, y2 = thing.box_px
            darker = picture[y1:y2, x1:x2] < empty[y1:y2, x1:x2] - 15
            assert darker.sum() >= 0.9 * thing.area_px


def test_by_night_no_twin_is_a_recoloured_one(scenes: list[Scene]) -> None:
    assert all(scene.edit[0] != "color" for scene in scenes if scene.edit is not None and scene.light == "night")


def test_some_scenes_are_by_night_and_some_hold_a_closed_crate(scenes: list[Scene]) -> None:
    night = sum(scene.light == "night" for scene in scenes) / len(scenes)
    crates = sum(any(thing.kind == CRATE for thing in scene.things) for scene in scenes) / len(scenes)
    assert 0.06 < night < 0.20
    assert 0.05 < crates < 0.17


def test_scenes_are_read_as_they_were_written(scenes: list[Scene], tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes.jsonl", scenes)
    assert list(read_scenes(tmp_path / "scenes.jsonl")) == scenes


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "scenes.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"scenes\.jsonl, line 1: needs a scene"):
        list(read_scenes(tmp_path / "scenes.jsonl"))


def test_every_source_gets_its_share_and_flickr30k_the_living() -> None:
    scenes = [sketch.scene for sketch in plan_world(Profile("sources", {"train": 600}), SEED, processes=1)]
    shares = {source: sum(source_of(scene) == source for scene in scenes) / len(scenes) for source in KEPT_SHARES}
    assert shares == pytest.approx(KEPT_SHARES, abs=0.04)
    assert _living(scenes, flickr=True) > 1.8 * _living(scenes, flickr=False)


KEPT_SHARES = {"coco": 0.29, "vg": 0.25, "flickr30k": 0.26, "nlvr2": 0.20}


def _living(scenes: list[Scene], *, flickr: bool) -> float:
    things = [thing for scene in scenes if (source_of(scene) == "flickr30k") == flickr for thing in scene.things]
    return sum(KINDS[thing.kind].is_living for thing in things) / len(things)


def test_a_linked_picture_outlives_the_pool(tmp_path: Path) -> None:
    picture, target = pool_picture(tmp_path, 7), tmp_path / "images" / "vg" / "7.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"jpeg")
    link(picture, target)
    link(picture, target)
    picture.unlink()
    assert target.read_bytes() == b"jpeg"


def test_every_sprite_of_every_kind_is_vendored(case: SpriteCase) -> None:
    assert {sprite for kind in KINDS.values() for sprite in kind.sprites} == set(case.renders)
    assert sum(file.stat().st_size for file in (ASSETS / "sprites").iterdir()) < 600_000


def test_no_two_kinds_share_a_category() -> None:
    assert len({kind.category_id for kind in KINDS.values()}) == len(KINDS) >= 50


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_the_same_for_the_same_backdrop_only(place: str) -> None:
    one, again, other = (draw_place(place, backdrop, width=320, height=240).tobytes() for backdrop in (3, 3, 4))
    assert one == again != other
