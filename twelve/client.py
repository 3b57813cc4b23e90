"""Asking a server: the HTTP contract in Python, without torch.

    with Client("http://127.0.0.1:8080") as client:
        answer = client.ask("vqa-v2", image="p.jpg", question="What color is the car?")
        again = client.ask("snli-ve", image={"ref": answer.images[0]}, statement="The car is red.")

Fields are the contract's. Requests change nothing on the server, so one that got no answer may be sent again.
"""

import base64
import io
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from PIL import Image
from pydantic import ValidationError

from twelve.errors import (
    DeadlineExceeded,
    EngineFailed,
    NoWorker,
    OutOfMemory,
    QueueFull,
    RequestError,
    ServerError,
    TooLarge,
    TwelveError,
    Unauthorised,
)
from twelve.schema import Answer

ROUTE = "/predictions/twelve"
TIMEOUT_S = 60.0
RETRIES = 3

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
"""Before the first retry, and before any: the wait doubles each time."""

BUSY = frozenset({QueueFull.status, NoWorker.status})
"""Statuses that say: the same request may do later."""

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""Failures of the connection. A timeout is none: whoever is slow is not helped by more requests."""

BARE_STATUSES: Mapping[int, type[TwelveError]] = {
    kind.status: kind for kind in (Unauthorised, TooLarge, QueueFull, NoWorker, DeadlineExceeded, OutOfMemory)
}
"""What a status means where the body is not ours: a proxy's, or the web server's own."""

SHOWN_CHARACTERS = 200
"""Of a body that is not ours."""


@singledispatch
def encoded(image: Any) -> Any:
    """Write a picture as the contract's JSON holds it.

    Args:
        image: A path, the bytes of a file, a PIL image, `{"ref": …}`, or `{"regions": …}` with features as a float
            array or as base64.

    Raises:
        TypeError: It is none of these.
        OSError: A path cannot be read.
    """
    raise TypeError(
        f"a picture is a path, bytes, a PIL image, {{'ref': …}} or {{'regions': …}}, got {type(image).__name__}"
    )


@encoded.register
def _(image: bytes) -> str:
    return _base64(image)


@encoded.register
def _(image: Path) -> str:
    return _base64(image.read_bytes())


@encoded.register
def _(image: str) -> str:
    return _base64(Path(image).read_bytes())


@encoded.register
def _(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return _base64(stream.getvalue())


@encoded.register
def _(image: Mapping) -> dict[str, Any]:  # type: ignore[type-arg]  # singledispatch takes no parametrised class
    if "regions" not in image:
        return dict(image)
    regions = dict(image["regions"])
    if not isinstance(regions.get("features"), str):
        regions["features"] = _base64(np.asarray(regions["features"], dtype="<f4").tobytes())
    return {"regions": regions}


class Client:
    """A server's twelve tasks as one method. Threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Get ready to ask; nothing is sent yet.

        Args:
            url: Of the server, without a route.
            timeout_s: Longest wait for a connection, and for each next byte of an answer.
            retries: Attempts after the first, where the connection fails or the server is busy.
            headers: To send with each request, such as a key.
            transport: In place of the network.
            sleep: Waits; for tests.
        """
        self.url = url.rstrip("/")
        self._retries = retries
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._http = httpx.Client(timeout=timeout_s, headers=headers, transport=transport)

    def ask(self, task: str, *, image: Any = None, images: Sequence[Any] | None = None, **fields: Any) -> Answer:
        """Ask a question.

        Args:
            task: Its name.
            image: The picture, for tasks that take one; see `encoded` for its forms.
            images: The pictures, for tasks that take several.
            **fields: The task's other fields, as the contract names them.

        Returns:
            The answer; `answer.images` holds the pictures' refs, which may stand for them from now on.

        Raises:
            RequestError: The request is at fault; the class says how.
            ServerError: The server failed, is busy, or does not answer.
            OSError: A picture's file cannot be read.
        """
        body: dict[str, Any] = {"task": task, **fields}
        if image is not None:
            body["image"] = encoded(image)
        if images is not None:
            body["images"] = [encoded(one) for one in images]
        return self._read(self._post(body))

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        """Send, and send again where that may help; the last attempt's outcome stands."""
        for wait_s in waits(self._retries):
            try:
                response = self._http.post(self.url + ROUTE, json=body)
            except UNSENT:
                self._sleep(wait_s)
                continue
            except httpx.HTTPError as error:
                raise self._unanswered(error) from error
            if response.status_code not in BUSY:
                return response
            self._sleep(max(wait_s, asked_wait_s(response)))
        try:
            return self._http.post(self.url + ROUTE, json=body)
        except httpx.HTTPError as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: httpx.HTTPError) -> ServerError:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, UNSENT):
            return DeadlineExceeded(f"{self.url} gave no answer within {self._timeout_s:g} s; allow more time")
        return NoWorker(f"{self.url} does not answer ({error or type(error).__name__}); is a server running there?")

    def _read(self, response: httpx.Response) -> Answer:
        if response.status_code != httpx.codes.OK:
            raise error_of(response)
        try:
            return Answer.model_validate_json(response.content)
        except ValidationError as error:
            raise EngineFailed(f"{self.url} answered, but not as the contract says: {_start(response)}") from error


def waits(retries: int) -> Iterator[float]:
    """Give the waits between attempts, in seconds: doubling, each at random between half of it and all of it."""
    for attempt in range(retries):
        yield min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def asked_wait_s(response: httpx.Response) -> float:
    """Give the wait that a busy server asks for, within reason; 0 where it asks for none."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else 0.0


def error_of(response: httpx.Response) -> TwelveError:
    """Make the typed error that an error response stands for.

    Args:
        response: Of a status other than 200.

    Returns:
        The error of the body's code; where the body is not the contract's, the one that the status suggests.
    """
    problem = _problem(response)
    kind = KINDS.get(str(problem.get("code")))
    if kind is not None:
        return kind(str(problem.get("message")), at=problem.get("at"))
    status = response.status_code
    bare = BARE_STATUSES.get(status) or (RequestError if response.is_client_error else ServerError)
    return bare(f"{response.url} answered {status} without saying why in the contract's form: {_start(response)}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    problem = body.get("error") if isinstance(body, dict) else None
    return problem if isinstance(problem, dict) else {}


def _start(response: httpx.Response) -> str:
    return response.text[:SHOWN_CHARACTERS].strip() or "nothing"


def _leaves(kind: type[TwelveError]) -> Iterator[type[TwelveError]]:
    for child in kind.__subclasses__():
        if child.__subclasses__():
            yield from _leaves(child)
        else:
            yield child


KINDS: Mapping[str, type[TwelveError]] = {
    kind.code: kind for root in (RequestError, ServerError) for kind in _leaves(root)
}
"""The errors that a server may answer with, by code."""
