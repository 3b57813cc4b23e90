"""What a worker's decoding threads share is whole at any time."""

import time

from twelve.regions.cache.recent import Recent
from twelve.stages import Pool

THREADS, ROUNDS = 4, 500
KEYS, KEPT_BYTES = 8, 12
"""Of one to three bytes: not all find room, so that values go while others come."""


def size_of(value: bytes) -> int:
    """Count bytes, and let another thread go first."""
    time.sleep(0)
    return len(value)


def test_threads_that_share_what_is_at_hand_lose_no_count_and_meet_no_gap() -> None:
    recent: Recent[bytes] = Recent(KEPT_BYTES, size_of)

    def use(first: int) -> bool:
        for place in range(first, first + ROUNDS):
            key, value = str(place % KEYS), bytes(1 + place % KEYS % 3)
            recent.put(key, value)
            assert recent.get(key) in (None, value)
        return True

    assert Pool(THREADS).each(use, list(range(THREADS))) == [True] * THREADS
    kept = [value for value in map(recent.get, map(str, range(KEYS))) if value is not None]
    assert recent._bytes == sum(map(len, kept)) <= KEPT_BYTES
