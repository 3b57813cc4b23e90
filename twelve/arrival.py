"""When a request entered the system: with its first byte at the proxy, which writes so, or else at the worker.

The header holds the time of day, which may jump; what is measured here runs by the monotonic clock. So the two are read
together once, and only the request's age is carried over from one to the other. A slow client's head is long on its
way, and a proxy that does no sums writes that into a header of its own.
"""

import re
import time
from collections.abc import Mapping

START = "x-request-start"
"""`t=1732199999.123`: the proxy's time of day in seconds when it had read the request's head."""

HEAD = "x-request-head-seconds"
"""`0.456`: how long before that the request's first byte had come; absent = it came then."""

WRITTEN = re.compile(r"t=(\d{9,11}(?:\.\d{1,9})?)")
SECONDS = re.compile(r"\d{1,4}(?:\.\d{1,9})?")

OLDEST_S = 600.0
"""No request waits as long; an older one shows a wrong clock, or a stranger's header. What waited past its own deadline
is younger than that, and its wait is told as it was: an overload would be hidden otherwise."""


def entered_s(headers: Mapping[str, str], received_s: float) -> float:
    """Give when a request entered the system.

    Args:
        headers: With names in lower case.
        received_s: When a worker received it, by `time.monotonic()`.

    Returns:
        A time of `time.monotonic()`, never later than `received_s`; that itself where the proxy's time is absent, is no
        time, lies in the future or is too old.
    """
    written = WRITTEN.fullmatch(headers.get(START, ""))
    if written is None:
        return received_s
    head = SECONDS.fullmatch(headers.get(HEAD, ""))
    age_s = time.time() - float(written[1]) + (float(head[0]) if head else 0.0)
    if not 0 <= age_s <= OLDEST_S:
        return received_s
    return min(received_s, time.monotonic() - age_s)
