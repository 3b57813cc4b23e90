"""The official annotation files of the twelve data sets, read as they are published into plain records."""

from training.data.faults import Fault
from training.data.readers import READERS, available_splits, read

__all__ = ["READERS", "Fault", "available_splits", "read"]
