"""The two-stream model of 12-in-1: ViLBERT with a task token."""
