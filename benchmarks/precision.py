"""Does a bundle answer alike in 16 bits? Its own answers in float32 are the measure.

    python -m training requests training/recipes/small.toml --items 1200 --to build/requests.jsonl
    python -m benchmarks.precision build/requests.jsonl --bundle model_store/small

A bundle without a detector, as an imported one is, needs requests that bring their regions: one body of a prediction a
line, each picture as `{"regions": {"features": …, "boxes": …, "width": …, "height": …}}`.

Each request goes through the whole service, run by torch. "stored" rounds the weights and computes in float32, as a
bundle imported with `--dtype` is served; "computed" does everything in 16 bits, as an accelerator would.
"""

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import track
from torch import Tensor

from benchmarks.forward import machine
from export.agreement import Tally, Verdict
from twelve.assembly import Parts, Settings, assemble
from twelve.engines.engine import Engine, heads_of
from twelve.engines.graphs import graphs
from twelve.heads.model import TwelveModel
from twelve.runtimes.base import Runtime
from twelve.runtimes.module import ModuleRuntime
from twelve.service import Service
from twelve.wire import JSON, Call

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
FEWEST = 1000
"""Items below which no agreement is claimed."""


@dataclass(frozen=True)
class Narrow:
    """A runtime in 16 bits: numbers go in rounded and come out as float32."""

    inside: Runtime
    dtype: torch.dtype

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph; see `Runtime.run`."""
        answer = self.inside.run(**{name: _as(tensor, self.dtype) for name, tensor in inputs.items()})
        return {name: _as(tensor, torch.float32) for name, tensor in answer.items()}


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def stored(model: TwelveModel, dtype: torch.dtype) -> Engine:
    """Round the weights, compute in float32."""
    return Engine.eager(copy.deepcopy(model).to(dtype).float())


def computed(model: TwelveModel, dtype: torch.dtype) -> Engine:
    """Compute everything in 16 bits."""
    narrow = copy.deepcopy(model).to(dtype)
    runtimes = {
        graph.name: Narrow(ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs), dtype)
        for graph in graphs(narrow)
    }
    return Engine(model.config, heads_of(model), runtimes)


WAYS: Mapping[str, Callable[[TwelveModel, torch.dtype], Engine]] = {"stored": stored, "computed": computed}


def services(bundle: Path) -> tuple[Service, dict[str, Service]]:
    """Open a bundle in float32, and once for each type and way.

    Args:
        bundle: Its folder.

    Returns:
        The reference, and the others by name.
    """
    parts = assemble(bundle, Settings(engine="eager"))
    model = TwelveModel.load(bundle)
    others = {
        f"{name}, {way}": Service(_with(parts, make(model, dtype)))
        for name, dtype in DTYPES.items()
        for way, make in WAYS.items()
    }
    return Service(parts), others


def _with(parts: Parts, engine: Engine) -> Parts:
    return dataclasses.replace(parts, engine=engine)


def compare(bundle: Path, requests: Path) -> dict[str, dict[str, Tally]]:
    """Put each request to all.

    Args:
        bundle: Its folder.
        requests: JSON lines, each the body of a prediction.

    Returns:
        Tallies by name and task.

    Raises:
        SystemExit: A request is refused in float32.
    """
    reference, others = services(bundle)
    tallies: dict[str, dict[str, Tally]] = {name: {} for name in others}
    lines = requests.read_bytes().splitlines()
    for number, line in enumerate(track(lines, "requests"), start=1):
        expected = _answer(reference, line)
        if "error" in expected:
            raise SystemExit(f"{requests}:{number}: {expected['error']['message']}")
        for name, service in others.items():
            tally = tallies[name].setdefault(expected["task"], Tally())
            _count(tally, number, expected, _answer(service, line))
    return tallies


def _answer(service: Service, line: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(service.answer_calls([Call(body=line, content_type=JSON)])[0].body)
    return answer


def _count(tally: Tally, number: int, expected: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Count an answer; one that is no answer, as where 16 bits overflowed, is a different one."""
    if "error" in answer:
        tally.verdicts[Verdict.DIFFERENT] += 1
        tally.different.append(number)
        return
    tally.add(number, expected, answer)


def table(tallies: Mapping[str, Mapping[str, Tally]]) -> str:
    """Write in Markdown how often the answer was the same, a row a task."""
    names = list(tallies)
    tasks = list(tallies[names[0]])
    rows = [f"| task | items | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for task in tasks:
        rows.append(f"| `{task}` | {_items([tallies[names[0]][task]])} | {_shares(tallies, [task])} |")
    every = _items(tallies[names[0]].values())
    return "\n".join([*rows, f"| all | {every} | {_shares(tallies, tasks)} |"])


def _shares(tallies: Mapping[str, Mapping[str, Tally]], tasks: list[str]) -> str:
    return " | ".join(f"{100 * _share([one[task] for task in tasks]):.2f}" for one in tallies.values())


def _share(tallies: list[Tally]) -> float:
    return sum(tally.verdicts[Verdict.SAME] for tally in tallies) / _items(tallies)


def _items(tallies: Any) -> int:
    return sum(sum(tally.verdicts.values()) for tally in tallies)


def main(
    requests: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines, each the body of a prediction.")
    ],
    bundle: Annotated[Path, typer.Option(help="The model's folder.")] = Path("model_store/small"),
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/precision.json"),
) -> None:
    """Compare, print a table, write a report."""
    torch.set_num_threads(1)
    tallies = compare(bundle, requests)
    items = _items(next(iter(tallies.values())).values())
    by_name = {name: {task: asdict(tally) for task, tally in one.items()} for name, one in tallies.items()}
    report = {"bundle": str(bundle), "items": items, "machine": machine(), "agreement": by_name}
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(tallies))
    if items < FEWEST:
        typer.echo(f"{items} items are too few to claim anything of; at least {FEWEST} are needed", err=True)


if __name__ == "__main__":
    typer.run(main)
