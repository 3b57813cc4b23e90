"""Stages over items among which are errors: an error takes its item's place, rides along, and harms no neighbour."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from twelve.errors import DeviceLost, EngineFailed, OutOfMemory, TwelveError
from twelve.runtimes.faults import is_device_lost, is_out_of_memory

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")


def each(stage: Callable[[In], Out], items: Sequence[In | TwelveError]) -> list[Out | TwelveError]:
    """Map a stage over items, one after the other.

    Args:
        stage: Raises a TwelveError for what it cannot do; anything else it raises becomes one.
        items: Errors among them pass through.

    Returns:
        One result or error an item, in their order.
    """
    return [_attempt(stage, item) for item in items]


def together(
    stage: Callable[[Sequence[In]], Sequence[Out | TwelveError]], items: Sequence[In | TwelveError]
) -> list[Out | TwelveError]:
    """Give all good items to a stage at once.

    Args:
        stage: Gives one result or error an item, in their order; is not asked where there are none.
        items: Errors among them pass through.

    Returns:
        One result or error an item, in their order.
    """
    good = [item for item in items if not isinstance(item, TwelveError)]
    made = iter(stage(good) if good else ())
    return [item if isinstance(item, TwelveError) else next(made) for item in items]


class Pool:
    """Maps stages over items in a bounded number of threads: for what lets go of Python's lock, as decoders do."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="twelve-stage")

    def each(self, stage: Callable[[In], Out], items: Sequence[In | TwelveError]) -> list[Out | TwelveError]:
        """Map a stage over items; see `each`. Order and errors are the same."""
        if self._threads == 1 or len(items) == 1:
            return each(stage, items)
        return list(self._executor.map(lambda item: _attempt(stage, item), items))


def failure(error: Exception) -> TwelveError:
    """Give what an exception is answered with; what is no answer by itself is logged with its traceback.

    Args:
        error: As raised by a stage.
    """
    if isinstance(error, TwelveError):
        return error
    if is_device_lost(error):
        log.error("the device is lost", exc_info=error)
        return DeviceLost("the device that the model runs on failed; the server starts anew, ask again")
    if is_out_of_memory(error):
        log.error("out of memory", exc_info=error)
        return OutOfMemory("this request needs more memory than there is; send fewer or smaller pictures")
    log.error("a stage failed", exc_info=error)
    return EngineFailed(f"the server failed on this request ({type(error).__name__}); the log has the rest")


def _attempt(stage: Callable[[In], Out], item: In | TwelveError) -> Out | TwelveError:
    if isinstance(item, TwelveError):
        return item
    try:
        return stage(item)
    except Exception as error:
        return failure(error)
