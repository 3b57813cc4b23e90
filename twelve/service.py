"""The straight line from bytes to answers. Read this file first.

A bad request is a value, never an exception: `each` maps a stage over items and lets a typed error ride along in its
place, because whoever serves us fails a whole batch on any exception. A request's rows are its own by Span, whatever
stands beside it: alone, in a mixed batch or in any order the answer is the same. Before each stage that costs much, a
request whose time has passed becomes such an error.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from twelve.arrival import entered_s
from twelve.assembly import Parts, Settings, assemble
from twelve.batch import Batch, Span, Text, Visual, visual
from twelve.deadlines import Deadline, deadline_of
from twelve.engines.engine import Encoded as Embedded
from twelve.engines.engine import RowStates
from twelve.errors import EngineFailed, TaskNotInCheckpoint, TwelveError
from twelve.observer import OK, UNKNOWN_TASK, Done, Lap, Observer, Silent
from twelve.pictures import Attached, BatchDesk, Slot
from twelve.schema import Answer
from twelve.stages import Pool, each, failure, together
from twelve.tasks.base import AnswerList, Prompt, Seen
from twelve.tasks.registry import AnyTask
from twelve.text import TextEncoder
from twelve.wire import Asked, Call, Reply, answered, read, refused

log = logging.getLogger(__name__)

STAGES = ("decode", "regions", "encode", "text", "pictures", "fuse", "heads", "answer")


class Timed(Protocol):
    """A request on its way, with a time limit."""

    @property
    def deadline(self) -> Deadline:
        """Give the limit."""
        ...


OnItsWay = TypeVar("OnItsWay", bound=Timed)


@dataclass(frozen=True)
class Accepted:
    """A request whose fields are right."""

    asked: Asked
    deadline: Deadline


@dataclass(frozen=True)
class Ready:
    """A request with its pictures opened."""

    task: AnyTask
    prompt: Prompt
    slots: tuple[Slot, ...]
    paths: tuple[str, ...]
    deadline: Deadline


@dataclass(frozen=True)
class Example:
    """A request with its regions found."""

    task: AnyTask
    prompt: Prompt
    pictures: tuple[Attached, ...]
    deadline: Deadline


@dataclass(frozen=True)
class Encoded:
    """A request as rows of texts and pictures."""

    example: Example
    pairs: tuple[tuple[Text, Visual], ...]

    @property
    def deadline(self) -> Deadline:
        """Give its time limit."""
        return self.example.deadline


@dataclass(frozen=True)
class Placed:
    """A request whose rows stand in a batch."""

    example: Example
    span: Span

    @property
    def deadline(self) -> Deadline:
        """Give its time limit."""
        return self.example.deadline


@dataclass(frozen=True)
class Halves:
    """A batch whose texts and pictures are encoded, and have not met yet."""

    batch: Batch
    texts: Sequence[Embedded]
    pictures: Sequence[Embedded]


@dataclass(frozen=True)
class Scored:
    """A request with the scores of its head."""

    example: Example
    scores: Tensor


class Service:
    """Answers requests of all tasks, one by one or in any mixture."""

    def __init__(self, parts: Parts, settings: Settings | None = None, *, observer: Observer | None = None) -> None:
        self.knowledge = parts.knowledge
        self.engine = parts.engine
        self.extractor = parts.extractor
        self._encoder = parts.encoder
        self._downloads = parts.downloads
        self._observer = observer or Silent()
        self._desk = parts.desk.watched_by(self._observer)
        self._settings = settings or Settings()
        self._pool = Pool(self._settings.threads)

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
        return cls(assemble(Path(bundle), chosen), chosen, observer=observer)

    def answer_calls(self, calls: Sequence[Call]) -> list[Reply]:
        """Answer a batch of calls.

        Args:
            calls: As they came, tasks in any mixture.

        Returns:
            One reply a call, in their order. Never raises for what a call holds.
        """
        now_s = time.monotonic()
        entered = [entered_s(call.headers, now_s if call.received_s is None else call.received_s) for call in calls]
        watch = Stopwatch(self._observer)
        with watch("decode"):
            accepted = each(self._accept, list(zip(calls, entered, strict=True)))
            ready = self._pool.each(self._ready, accepted)
        answers = self._answer(ready, watch)
        return [
            self._reply(answer, _done(call, one, answer, since, watch))
            for call, one, answer, since in zip(calls, accepted, answers, entered, strict=True)
        ]

    def _answer(self, ready: Sequence[Ready | TwelveError], watch: "Stopwatch") -> list[Answer | TwelveError]:
        with watch("regions"):
            examples = self._attach_all(ready)
        with watch("encode"):
            encoded = each(Encoder(self._encoder, self.knowledge.most_tokens), examples)
        scored = self._score(encoded, watch)
        with watch("answer"):
            return each(lambda one: self._decode(one, watch.timings_ms), scored)

    def _accept(self, arrived: tuple[Call, float]) -> Accepted:
        call, since = arrived
        asked = read(call)
        return Accepted(asked, deadline_of(call.headers, since, otherwise_ms=self._settings.deadline_ms))

    def _ready(self, accepted: Accepted) -> Ready:
        asked = accepted.asked
        accepted.deadline.check("its pictures were opened")
        if asked.task.name not in self.knowledge.tasks:
            raise TaskNotInCheckpoint(
                f"task: '{asked.task.name}' exists, but model '{self.knowledge.model.name}' was not trained on it; "
                f"it knows {', '.join(sorted(self.knowledge.tasks))}",
                at="task",
            )
        prompt = asked.task.rows(asked.request)
        self._settings.requests.check_boxes(len(prompt.boxes_px))
        self._settings.requests.check_texts((text for text, _ in prompt.rows), at=asked.task.text_field)
        paths = picture_paths(asked, len(prompt.images))
        images = self._downloads.fetched(prompt.images, paths, accepted.deadline)
        return Ready(asked.task, prompt, self._desk.open_all(images, paths), paths, accepted.deadline)

    def _attach_all(self, ready: Sequence[Ready | TwelveError]) -> list[Example | TwelveError]:
        desk = BatchDesk(self._desk)
        return each(lambda one: _attach(one, desk), ready)

    def _score(self, encoded: Sequence[Encoded | TwelveError], watch: "Stopwatch") -> list[Scored | TwelveError]:
        return together(lambda good: self._run_safely(good, watch), encoded)

    def _run_safely(self, encoded: Sequence[Encoded], watch: "Stopwatch") -> Sequence[Scored | TwelveError]:
        """Run requests together; if that fails each alone, for one request's rows may have sunk the others'."""
        try:
            return self._run(encoded, watch)
        except Exception as error:
            failed = failure(error)  # the exception itself, and all that its frames hold, is let go before the next try
        if failed.is_final or len(encoded) == 1:
            return [failed] * len(encoded)
        log.warning("a batch of %d failed (%s); running each alone", len(encoded), failed.code)
        return [one for alone in encoded for one in self._run_safely([alone], watch)]

    def _run(self, encoded: Sequence[Encoded], watch: "Stopwatch") -> list[Scored | TwelveError]:
        return together(lambda good: self._begin(good, watch), _timely(encoded, "its text was read"))

    def _begin(self, encoded: Sequence[Encoded], watch: "Stopwatch") -> list[Scored | TwelveError]:
        builder = self.engine.builder()
        placed = [Placed(one.example, builder.add(one.pairs)) for one in encoded]
        batch = builder.build()
        self._observer.batch(len(batch.rows))
        with watch("text"):
            texts = self.engine.text(batch.texts)
        with watch("pictures"):
            pictures = self.engine.regions(batch.visuals)
        halves = Halves(batch, texts, pictures)
        return together(lambda good: self._finish(good, halves, watch), _timely(placed, "its texts met its pictures"))

    def _finish(self, placed: Sequence[Placed], halves: Halves, watch: "Stopwatch") -> list[Scored | TwelveError]:
        batch = halves.batch.narrowed([one.span for one in placed])
        passes = self.engine.plan(batch, rows_per_pass=self._settings.rows_per_pass)
        with watch("fuse"):
            states = self.engine.fuse(batch, passes, halves.texts, halves.pictures)
        with watch("heads"):
            examples = [one.example for one in placed]
            return each(lambda own: self._head(own[0], states, own[1]), list(zip(examples, batch.spans, strict=True)))

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

    def _reply(self, answer: Answer | TwelveError, done: Done) -> Reply:
        (written,) = each(lambda one: _written(one, done), [answer])
        if isinstance(written, Reply):
            self._observer.request(done)
            return written
        self._observer.request(replace(done, code=written.code))
        return refused(written, request_id=done.request_id, task=None if done.task == UNKNOWN_TASK else done.task)


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
        self.laps: list[Lap] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - began_s
            self.laps.append(Lap(stage, began_s, seconds))
            self._observer.stage(stage, seconds)
            self.timings_ms[stage] = round(self.timings_ms.get(stage, 0.0) + 1000 * seconds, 3)


def _timely(items: Sequence[OnItsWay], before: str) -> list[OnItsWay | TwelveError]:
    """Put an error in the place of each request whose time has passed."""

    def in_time(item: OnItsWay) -> OnItsWay:
        item.deadline.check(before)
        return item

    return each(in_time, items)


def _attach(ready: Ready, desk: BatchDesk) -> Example:
    ready.deadline.check("its pictures were looked at")
    pictures = tuple(
        desk.look(slot, () if place else ready.prompt.boxes_px, at=at)
        for place, (slot, at) in enumerate(zip(ready.slots, ready.paths, strict=True))
    )
    return Example(ready.task, ready.prompt, pictures, ready.deadline)


def picture_paths(asked: Asked, count: int) -> tuple[str, ...]:
    """Name a request's pictures as the contract does: `image`, or `images[0]`, `images[1]` and so on."""
    if "images" in asked.task.request.model_fields:
        return tuple(f"images[{place}]" for place in range(count))
    return ("image",)


def _written(answer: Answer, done: Done) -> Reply:
    total = {**answer.timings_ms, "total": round(1000 * done.seconds, 3)}
    return answered(answer.model_copy(update={"timings_ms": total}))


def _done(
    call: Call, accepted: Accepted | TwelveError, answer: Answer | TwelveError, began_s: float, watch: Stopwatch
) -> Done:
    return Done(
        task=_task_name(accepted) or UNKNOWN_TASK,
        code=answer.code if isinstance(answer, TwelveError) else OK,
        request_id=call.request_id,
        headers=call.headers,
        began_s=began_s,
        ended_s=time.monotonic(),
        laps=tuple(watch.laps),
    )


def _task_name(accepted: Accepted | TwelveError) -> str | None:
    return accepted.task if isinstance(accepted, TwelveError) else accepted.asked.task.name
