"""An ONNX file as a runtime, run by onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from twelve.errors import ConfigInvalid
from twelve.runtimes.devices import CPU, Device

ERROR = 3
"""onnxruntime's log level: errors only."""


class OnnxRuntime:
    """Runs an ONNX file."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session
        self.inputs = tuple(entry.name for entry in session.get_inputs())
        self.outputs = tuple(entry.name for entry in session.get_outputs())

    @classmethod
    def open(cls, path: Path, *, threads: int, device: Device = CPU) -> "OnnxRuntime":
        """Load a file.

        Args:
            path: Of the `.onnx` file.
            threads: Most threads of one run.
            device: To run on.

        Returns:
            The runtime.

        Raises:
            ConfigInvalid: onnxruntime cannot use the device and would silently run elsewhere.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERROR
        session = onnxruntime.InferenceSession(str(path), options, providers=[device.provider])
        check_provider(session, path.name, device)
        return cls(session)

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the file's graph; see `Runtime.run`."""
        feeds = {name: np.ascontiguousarray(inputs[name].numpy()) for name in self.inputs}
        arrays = self.session.run(list(self.outputs), feeds)
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, arrays, strict=True)}


def check_provider(session: onnxruntime.InferenceSession, name: str, device: Device) -> None:
    """See that a session runs where it should: onnxruntime falls back to the CPU with a warning at most.

    Args:
        session: Opened for the device.
        name: Of its file.
        device: That was asked for.

    Raises:
        ConfigInvalid: It runs elsewhere.
    """
    wanted, used = device.provider[0], session.get_providers()[0]
    if used != wanted:
        raise ConfigInvalid(
            f"{name}: asked for {wanted}, onnxruntime uses {used}; install the onnxruntime of that device, or choose "
            "another device"
        )
