"""What the service tells of itself, to whoever keeps figures, writes logs or sends traces. It knows none of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

OK = "ok"
"""The code of a request that was answered."""

SELF_TEST = "x-self-test"
"""The header of a request by which a server looks at itself; nginx takes it off whatever comes from outside."""

UNKNOWN_TASK = "unknown"
"""The task of a request that named none of ours."""


class Lap(NamedTuple):
    """One stage of one batch.

    Attributes:
        stage: Its name.
        began_s: By `time.monotonic()`.
        seconds: How long it took.
    """

    stage: str
    began_s: float
    seconds: float


@dataclass(frozen=True)
class Done:
    """A request that has its answer.

    Attributes:
        task: Its task's name, or whatever stood there.
        code: "ok", or the code of the error it was answered with.
        request_id: Names it in every log.
        headers: As sent, names in lower case.
        began_s: When it entered the system, by `time.monotonic()`.
        ended_s: When its answer was there.
        laps: The stages of its batch, in order.
    """

    task: str
    code: str
    request_id: str
    headers: Mapping[str, str]
    began_s: float
    ended_s: float
    laps: tuple[Lap, ...] = ()

    @property
    def seconds(self) -> float:
        """Give how long it took."""
        return self.ended_s - self.began_s

    @property
    def is_self_test(self) -> bool:
        """Say whether the server asked itself, as it does every second: no figure of its clients."""
        return bool(self.headers.get(SELF_TEST))


class Watcher(Protocol):
    """Whoever wants to know what becomes of pictures."""

    def looked_up(self, result: str) -> None:
        """Take where a picture's regions were: one of `twelve.regions.cache.RESULTS`."""
        ...

    def detector_ran(self) -> None:
        """Take that the detector is run."""
        ...


class Observer(Watcher, Protocol):
    """Whoever wants to know."""

    def stage(self, name: str, seconds: float) -> None:
        """Take the time of one stage of one batch."""
        ...

    def batch(self, rows: int) -> None:
        """Take how many rows, pairs of a text and a picture, the engine is given at once."""
        ...

    def request(self, done: Done) -> None:
        """Take a request that has its answer."""
        ...


class Silent:
    """An observer that keeps nothing; also for those who want to know only a part."""

    def looked_up(self, result: str) -> None:
        """Keep nothing."""

    def detector_ran(self) -> None:
        """Keep nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Keep nothing."""

    def batch(self, rows: int) -> None:
        """Keep nothing."""

    def request(self, done: Done) -> None:
        """Keep nothing."""


class Several:
    """Tells several observers the same."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def looked_up(self, result: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.looked_up(result)

    def detector_ran(self) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.detector_ran()

    def stage(self, name: str, seconds: float) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.stage(name, seconds)

    def batch(self, rows: int) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.batch(rows)

    def request(self, done: Done) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.request(done)
