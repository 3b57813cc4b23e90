"""Twelve tasks. A task is one file: its token, head, request, rows, target, loss, metric and decoding."""

from twelve.tasks.base import Task
from twelve.tasks.registry import TASKS, find

__all__ = ["TASKS", "Task", "find"]
