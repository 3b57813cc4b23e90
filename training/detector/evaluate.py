"""How well a detector finds, names and describes what is in pictures that it has not seen.

Shapes: G things of a picture · K regions found in it · F feature width
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.detector.examples import UNSAID, Examples
from training.detector.losses import AttributeHeads
from twelve.boxes import overlaps
from twelve.regions.detector import LEAST_GIVEN, Detector, Found

FOUND = 0.5
"""A thing is found by a region that overlaps it by this much."""

Report = dict[str, float]


class _Seen(NamedTuple):
    """One picture: its things' boxes and numbers, what was found, and the features of the things' own boxes."""

    boxes: Tensor
    kinds: Tensor
    found: Found
    features: Tensor


@torch.inference_mode()
def evaluate(detector: Detector, attributes: AttributeHeads, examples: Examples) -> Report:
    """Measure a detector in eval mode.

    Args:
        detector: Its norms folded.
        attributes: The heads it was trained with.
        examples: Held out.

    Returns:
        `recall`, the share of things found; `recall_named`, those found by a region of their kind; `regions` and
        `doubles`, how many regions a picture has, and how many of them find a thing that a better one found; `kinds`,
        `colors`, `sizes`, `places`, `lights`, the share read rightly off the features of the things' true boxes.
    """
    seen = [_look(detector, examples, number) for number in range(len(examples))]
    features = torch.cat([picture.features for picture in seen])
    count = (examples.kinds != UNSAID).sum(dim=1)
    real = examples.kinds != UNSAID
    readings: Mapping[str, tuple[nn.Module, Tensor]] = {
        "kinds": (detector.region_head.classes, examples.kinds[real]),
        "colors": (attributes.colors, examples.colors[real]),
        "sizes": (attributes.sizes, examples.sizes[real]),
        "places": (attributes.places, examples.places.repeat_interleave(count)),
        "lights": (attributes.lights, examples.lights.repeat_interleave(count)),
    }
    things = int(count.sum())
    return {
        "recall": sum(_found(picture) for picture in seen) / things,
        "recall_named": sum(_found_and_named(picture) for picture in seen) / things,
        "regions": sum(int(picture.found.count) for picture in seen) / len(seen),
        "doubles": sum(_doubles(picture) for picture in seen) / len(seen),
        **{name: _share_right(head(features), numbers) for name, (head, numbers) in readings.items()},
    }


def _look(detector: Detector, examples: Examples, number: int) -> _Seen:
    real = examples.kinds[number] != UNSAID
    boxes = examples.boxes[number][real]
    padding = boxes.new_zeros(LEAST_GIVEN, 4)
    found = detector(examples.pixels[number].float(), torch.cat([boxes, padding]))
    return _Seen(boxes, examples.kinds[number][real], found, found.given_features[: len(boxes)])


def _hits(picture: _Seen) -> Tensor:
    """Say which region finds which thing, [K, G] bool."""
    count = int(picture.found.count)
    return overlaps(picture.found.boxes[:count], picture.boxes) >= FOUND


def _found(picture: _Seen) -> int:
    return int(_hits(picture).any(dim=0).sum())


def _found_and_named(picture: _Seen) -> int:
    labels = picture.found.labels[: int(picture.found.count)]
    return int((_hits(picture) & (labels[:, None] == picture.kinds)).any(dim=0).sum())


def _doubles(picture: _Seen) -> int:
    return int((_hits(picture).sum(dim=0) - 1).clamp(min=0).sum())


def _share_right(logits: Tensor, numbers: Tensor) -> float:
    asked = numbers != UNSAID
    return float((logits.argmax(dim=-1) == numbers)[asked].float().mean())
