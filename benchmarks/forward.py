"""The forward pass in the manner of the published code against ours: CPU time, a row for each task group.

    python -m benchmarks.forward --size paper --to benchmarks/forward.json

Both have the same random weights and one thread. The published one pads each text to its data set's most tokens and
each picture to 101 regions, and computes every head; ours makes its exact savings, run by torch ("eager") and by
onnxruntime. All take turns within a round, so that whatever else the machine does falls on all; a ratio is taken inside
a round, and the median over rounds is reported. Answers are compared as well: a saving that changed them would be none.

What onnxruntime gains over torch depends on the processor: the report has what each of them reaches in one large
product, and no forward pass gets beyond that.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from benchmarks.published import PublishedForward, padded
from export import to_onnx
from export.folder import made_with
from twelve.batch import ROWS_PER_PASS, Text, Visual
from twelve.boxes import LOCATION_WIDTH, global_location
from twelve.engines.engine import Engine
from twelve.engines.exported import headless
from twelve.engines.flops import counted, weightless
from twelve.engines.graphs import Graph, graphs
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.runtimes.module import ModuleRuntime
from twelve.runtimes.onnx_file import OnnxRuntime
from twelve.schema import StoredImage
from twelve.tasks import TASKS
from twelve.tasks.registry import AnyTask
from twelve.text import TextEncoder

SIZES: Mapping[str, Callable[[], ModelConfig]] = {
    "paper": ModelConfig.paper,
    "small": lambda: ModelConfig.small(vqa_labels=99, gqa_labels=81),
    "tiny": ModelConfig.tiny,
}
VOCABULARY = Path(__file__).parents[1] / "twelve/convert/vocab.txt"
CASES = (("vqa-v2", 1), ("coco-retrieval", 8), ("refcoco", 1), ("nlvr2", 2), ("snli-ve", 1))
"""Tasks and pictures of a request; verification has two kinds."""

PADDED_REGIONS = 101
"""What the published readers pad each of these tasks' pictures to, the global region included (`max_region_num`)."""

PUBLISHED, EAGER, ONNXRUNTIME = "published", "eager", "onnxruntime"
SAME = {EAGER: 1e-5, ONNXRUNTIME: 1e-4}
"""Most that logits may differ by, of the largest: fp32 sums in another order, and other kernels."""

ROWS, WIDTH = 8 * PADDED_REGIONS, 1024
PRODUCTS = 50
"""Runs of a large product; each takes some 20 ms."""

MARKER = "made.json"
GIGA = 1e9
console = Console(stderr=True)


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        task: Which is asked.
        pairs: Its rows.
        regions: Of each picture, the global one included.
    """

    task: AnyTask
    pairs: Sequence[tuple[Text, Visual]]
    regions: int

    @property
    def tokens(self) -> int:
        """Count the text's tokens, the task token included."""
        return len(self.pairs[0][0].token_ids) + 1

    @property
    def padded_tokens(self) -> int:
        """Give what the published reader pads this task's texts to, and the task token."""
        return self.task.most_tokens + 1


Run = Callable[[Case], Tensor]
"""Answers a case: the logits of its task's head, as one vector."""


def make_case(task: AnyTask, pictures: int, regions: int, config: ModelConfig, encoder: TextEncoder) -> Case:
    """Make a request of a task's own example text and of pictures drawn at random."""
    generator = torch.Generator().manual_seed(task.token)
    stored = [StoredImage(key=str(place)) for place in range(pictures)]
    prompt = task.rows(task.request(**task.example(stored)))
    visuals = [_visual(regions, config, generator) for _ in prompt.images]
    pairs = [(_text(text, task, config, encoder), visuals[image]) for text, image in prompt.rows]
    return Case(task, pairs, regions)


def _text(text: str, task: AnyTask, config: ModelConfig, encoder: TextEncoder) -> Text:
    pieces = encoder.encode_whole(text, most=config.max_position_embeddings, at=task.text_field)
    return Text(tuple(piece % config.vocab_size for piece in pieces), task.token)


def _visual(regions: int, config: ModelConfig, generator: torch.Generator) -> Visual:
    features = torch.rand(regions, config.v_feature_size, generator=generator)
    corners = torch.rand(regions - 1, LOCATION_WIDTH, generator=generator)
    return Visual(features, torch.cat([global_location(), corners]))


def published(forward: PublishedForward) -> Run:
    """Answer by one padded call of everything."""

    def run(case: Case) -> Tensor:
        texts, visuals = [text for text, _ in case.pairs], [visual for _, visual in case.pairs]
        with torch.inference_mode():
            given = padded(texts, visuals, tokens=case.padded_tokens, regions=PADDED_REGIONS)
            answer = forward(given)[case.task.head]
        return answer[:, : case.regions].flatten() if case.task.head == "grounding" else answer.flatten()

    return run


def ours(engine: Engine, rows_per_pass: int) -> Run:
    """Answer as the service does."""

    @torch.inference_mode()
    def run(case: Case) -> Tensor:
        builder = engine.builder()
        span = builder.add(case.pairs)
        batch = builder.build()
        passes = engine.plan(batch, rows_per_pass=rows_per_pass)
        states = engine.fuse(batch, passes, engine.text(batch.texts), engine.regions(batch.visuals))
        return engine.head(case.task.head, states, span)

    return run


def onnx_engine(model: TwelveModel, folder: Path, made: Mapping[str, Any]) -> Engine:
    """Export a model's graphs, unless the folder has them already, and open them as a server does.

    Args:
        model: With its weights.
        folder: Of the files.
        made: What the files depend on.

    Returns:
        The engine.
    """
    marker = folder / MARKER
    listed = graphs(model)
    if not marker.is_file() or json.loads(marker.read_text(encoding="utf-8")) != made:
        marker.unlink(missing_ok=True)
        for graph in listed:
            console.print(f"exporting {graph.name}")
            to_onnx.write(graph, folder / f"{graph.name}.onnx")
        marker.write_text(json.dumps(made), encoding="utf-8")
    runtimes = {graph.name: OnnxRuntime.open(folder / f"{graph.name}.onnx", threads=1) for graph in listed}
    return Engine(model.config, headless(model.config), runtimes)


@dataclass(frozen=True)
class Measured:
    """One case, run by all.

    Attributes:
        group: Of the task.
        task: Its name.
        pictures: Of the request.
        tokens: Of its text; as padded in the published manner.
        regions: Of each picture; likewise.
        gigaflops: By who ran it: the published manner and ours.
        cpu_ms: Median over rounds, by who ran it.
        times_faster: Than published: median, smallest and largest over rounds, by who ran it.
        difference: Of the logits from the published ones, of the largest, by who ran it.
    """

    group: str
    task: str
    pictures: int
    tokens: tuple[int, int]
    regions: tuple[int, int]
    gigaflops: Mapping[str, float]
    cpu_ms: Mapping[str, float]
    times_faster: Mapping[str, tuple[float, float, float]]
    difference: Mapping[str, float]


def measure(case: Case, runs: Mapping[str, Run], gigaflops: Mapping[str, float], rounds: int) -> Measured:
    """Let all answer a case, in turns.

    Args:
        case: The request.
        runs: By name; the published one among them.
        gigaflops: Of this case.
        rounds: How often.

    Returns:
        The figures.

    Raises:
        SystemExit: An answer is not the published one.
    """
    answers = {name: run(case) for name, run in runs.items()}  # which also warms them up
    differences = {name: _difference(answers[PUBLISHED], answers[name]) for name in runs if name != PUBLISHED}
    _refuse_other_answers(case, differences)
    spent = [_round(case, runs, first) for first in range(rounds)]
    ratios = {name: sorted(one[PUBLISHED] / one[name] for one in spent) for name in differences}
    return Measured(
        case.task.group,
        case.task.name,
        len(case.pairs),
        (case.tokens, case.padded_tokens),
        (case.regions, PADDED_REGIONS),
        {name: round(value, 2) for name, value in gigaflops.items()},
        {name: round(1000 * statistics.median(one[name] for one in spent), 1) for name in runs},
        {name: (_short(statistics.median(all_)), _short(all_[0]), _short(all_[-1])) for name, all_ in ratios.items()},
        differences,
    )


def _round(case: Case, runs: Mapping[str, Run], first: int) -> dict[str, float]:
    """Run each once, in an order that changes from round to round; CPU seconds by name."""
    names = list(runs)
    return {name: _cpu_s(lambda name=name: runs[name](case)) for name in _rotated(names, first)}


def _rotated(names: Sequence[str], first: int) -> Sequence[str]:
    first %= len(names)
    return [*names[first:], *names[:first]]


def _cpu_s(run: Callable[[], object]) -> float:
    before = time.process_time()
    run()
    return time.process_time() - before


def _difference(expected: Tensor, got: Tensor) -> float:
    return float((expected - got).abs().max() / expected.abs().max())


def _short(ratio: float) -> float:
    return round(ratio, 2)


def _refuse_other_answers(case: Case, differences: Mapping[str, float]) -> None:
    for name, difference in differences.items():
        if not difference <= SAME[name]:
            raise SystemExit(
                f"{case.task.name}: {name} differs from published by {difference:.1e} of the largest logit"
            )


def count(case: Case, config: ModelConfig) -> dict[str, float]:
    """Count the operations of a case, in the published manner and in ours; neither is run."""
    model = weightless(config)
    with torch.device("meta"):
        forward = PublishedForward(model)
        blank = Case(case.task, [(text, _blank(visual)) for text, visual in case.pairs], case.regions)
        _, of_published = counted(lambda: published(forward)(blank))
        _, of_ours = counted(lambda: ours(Engine.eager(model), rows_per_pass=1)(blank))
    return {PUBLISHED: of_published / GIGA, "ours": of_ours / GIGA}


def _blank(visual: Visual) -> Visual:
    return Visual(torch.empty_like(visual.features, device="meta"), torch.empty_like(visual.locations, device="meta"))


def product_rates() -> dict[str, float]:
    """Measure one large product of matrices: the regions of 8 pictures by a layer's weights.

    Returns:
        GFLOP a CPU second by torch and by onnxruntime, one thread each; medians.
    """
    layer, states = nn.Linear(WIDTH, WIDTH, bias=False).eval(), torch.rand(ROWS, WIDTH)
    graph = Graph("product", layer, ("states",), ("out",), {"states": states}, {"states": {}})
    with tempfile.TemporaryDirectory() as private:
        path = Path(private) / "product.onnx"
        to_onnx.write(graph, path)
        runtimes = {
            EAGER: ModuleRuntime(layer, inputs=graph.inputs, outputs=graph.outputs),
            ONNXRUNTIME: OnnxRuntime.open(path, threads=1),
        }
        spent = {name: _median_cpu_s(lambda one=one: one.run(states=states)) for name, one in runtimes.items()}
    return {name: round(2 * ROWS * WIDTH * WIDTH / GIGA / cpu_s, 1) for name, cpu_s in spent.items()}


def _median_cpu_s(run: Callable[[], object]) -> float:
    return statistics.median(_cpu_s(run) for _ in range(PRODUCTS))


def table(measured: Sequence[Measured]) -> str:
    """Write the figures in Markdown."""
    names = list(measured[0].times_faster)
    heads = ["group", "task", "pictures", "tokens", "regions", "GFLOP", f"{PUBLISHED}, ms"]
    heads += [head for name in names for head in (f"{name}, ms", "times")]
    rows = [_line(heads), _line(["---", "---", *["---:"] * (len(heads) - 2)])]
    for one in measured:
        shapes = [f"{own} of {padded_to}" for own, padded_to in (one.tokens, one.regions)]
        flops = f"{one.gigaflops['ours']:.1f} of {one.gigaflops[PUBLISHED]:.1f}"
        cells = [one.group, f"`{one.task}`", str(one.pictures), *shapes, flops, f"{one.cpu_ms[PUBLISHED]:.0f}"]
        cells += [
            cell for name in names for cell in (f"{one.cpu_ms[name]:.0f}", f"**{one.times_faster[name][0]:.2f}**")
        ]
        rows.append(_line(cells))
    return "\n".join(rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> dict[str, Any]:
    """Name what the figures depend on."""
    return {"cpu": _cpu() or platform.processor(), "system": platform.platform(), **made_with()}


def _cpu() -> str:
    """Give the processor's name; with family and model, since makers give one name to several generations."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = [told.get("model name", ""), *(f"{part} {told[part]}" for part in ("cpu family", "model") if part in told)]
    return ", ".join(part for part in parts if part)


@contextmanager
def _folder(graphs_in: Path | None) -> Iterator[Path]:
    """Give the folder that was named, or one that is gone afterwards."""
    if graphs_in is not None:
        graphs_in.mkdir(parents=True, exist_ok=True)
        yield graphs_in
        return
    with tempfile.TemporaryDirectory() as private:
        yield Path(private)


def main(
    size: Annotated[str, typer.Option(help=f"Of the model: {', '.join(SIZES)}.")] = "paper",
    regions: Annotated[str, typer.Option(help="Of a picture, the global one included; several by commas.")] = "101,37",
    rows_per_pass: Annotated[int, typer.Option(help="Most pairs that run together in ours.")] = ROWS_PER_PASS,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the median is reported.")] = 9,
    graphs_in: Annotated[Path | None, typer.Option("--graphs", help="Keeps the exported graphs.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/forward.json"),
) -> None:
    """Measure every case, print a table, write a report."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    config, encoder = SIZES[size](), TextEncoder.load(VOCABULARY)
    model = TwelveModel(config).eval()
    forward = PublishedForward(model).eval()
    with _folder(graphs_in) as folder:
        made = {"size": size, "seed": seed, **made_with()}
        engines = {EAGER: Engine.eager(model), ONNXRUNTIME: onnx_engine(model, folder, made)}
        runs = {PUBLISHED: published(forward), **{name: ours(one, rows_per_pass) for name, one in engines.items()}}
        measured = []
        for own in map(int, regions.split(",")):
            for name, pictures in CASES:
                case = make_case(TASKS[name], pictures, own, config, encoder)
                measured.append(measure(case, runs, count(case, config), rounds))
                console.print(measured[-1])
    settings = {
        "size": size,
        "rows_per_pass": rows_per_pass,
        "rounds": rounds,
        "threads": 1,
        "product_gigaflops_a_s": product_rates(),
    }
    report = {**settings, "machine": machine(), "cases": [asdict(one) for one in measured]}
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(measured))


if __name__ == "__main__":
    typer.run(main)
