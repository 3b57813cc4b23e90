"""Answers for people, on a terminal, and for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twelve.cli.question import Question
from twelve.schema import Answer

PLACES = 4
"""Decimals of a score."""

WIDTH_OF_FILES = 240
"""Characters."""


def show(question: Question, answer: Answer) -> None:
    """Print an answer, the candidates it was chosen from, and who answered."""
    console = _console()
    console.print(Text(named(answer.answer, question.choices), style="bold"))
    rows = [(named(one.answer, question.choices), f"{one.score:.{PLACES}f}") for one in answer.candidates]
    print_table(("candidate", "score"), rows, numbers=("score",))
    took = answer.timings_ms.get("total")
    console.print(
        Text(f"{answer.model.name} {answer.model.version}" + (f" in {took:.0f} ms" if took else ""), style="dim")
    )


def show_json(answer: Answer) -> None:
    """Print an answer as the contract writes it."""
    print_json(answer.model_dump(mode="json"))


def print_json(value: Any) -> None:
    """Print JSON on one line, pure ASCII."""
    typer.echo(json.dumps(value))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table.

    Args:
        heads: Of the columns.
        rows: A text a column; taken as they are, "[bold]" is no markup.
        numbers: Which columns stand to the right.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def named(answer: Any, choices: Sequence[str]) -> str:
    """Write an answer for people.

    Args:
        answer: As the contract has it.
        choices: What an index counts; an index is followed by what it points to.

    Returns:
        The text.
    """
    if type(answer) is int and answer < len(choices):  # a verdict is a bool, which is an int too
        return f"{answer}  {choices[answer]}"
    return answer if isinstance(answer, str) else json.dumps(answer)


def _console() -> Console:
    """Give the terminal as wide as it is; a file or a pipe gets each row on one line."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_FILES)
