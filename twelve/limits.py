"""What one request may hold beside its pictures, whose own limits are `twelve.image.ImageLimits`.

The contract's bounds stand in `twelve.schema`. A server may allow less, never more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from twelve.errors import ConfigInvalid, InvalidField, TooLarge
from twelve.schema import MOST_BOXES, MOST_CHARACTERS


@dataclass(frozen=True)
class RequestLimits:
    """What a request may hold.

    Attributes:
        max_characters: Of one text as the model reads it; a dialogue is one.
        max_boxes: Of candidates.
    """

    max_characters: int = MOST_CHARACTERS
    max_boxes: int = MOST_BOXES

    def __post_init__(self) -> None:
        """Refuse limits that the contract does not cover.

        Raises:
            ConfigInvalid: One is less than 1, or more than the contract's.
        """
        for name, most in (("max_characters", MOST_CHARACTERS), ("max_boxes", MOST_BOXES)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigInvalid(f"limits: {name} is {value!r}; give a whole number from 1 to {most}")

    def check_texts(self, texts: Iterable[str], *, at: str) -> None:
        """See that no text is too long.

        Raises:
            TooLarge: One is.
        """
        longest = max(map(len, texts))
        if longest > self.max_characters:
            raise TooLarge(f"{at}: has {longest} characters in all, at most {self.max_characters} are read", at=at)

    def check_boxes(self, count: int) -> None:
        """See that there are not too many candidates.

        Raises:
            InvalidField: There are.
        """
        if count > self.max_boxes:
            raise InvalidField(f"boxes: are {count}, at most {self.max_boxes} are looked at", at="boxes")
