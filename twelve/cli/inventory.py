"""`twelve tasks` and `twelve info`: what there is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from twelve.bundle import MANIFEST, Bundle
from twelve.cli.options import DEFAULT_BUNDLE, BundleArgument, BundleOption
from twelve.errors import ConfigInvalid

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.engines.flops import Cost

MEGABYTE = 1e6
GIGA = 1e9
WEIGHTS = ".safetensors"
ANSWERS = "answers/"
DIGITS = 12
"""Of a hash, to tell files apart by eye."""

STREAMS: Mapping[str, str] = {
    "text_embedding": "trunk: text",
    "text_layers": "trunk: text",
    "text_pooler": "trunk: text",
    "region_embedding": "trunk: image",
    "image_layers": "trunk: image",
    "region_pooler": "trunk: image",
    "co_layers": "trunk: co-attention",
}
"""What each member of the trunk belongs to."""

HEAD = " head"
DETECTOR = "detector"
NOBODY, NOTHING = "no task", "nothing"
NOT_SERVED = "not served"
DEAD = "dead"
"""Stem of the file of published parameters that nothing computes with; see `twelve.convert.restoring`."""

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
COSTS = ("pictures", "GFLOP", "text", "pictures alone", "pairs and head")
TOKENS, REGIONS = 14, 101
"""Of an ordinary request; see `twelve.engines.savings`, which takes torch to import."""


@dataclass(frozen=True)
class Score:
    """What is read of a task's entry among a bundle's scores; it has more."""

    score: float | None = None


Scores = dict[str, dict[str, Score]]
"""By model and task."""

TokensOption = Annotated[int, typer.Option(min=3, metavar="T", help="Of a request's text, the task token included.")]
RegionsOption = Annotated[int, typer.Option(min=2, metavar="R", help="Of each picture, the global one included.")]


def tasks(bundle: BundleOption = None) -> None:
    """List the tasks: how to ask each, and whether a bundle was trained on it."""
    from twelve.cli.show import print_table
    from twelve.tasks import TASKS

    known = _known(bundle)
    heads = ["task", "token", "group", "head", "fields", "summary"]
    rows = [
        [task.name, str(task.token), task.group, task.head, ", ".join(task.request.model_fields), task.summary]
        for task in TASKS.values()
    ]
    if known is not None:
        heads.insert(1, "trained")
        for row in rows:
            row.insert(1, "yes" if row[0] in known else "no")
    print_table(heads, rows, numbers=("token",))


def info(
    bundle: BundleArgument = DEFAULT_BUNDLE, tokens: TokensOption = TOKENS, regions: RegionsOption = REGIONS
) -> None:
    """Say what a bundle holds and costs: parameters, memory, tasks, answers, files, scores."""
    from twelve.cli.show import print_table

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    typer.echo(f"{manifest.name} {manifest.version}, digest {opened.digest()[:DIGITS]}\n")
    _show_parameters(opened)
    typer.echo()
    _show_tasks(opened, tokens, regions)
    typer.echo()
    print_table(
        ("answers of head", "count"), [(head, str(count)) for head, count in _answers(opened)], numbers=("count",)
    )
    typer.echo()
    files = [
        (name, f"{(opened.path / name).stat().st_size / MEGABYTE:.2f}", entry["sha256"][:DIGITS])
        for name, entry in manifest.files.items()
    ]
    print_table(("file", "MB", "sha256"), files, numbers=("MB",))
    _show_scores(_measured(opened))
    if manifest.notes:
        typer.echo(f"\nnotes\n{json.dumps(manifest.notes, indent=2, ensure_ascii=False)}")


def parameters_by_part(bundle: Bundle) -> dict[str, int]:
    """Count a bundle's parameters by the headers of its files; no weights are read.

    Returns:
        Counts of the trunk's streams and what joins them, each head, the detector, and whatever else there is.

    Raises:
        ConfigInvalid: A file of weights is broken; names it.
    """
    counts: dict[str, int] = {}
    for file, tensor, shape in _tensors(bundle):
        part = _part(file, tensor)
        counts[part] = counts.get(part, 0) + prod(shape)
    return counts


def _known(bundle: Path | None) -> Mapping[str, int] | None:
    """Give the tasks of a bundle; None where nobody named one and the default one is not there."""
    if bundle is None and not (DEFAULT_BUNDLE / MANIFEST).is_file():
        return None
    return Bundle.open(bundle or DEFAULT_BUNDLE).manifest.tasks


def _tensors(bundle: Bundle) -> Iterator[tuple[str, str, list[int]]]:
    from safetensors import SafetensorError  # an extra that `twelve --help` can do without

    for file in bundle.manifest.files:
        if file.endswith(WEIGHTS):
            try:
                shapes = _shapes(bundle.path / file)
            except SafetensorError as error:
                raise ConfigInvalid(f"{bundle.path / file}: {error}; copy the bundle again") from error
            yield from ((file, tensor, shape) for tensor, shape in shapes.items())


def _shapes(path: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as weights:
        return {tensor: weights.get_slice(tensor).get_shape() for tensor in weights.keys()}  # noqa: SIM118  # no mapping


def _part(file: str, tensor: str) -> str:
    """Name the part that a tensor belongs to: of the trunk, its head, or what its file holds."""
    owner, _, rest = tensor.partition(".")
    member = rest.split(".")[0]
    return {"trunk": STREAMS.get(member, "trunk"), "heads": f"{member}{HEAD}"}.get(owner, Path(file).stem)


def _show_parameters(bundle: Bundle) -> None:
    """Print parts with their parameters and who reads them, and what they weigh in memory."""
    from twelve.cli.show import print_table

    parameters, readers = parameters_by_part(bundle), {DEAD: NOTHING, **_readers(bundle)}
    rows = [(part, readers.get(part, NOBODY), f"{count:,}") for part, count in parameters.items()]
    served = sum(count for part, count in parameters.items() if readers.get(part, NOTHING) != NOTHING)
    idle = sum(count for part, count in parameters.items() if part not in readers)
    totals = [("all that is read", "", f"{served:,}"), (NOT_SERVED, NOBODY, f"{idle:,}")]
    print_table(("part", "read by", "parameters"), [*rows, *totals], numbers=("parameters",))
    typer.echo()
    memory = [(name, _megabytes(served * width), _megabytes(idle * width)) for name, width in BYTES.items()]
    heads = ("weights in memory as", "served, MB", f"{NOT_SERVED}, MB")
    print_table(heads, memory, numbers=heads[1:])
    typer.echo("what is not served is there to go on training from")


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.1f}"


def _readers(bundle: Bundle) -> dict[str, str]:
    """Say of each part that any task needs which tasks those are."""
    from twelve.tasks import TASKS

    known = [task for task in TASKS.values() if task.name in bundle.manifest.tasks]
    heads = {f"{task.head}{HEAD}": [one.name for one in known if one.head == task.head] for task in known}
    every = dict.fromkeys((*STREAMS.values(), DETECTOR), "every task") if known else {}
    return {**every, **{part: ", ".join(names) for part, names in heads.items()}}


def _show_tasks(bundle: Bundle, tokens: int, regions: int) -> None:
    """Print tasks with their tokens, and the operations of an ordinary request to each."""
    from twelve.cli.show import print_table
    from twelve.engines.flops import Size, cost, weightless
    from twelve.heads.model import CONFIG_FILE
    from twelve.model.config import ModelConfig
    from twelve.tasks import TASKS

    model, size = weightless(ModelConfig.load(bundle.path / CONFIG_FILE)), Size(tokens, regions)
    rows = []
    for name, token in bundle.manifest.tasks.items():
        task = TASKS.get(name)
        figures = _figures(cost(model, task, size), task.pictures_in_example) if task else [""] * len(COSTS)
        rows.append((name, str(token), *figures))
    print_table(("task", "token", *COSTS), rows, numbers=("token", *COSTS))
    typer.echo(
        f"GFLOP of a request of {tokens} tokens, and {regions} regions a picture, the task token and the global region "
        "included; a text and a picture cost their own once in a batch; finding the regions, which the detector does, "
        "is not in it"
    )


def _figures(cost: "Cost", pictures: int) -> list[str]:
    parts = (cost.all, cost.text, cost.regions, cost.fuse + cost.heads)
    return [str(pictures), *(f"{part / GIGA:.3g}" for part in parts)]


def _answers(bundle: Bundle) -> Iterator[tuple[str, int]]:
    for file in bundle.manifest.files:
        if file.startswith(ANSWERS):
            head = Path(file).stem
            yield head, len(bundle.answers(head))


def _measured(bundle: Bundle) -> Scores:
    """Give the scores by model and task.

    Raises:
        ConfigInvalid: They are written in another form.
    """
    try:
        return TypeAdapter(Scores).validate_python(bundle.manifest.scores)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("scores", *first["loc"])))
        raise ConfigInvalid(f"{bundle.path / MANIFEST}: {place}: {first['msg']}; evaluate or copy it again") from error


def _show_scores(scores: Scores) -> None:
    """Print what `python -m training evaluate` measured: a row a task, a column a model."""
    from twelve.cli.show import print_table

    tasks_of_all = dict.fromkeys(task for column in scores.values() for task in column)
    if tasks_of_all:
        typer.echo()
        print_table(
            ("score, %", *scores),
            [(task, *(_per_cent(column.get(task, Score())) for column in scores.values())) for task in tasks_of_all],
            numbers=tuple(scores),
        )


def _per_cent(entry: Score) -> str:
    return "" if entry.score is None else f"{100 * entry.score:.1f}"
