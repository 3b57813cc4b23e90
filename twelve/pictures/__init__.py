"""Pictures of requests, and the desk where they become regions."""

from twelve.pictures.desk import BatchDesk, PictureDesk, Unwatched, Watcher
from twelve.pictures.slots import Attached, BroughtPicture, NamedPicture, SentPicture, Slot

__all__ = [
    "Attached",
    "BatchDesk",
    "BroughtPicture",
    "NamedPicture",
    "PictureDesk",
    "SentPicture",
    "Slot",
    "Unwatched",
    "Watcher",
]
