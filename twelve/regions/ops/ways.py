"""Three ways to run an operation, and the caller need not know which.

Eager runs plain Python; a TorchScript trace gets the same code scripted, because its loops depend on the data;
`torch.export` meets an opaque operator with shapes known beforehand, which the ONNX exporter maps to operators of ONNX,
and so does that exporter's older kind, which traces.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch

NAMESPACE = "twelve_regions"
"""Of the operators that an exported graph shows, each under the name of its function."""


def way(plain: Callable[..., Any], operator: Callable[..., Any]) -> Callable[..., Any]:
    """Choose how an operation runs here.

    Args:
        plain: Its code, within what TorchScript can compile.
        operator: The same, opaque.

    Returns:
        What to call, with the arguments of either.
    """
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return operator
    return _scripted(plain) if _is_traced() else plain


def _is_traced() -> bool:
    return cast(bool, torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


@cache
def _scripted(plain: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], torch.jit.script(plain))
