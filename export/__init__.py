"""From a bundle to files that a server runs: TorchScript, ONNX, the server's directory. `python -m export`."""
