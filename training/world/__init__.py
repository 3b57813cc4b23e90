"""The small world: illustrated scenes with their ground truth, written as the official files of twelve data sets."""
