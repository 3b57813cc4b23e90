"""Training a small detector from nothing, on one or two CPU threads."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from training.detector.evaluate import Report, evaluate
from training.detector.examples import KIND_NAMES, Examples, load_examples
from training.detector.losses import AttributeHeads, Losses, losses
from training.detector.norms import add_norms, fold_norms, round_to_half
from training.detector.pooling import roi_align_by_matrix
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import Detector
from twelve.regions.ops import roi_align

REPORT = "detector-report.json"
LARGEST_GRADIENT = 5.0
"""Norm at which gradients are clipped; ordinary steps stay below, the first ones do not."""
SMOOTHING = 0.95
"""Of the losses that the progress bar shows."""


@dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """How the detector is trained; the section [detector] of a recipe.

    Attributes:
        steps: Batches.
        batch: Pictures of one.
        learning_rate: At the peak of the one cycle.
        weight_decay: Of all weights.
        precision: "bf16" computes the network in bfloat16 where torch does so safely; "no" keeps float32.
    """

    steps: int = 3000
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    precision: str = "bf16"


def train(root: Path, folder: Path, recipe: DetectorRecipe, *, seed: int) -> Report:
    """Train on a world's train scenes, measure on its val scenes, and write `detector.json` and its weights.

    The same seed, thread count and kind of machine give the same bytes.

    Args:
        root: The data root, with `scenes.jsonl` and pictures.
        folder: Where the two files go; the report is written beside it, as `detector-report.json`.
        recipe: How.
        seed: Of weights, order, flips and draws.

    Returns:
        What was measured, with the CPU-seconds that training took.
    """
    config = DetectorConfig.small(KIND_NAMES)
    started_s = time.process_time()
    detector, attributes = new(config, seed=seed)
    examples = load_examples(root, "train", config)
    fit(detector, attributes, examples, recipe, seed=seed)
    finish(detector, attributes)
    seconds = time.process_time() - started_s
    report = {**evaluate(detector, attributes, load_examples(root, "val", config)), "cpu_seconds": round(seconds, 1)}
    detector.save(folder)
    values = {**report, "recipe": dataclasses.asdict(recipe), "seed": seed, "threads": torch.get_num_threads()}
    (folder.parent / REPORT).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return report


def new(config: DetectorConfig, *, seed: int) -> tuple[Detector, AttributeHeads]:
    """Make a detector and its attribute heads with random weights, leaving torch's own random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Detector(config), AttributeHeads(config.feature_width)


def fit(
    detector: Detector, attributes: AttributeHeads, examples: Examples, recipe: DetectorRecipe, *, seed: int
) -> None:
    """Take the recipe's steps."""
    make_trainable(detector)
    generator = torch.Generator().manual_seed(seed)
    modules = nn.ModuleList([detector.train(), attributes.train()])
    optimizer = AdamW(modules.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    with _bar() as bar:
        task = bar.add_task("detector", total=recipe.steps, losses="")
        shown: dict[str, float] = {}
        for batch in batches(examples, recipe, generator=generator):
            with _precision(recipe.precision):
                found = losses(detector, attributes, batch, generator=generator)
            _step(modules, found, optimizer)
            schedule.step()
            _smooth(shown, found)
            bar.update(task, advance=1, losses=" ".join(f"{name} {value:.2f}" for name, value in shown.items()))


def batches(examples: Examples, recipe: DetectorRecipe, *, generator: torch.Generator) -> Iterator[Examples]:
    """Go through the pictures in ever new orders, half of them mirrored, until the recipe's steps are done."""
    order = torch.randperm(len(examples), generator=generator)
    for _ in range(recipe.steps):
        while len(order) < recipe.batch:
            order = torch.cat([order, torch.randperm(len(examples), generator=generator)])
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        yield examples.pick(chosen).mirrored(torch.rand(recipe.batch, generator=generator) < 0.5)


def make_trainable(detector: Detector) -> None:
    """Give a new detector what helps it to learn, and to learn fast: norms, and boxes read by a matrix product."""
    add_norms(detector.backbone)
    detector.region_head.pool = roi_align_by_matrix


def finish(detector: Detector, attributes: AttributeHeads) -> None:
    """Make a trained detector ready to be measured and stored: as it will serve, down to the rounding."""
    detector.region_head.pool = roi_align
    detector.eval()
    attributes.eval()
    fold_norms(detector.backbone)
    round_to_half(detector)


def _step(modules: nn.Module, found: Losses, optimizer: AdamW) -> None:
    optimizer.zero_grad()
    torch.stack(list(found.values())).sum().backward()
    nn.utils.clip_grad_norm_(modules.parameters(), LARGEST_GRADIENT)
    optimizer.step()


def _precision(name: str) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16")


def _smooth(shown: dict[str, float], found: dict[str, Tensor] | Losses) -> None:
    for name, loss in found.items():
        value = float(loss.detach())
        shown[name] = SMOOTHING * shown.get(name, value) + (1 - SMOOTHING) * value


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
