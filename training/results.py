"""What a finished run is measured by beyond its scores: official figures, consistency, galleries, prediction files.

RUN.out/
  metrics.json    official figures, beside scores.json
  rankings/       scores of captions before pictures, kept row by row
"""

import copy
import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from training import checkpoint, ranking, submissions
from training.config import Recipe
from training.data.readers import available_splits, read
from training.data.sets import UNCLEANED
from training.evaluate import evaluate, predictions, spread
from training.items import PictureShelf, TaskItems
from training.metrics import consistency, official, ranks
from training.metrics.figures import Report
from training.metrics.prediction import Rated
from training.pipeline import RunItems, begin
from twelve.bundle import sha256_of
from twelve.errors import DataError
from twelve.heads.model import WEIGHTS_FILE, TwelveModel

METRICS, RANKINGS = "metrics.json", "rankings"

QUESTIONS = "vqa-v2"
EXPRESSIONS = ("refcoco", "refcoco+")
"""Whose pictures both tasks know: grounding consistency is between these and the questions."""

PICTURES_PAIRED = 200
"""Of grounding consistency; the paper has 1,500."""

RANKED = ("coco-retrieval", "flickr30k-retrieval")
"""Tasks that are rated on galleries."""

SMALL_GALLERY = 1000
"""Pictures of the gallery that a larger one is cut into as well: COCO's 5K test is also reported as five times 1K."""

Done = Callable[[int], None]


def of_task(source: TaskItems, rated: Sequence[Rated], root: Path) -> Report:
    """Give the official figures of a task's answers; see `training.metrics.official`."""
    return official.report(source.task.name, rated, official.Split(root, source.split, source.records))


def grounding(
    recipe: Recipe, model: TwelveModel, *, pictures: int = PICTURES_PAIRED, on_total: Done, on_progress: Done
) -> Report:
    """Measure grounding consistency on pictures of RefCOCO's and RefCOCO+'s test that VQAv2 asks about, in any split.

    Args:
        recipe: Of the run.
        model: In evaluation mode.
        pictures: At most so many, evenly spread.
        on_total: Called with the number of items to ask.
        on_progress: Called with the number of items done since the last call.

    Raises:
        DataError: The run does not train all three tasks, nothing can be paired, or it was trained on these pictures.
    """
    begin(recipe)
    missing = [name for name in (QUESTIONS, *EXPRESSIONS) if name not in recipe.tasks]
    if missing:
        raise DataError(
            f"grounding consistency needs a model of {QUESTIONS} and {', '.join(EXPRESSIONS)}; "
            f"this recipe lacks {', '.join(missing)}"
        )
    reader = RunItems.open(recipe)
    most_tokens = model.config.max_position_embeddings
    asked = {name: reader.read(name, "test", most_tokens=most_tokens) for name in EXPRESSIONS}
    questions = _annotated_questions(recipe.run.data)
    shown = {_key(reader.shelf, one.image) for source in asked.values() for one in source.records}
    common = sorted(shown & {_key(reader.shelf, one.image) for one in questions} - {""})
    chosen = {common[place] for place in spread(len(common), pictures)}
    _refuse_trained(_as_trained(reader), chosen)
    sources = [_only(source, source.records, chosen, reader.shelf) for source in asked.values()]
    sources.append(_only(reader.read(QUESTIONS, "train", most_tokens=most_tokens), questions, chosen, reader.shelf))
    on_total(sum(len(source) for source in sources))
    *found, answered = [evaluate(model, one, most=len(one), on_progress=on_progress).rated for one in sources]
    paired = consistency.pairs(answered, [one for rated in found for one in rated], picture=reader.shelf.key)
    return {"pictures": len(chosen), **consistency.report(paired)}


def grounding_or_why_not(
    recipe: Recipe, model: TwelveModel, *, pictures: int, on_total: Done, on_progress: Done
) -> Report:
    """Measure grounding consistency, or say what stands against it: other figures are worth having without it."""
    try:
        return grounding(recipe, model, pictures=pictures, on_total=on_total, on_progress=on_progress)
    except DataError as error:
        return {"consistency": None, "reason": error.message}


def retrieval(
    recipe: Recipe, model: TwelveModel, split: str, *, pictures: int, on_total: Done, on_progress: Done
) -> dict[str, Report]:
    """Rank galleries of a split's first pictures, both ways; goes on from what is kept of the same model.

    Returns:
        By task and size of gallery.

    Raises:
        DataError: A split is not there.
    """
    begin(recipe)
    reader = RunItems.open(recipe)
    most_tokens = model.config.max_position_embeddings
    sources = {name: reader.read(name, split, most_tokens=most_tokens) for name in RANKED if name in recipe.tasks}
    asked = {name: ranking.gallery(source, pictures) for name, source in sources.items()}
    on_total(sum(len(one.captions) for one in asked.values()))
    digest = weights_digest(recipe)
    found: dict[str, Report] = {}
    for name, one in asked.items():
        scorer = ranking.Scorer(model, sources[name], reader.shelf, one.pictures)
        kept = recipe.run.out / RANKINGS / f"{name}-{split}-{pictures}.scores"
        scores = ranking.scores(scorer, one, kept, of=f"{digest} {name} {split}", on_progress=on_progress)
        sizes = sorted({min(size, len(one.pictures)) for size in (SMALL_GALLERY, pictures)})
        found[name] = {f"{size:,}": ranks.folded(scores, one.picture_of, pictures=size) for size in sizes}
    return found


def predict(
    recipe: Recipe, model: TwelveModel, task: str, split: str, to: Path, *, on_total: Done, on_progress: Done
) -> int:
    """Write a task's answers to a whole split as its challenge takes them; goes on from a draft of the same model.

    Args:
        recipe: Of the run.
        model: In evaluation mode.
        task: Of the recipe.
        split: Right answers need not be known.
        to: The file.
        on_total: Called with the number of items.
        on_progress: Called with the number of items done since the last call.

    Returns:
        The number of rows.

    Raises:
        DataError: The task is not in the recipe, nobody takes its predictions, or it has no such split.
    """
    begin(recipe)
    chosen = submissions.format_of(task)
    if task not in recipe.tasks:
        raise DataError(f"task {task!r} is not in this recipe; it has {', '.join(recipe.tasks)}")
    source = RunItems.open(recipe).read(task, split, most_tokens=model.config.max_position_embeddings)
    draft = submissions.Draft(to, {"model": weights_digest(recipe), "task": task, "split": split, "items": len(source)})
    done = draft.done()
    on_total(len(source))
    on_progress(done)
    asked = predictions(model, source, range(done, len(source)), on_progress=on_progress)
    draft.append(chosen.row(one) for _, one in asked)
    submissions.write(draft, chosen, to)
    return len(source)


def weights_digest(recipe: Recipe) -> str:
    """Tell one trained model from another.

    Raises:
        DataError: There is none yet.
    """
    place = checkpoint.find(recipe.run.out)
    if place is None:
        raise DataError(f"{recipe.run.out}: holds no checkpoint; run `python -m training run RECIPE` first")
    return sha256_of(place / checkpoint.MODEL / WEIGHTS_FILE)


def _annotated_questions(root: Path) -> list[Any]:
    """Read VQAv2's questions of every split, cleaned or not: RefCOCO's pictures are asked about in its train file."""
    splits = available_splits(QUESTIONS, root)
    return [one for split in splits for one in read(QUESTIONS, root, split) if getattr(one, "answers", ())]


def _as_trained(reader: RunItems) -> RunItems:
    """Read as the model's data sets were read when it was trained, whatever has been written into the data root since.

    Raises:
        DataError: That cannot be done: they were cleaned otherwise, or the checkpoint does not say how.
    """
    recipe = reader.recipe
    place = checkpoint.find(recipe.run.out)
    begun = checkpoint.state_of(place).read_through if place else None
    if begun == UNCLEANED:
        return dataclasses.replace(
            reader, recipe=dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, clean="never"))
        )
    if begun is None:
        raise DataError(
            f"grounding consistency: the checkpoint in {recipe.run.out} does not say which clean.json it was trained "
            "under; train anew"
        )
    if begun != reader.sets.read_through:
        raise DataError(
            f"grounding consistency: the model was trained under clean.json {begun}, and now it is "
            f"{reader.sets.read_through}; bring the one back, or train anew"
        )
    return reader


def _refuse_trained(reader: RunItems, pictures: Collection[str]) -> None:
    """Check that the model has never seen pictures.

    Differs: the paper does not say whether the model of its best figure, finetuned on full data, had seen them.
    """
    for name in (QUESTIONS, *EXPRESSIONS):
        seen = {_key(reader.shelf, one.image) for one in reader.read(name, "train").records}
        shared = len(seen & set(pictures))
        if shared:
            raise DataError(
                f"grounding consistency: {shared:,} of its {len(pictures):,} pictures are in the train split of task "
                f"{name!r}; train on cleaned data sets: `python -m training data clean`"
            )


def _only(source: TaskItems, records: Sequence[Any], pictures: Collection[str], shelf: PictureShelf) -> TaskItems:
    """Give a source of the records that show some pictures."""
    chosen = copy.copy(source)
    chosen.records = [one for one in records if _key(shelf, one.image) in pictures]
    return chosen


def _key(shelf: PictureShelf, image: str) -> str:
    """Give what is the same for two names of one picture, "" for one that the run never prepared."""
    try:
        return shelf.key(image)
    except DataError:
        return ""
