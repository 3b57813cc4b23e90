"""Text to token ids: BERT's WordPiece over the bundle's own vocabulary.

User text is data: "[SEP]" typed by a user is three pieces of text, never the separator.
"""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from twelve.errors import BundleMissing, ConfigInvalid, InvalidField

CLS, SEP, UNK, PAD = "[CLS]", "[SEP]", "[UNK]", "[PAD]"
LONGEST_WORD = 100
"""Characters; a longer word is unknown, as in BERT."""


class TextEncoder:
    """Turns text into token ids, [CLS] first and [SEP] last.

    Differs: special tokens written out in the text stay text; the published tokenizer turns them into the tokens.
    """

    def __init__(self, vocabulary: dict[str, int]) -> None:
        missing = [token for token in (CLS, SEP, UNK, PAD) if token not in vocabulary]
        if missing:
            raise ConfigInvalid(f"vocab.txt: lacks {missing}; use the vocabulary the model was trained with")
        self._tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNK, max_input_chars_per_word=LONGEST_WORD))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._cls, self._sep = vocabulary[CLS], vocabulary[SEP]
        self.size = max(vocabulary.values()) + 1
        """Rows that a word table needs for every id."""

    @classmethod
    def load(cls, path: Path) -> "TextEncoder":
        """Read `vocab.txt`: one piece a line, its line number its id.

        Raises:
            BundleMissing: There is no such file.
            ConfigInvalid: It is no text, or lacks a special token.
        """
        if not path.is_file():
            raise BundleMissing(f"{path} is not there; a bundle needs its vocabulary")
        try:
            pieces = path.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ConfigInvalid(f"{path}: is no text ({error}); name a file of one word piece a line") from error
        return cls({piece: index for index, piece in enumerate(pieces) if piece})

    def encode(self, text: str, *, most: int | None = None) -> tuple[int, ...]:
        """Tokenise.

        Args:
            text: As a person wrote it.
            most: Cut to this many ids, [CLS] and [SEP] included; None keeps all.

        Returns:
            [CLS], the pieces, [SEP].
        """
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        kept = pieces if most is None else pieces[: most - 2]
        return (self._cls, *kept, self._sep)

    def encode_whole(self, text: str, *, most: int, at: str) -> tuple[int, ...]:
        """Tokenise a text that must be read to its end.

        Args:
            text: As a person wrote it.
            most: Ids that the model can place, [CLS] and [SEP] included.
            at: The field's path, for the error.

        Returns:
            [CLS], all pieces, [SEP].

        Raises:
            InvalidField: There are more pieces than the model reads. Differs: the published code cuts them off unsaid.
        """
        ids = self.encode(text)
        if len(ids) > most:
            raise InvalidField(
                f"{at}: has {len(ids) - 2} word pieces, this model reads at most {most - 2}; shorten it", at=at
            )
        return ids
