"""A file of safetensors written tensor by tensor, so that no two copies of a model are in memory at once."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

KINDS: Mapping[torch.dtype, str] = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""What safetensors calls the types that weights may have."""

LENGTH = 8
"""Bytes that say how long the header is; it is filled up to a multiple of as many."""

Form = tuple[tuple[int, ...], torch.dtype]
"""Shape and type of a tensor."""


def write_safetensors(path: Path, forms: Mapping[str, Form], tensors: Iterable[Tensor]) -> None:
    """Write a file.

    Args:
        path: Of the file.
        forms: Of each tensor by name.
        tensors: In that order; each is written before the next is asked for.
    """
    with path.open("wb") as stream:
        header = _header(forms)
        stream.write(len(header).to_bytes(LENGTH, "little") + header)
        for (name, form), tensor in zip(forms.items(), tensors, strict=True):
            assert (tuple(tensor.shape), tensor.dtype) == form, f"{name} is not as the header says"
            stream.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def _header(forms: Mapping[str, Form]) -> bytes:
    entries, end = {}, 0
    for name, (shape, dtype) in forms.items():
        begin, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        entries[name] = {"dtype": KINDS[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % LENGTH)
