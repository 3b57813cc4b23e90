"""Does an exported file compute what the module computes? A file that does not is never served."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from export.exportable import Exportable
from twelve.errors import TwelveError
from twelve.runtimes import Runtime

NOT_ZERO = 1e-12


class Mismatch(TwelveError):
    """An exported file does not compute what its module computes."""

    code: ClassVar[str] = "mismatch"
    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class Parity:
    """How far a file is from its module.

    Attributes:
        trials: How many inputs were tried.
        errors: By output, the largest difference of all trials over the output's largest value.
    """

    trials: int
    errors: Mapping[str, float]

    @property
    def worst(self) -> float:
        """Give the largest of all errors."""
        return max(self.errors.values())


def measure(exportable: Exportable, runtime: Runtime, *, name: str) -> Parity:
    """Run a file beside its module on every trial.

    Args:
        exportable: The module and the trials.
        runtime: The file, opened as a server opens it.
        name: Of the file, for errors.

    Returns:
        The figures, all within the limit.

    Raises:
        Mismatch: An output has another shape, another whole number, or is further off than the limit.
    """
    graph = exportable.graph
    errors = dict.fromkeys(graph.outputs, 0.0)
    for inputs, expected in zip(exportable.trials, exportable.expected, strict=True):
        got = exportable.matched(expected, runtime.run(**inputs))
        for output in graph.outputs:
            error = difference(expected[output], got[output])
            if not error <= exportable.limit:  # so that NaN is refused as well
                shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in inputs.items())
                raise Mismatch(
                    f"{name}: output '{output}' differs from the module's by {error:.1e} of its largest value on "
                    f"{shapes}; at most {exportable.limit:.0e} is served. Nothing was exported"
                )
            errors[output] = max(errors[output], error)
    return Parity(len(exportable.trials), errors)


def difference(expected: Tensor, got: Tensor) -> float:
    """Give the largest difference over the largest value; infinity where shapes or whole numbers differ."""
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if bool((expected == got).all()) else float("inf")
    return float((expected - got).abs().max() / expected.abs().max().clamp(min=NOT_ZERO))
