"""Error responses as the typed errors that they stand for."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from twelve.errors import (
    DeadlineExceeded,
    NoWorker,
    OutOfMemory,
    QueueFull,
    RequestError,
    ServerError,
    TooLarge,
    TwelveError,
    Unauthorised,
)

BARE_STATUSES: Mapping[int, type[TwelveError]] = {
    kind.status: kind for kind in (Unauthorised, TooLarge, QueueFull, NoWorker, DeadlineExceeded, OutOfMemory)
}
"""What a status means where the body is not ours: a proxy's, or the web server's own."""

SHOWN_CHARACTERS = 200
"""Of a body that is not ours."""


def error_of(response: httpx.Response) -> TwelveError:
    """Make the typed error that an error response stands for.

    Args:
        response: Of a status other than 200.

    Returns:
        The error of the body's code; where the body is not the contract's, the one that the status suggests.
    """
    problem = _problem(response)
    error = _contracts(problem) or _suggested(response)
    error.request_id = problem.get("request") or response.headers.get("x-request-id")
    return error


def _contracts(problem: Mapping[str, Any]) -> TwelveError | None:
    kind = KINDS.get(str(problem.get("code")))
    return None if kind is None else kind(str(problem.get("message")), at=problem.get("at"))


def _suggested(response: httpx.Response) -> TwelveError:
    status = response.status_code
    kind = BARE_STATUSES.get(status) or (RequestError if response.is_client_error else ServerError)
    return kind(f"{response.url} answered {status} without saying why in the contract's form: {start_of(response)}")


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    problem = body.get("error") if isinstance(body, dict) else None
    return problem if isinstance(problem, dict) else {}


def start_of(response: httpx.Response) -> str:
    """Quote the beginning of a body that is not ours."""
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
