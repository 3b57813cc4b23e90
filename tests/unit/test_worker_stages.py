"""Stages and what fails in them: order, neighbours, threads, memory, and devices that are lost."""

import threading
import time
from typing import Any

import pytest
import torch

from twelve.errors import DeviceLost, EngineFailed, InvalidField, OutOfMemory, TwelveError
from twelve.runtimes.faults import is_device_lost, is_out_of_memory
from twelve.stages import Pool, each, failure, together

REFUSED = InvalidField("refused")


class OnnxFail(Exception):
    """As onnxruntime's, which are no RuntimeErrors."""


OnnxFail.__module__ = "onnxruntime.capi.onnxruntime_pybind11_state"


def halved(number: int) -> int:
    if number % 2:
        raise ValueError("odd")
    return number // 2


@pytest.mark.parametrize("threads", [1, 3])
def test_a_pool_keeps_order_and_gives_each_item_its_own_error(threads: int) -> None:
    items: list[int | TwelveError] = [8, 3, REFUSED, 6, 4]
    found = Pool(threads).each(halved, items)
    assert [found[0], found[3], found[4]] == [4, 3, 2]
    assert isinstance(found[1], EngineFailed)
    assert found[2] is REFUSED
    assert [type(one) for one in found] == [type(one) for one in each(halved, items)]


def test_a_pool_runs_in_no_more_threads_than_it_may() -> None:
    lock, here, most = threading.Lock(), [0], [0]

    def look(_: int) -> None:
        with lock:
            here[0] += 1
            most[0] = max(most[0], here[0])
        time.sleep(0.01)
        with lock:
            here[0] -= 1

    Pool(3).each(look, list(range(12)))
    assert 1 < most[0] <= 3


def test_a_pool_of_one_runs_in_the_callers_own_thread() -> None:
    assert Pool(1).each(lambda _: threading.current_thread(), [0, 1]) == [threading.current_thread()] * 2


def test_a_common_stage_sees_the_good_items_and_is_not_asked_where_there_are_none() -> None:
    asked: list[Any] = []
    assert together(lambda good: [asked.append(good), *good][1:], [1, REFUSED, 2]) == [1, REFUSED, 2]
    assert together(lambda good: asked.append(good) or good, [REFUSED]) == [REFUSED]
    assert asked == [[1, 2]]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried …"),
        RuntimeError("CUDA error: out of memory"),
        OnnxFail("Failed to allocate memory for requested buffer of size 4096"),
        OnnxFail("CUDA failure 2: out of memory ; GPU=0"),
        OnnxFail("Available memory of 1024 is smaller than requested bytes of 4096"),
    ],
)
def test_memory_that_is_short_is_told_as_such_and_the_process_lives_on(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_device_lost(error)
    answered = failure(error)
    assert isinstance(answered, OutOfMemory)
    assert (answered.status, answered.is_final) == (507, False)


def test_torch_itself_says_so_on_this_machine() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        OnnxFail("CUDA failure 700: an illegal memory access was encountered ; GPU=0"),
    ],
)
def test_a_lost_device_is_the_end_of_the_process(error: Exception) -> None:
    answered = failure(error)
    assert isinstance(answered, DeviceLost)
    assert (answered.code, answered.status, answered.is_final) == ("engine-failed", 500, True)


@pytest.mark.parametrize(
    "error", [KeyError("CUDA error"), ValueError("out of memory, says the question"), RuntimeError("x")]
)
def test_what_strangers_are_quoted_with_ends_no_process(error: Exception) -> None:
    answered = failure(error)
    assert (type(answered), answered.is_final) == (EngineFailed, False)
