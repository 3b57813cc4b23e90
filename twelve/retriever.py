"""A bundle as what an index needs: its detector, and its retrieval head over regions that were found before.

A score is the head's raw logit, higher is better and of no fixed scale. The served retrieval tasks give the softmax of
the same logits over the pictures of a request; over a whole collection that share would say little, and the order is
the same.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from twelve.assembly import Parts, Settings, assemble
from twelve.batch import BatchBuilder, Text, visual
from twelve.engines.engine import Encoded
from twelve.errors import ConfigInvalid, InvalidField
from twelve.features import RegionSet
from twelve.image import ImageLimits
from twelve.regions.extractor import RegionExtractor
from twelve.schema import Text as WrittenText
from twelve.schema import sentence_of
from twelve.tasks import find
from twelve.tasks.registry import AnyTask

DEFAULT_TASK = "coco-retrieval"
CAPTION = "caption"
WRITTEN: TypeAdapter[str] = TypeAdapter(WrittenText)


class BundleRetriever:
    """Scores a caption before region sets; see `twelve.index.search.Retriever`."""

    def __init__(self, parts: Parts, task: AnyTask, settings: Settings) -> None:
        """Take the parts of a service.

        Args:
            parts: Of a bundle that knows the task.
            task: One that rates each pair of text and picture with one number.
            settings: How the parts were assembled.

        Raises:
            ConfigInvalid: The bundle has no detector, or was not trained on the task.
        """
        name = parts.knowledge.model.name
        if parts.extractor is None:
            raise ConfigInvalid(f"model '{name}' has no detector, and an index needs one; name another with --bundle")
        if task.name not in parts.knowledge.tasks:
            raise ConfigInvalid(f"model '{name}' was not trained on '{task.name}'; name another with --bundle")
        self._extractor = parts.extractor
        self._parts = parts
        self._task = task
        self._settings = settings
        self._read: tuple[Text, Encoded] | None = None

    @classmethod
    def open(cls, bundle: Path, settings: Settings | None = None, *, task: str = DEFAULT_TASK) -> Self:
        """Assemble a bundle for searching.

        Args:
            bundle: Its folder.
            settings: How to run it.
            task: Whose token stands before a caption.

        Returns:
            The retriever.

        Raises:
            StartupError: The bundle is not fit for it.
        """
        chosen = settings or Settings()
        return cls(assemble(bundle, chosen), find(task), chosen)

    @property
    def extractor(self) -> RegionExtractor:
        """Give what finds regions."""
        return self._extractor

    @property
    def limits(self) -> ImageLimits:
        """Give what pictures may be."""
        return self._settings.limits

    def score(self, caption: str, region_sets: Iterable[RegionSet]) -> Sequence[float]:
        """Rate how well a caption describes each picture.

        Args:
            caption: Read once, however many calls it takes to rate a collection.
            region_sets: By this bundle's detector.

        Returns:
            One logit a picture.

        Raises:
            InvalidField: The caption is empty, or longer than the model can read.
        """
        text = self._text(caption)
        engine, builder = self._parts.engine, BatchBuilder()
        visuals = [visual(regions) for regions in region_sets]
        spans = [builder.add([(text, one)]) for one in visuals]
        batch = builder.build()
        passes = engine.plan(batch, rows_per_pass=self._settings.rows_per_pass)
        states = engine.fuse(batch, passes, [self._states(text)], engine.regions(batch.visuals))
        return [float(engine.head(self._task.head, states, span)) for span in spans]

    def _text(self, caption: str) -> Text:
        try:
            written = WRITTEN.validate_python(caption)
        except ValidationError as error:
            sentence = sentence_of(error.errors(include_url=False)[0])
            raise InvalidField(f"{CAPTION}: {sentence}", at=CAPTION) from error
        most = self._parts.knowledge.most_tokens
        return Text(self._parts.encoder.encode_whole(written, most=most, at=CAPTION), self._task.token)

    def _states(self, text: Text) -> Encoded:
        """Give a text's states; those of the last one are at hand."""
        if self._read is None or self._read[0] != text:
            self._read = (text, self._parts.engine.text([text])[0])
        return self._read[1]
