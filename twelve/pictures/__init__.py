"""Pictures of requests, and the desk where they become regions."""

from twelve.pictures.desk import BatchDesk, PictureDesk
from twelve.pictures.slots import Attached, BroughtPicture, NamedPicture, SentPicture, Slot

__all__ = [
    "Attached",
    "BatchDesk",
    "BroughtPicture",
    "NamedPicture",
    "PictureDesk",
    "SentPicture",
    "Slot",
]
