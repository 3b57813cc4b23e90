"""What a reply to a hostile request has to be."""

import json
from collections.abc import Iterator

from pydantic import ValidationError

from twelve.errors import RequestError, ServerError, TwelveError
from twelve.schema import Answer, Problem

MOST_GROWTH_BYTES = 64 << 20
"""Of a worker's memory while it answers them."""

OK = 200


def _below(kind: type[TwelveError]) -> Iterator[type[TwelveError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)


STATUSES = {kind.code: kind.status for kind in (*_below(RequestError), *_below(ServerError))}
OURS = {kind.status for kind in _below(ServerError)}


def fault_of(status: int, body: bytes) -> str | None:
    """Say what is wrong with a reply.

    Args:
        status: Of HTTP.
        body: As it came.

    Returns:
        None if it is an answer, or an error of the contract that is the caller's; else a sentence.
    """
    try:
        if status == OK:
            Answer.model_validate_json(body)
            return None
        code = Problem.model_validate(json.loads(body)["error"]).code
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        return f"{status} with {body[:200]!r}, which is not of the contract: {error}"
    if STATUSES.get(code) != status or status in OURS:
        return f"{status} with {body[:300]!r}"
    return None
