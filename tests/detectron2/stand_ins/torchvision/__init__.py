"""The little of torchvision that detectron2's networks call, for tests that must do without the real one.

The real one comes built for CUDA only and breaks other packages where it does not fit torch. What stands here is also
the oracle that our own operators are compared with, and shares no line with them: boxes are struck out one by one, and
samples are read one by one from their four neighbours.
"""

__version__ = "0.28.0"
"""What detectron2 asks for: at least 0.7."""
