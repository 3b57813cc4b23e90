"""Whether exported detectors find what eager finds, over many pictures, near-ties told from faults.

    OMP_NUM_THREADS=1 python -m benchmarks.regions x152-fpn --work build/regions
    OMP_NUM_THREADS=1 python -m benchmarks.regions_agreement x152-fpn --work build/regions

Looks at the files that `benchmarks.regions` left in the folder, and draws pictures of its own for them. The rule was
set before these pictures were drawn. A detector chooses: a box is suppressed where an overlap passes a threshold, a
region kept where its score passes another's. A choice that eager itself makes otherwise when every pixel moves by at
most a ten-thousandth of a grey step is a near-tie, which the rounding of any engine may turn. So of a picture:

- "equal": as many regions, each with its like: corners within half a pixel, the same label.
- "tied": each region without its like is a near-tie: one that the engine lacks is lacking in one of eager's answers to
  the moved picture as well, and one that only the engine has is in one of them.
- "wrong": anything else, and features of a region and its like that point elsewhere. There must be none.

That the rule can fail is tried beside it: "eager, one grey step lighter" is eager asked about another picture, every
pixel of which is a whole step lighter, in the engine's place. Where detectors are as unsure as drawn weights make them,
that must be wrong.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.forward import machine
from benchmarks.regions import NEAR_PX, Answer
from benchmarks.regions_x152 import picture
from export import to_onnx, to_torchscript
from export.to_regions import detector_graph
from twelve.engines.graphs import Graph
from twelve.regions.families import open_detector
from twelve.runtimes import Runtime
from twelve.runtimes.module import ModuleRuntime

SIZES = ((320, 416), (352, 480), (288, 448), (416, 320), (256, 640), (512, 384), (600, 912), (800, 1088))
"""Heights and widths, asked one after the other. The graphs were traced with a picture of none of them."""

SEED = 3
"""Of the pictures, other than the one `benchmarks.regions` draws from."""

MOVED = 1e-4
"""Grey steps: what a picture of 8 bits a channel can tell, by ten thousand, and seven times what float32 can.

It moves boxes of the deepest detector by 0.02 px in the median; rounding in another order moves them by 0.005.
"""

ASKED_AGAIN = 16
"""Moved pictures at most: a choice that turns for half of them is missed once in 65,536."""

LEAST_COSINE = 0.9999

LIGHTER = 1.0
"""Grey steps: no eye sees it, and it is ten thousand times what a near-tie may need."""

CONTROL = "eager, one grey step lighter"

EQUAL, TIED, WRONG = "equal", "tied", "wrong"

Ask = Callable[[Tensor], Answer]
"""What answers about a picture, raw RGB [3, H, W], alone."""


@dataclass
class Tally:
    """What became of an engine's answers."""

    pictures: dict[str, int] = field(default_factory=lambda: dict.fromkeys((EQUAL, TIED, WRONG), 0))
    regions: int = 0
    unlike: int = 0
    largest_px: float = 0.0
    least_cosine: float = 1.0

    def add(self, verdict: str, expected: Answer, got: Answer) -> None:
        """Count one picture more."""
        self.pictures[verdict] += 1
        apart, alike, like = pairs(expected, got)
        self.regions += len(like)
        self.unlike += int((~like).sum())
        if like.any():
            self.largest_px = max(self.largest_px, float(apart[like].max()))
            self.least_cosine = min(self.least_cosine, float(alike[like].min()))

    def told(self) -> dict[str, Any]:
        """Give the figures."""
        return {
            "pictures": self.pictures,
            "regions": self.regions,
            "regions_unlike": self.unlike,
            "largest_px": round(self.largest_px, 4),
            "least_cosine": round(self.least_cosine, 6),
        }


def pairs(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Lay each region of an answer beside the nearest of another, [count] each.

    Returns:
        How far the corners are apart, pixels; the cosine of the features; whether the two are the same region, by
        place and label.
    """
    count, found = int(expected["count"]), int(got["count"])
    if not count or not found:
        return torch.full((count,), torch.inf), torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    apart, near = torch.cdist(expected["boxes"][:count], got["boxes"][:found], p=float("inf")).min(dim=1)
    alike = torch.cosine_similarity(expected["features"][:count], got["features"][near])
    same_label = expected["labels"][:count] == got["labels"][near]
    return apart, alike, (apart <= NEAR_PX) & same_label


def judged(expected: Answer, got: Answer, again: Iterable[Answer]) -> str:
    """Say what a picture is.

    Args:
        expected: Eager's answer.
        got: The engine's.
        again: Eager's answers to the moved picture, asked for only while something is unexplained.
    """
    _, alike, like = pairs(expected, got)
    lacking, over = ~like, ~pairs(got, expected)[2]
    if (alike[like] < LEAST_COSINE).any():
        return WRONG
    if not lacking.any() and not over.any():
        return EQUAL if int(expected["count"]) == int(got["count"]) else WRONG
    for other in again:
        lacking &= pairs(expected, other)[2]
        over &= ~pairs(got, other)[2]
        if not lacking.any() and not over.any():
            return TIED
    return WRONG


class Moved:
    """Eager's answers to a picture whose pixels have moved by less than any camera can tell, each asked for once."""

    def __init__(self, image: Tensor, ask: Ask, draws: torch.Generator) -> None:
        self._image, self._ask, self._draws = image, ask, draws
        self._answers: list[Answer] = []

    def __iter__(self) -> Iterator[Answer]:
        """Give those that are known, then more of them."""
        for number in range(ASKED_AGAIN):
            if number == len(self._answers):
                way = torch.rand(self._image.shape, generator=self._draws) * 2 - 1
                self._answers.append(self._ask(self._image + way * MOVED))
            yield self._answers[number]


def asking(runtime: Runtime) -> Ask:
    """Give what asks an engine about a picture alone."""
    return lambda image: runtime.run(image=image, given=torch.zeros(0, 4))


def opened(graph: Graph, work: Path) -> dict[str, Runtime]:
    """Open the files that `benchmarks.regions` wrote."""
    return {
        "torchscript": to_torchscript.reopen(graph, work / "detector.pt"),
        "onnxruntime": to_onnx.reopen(graph, work / "detector.onnx"),
    }


def measure(graph: Graph, work: Path, *, pictures: int, controls: int) -> dict[str, Any]:
    """Ask every engine about every picture."""
    eager = asking(ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs))
    engines = {name: asking(runtime) for name, runtime in opened(graph, work).items()}
    control: dict[str, Ask] = {CONTROL: lambda image: eager(image + LIGHTER)}
    tallies = {name: Tally() for name in [*engines, *control]}
    draws = torch.Generator().manual_seed(SEED)
    for number in range(pictures):
        image = picture(*SIZES[number % len(SIZES)])
        expected, again = eager(image), Moved(image, eager, draws)
        for name, ask in (engines | control if number < controls else engines).items():
            got = ask(image)
            verdict = judged(expected, got, again)
            tallies[name].add(verdict, expected, got)
            typer.echo(f"{number + 1}/{pictures} {'x'.join(map(str, image.shape[1:]))} {name}: {verdict}")
    return {name: tally.told() for name, tally in tallies.items()}


def main(
    preset: Annotated[str, typer.Argument(help="Whose files to look at.")],
    folder: Annotated[Path | None, typer.Option(help="Of the detector; the one that was drawn if absent.")] = None,
    work: Annotated[Path, typer.Option(help="Folder that `benchmarks.regions` wrote into.")] = Path("build/regions"),
    pictures: Annotated[int, typer.Option(help="How many to ask about.", min=1)] = 16,
    controls: Annotated[int, typer.Option(help="Of them, how many the rule itself is tried on.", min=0)] = 1,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/regions_agreement.json"),
) -> None:
    """Judge one preset, write it into the report; exit with 1 if a picture was wrong, or nothing can be."""
    report: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.is_file() else {}
    torch.manual_seed(SEED)
    with torch.inference_mode():
        graph = detector_graph(open_detector(folder or work / preset), torch.Generator().manual_seed(0))
        torch.manual_seed(SEED)
        engines = measure(graph, work / preset, pictures=pictures, controls=controls)
    found = {"pictures": pictures, "weights_drawn": folder is None, "engines": engines}
    report.setdefault("presets", {})[preset] = found
    report |= {"moved_grey_steps": MOVED, "asked_again": ASKED_AGAIN, "machine": machine()}
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    wrong = {name: figures["pictures"][WRONG] for name, figures in engines.items()}
    can_fail = wrong.pop(CONTROL) or folder is not None or not controls
    if any(wrong.values()) or not can_fail:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
