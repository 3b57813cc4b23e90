"""An ONNX file as a runtime, run by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from twelve.errors import ConfigInvalid

CPU = "CPUExecutionProvider"
ERROR = 3
"""onnxruntime's log level: errors only."""


class OnnxRuntime:
    """Runs an ONNX file."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session
        self.inputs = tuple(entry.name for entry in session.get_inputs())
        self.outputs = tuple(entry.name for entry in session.get_outputs())

    @classmethod
    def open(cls, path: Path, *, threads: int, providers: Sequence[str] = (CPU,)) -> "OnnxRuntime":
        """Load a file.

        Args:
            path: Of the `.onnx` file.
            threads: Most threads of one run.
            providers: In order of preference; the first must be had.

        Returns:
            The runtime.

        Raises:
            ConfigInvalid: onnxruntime does not have the first provider and would silently run elsewhere.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERROR
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        used = session.get_providers()[0]
        if used != providers[0]:
            raise ConfigInvalid(
                f"{path.name}: asked for {providers[0]}, onnxruntime offers {used}; name it, or install it"
            )
        return cls(session)

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the file's graph; see `Runtime.run`."""
        feeds = {name: np.ascontiguousarray(inputs[name].numpy()) for name in self.inputs}
        arrays = self.session.run(list(self.outputs), feeds)
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, arrays, strict=True)}
