"""The straight line from bytes to answers. Read this file first.

A bad request is a value, never an exception: `each` maps a stage over items and lets a typed error ride along in its
place, because whoever serves us fails a whole batch on any exception. A request's rows are its own by Span, whatever
stands beside it: alone, in a mixed batch or in any order the answer is the same.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from twelve.assembly import Parts, Settings, assemble
from twelve.batch import ROWS_PER_PASS, Span, Text, Visual, visual
from twelve.engines.engine import RowStates
from twelve.errors import EngineFailed, OutOfMemory, TaskNotInCheckpoint, TooLarge, TwelveError
from twelve.pictures import Attached, BatchDesk, Slot, Unwatched, Watcher
from twelve.schema import MOST_CHARACTERS, Answer
from twelve.tasks.base import AnswerList, Prompt, Seen
from twelve.tasks.registry import AnyTask
from twelve.text import TextEncoder
from twelve.wire import Asked, Call, Reply, answered, read, refused

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

STAGES = ("decode", "regions", "encode", "text", "pictures", "fuse", "heads", "answer")


class Observer(Watcher, Protocol):
    """Whoever keeps the figures."""

    def stage(self, name: str, seconds: float) -> None:
        """Take the time of one stage of one batch."""
        ...

    def request(self, task: str, code: str, seconds: float) -> None:
        """Take one request's task, "ok" or error code, and time."""
        ...


class Silent(Unwatched):
    """An observer that keeps nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Keep nothing."""

    def request(self, task: str, code: str, seconds: float) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Ready:
    """A request with its pictures opened."""

    task: AnyTask
    prompt: Prompt
    slots: tuple[Slot, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """A request with its regions found."""

    task: AnyTask
    prompt: Prompt
    pictures: tuple[Attached, ...]


@dataclass(frozen=True)
class Encoded:
    """A request as rows of texts and pictures."""

    example: Example
    pairs: tuple[tuple[Text, Visual], ...]


@dataclass(frozen=True)
class Scored:
    """A request with the scores of its head."""

    example: Example
    scores: Tensor


class Service:
    """Answers requests of all tasks, one by one or in any mixture."""

    def __init__(self, parts: Parts, *, observer: Observer | None = None, rows_per_pass: int = ROWS_PER_PASS) -> None:
        self.knowledge = parts.knowledge
        self.engine = parts.engine
        self.extractor = parts.extractor
        self._encoder = parts.encoder
        self._observer = observer or Silent()
        self._desk = parts.desk.watched_by(self._observer)
        self._rows_per_pass = rows_per_pass

    @classmethod
    def open(cls, bundle: Path | str, settings: Settings | None = None, *, observer: Observer | None = None) -> Self:
        """Assemble the service of a bundle.

        Args:
            bundle: The bundle's folder.
            settings: How to serve it.
            observer: Keeps the figures.

        Returns:
            The service.

        Raises:
            StartupError: The bundle or its graphs are not fit to be served.
        """
        chosen = settings or Settings()
        return cls(assemble(Path(bundle), chosen), observer=observer, rows_per_pass=chosen.rows_per_pass)

    def answer_calls(self, calls: Sequence[Call]) -> list[Reply]:
        """Answer a batch of calls.

        Args:
            calls: As they came, tasks in any mixture.

        Returns:
            One reply a call, in their order. Never raises for what a call holds.
        """
        started = [time.monotonic() if call.received_s is None else call.received_s for call in calls]
        watch = Stopwatch(self._observer)
        with watch("decode"):
            asked = each(read, calls)
            ready = each(self._ready, asked)
        answers = self._answer(ready, watch)
        return [
            self._reply(call, _task_name(one), answer, since)
            for call, one, answer, since in zip(calls, asked, answers, started, strict=True)
        ]

    def _answer(self, ready: Sequence[Ready | TwelveError], watch: "Stopwatch") -> list[Answer | TwelveError]:
        with watch("regions"):
            examples = self._attach_all(ready)
        with watch("encode"):
            encoded = each(Encoder(self._encoder, self.knowledge.most_tokens), examples)
        scored = self._score(encoded, watch)
        with watch("answer"):
            return each(lambda one: self._decode(one, watch.timings_ms), scored)

    def _ready(self, asked: Asked) -> Ready:
        if asked.task.name not in self.knowledge.tasks:
            raise TaskNotInCheckpoint(
                f"task: '{asked.task.name}' exists, but model '{self.knowledge.model.name}' was not trained on it; "
                f"it knows {', '.join(sorted(self.knowledge.tasks))}",
                at="task",
            )
        prompt = asked.task.rows(asked.request)
        paths = picture_paths(asked, len(prompt.images))
        return Ready(asked.task, prompt, self._desk.open_all(prompt.images, paths), paths)

    def _attach_all(self, ready: Sequence[Ready | TwelveError]) -> list[Example | TwelveError]:
        desk = BatchDesk(self._desk)
        return each(
            lambda one: Example(
                one.task,
                one.prompt,
                tuple(
                    desk.look(slot, () if place else one.prompt.boxes_px, at=at)
                    for place, (slot, at) in enumerate(zip(one.slots, one.paths, strict=True))
                ),
            ),
            ready,
        )

    def _score(self, encoded: Sequence[Encoded | TwelveError], watch: "Stopwatch") -> list[Scored | TwelveError]:
        good = [one for one in encoded if isinstance(one, Encoded)]
        if not good:
            return [one for one in encoded if isinstance(one, TwelveError)]
        try:
            scored = self._run(good, watch)
        except Exception as error:  # one request's rows may have sunk the pass: let each sink or swim alone
            log.warning("a batch of %d failed (%s: %s); running each alone", len(good), type(error).__name__, error)
            scored = [one for alone in good for one in self._run_alone(alone, watch)]
        remaining = iter(scored)
        return [next(remaining) if isinstance(one, Encoded) else one for one in encoded]

    def _run_alone(self, encoded: Encoded, watch: "Stopwatch") -> list[Scored | TwelveError]:
        return [
            found[0] if isinstance(found, list) else found
            for found in each(lambda one: self._run([one], watch), [encoded])
        ]

    def _run(self, encoded: Sequence[Encoded], watch: "Stopwatch") -> list[Scored | TwelveError]:
        builder = self.engine.builder()
        spans = [builder.add(one.pairs) for one in encoded]
        batch = builder.build()
        passes = self.engine.plan(batch, rows_per_pass=self._rows_per_pass)
        with watch("text"):
            texts = self.engine.text(batch.texts)
        with watch("pictures"):
            pictures = self.engine.regions(batch.visuals)
        with watch("fuse"):
            states = self.engine.fuse(batch, passes, texts, pictures)
        with watch("heads"):
            return each(lambda own: self._head(own[0].example, states, own[1]), list(zip(encoded, spans, strict=True)))

    def _head(self, example: Example, states: Sequence[RowStates], span: Span) -> Scored:
        logits = self.engine.head(example.task.head, states, span)
        if not bool(torch.isfinite(logits).all()):
            raise EngineFailed(
                f"the {example.task.head} head gave numbers that are none; the pictures' features may be at fault"
            )
        return Scored(example, self.engine.scores(example.task.head, logits))

    def _decode(self, scored: Scored, timings_ms: Mapping[str, float]) -> Answer:
        example = scored.example
        seen = Seen(
            tuple(picture.regions for picture in example.pictures),
            example.pictures[0].candidates,
            self.knowledge.answers.get(example.task.head, AnswerList()),
        )
        decoded = example.task.decode(example.task.choices(scored.scores, seen), seen)
        refs = tuple(picture.ref for picture in example.pictures)
        return Answer(
            task=example.task.name,
            answer=decoded.answer,
            candidates=decoded.candidates,
            images=refs,
            model=self.knowledge.model,
            timings_ms=dict(timings_ms),
        )

    def _reply(self, call: Call, task: str | None, answer: Answer | TwelveError, since: float) -> Reply:
        seconds = time.monotonic() - since
        if isinstance(answer, TwelveError):
            self._observer.request(task or "unknown", answer.code, seconds)
            return refused(answer, request_id=call.request_id, task=task)
        self._observer.request(answer.task, "ok", seconds)
        total = {**answer.timings_ms, "total": round(1000 * seconds, 3)}
        return answered(answer.model_copy(update={"timings_ms": total}))


class Encoder:
    """Turns an example's texts and regions into what the engine reads; equal pictures of a batch stay one."""

    def __init__(self, encoder: TextEncoder, most_tokens: int) -> None:
        self._encoder = encoder
        self._most_tokens = most_tokens
        self._visuals: dict[int, Visual] = {}

    def __call__(self, example: Example) -> Encoded:
        """Encode one request's rows."""
        pairs = tuple(
            (self._text(text, example.task), self._visual(example.pictures[image]))
            for text, image in example.prompt.rows
        )
        return Encoded(example, pairs)

    def _text(self, text: str, task: AnyTask) -> Text:
        if len(text) > MOST_CHARACTERS:
            raise TooLarge(
                f"{task.text_field}: has {len(text)} characters in all, at most {MOST_CHARACTERS} are read",
                at=task.text_field,
            )
        ids = self._encoder.encode_whole(text, most=self._most_tokens, at=task.text_field)
        return Text(ids, task.token)

    def _visual(self, picture: Attached) -> Visual:
        key = id(picture.regions)
        if key not in self._visuals:
            self._visuals[key] = visual(picture.regions)
        return self._visuals[key]


class Stopwatch:
    """Times the stages of one batch."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self._observer.stage(stage, seconds)
            self.timings_ms[stage] = round(self.timings_ms.get(stage, 0.0) + 1000 * seconds, 3)


def each(stage: Callable[[In], Out], items: Sequence[In | TwelveError]) -> list[Out | TwelveError]:
    """Map a stage over items; an error takes its item's place and harms no neighbour.

    Args:
        stage: Raises a TwelveError for what it cannot do; anything else it raises becomes one.
        items: Errors among them pass through.

    Returns:
        One result or error an item, in their order.
    """
    return [item if isinstance(item, TwelveError) else _attempt(stage, item) for item in items]


def _attempt(stage: Callable[[In], Out], item: In) -> Out | TwelveError:
    try:
        return stage(item)
    except TwelveError as error:
        return error
    except (MemoryError, torch.OutOfMemoryError):
        log.exception("out of memory")
        return OutOfMemory("this request needs more memory than there is; send fewer or smaller pictures")
    except Exception as error:
        log.exception("a stage failed")
        return EngineFailed(f"the server failed on this request ({type(error).__name__}); the log has the rest")


def picture_paths(asked: Asked, count: int) -> tuple[str, ...]:
    """Name a request's pictures as the contract does: `image`, or `images[0]`, `images[1]` and so on."""
    if "images" in asked.task.request.model_fields:
        return tuple(f"images[{place}]" for place in range(count))
    return ("image",)


def _task_name(asked: Asked | TwelveError) -> str | None:
    return asked.task if isinstance(asked, TwelveError) else asked.task.name
