"""Numbers in files outlive whoever counts, and are read while they are counted."""

import multiprocessing
import os
import signal

import pytest

from twelve.tally import SIZE, Tally, summed

ROUNDS = 2000


def count_until_killed(folder):
    numbers = Tally.open(folder).series(("a", "b"), 2)
    for _ in range(ROUNDS):
        numbers[0] += 0.5
        numbers[1] += 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_equal_names_are_added_up_and_others_kept_apart(tmp_path):
    for value in (1.0, 2.0):
        tally = Tally.open(tmp_path)
        tally.series(("a", "b"), 2)[1] = value
        tally.series(("a", "ü"), 1)[0] = value
        tally.series(("a",), 1)
    assert summed(tmp_path) == {("a", "b"): [0.0, 3.0], ("a", "ü"): [3.0], ("a",): [0.0]}


def test_nothing_is_lost_with_a_process_that_is_killed(tmp_path):
    killed = [multiprocessing.get_context("spawn").Process(target=count_until_killed, args=(tmp_path,)) for _ in "ab"]
    for process in killed:
        process.start()
    for process in killed:
        process.join()
    assert [process.exitcode for process in killed] == [-signal.SIGKILL] * 2
    assert summed(tmp_path) == {("a", "b"): [ROUNDS, 2 * ROUNDS]}


def test_what_is_counted_is_read_at_once(tmp_path):
    numbers = Tally.open(tmp_path).series(("a",), 1)
    for value in (1.0, 2.0):
        numbers[0] += 1
        assert summed(tmp_path) == {("a",): [value]}


def test_a_file_that_was_made_this_moment_holds_nothing(tmp_path):
    (tmp_path / "new.tally").touch()
    assert summed(tmp_path) == {}


def test_what_nobody_is_to_hear_is_counted_all_the_same():
    numbers = Tally.unheard().series(("a",), 1)
    numbers[0] += 1
    assert list(numbers) == [1.0]


def test_a_full_file_says_so():
    with pytest.raises(ValueError, match=r"^a tally holds 1048576 bytes, and the series \('a',\) would end at 1048"):
        Tally.unheard().series(("a",), SIZE // 8)
