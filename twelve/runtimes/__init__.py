"""Run one graph, whatever it was exported to: a torch module, a TorchScript file, an onnxruntime file."""

from twelve.runtimes.base import Runtime

__all__ = ["Runtime"]
