"""Asking a server: the HTTP contract in Python, without torch.

    with Client("http://127.0.0.1:8080") as client:
        answer = client.ask("vqa-v2", image="p.jpg", question="What color is the car?")
        again = client.ask("snli-ve", image={"ref": answer.images[0]}, statement="The car is red.")

Fields are the contract's. Requests change nothing on the server, so one that got no answer may be sent again.
`AsyncClient` is the same for programs that await.
"""

import asyncio
import base64
import io
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from twelve.errors import DeadlineExceeded, EngineFailed, NoWorker, ServerError
from twelve.patience import UNSENT, Patience
from twelve.refusals import error_of, start_of
from twelve.schema import Answer, TaskList

ROUTE, TASK_ROUTE = "/predictions/twelve", "/v1/tasks/{task}"
"""Where questions are sent: all to one path, which every server has, or each to its task's, which nginx has."""

TASKS_ROUTE, READY_ROUTE = "/v1/tasks", "/readyz"
TIMEOUT_S, CONNECT_TIMEOUT_S = 60.0, 5.0
RETRIES = 3

PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
"""Pillow's modes that a PNG holds without loss; CMYK, YCbCr and others become RGB."""

Trust = ssl.SSLContext | Path | str | bool
"""Whom to believe that they are the server: a context, a file of certificates, or nobody in particular (False)."""

Model = TypeVar("Model", bound=BaseModel)


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
    (image if image.mode in PNG_MODES else image.convert("RGB")).save(stream, "PNG")
    return _base64(stream.getvalue())


@encoded.register
def _(image: Mapping) -> dict[str, Any]:  # type: ignore[type-arg]  # singledispatch takes no parametrised class
    if "regions" not in image:
        return dict(image)
    regions = dict(image["regions"])
    if not isinstance(regions.get("features"), str):
        regions["features"] = _base64(np.asarray(regions["features"], dtype="<f4").tobytes())
    return {"regions": regions}


class Options(TypedDict, total=False):
    """How a server is asked.

    Attributes:
        key: Of the API, where the server asks for one.
        timeout_s: For a question in all: connecting, waiting, retries. The server is told, and drops what is too late.
        connect_timeout_s: For each connection.
        retries: Attempts after the first, where the connection fails or the server is busy.
        route: ROUTE or TASK_ROUTE.
        verify: Whom to believe that they are the server.
        headers: To send with each request.
    """

    key: str | None
    timeout_s: float
    connect_timeout_s: float
    retries: int
    route: str
    verify: Trust
    headers: Mapping[str, str] | None


@dataclass(frozen=True)
class Sent:
    """A request: what is the same in each of its attempts."""

    method: str
    url: str
    patience: Patience
    headers: Mapping[str, str]
    json: Mapping[str, Any] | None = None

    def attempt(self) -> dict[str, Any]:
        """Give what the next attempt is made of."""
        headers = {**self.headers, **self.patience.headers()}
        return {
            "method": self.method,
            "url": self.url,
            "json": self.json,
            "headers": headers,
            "timeout": self.patience.timeout(),
        }


class _Asking:
    """What both clients do alike: all but sending and waiting."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        retries: int = RETRIES,
        route: str = ROUTE,
        verify: Trust = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._retries = retries
        self._route = route
        self._verify = ssl.create_default_context(cafile=verify) if isinstance(verify, str | Path) else verify
        self._headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}

    def _question(
        self, fields: Mapping[str, Any], images: Mapping[str, Any], *, timeout_s: float | None, request_id: str | None
    ) -> Sent:
        named = {} if request_id is None else {"X-Request-Id": request_id}
        body = {**fields, **{name: given for name, given in images.items() if given is not None}}
        return Sent(
            "POST",
            self.url + self._route.format(task=quote(str(fields["task"]))),
            self._patience(timeout_s),
            named,
            body,
        )

    def _look(self, route: str) -> Sent:
        return Sent("GET", self.url + route, self._patience(None), {})

    def _patience(self, timeout_s: float | None) -> Patience:
        return Patience(
            self._timeout_s if timeout_s is None else timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            retries=self._retries,
        )

    def _unanswered(self, error: httpx.HTTPError, patience: Patience) -> ServerError:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, UNSENT):
            return DeadlineExceeded(f"{self.url} gave no answer within {patience.timeout_s:g} s; allow more time")
        return NoWorker(f"{self.url} does not answer ({error or type(error).__name__}); is a server running there?")

    def _read(self, response: httpx.Response, model: type[Model]) -> Model:
        if response.status_code != httpx.codes.OK:
            raise error_of(response)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise EngineFailed(f"{self.url} answered, but not as the contract says: {start_of(response)}") from error


class Client(_Asking):
    """A server's tasks as one method. Threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Unpack[Options],
    ) -> None:
        """Get ready to ask; nothing is sent yet.

        Args:
            url: Of the server, without a route.
            transport: In place of the network.
            sleep: Waits; for tests.
            **options: See `Options`.
        """
        super().__init__(url, **options)
        self._sleep = sleep
        self._http = httpx.Client(headers=self._headers, verify=self._verify, transport=transport)

    def ask(
        self,
        task: str,
        *,
        image: Any = None,
        images: Sequence[Any] | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        """Ask a question.

        Args:
            task: Its name.
            image: The picture, for tasks that take one; see `encoded` for its forms.
            images: The pictures, for tasks that take several.
            timeout_s: For this question in place of the client's.
            request_id: A name for this request, for the server's log and errors.
            **fields: The task's other fields, as the contract names them.

        Returns:
            The answer; `answer.images` holds the pictures' refs, which may stand for them from now on.

        Raises:
            RequestError: The request is at fault; the class and `code` say how.
            ServerError: The server failed, has no worker, or does not answer in time; its log knows the `request_id`.
            OSError: A picture's file cannot be read.
        """
        shown = _shown(image, images)
        sent = self._question({"task": task, **fields}, shown, timeout_s=timeout_s, request_id=request_id)
        return self._read(self._exchange(sent), Answer)

    def tasks(self) -> TaskList:
        """List the tasks that the server's model was trained on, with the JSON schema of their fields.

        Raises:
            RequestError: Such as for a wrong key.
            ServerError: The server does not answer.
        """
        return self._read(self._exchange(self._look(TASKS_ROUTE)), TaskList)

    def ready(self) -> bool:
        """Say whether the server would answer a question now. Asks once."""
        try:
            return self._http.request(**self._look(READY_ROUTE).attempt()).is_success
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, sent: Sent) -> httpx.Response:
        """Send, and send again where that may help; the last attempt's outcome stands."""
        while True:
            try:
                response = self._http.request(**sent.attempt())
                wait_s = sent.patience.after(response)
                if wait_s is None:
                    return response
            except httpx.HTTPError as error:
                wait_s = sent.patience.after_failure(error)
                if wait_s is None:
                    raise self._unanswered(error, sent.patience) from error
            self._sleep(wait_s)


class AsyncClient(_Asking):
    """As `Client`, for programs that await."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **options: Unpack[Options],
    ) -> None:
        """Get ready to ask; see `Client`."""
        super().__init__(url, **options)
        self._sleep = sleep
        self._http = httpx.AsyncClient(headers=self._headers, verify=self._verify, transport=transport)

    async def ask(
        self,
        task: str,
        *,
        image: Any = None,
        images: Sequence[Any] | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        """Ask a question; see `Client.ask`."""
        shown = await asyncio.to_thread(_shown, image, images)
        sent = self._question({"task": task, **fields}, shown, timeout_s=timeout_s, request_id=request_id)
        return self._read(await self._exchange(sent), Answer)

    async def tasks(self) -> TaskList:
        """List the tasks; see `Client.tasks`."""
        return self._read(await self._exchange(self._look(TASKS_ROUTE)), TaskList)

    async def ready(self) -> bool:
        """Say whether the server would answer a question now; see `Client.ready`."""
        try:
            return (await self._http.request(**self._look(READY_ROUTE).attempt())).is_success
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _exchange(self, sent: Sent) -> httpx.Response:
        """Send as `Client` does."""
        while True:
            try:
                response = await self._http.request(**sent.attempt())
                wait_s = sent.patience.after(response)
                if wait_s is None:
                    return response
            except httpx.HTTPError as error:
                wait_s = sent.patience.after_failure(error)
                if wait_s is None:
                    raise self._unanswered(error, sent.patience) from error
            await self._sleep(wait_s)


def _shown(image: Any, images: Sequence[Any] | None) -> dict[str, Any]:
    """Give a request's pictures as its body holds them."""
    return {
        "image": None if image is None else encoded(image),
        "images": None if images is None else [encoded(one) for one in images],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
