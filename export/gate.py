"""May an 8-bit detector serve? Only if the bundle's final answers stay what they are, in each group of tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from export.agreement import answer_of, is_same
from twelve.assembly import Parts, Settings, assemble, cache_of
from twelve.boxes import overlaps
from twelve.errors import TwelveError
from twelve.heads.model import CONFIG_FILE
from twelve.model.config import ModelConfig
from twelve.pictures import PictureDesk
from twelve.regions.families import open_config
from twelve.regions.local import DetectorExtractor, digest_of
from twelve.runtimes import Runtime
from twelve.service import Service
from twelve.tasks import find

LEAST_SAME = 0.99
"""Of the answers of each group."""

FEWEST = 1000
"""Items of each group: of fewer, 99 % says too little."""

SAME_BOX = 0.7
"""Two answers that are boxes are the same if they overlap by this: a detector takes such boxes for one thing."""


class GateClosed(TwelveError):
    """A detector changes too many answers, or too few were asked to say."""

    code: ClassVar[str] = "gate-closed"
    exit_code: ClassVar[int] = 1


@dataclass
class Count:
    """Answers of a group: how many were compared, and how many stayed."""

    items: int = 0
    same: int = 0

    @property
    def share(self) -> float:
        """Give how many of them stayed."""
        return self.same / max(self.items, 1)


Counts = dict[str, Count]
"""By group of tasks."""


def compare(bundle: Path, detectors: tuple[Runtime, Runtime], requests: Path, settings: Settings) -> Iterator[Counts]:
    """Ask two services the same requests, which differ by their detector alone.

    Args:
        bundle: The bundle's folder.
        detectors: The one that serves now, and the one that might.
        requests: JSON lines, each the body of a prediction.
        settings: Of both services; the engine runs the model, not the detector.

    Yields:
        The counts so far, after each request.

    Raises:
        DataError: A request is one that cannot be answered; names its line.
    """
    parts = assemble(bundle, settings)
    services = [Service(_with_detector(parts, bundle, settings, detector)) for detector in detectors]
    counts: Counts = {}
    with requests.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            now, then = (answer_of(service, line, f"{requests}:{number}") for service in services)
            count = counts.setdefault(find(now["task"]).group, Count())
            count.items += 1
            count.same += _is_same(now["answer"], then["answer"])
            yield counts


def pass_or_raise(counts: Counts, name: str) -> None:
    """Let a detector pass.

    Args:
        counts: Of all requests.
        name: Of its file, for errors.

    Raises:
        GateClosed: It changes too many answers of a group, or too few items of it were asked.
    """
    if not counts:
        raise GateClosed(f"{name}: no request was asked; `python -m training requests` writes test items as requests")
    for group, count in sorted(counts.items()):
        if count.items < FEWEST:
            raise GateClosed(
                f"{name}: {count.items} items of group '{group}' were asked, {FEWEST} are needed; it was not kept"
            )
        if count.share < LEAST_SAME:
            raise GateClosed(
                f"{name}: {count.share:.2%} of {count.items} answers of group '{group}' stay the same, "
                f"{LEAST_SAME:.0%} is needed; it was not kept"
            )


def _with_detector(parts: Parts, bundle: Path, settings: Settings, detector: Runtime) -> Parts:
    """Put another detector in the place of a service's own, with a memory of its own."""
    config = ModelConfig.load(bundle / CONFIG_FILE)
    extractor = DetectorExtractor(detector, open_config(bundle), digest=digest_of(bundle))
    cache = cache_of(extractor, config, replace(settings, cache=None, stores=()))
    desk = PictureDesk(extractor, cache, limits=settings.limits, feature_width=config.v_feature_size)
    return replace(parts, extractor=extractor, desk=desk)


def _is_same(one: Any, other: Any) -> bool:
    """Compare two answers; boxes, which no 8-bit detector finds to the pixel, by how far they overlap."""
    if isinstance(one, list) and isinstance(other, list):
        return float(overlaps(torch.tensor([one]), torch.tensor([other]))) >= SAME_BOX
    return is_same(one, other)
