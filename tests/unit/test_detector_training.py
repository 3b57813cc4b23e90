"""Training the detector: targets, losses, norms, and a run small enough to repeat."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.detector import examples as scenes
from training.detector.evaluate import evaluate
from training.detector.examples import UNSAID, Examples, load_examples
from training.detector.loop import DetectorRecipe, batches, finish, fit, make_trainable, new, train
from training.detector.losses import AttributeHeads, cross_entropy
from training.detector.norms import add_norms, fold_norms, round_to_half
from training.detector.pooling import roi_align_by_matrix
from training.detector.targets import best_anchors, jitter, match, pairwise_overlaps, sample
from training.world.build import plan_world, render_pictures
from training.world.profiles import PROFILES
from training.world.scenes import write_scenes
from twelve.boxes import overlaps
from twelve.errors import DataError
from twelve.regions.backbone import Backbone
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import Detector
from twelve.regions.local import DetectorExtractor
from twelve.regions.ops import roi_align

FP32_NOISE = 1e-4
"""Absolute, on numbers of size 1 that are summed in another order."""

SMALL = replace(
    DetectorConfig.small(scenes.KIND_NAMES),
    widths=(8, 8, 16),
    blocks=1,
    proposals=32,
    feature_width=24,
    short_side=72,
    long_side=128,
    anchor_sides=(12.0, 20.0, 33.0),
)
FEW_STEPS = DetectorRecipe(steps=3, batch=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    profile = replace(PROFILES["tiny"], scenes={"train": 8, "val": 4, "test": 4, "novel": 4})
    sketches = plan_world(profile, 0, processes=1)
    write_scenes(folder / "scenes.jsonl", [sketch.scene for sketch in sketches])
    render_pictures(sketches, folder, processes=1)
    return folder


@pytest.fixture(scope="module")
def shown(root: Path) -> Examples:
    return load_examples(root, "train", SMALL)


def some_boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(2, count, 2, generator=generator) * 60
    return torch.cat([first, first + 5 + torch.rand(2, count, 2, generator=generator) * 30], dim=-1)


def test_examples_hold_every_thing_of_their_scenes_in_resized_pixels(root: Path, shown: Examples) -> None:
    described = [scene for scene in scenes.read_scenes(root / "scenes.jsonl") if scene.split == "train"]
    assert shown.pixels.shape == (len(described), 3, 72, 96)
    assert (shown.kinds != UNSAID).sum(dim=1).tolist() == [len(scene.things) for scene in described]
    first = described[0].things[0]
    assert shown.boxes[0, 0].tolist() == pytest.approx([value * 72 / 240 for value in first.box_px])
    assert scenes.KIND_NAMES[shown.kinds[0, 0]] == first.kind


def test_by_night_no_colour_is_asked_for(root: Path) -> None:
    for scene in scenes.read_scenes(root / "scenes.jsonl"):
        for thing in scene.things:
            assert scenes._color(thing, replace(scene, light="night")) == UNSAID


def test_mirroring_twice_changes_nothing(shown: Examples) -> None:
    every = torch.ones(len(shown), dtype=torch.bool)
    mirrored = shown.mirrored(every)
    assert not torch.equal(mirrored.pixels, shown.pixels)
    assert torch.allclose(mirrored.mirrored(every).boxes, shown.boxes, atol=FP32_NOISE)
    assert torch.equal(shown.mirrored(~every).boxes, shown.boxes)


def test_a_world_without_the_split_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="holds no scene of the split 'dev'"):
        load_examples(root, "dev", SMALL)


def test_a_box_matches_the_thing_it_overlaps_most() -> None:
    boxes, things = some_boxes(30, 0), some_boxes(5, 1)
    found = match(boxes, things)
    for picture in range(2):
        overlap, thing = overlaps(boxes[picture], things[picture]).max(dim=1)
        assert torch.equal(found.thing[picture][overlap > 0], thing[overlap > 0])
        assert torch.allclose(found.overlap[picture], overlap)


def test_every_thing_has_an_anchor_and_padding_has_none() -> None:
    things = some_boxes(3, 1)
    things[:, 2] = 0
    chosen = best_anchors(pairwise_overlaps(some_boxes(200, 0), things))
    assert (chosen.sum(dim=1) >= 1).all()
    assert (chosen.sum(dim=1) <= 4).all()


def test_a_sample_is_drawn_from_the_candidates_only() -> None:
    candidates = torch.zeros(2, 50, dtype=torch.bool)
    candidates[0, :40], candidates[1, :3] = True, True
    drawn = sample(candidates, 10, torch.Generator().manual_seed(0))
    assert drawn.sum(dim=1).tolist() == [10, 3]
    assert not (drawn & ~candidates).any()


def test_jittered_boxes_stay_in_the_picture_and_near_their_thing() -> None:
    things = some_boxes(40, 2).clamp(0, 80)
    strayed = jitter(things, height=80, width=80, generator=torch.Generator().manual_seed(0))
    assert strayed.min() >= 0
    assert strayed.max() <= 80
    near = torch.stack([overlaps(strayed[n], things[n]).diagonal() for n in range(2)])
    assert near.mean() > 0.6
    assert (near < 1).all()


def test_no_number_said_is_no_loss() -> None:
    assert cross_entropy(torch.randn(2, 3, 4), torch.full((2, 3), UNSAID)) == 0


def test_reading_boxes_by_a_matrix_gives_what_roi_align_gives() -> None:
    maps = torch.randn(2, 6, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = some_boxes(7, 3).clamp(0, 70)
    expected = roi_align(maps, boxes, 1 / 8, 5)
    assert torch.allclose(roi_align_by_matrix(maps, boxes, 1 / 8, 5), expected, atol=FP32_NOISE)


def test_folding_norms_away_changes_nothing() -> None:
    torch.manual_seed(0)
    backbone = Backbone((4, 6), blocks=1)
    add_norms(backbone)
    pixels = torch.rand(2, 3, 32, 32) * 255
    backbone(pixels)
    expected = backbone.eval()(pixels)
    fold_norms(backbone)
    assert not any("norm" in name for name in backbone.state_dict())
    assert torch.allclose(backbone(pixels), expected, atol=FP32_NOISE)


def test_rounded_weights_survive_being_stored_as_float16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = Detector(SMALL)
    round_to_half(detector)
    detector.save(tmp_path)
    for name, weights in Detector.load(tmp_path).state_dict().items():
        assert torch.equal(weights, detector.state_dict()[name])


def test_batches_show_every_picture_once_before_any_again(shown: Examples) -> None:
    recipe = DetectorRecipe(steps=4, batch=4)
    seen = [batch.places for batch in batches(shown, recipe, generator=torch.Generator().manual_seed(0))]
    for half in (seen[:2], seen[2:]):
        assert sorted(torch.cat(half).tolist()) == sorted(shown.places.tolist())


def trained(shown: Examples, steps: int) -> tuple[Detector, AttributeHeads]:
    detector, attributes = new(SMALL, seed=0)
    fit(detector, attributes, shown, replace(FEW_STEPS, steps=steps), seed=0)
    finish(detector, attributes)
    return detector, attributes


def test_the_same_seed_trains_the_same_weights(shown: Examples) -> None:
    first, second = trained(shown, 3)[0].state_dict(), trained(shown, 3)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_trainable_detector_reads_by_matrix_and_a_finished_one_does_not() -> None:
    detector, attributes = new(SMALL, seed=0)
    make_trainable(detector)
    assert detector.region_head.pool is roi_align_by_matrix
    finish(detector, attributes)
    assert detector.region_head.pool is roi_align


def test_a_detector_learns_eight_pictures_by_heart(shown: Examples) -> None:
    report = evaluate(*trained(shown, 150), shown)
    assert report["recall"] > 0.3
    assert min(report[name] for name in ("colors", "sizes", "places", "lights")) > 0.9


def test_training_writes_what_an_extractor_loads(root: Path, tmp_path: Path) -> None:
    report = train(root, tmp_path / "bundle", replace(FEW_STEPS, steps=1), seed=0)
    assert {"recall", "recall_named", "kinds", "colors", "cpu_seconds"} <= set(report)
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["detector.json", "detector.safetensors"]
    assert DetectorExtractor.load(tmp_path / "bundle").feature_width == 256
