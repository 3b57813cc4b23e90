import time

import pytest

from twelve.arrival import HEAD, OLDEST_S, START, entered_s

A_MOMENT_S = 1.0


def header(age_s: float) -> dict[str, str]:
    return {START: f"t={time.time() - age_s:.3f}"}


def test_a_request_entered_when_the_proxy_says_so():
    now_s = time.monotonic()
    assert now_s - entered_s(header(5), now_s) == pytest.approx(5, abs=A_MOMENT_S)


def test_a_request_whose_head_came_slowly_entered_with_its_first_byte():
    now_s = time.monotonic()
    assert now_s - entered_s({**header(5), HEAD: "20.250"}, now_s) == pytest.approx(25.25, abs=A_MOMENT_S)


@pytest.mark.parametrize("head", ["", "-3", "soon", "nan", "1e3", "99999"])
def test_a_head_that_took_no_number_of_seconds_took_none(head):
    now_s = time.monotonic()
    assert now_s - entered_s({**header(5), HEAD: head}, now_s) == pytest.approx(5, abs=A_MOMENT_S)


def test_without_a_proxy_it_entered_when_a_worker_received_it():
    assert entered_s({}, 12.5) == 12.5


@pytest.mark.parametrize(
    "written", ["", "t=", "now", "1732199999.123", "t=1e9", "t=-1732199999.1", "t=nan", "t=17321999999999", "t=0"]
)
def test_a_header_that_is_no_time_of_today_counts_for_nothing(written):
    assert entered_s({START: written}, 12.5) == 12.5


@pytest.mark.parametrize("age_s", [-5, OLDEST_S + 5])
def test_a_time_to_come_or_long_past_counts_for_nothing(age_s):
    assert entered_s(header(age_s), 12.5) == 12.5


def test_no_request_enters_after_a_worker_has_received_it():
    received_s = time.monotonic() - 60
    assert entered_s(header(5), received_s) == received_s


def test_a_wait_longer_than_any_deadline_is_told_as_it_was():
    now_s = time.monotonic()
    assert now_s - entered_s(header(OLDEST_S - 5), now_s) == pytest.approx(OLDEST_S - 5, abs=A_MOMENT_S)
