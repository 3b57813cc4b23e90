"""The training loop: each task in turn gives a batch, and the model takes a step.

Shapes: N rows · T tokens · R regions (global one first) · M items · A choices of an item.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training import checkpoint
from training.config import Recipe
from training.items import Padded, TaskItems
from training.loading.loader import Filled, Loaded, Loader
from training.loading.workshop import Workshop
from training.optim import optimiser
from training.schedule import Rank, rate, round_robin
from twelve.engines.engine import heads_of
from twelve.heads.model import TwelveModel
from twelve.model.config import Labels
from twelve.tasks.registry import AnyTask

LOG = "log.jsonl"
SEED_BYTES = 4
"""The generator of torch on a CPU keeps the low 32 bits of its seed."""

SMOOTH = 0.9
"""Of the running losses that are shown."""


class Progress(NamedTuple):
    """What the progress bar shows.

    Attributes:
        round: Done so far.
        losses: Running mean by task.
        items_per_s: Since the last report.
        waiting: Share of the time since then that the model waited for batches.
    """

    round: int
    losses: Mapping[str, float]
    items_per_s: float
    waiting: float


class TrainedForward(nn.Module):
    """One task's batch to its head's logits, one vector an item: what is trained, in one call."""

    def __init__(self, model: TwelveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Padded, head: str, items: int) -> Tensor:
        """Run a batch.

        Args:
            rows: Of all items, in order.
            head: That answers.
            items: How many; each has as many rows as any other.

        Returns:
            [M, A] logits.
        """
        trunk, chosen = self.model.trunk, heads_of(self.model)[head]
        text = trunk.encode_text(rows.token_ids, rows.text_mask, rows.task_tokens)
        regions = trunk.encode_regions(rows.features, rows.locations, rows.region_mask)
        states = trunk.fuse(text, rows.text_mask, regions, rows.region_mask)
        logits: Tensor = chosen(chosen.arrange(getattr(states, chosen.reads)))
        return logits.reshape(items, -1)


def batch_loss(forward: TrainedForward, batch: Loaded, task: AnyTask, labels: Labels) -> Tensor:
    """Give one task's loss on a batch.

    Args:
        forward: Of the model.
        batch: Of one task.
        task: Whose batch.
        labels: How the head that answers is trained.

    Returns:
        A scalar.
    """
    device = device_of(forward)
    logits = forward(batch.rows.to(device), task.head, len(batch)).float()
    choices = [task.choices(own, seen) for own, seen in zip(logits, batch.seen, strict=True)]
    return task.loss(choices, [target.to(device) for target in batch.targets], labels)


def device_of(module: nn.Module) -> torch.device:
    """Give the device of a module's weights."""
    return next(module.parameters()).device


def train(
    model: TwelveModel,
    sources: Mapping[str, TaskItems],
    recipe: Recipe,
    out: Path,
    *,
    read_through: str,
    workshop: Workshop,
    on_progress: Callable[[Progress], None],
) -> None:
    """Train a model; a run that was cut short goes on from its last checkpoint.

    Args:
        model: Fresh; a checkpoint's weights take its place where there is one.
        sources: Items by task, in the recipe's order.
        recipe: Rounds, batches, rates.
        out: Folder for checkpoints and the log.
        read_through: What the data sets are cleaned by; kept with the checkpoint.
        workshop: Makes the batches.
        on_progress: Called every few rounds.

    Raises:
        ConfigInvalid: The run was begun under another recipe, or on other data.
    """
    steps = optimiser(model, recipe.optim)
    state = checkpoint.load(out, model, steps, recipe.as_dict(), read_through=read_through)
    first = state.round if state else 0
    begun_on = state.read_through if state else read_through
    labels = {name: heads_of(model)[source.task.head].labels for name, source in sources.items()}
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=recipe.optim.precision)
    forward, steps = accelerator.prepare(TrainedForward(model.train()), steps)
    loader = Loader.open(
        sources,
        {name: share.batch for name, share in recipe.tasks.items()},
        workshop,
        rank=Rank(accelerator.process_index, accelerator.num_processes),
        group=recipe.loading.group,
    )
    report = Report(out / LOG, loader, on_progress)
    for (number, name), batch in loader.batches(round_robin(list(sources), range(first, recipe.optim.rounds))):
        share = recipe.tasks[name]
        torch.manual_seed(step_seed(recipe.run.seed, number, sources[name].task.token))
        for group in steps.param_groups:
            group["lr"] = recipe.optim.learning_rate * rate(
                number, rounds=recipe.optim.rounds, warmup=recipe.optim.warmup
            )
        loss = batch_loss(forward, batch, sources[name].task, labels[name])
        accelerator.backward(loss * share.loss_scale)
        accelerator.clip_grad_norm_(forward.parameters(), recipe.optim.clip)
        steps.step()
        steps.zero_grad()
        report.step(name, float(loss.detach()), batch)
        if name != list(sources)[-1]:
            continue
        done = number + 1
        if done % recipe.keep.log_every == 0 or done == recipe.optim.rounds:
            report.show(done)
        if done % recipe.keep.checkpoint_every == 0 or done == recipe.optim.rounds:
            reached = checkpoint.State(done, recipe.as_dict(), report.figures(), begun_on)
            checkpoint.save(out, model, steps, reached)


def step_seed(seed: int, number: int, token: int) -> int:
    """Seed what one step draws (dropout), so that a run that was cut short draws as if it had not been.

    Args:
        seed: Of the run.
        number: Of the round.
        token: Of the task.

    Returns:
        A hash of all three in as many bits as torch keeps.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{token}".encode()).digest()[:SEED_BYTES])


class Report:
    """Running losses, throughput, waiting and padding, on the screen and as JSON lines."""

    def __init__(self, path: Path, loader: Loader, on_progress: Callable[[Progress], None]) -> None:
        self._path = path
        self._loader = loader
        self._on_progress = on_progress
        self._losses: dict[str, float] = {}
        self._begin()

    def _begin(self) -> None:
        self._items, self._filled = 0, Filled()
        self._since, self._waited_s = time.monotonic(), self._loader.waited_s

    def step(self, task: str, loss: float, batch: Loaded) -> None:
        """Take up one step."""
        self._losses[task] = SMOOTH * self._losses.get(task, loss) + (1 - SMOOTH) * loss
        self._items += len(batch)
        self._filled += Filled.of(batch.rows)

    def figures(self) -> dict[str, float]:
        """Give the running losses."""
        return {task: round(loss, 5) for task, loss in self._losses.items()}

    def show(self, number: int) -> None:
        """Report after a round."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        waiting = (self._loader.waited_s - self._waited_s) / seconds
        progress = Progress(number, self.figures(), self._items / seconds, waiting)
        line = {
            "round": number,
            "losses": progress.losses,
            "cpu_s": round(time.process_time(), 1),
            "waiting": round(waiting, 3),
            "padding": {name: round(share, 3) for name, share in self._filled.padding().items()},
        }
        self._begin()
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self._on_progress(progress)
