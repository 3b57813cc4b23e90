"""Training the small detector on the ground truth of a world's scenes, and measuring it."""

from training.detector.loop import DetectorRecipe, train

__all__ = ["DetectorRecipe", "train"]
