"""The only table from a task's name to the task. A new task is a new file here, or an entry point of `twelve.tasks`."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from twelve.errors import TokenClash, UnknownTask
from twelve.tasks.base import Task

AnyTask = Task[Any, Any]
ENTRY_POINTS = "twelve.tasks"
FIRST_NEW_TOKEN = 20
"""Tokens below are the published table's rows."""

NOT_TASKS = frozenset({"base", "records", "registry", "kinds"})


def discover() -> Mapping[str, AnyTask]:
    """Find all tasks: the files of this folder, then installed entry points.

    Returns:
        Tasks by name, in the order of their tokens.

    Raises:
        TokenClash: Two tasks share a name, an alias or a token.
    """
    folder = str(Path(__file__).parent)
    names = sorted(module.name for module in pkgutil.iter_modules([folder]) if module.name not in NOT_TASKS)
    own = [importlib.import_module(f"twelve.tasks.{name}").TASK for name in names]
    added = [entry.load() for entry in entry_points(group=ENTRY_POINTS)]
    return table([*own, *added])


def table(tasks: Iterable[AnyTask]) -> Mapping[str, AnyTask]:
    """Lay tasks out by name.

    Raises:
        TokenClash: Two tasks share a name, an alias or a token.
    """
    ordered = sorted(tasks, key=lambda task: task.token)
    taken: dict[str | int, str] = {}
    for task in ordered:
        keys: tuple[str | int, ...] = (task.name, *task.aliases, task.token)
        for key in keys:
            if key in taken:
                raise TokenClash(
                    f"task '{task.name}' claims {key!r}, which task '{taken[key]}' has; "
                    f"new tokens start at {FIRST_NEW_TOKEN}"
                )
            taken[key] = task.name
    return {task.name: task for task in ordered}


TASKS: Mapping[str, AnyTask] = discover()


def find(name: str | int) -> AnyTask:
    """Find a task by name, alias or token number.

    Raises:
        UnknownTask: Nobody bears it; lists who is there.
    """
    for task in TASKS.values():
        if name in (task.name, task.token, *task.aliases):
            return task
    raise UnknownTask(f"task: nobody knows {name!r}; known are {', '.join(TASKS)}", at="task")
