"""A value with tensors in one piece of shared memory: what a worker hands to the trainer.

Tensors that travel one by one cost a file descriptor each, some hundreds a batch; here a batch costs one, and the
trainer reads it where the worker wrote it. Everything else of the value lies in the same piece, so that what goes
through the pipe is a few hundred bytes: a worker never waits for its reader, and no two processes for each other.
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes; torch aligns its own tensors so, and unaligned ones may be summed in another order."""


@dataclass(frozen=True)
class Parcel:
    """A packed value.

    Attributes:
        content: [bytes] uint8, shared; the tensors one after another, then the pickle that names them.
        sizes: Bytes of each piece in it.
    """

    content: Tensor
    sizes: tuple[int, ...]


class _Pickler(pickle.Pickler):
    """Leaves the numbers of tensors out of the pickle."""

    def reducer_override(self, value: Any) -> Any:
        return (torch.from_numpy, (value.contiguous().numpy(),)) if isinstance(value, Tensor) else NotImplemented


def pack(value: Any) -> Parcel:
    """Copy a value into shared memory.

    Args:
        value: Anything that pickles; its tensors lie on the CPU.

    Returns:
        The parcel.
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append).dump(value)
    pieces = [*(buffer.raw() for buffer in buffers), stream.getbuffer()]
    sizes = tuple(len(piece) for piece in pieces)
    content = torch.empty(sum(map(_aligned, sizes)), dtype=torch.uint8).share_memory_()
    for piece, place in zip(pieces, _places(content, sizes), strict=True):
        place[:] = piece
    return Parcel(content, sizes)


def unpack(parcel: Parcel) -> Any:
    """Give a parcel's value; its tensors stay where they are."""
    *buffers, pickled = _places(parcel.content, parcel.sizes)
    return pickle.loads(pickled, buffers=buffers)


def _places(content: Tensor, sizes: Sequence[int]) -> list[memoryview]:
    whole = content.numpy().data
    begin, places = 0, []
    for size in sizes:
        places.append(whole[begin : begin + size])
        begin += _aligned(size)
    return places


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
