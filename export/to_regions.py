"""The region extractor as a graph to export: pictures to try it on, and regions matched by where they lie."""

from collections.abc import Iterable

import torch
from torch import Tensor

from export.exportable import Exportable, Outputs
from twelve.engines.exported import DETECTOR
from twelve.engines.graphs import Graph
from twelve.regions.detector import INPUTS, LEAST_GIVEN, OUTPUTS
from twelve.regions.families import AnyConfig, AnyDetector
from twelve.regions.local import prepare

TRACED_PX = (480, 640)
"""Height and width of the picture that the graph is traced with."""

TRIED_PX = ((640, 480), (333, 500), (400, 500), (90, 700), (512, 512), (1200, 240))
"""Of those it is tried on; none is resized to the sides of the traced one."""

DRAWN, ENOUGH = 4, 5
"""Pictures drawn of each size at most, and regions in one that make it worth a try; else the fullest is tried."""

CELLS = (6, 8)
"""Coloured fields of a drawn picture, down and across."""

NOISE = 12
"""Of a drawn picture, in steps of 0 to 255: no two places look alike, so no two scores tie."""

SAME_PX = 1.0
"""Corners of one box, as two runtimes round it, are nearer."""

TIE = 1e-4
"""Scores that are nearer may come in either order."""


def detector_exportable(detector: AnyDetector) -> Exportable:
    """Give the detector's graph and the pictures to try it on.

    Args:
        detector: In evaluation mode.

    Returns:
        What is exported.
    """
    generator = torch.Generator().manual_seed(0)
    graph = detector_graph(detector, generator)
    trials = tuple(
        _full(detector, (_draw(size, detector.config, generator, given=given) for _ in range(DRAWN)))
        for given, size in enumerate(TRIED_PX, start=LEAST_GIVEN)
    )
    return Exportable(graph, trials, matched, detector.config.rounding)


def detector_graph(detector: AnyDetector, generator: torch.Generator) -> Graph:
    """Give the detector's graph, to be traced with a drawn picture; height, width and given boxes vary."""
    example = _draw(TRACED_PX, detector.config, generator, given=3)
    dynamic = {"image": {1: "height", 2: "width"}, "given": {0: "given"}}
    return Graph(DETECTOR, detector, INPUTS, OUTPUTS, example, dynamic)


def matched(expected: Outputs, got: Outputs) -> Outputs:
    """Stand the regions found by one runtime in the order of another's: equal scores may come in either order.

    Args:
        expected: Of the detector's graph.
        got: Of the same graph, from another runtime.

    Returns:
        `got`, each region beside the one that lies nearest, and a region that a tie left out as it was expected;
        unchanged where the two do not pair off.
    """
    count = int(expected["count"])
    nearest, alike = _likes(expected, got, count)
    left_out = tied_out(expected, got)
    if int(got["count"]) != count or not bool((alike | left_out).all()) or _shared(nearest[alike]):
        return got
    order = torch.cat([nearest, torch.arange(count, len(got["boxes"]))])
    laid = {name: got[name][order] for name in ("boxes", "features", "scores", "labels")}
    for name, rows in laid.items():
        rows[:count][left_out] = expected[name][:count][left_out]
    return {**got, **laid}


def tied_out(expected: Outputs, got: Outputs) -> Tensor:
    """Say which regions [count] have no like because their score ties with the last one that fits.

    Only a full answer has a last one: beyond it are regions whose score may be the same but for rounding.
    """
    count = int(expected["count"])
    _, alike = _likes(expected, got, count)
    scores = expected["scores"][:count]
    if count < len(expected["boxes"]):
        return torch.zeros(count, dtype=torch.bool)
    return ~alike & (scores - scores.min() <= TIE)


def _likes(expected: Outputs, got: Outputs, count: int) -> tuple[Tensor, Tensor]:
    """Give the region that lies nearest to each, and whether it is the same, [count] each."""
    if not count or not int(got["count"]):
        return torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
    distances = torch.cdist(expected["boxes"][:count], got["boxes"][: int(got["count"])], p=float("inf"))
    least = distances.min(dim=1)
    return least.indices, least.values <= SAME_PX


def _shared(rows: Tensor) -> bool:
    return len(rows.unique()) < len(rows)


def _draw(size: tuple[int, int], config: AnyConfig, generator: torch.Generator, *, given: int) -> Outputs:
    """Draw a picture of coloured fields and boxes in it, as the graph takes them."""
    fields = torch.randint(NOISE, 256 - NOISE, (1, 3, *CELLS), generator=generator).float()
    smooth = torch.nn.functional.interpolate(fields, size=size, mode="nearest")[0]
    noisy = smooth + torch.randint(-NOISE, NOISE, smooth.shape, generator=generator)
    image = prepare(noisy.permute(1, 2, 0).to(torch.uint8).numpy(), config)
    reach = torch.tensor([image.shape[2], image.shape[1]])
    first = torch.rand(given, 2, generator=generator) * reach / 2
    sides = (0.1 + 0.4 * torch.rand(given, 2, generator=generator)) * reach
    return {"image": image, "given": torch.cat([first, first + sides], dim=1)}


def _full(detector: AnyDetector, drawn: Iterable[Outputs]) -> Outputs:
    """Give the first picture in which enough is found, or the one in which most is."""
    counts: list[tuple[int, Outputs]] = []
    for inputs in drawn:
        with torch.inference_mode():
            counts.append((int(detector(inputs["image"], inputs["given"]).count), inputs))
        if counts[-1][0] >= ENOUGH:
            return inputs
    return max(counts, key=lambda counted: counted[0])[1]
