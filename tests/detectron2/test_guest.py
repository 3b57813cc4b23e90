"""detectron2's own networks as guests: their regions, and the files that they are exported to."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export import to_guest, to_torchscript
from export.to_regions import matched
from tests.detectron2 import guests, parity
from twelve.convert.checkpoint import read
from twelve.errors import ConfigInvalid
from twelve.image import Picture
from twelve.regions.guest import Detectron2Extractor, GuestConfig
from twelve.regions.rcnn.config import RcnnConfig
from twelve.runtimes import Runtime
from twelve.runtimes.onnx_file import OnnxRuntime

PRESETS = ("r50-fpn", "r50-c4")
WIDTHS = {"r50-fpn": 1024, "r50-c4": 2048}
SIZES = ((320, 416), (256, 480), (427, 333))
SHOWN = (256, 480)
PROPOSALS = 100

MORE_THAN_THERE_ARE = 4000
"""Boxes that outlast the NMS of 1,000 a level."""

SEED = 4
"""Of pictures on which no two boxes tie for the last place among the proposals: rounding would choose."""

LEAST_COSINE = 0.9999
MOST_GAP_PX = 0.1
"""Features of the files differ by rounding, and boxes by up to 0.05 px once they are corrected by them."""

SCORES_ALIKE = 1e-3


@cache
def guest(preset: str) -> tuple[Any, nn.Module]:
    cfg = guests.settings(
        preset,
        MODEL__RPN__POST_NMS_TOPK_TEST=PROPOSALS,
        INPUT__MIN_SIZE_TEST=min(SHOWN),
        INPUT__MAX_SIZE_TEST=max(SHOWN),
    )
    return cfg, guests.network(cfg)


@cache
def extractor(preset: str, regions: str) -> Detectron2Extractor:
    cfg, model = guest(preset)
    return Detectron2Extractor.of(model, cfg, GuestConfig(regions=regions))


def shown(height: int, width: int) -> Picture:
    return Picture.of(guests.picture(height, width, seed=SEED).permute(1, 2, 0).to(torch.uint8).numpy())


@pytest.mark.parametrize("preset", PRESETS)
def test_regions_are_those_that_the_published_rule_chooses(preset: str) -> None:
    picture = shown(*SHOWN)  # of the size that it is looked at
    regions = extractor(preset, "proposals").extract(picture, parity.GIVEN)
    rule = replace(RcnnConfig.of("r50-fpn", ["thing"]), max_regions=GuestConfig().max_regions)
    with torch.inference_mode():
        image = torch.tensor(picture.rgb).permute(2, 0, 1).float()
        looked = parity.looked_by_guest(guest(preset)[1], image)
        expected = parity.chosen(looked, looked.proposals, rule)
    found = len(regions) - len(parity.GIVEN)
    pairs = parity.matched(expected.boxes[:found], regions.boxes_px[:found])
    assert (found, pairs.share) == (int((expected.scores > 0).sum()), 1.0)
    assert torch.equal(regions.labels[pairs.rows], expected.labels[:found])
    assert torch.allclose(regions.scores[pairs.rows], expected.scores[:found], atol=SCORES_ALIKE)
    assert torch.cosine_similarity(regions.features[pairs.rows], expected.features[:found]).min() >= LEAST_COSINE
    assert torch.cosine_similarity(regions.features[found:], looked.given).min() >= LEAST_COSINE


@pytest.mark.parametrize("preset", PRESETS)
def test_a_region_that_is_given_back_has_the_features_it_had(preset: str) -> None:
    picture = shown(*SHOWN)
    found = extractor(preset, "proposals").extract(picture)
    again = extractor(preset, "proposals").extract(picture, found.boxes_px[:5])
    assert again.given == 5
    assert found.features.shape[1] == extractor(preset, "proposals").feature_width == WIDTHS[preset]
    assert torch.allclose(again.features[-5:], found.features[:5], atol=1e-3)


def test_refined_regions_are_elsewhere_and_keep_their_features() -> None:
    picture = shown(300, 200)  # another size than it is looked at
    proposed = extractor("r50-fpn", "proposals").extract(picture)
    refined = extractor("r50-fpn", "refined").extract(picture)
    assert parity.matched(proposed.boxes_px, refined.boxes_px).share < 0.5
    likest = torch.cosine_similarity(refined.features[:10, None], proposed.features[None], dim=2).max(dim=1).values
    assert likest.min() >= LEAST_COSINE
    assert (refined.boxes_px <= torch.tensor([200.0, 300, 200, 300])).all()


def test_pictures_are_resized_as_detectron2_resizes_them() -> None:
    from detectron2.data.transforms import ResizeShortestEdge

    cfg, _ = guest("r50-fpn")
    theirs = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
    ours = extractor("r50-fpn", "proposals").config.resizing
    for size in ((300, 200), (333, 500), (640, 480), (100, 720)):
        rgb = shown(*size).rgb
        expected = torch.tensor(theirs.get_transform(rgb).apply_image(rgb).copy()).permute(2, 0, 1).float()
        got = ours.resize(torch.tensor(rgb).permute(2, 0, 1).float())
        assert got.shape == expected.shape
        assert (got - expected).abs().max() <= 1  # Pillow rounds between its two passes


def test_the_first_layer_can_describe_a_box_as_in_12_in_1() -> None:
    cfg, model = guest("r50-fpn")
    first = Detectron2Extractor.of(model, cfg, GuestConfig(feature="fc_relu1"))
    picture = shown(*SHOWN)
    one, other = first.extract(picture), extractor("r50-fpn", "proposals").extract(picture)
    assert torch.equal(one.boxes_px, other.boxes_px)
    assert torch.cosine_similarity(one.features, other.features).max() < 0.9
    with pytest.raises(ConfigInvalid, match="feature: got 'fc9', the guest's box head has flatten, fc1"):
        Detectron2Extractor.of(model, cfg, GuestConfig(feature="fc9"))


def _torchscript(graph: Any, folder: Path) -> Runtime:
    to_guest.write_torchscript(graph, folder / "guest.pt")
    return to_torchscript.reopen(graph, folder / "guest.pt")


def _onnx(graph: Any, folder: Path) -> Runtime:
    to_guest.write_onnx(graph, folder / "guest.onnx")
    return OnnxRuntime.open(folder / "guest.onnx", threads=1)


@pytest.mark.parametrize("regions", ["proposals", "refined"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("write", [_torchscript, _onnx])
def test_files_of_a_guest_find_what_it_finds(
    write: Callable[[Any, Path], Runtime], preset: str, regions: str, tmp_path: Path
) -> None:
    module = extractor(preset, regions).runtime.module
    runtime = write(to_guest.guest_graph(module), tmp_path)
    for size in SIZES:
        inputs = {"image": guests.picture(*size, seed=SEED), "given": parity.GIVEN}
        expected = extractor(preset, regions).runtime.run(**inputs)
        assert_alike(expected, matched(expected, runtime.run(**inputs)))


@pytest.mark.parametrize("write", [_torchscript, _onnx])
def test_files_take_pictures_of_which_fewer_or_more_boxes_are_proposed_than_of_the_traced_one(
    write: Callable[[Any, Path], Runtime], tmp_path: Path
) -> None:
    cfg = guests.settings("r50-fpn", MODEL__RPN__POST_NMS_TOPK_TEST=MORE_THAN_THERE_ARE)
    own = Detectron2Extractor.of(guests.network(cfg), cfg)
    module = own.runtime.module
    graph = to_guest.guest_graph(module)
    runtime = write(graph, tmp_path)
    counts = {proposed(module, graph.example["image"])}
    for size in SIZES:
        inputs = {"image": guests.picture(*size, seed=SEED), "given": parity.GIVEN}
        counts.add(proposed(module, inputs["image"]))
        expected = own.runtime.run(**inputs)
        assert_alike(expected, matched(expected, runtime.run(**inputs)))
    assert len(counts) > 1
    assert max(counts) < MORE_THAN_THERE_ARE


def proposed(module: Any, image: Tensor) -> int:
    """Count what a guest proposes of a picture."""
    images = module.model.preprocess_image([{"image": torch.stack([image[channel] for channel in module.channels])}])
    return len(module.model.proposal_generator(images, module.model.backbone(images.tensor), None)[0][0])


def assert_alike(expected: dict[str, Tensor], got: dict[str, Tensor]) -> None:
    assert int(got["count"]) == int(expected["count"]) >= PROPOSALS // 2
    assert (got["boxes"] - expected["boxes"]).abs().max() <= MOST_GAP_PX
    assert torch.equal(got["labels"], expected["labels"])
    for name in ("features", "given_features"):
        assert torch.cosine_similarity(got[name], expected[name]).min() >= LEAST_COSINE


def test_a_guest_opens_from_detectron2s_own_files(tmp_path: Path) -> None:
    cfg, model = guest("r50-fpn")
    settings, weights = tmp_path / "settings.yaml", tmp_path / "weights.pth"
    settings.write_text(cfg.dump(), encoding="utf-8")
    torch.save(model.state_dict(), weights)
    opened = Detectron2Extractor.open(settings, read(weights).tensors)
    assert opened.digest == extractor("r50-fpn", "proposals").digest
    with pytest.raises(ConfigInvalid, match="another network's"):
        Detectron2Extractor.open(settings, guest("r50-c4")[1].state_dict())


def test_the_digest_is_of_weights_and_settings() -> None:
    cfg, model = guest("r50-fpn")
    digest = extractor("r50-fpn", "proposals").digest
    assert extractor("r50-fpn", "refined").digest != digest
    elsewhere = cfg.clone()
    elsewhere.MODEL.WEIGHTS = "somewhere/else.pth"
    assert Detectron2Extractor.of(model, elsewhere).digest == digest
    bias = model.roi_heads.box_predictor.cls_score.bias
    bias[0] += 1.0
    changed = Detectron2Extractor.of(model, cfg).digest
    bias[0] -= 1.0
    assert changed != digest


def test_heads_that_describe_a_box_more_than_once_are_refused() -> None:
    cfg = guests.settings(
        "r50-fpn", MODEL__ROI_HEADS__NAME="CascadeROIHeads", MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG=True
    )
    from detectron2.modeling import build_model

    with pytest.raises(ConfigInvalid, match="heads are CascadeROIHeads; regions can be had from StandardROIHeads or"):
        Detectron2Extractor.of(build_model(cfg), cfg)
