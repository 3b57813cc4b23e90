"""What a graph that failed tells of the machine. Engines have few types for it, so their words are read."""

import torch

NO_MEMORY = (
    "out of memory",
    "can't allocate memory",  # torch on the CPU: DefaultCPUAllocator
    "failed to allocate memory",  # onnxruntime
    "bad allocation",
    "bad_alloc",
    "available memory of",  # onnxruntime's arena on CUDA
)
"""In lower case. CUDA's own "out of memory" counts here: it passes, unlike its other faults."""

LOST = ("cuda error", "cuda failure", "device-side assert", "cublas_status", "cudnn_status", "cublas failure")
"""In lower case. After one of these the process cannot use the device any more, whatever it is asked."""


def is_out_of_memory(error: Exception) -> bool:
    """Say whether something failed because memory was short; a smaller thing may succeed."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or _says(error, NO_MEMORY)


def is_device_lost(error: Exception) -> bool:
    """Say whether the device is of no use to this process any more."""
    return not is_out_of_memory(error) and _says(error, LOST)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    """Look for words in what an engine said; in other errors a stranger may be quoted."""
    is_an_engines = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    told = str(error).lower()
    return is_an_engines and any(word in told for word in words)
