"""`twelve tasks` and `twelve info`: what there is."""

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import typer

from twelve.bundle import MANIFEST, Bundle
from twelve.cli.options import DEFAULT_BUNDLE, BundleArgument, BundleOption

MEGABYTE = 1e6
WEIGHTS = ".safetensors"
ANSWERS = "answers/"
DIGITS = 12
"""Of a hash, to tell files apart by eye."""


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


def info(bundle: BundleArgument = DEFAULT_BUNDLE) -> None:
    """Say what a bundle holds: parameters, tasks, answers, files, scores."""
    from twelve.cli.show import print_table

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    typer.echo(f"{manifest.name} {manifest.version}, digest {opened.digest()[:DIGITS]}\n")
    parameters = parameters_by_part(opened)
    counts = [(part, f"{count:,}") for part, count in parameters.items()]
    print_table(("part", "parameters"), [*counts, ("all", f"{sum(parameters.values()):,}")], numbers=("parameters",))
    typer.echo()
    print_table(("task", "token"), [(name, str(token)) for name, token in manifest.tasks.items()], numbers=("token",))
    typer.echo()
    print_table(
        ("answers of head", "count"), [(head, str(count)) for head, count in _answers(opened)], numbers=("count",)
    )
    typer.echo()
    files = [
        (name, f"{entry['bytes'] / MEGABYTE:.2f}", entry["sha256"][:DIGITS]) for name, entry in manifest.files.items()
    ]
    print_table(("file", "MB", "sha256"), files, numbers=("MB",))
    _show_scores(manifest.scores)
    if manifest.notes:
        typer.echo(f"\nnotes\n{json.dumps(manifest.notes, indent=2, ensure_ascii=False)}")


def parameters_by_part(bundle: Bundle) -> dict[str, int]:
    """Count a bundle's parameters by the headers of its files; no weights are read.

    Returns:
        Counts of the trunk, each head and the detector.
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
    from safetensors import safe_open  # an extra that `twelve --help` can do without

    for file in bundle.manifest.files:
        if file.endswith(WEIGHTS):
            with safe_open(bundle.path / file, framework="numpy") as weights:
                for tensor in weights.keys():  # noqa: SIM118  # safetensors' handle is no mapping
                    yield file, tensor, weights.get_slice(tensor).get_shape()


def _part(file: str, tensor: str) -> str:
    """Name the part that a tensor belongs to: the trunk, its head, or what its file holds."""
    owner, _, rest = tensor.partition(".")
    return {"trunk": "trunk", "heads": f"{rest.split('.')[0]} head"}.get(owner, Path(file).stem)


def _answers(bundle: Bundle) -> Iterator[tuple[str, int]]:
    for file in bundle.manifest.files:
        if file.startswith(ANSWERS):
            head = Path(file).stem
            yield head, len(bundle.answers(head))


def _show_scores(scores: Mapping[str, Any]) -> None:
    """Print what `python -m training evaluate` measured: a row a task, a column a model."""
    from twelve.cli.show import print_table

    tasks_of_all = dict.fromkeys(task for column in scores.values() for task in column)
    if tasks_of_all:
        typer.echo()
        print_table(
            ("score, %", *scores),
            [(task, *(_per_cent(column.get(task, {})) for column in scores.values())) for task in tasks_of_all],
            numbers=tuple(scores),
        )


def _per_cent(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['score']:.1f}" if "score" in entry else ""
