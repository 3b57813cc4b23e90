"""From a bundle to files that a server runs: TorchScript, ONNX, the server's directory. `python -m export`."""

import twelve  # noqa: F401  # before onnxruntime, which it keeps from reporting to its maker
