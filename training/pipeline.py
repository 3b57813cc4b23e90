"""The stages of a run, each resumable: features, model, bundle, scores. `python -m training all` runs them in order.

RUN.out/
  detector/       detector.json, detector.safetensors
  features/       regions of every picture
  pictures.json   picture path -> key of its regions
  boxes.json      key of regions -> digest of the boxes that tasks gave
  negatives/      pictures that look alike, where the recipe asks for tables of them
  answers/        vocabularies of the answer heads
  checkpoint/     the model so far; blind/checkpoint/ the blind model
  log.jsonl       losses by round
  bundle/         what is served
  scores.json     every task's metric
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import torch

from training import bundling, checkpoint
from training.config import Recipe
from training.data import answers as answer_lists
from training.data import clean
from training.data.sets import OPENED, DataSets
from training.evaluate import MOST_ITEMS, Unanswered, evaluate
from training.features import Box, Regions, nothing, prepare, right_box
from training.items import ItemMaker, PictureShelf, TaskItems
from training.loading import mining
from training.loading.gallery import Nearest, compared
from training.loading.loader import BatchMaker
from training.loading.workshop import open_workshop
from training.loop import Progress, train
from training.metrics.prediction import Rated
from twelve.bundle import DETECTOR_WEIGHTS, Bundle
from twelve.convert.starting import start
from twelve.errors import ConfigInvalid, DataError
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.regions.local import DetectorExtractor
from twelve.tasks.base import AnswerList
from twelve.tasks.kinds.normalise import normalise_answer
from twelve.tasks.records import AnsweredQuestion
from twelve.tasks.registry import TASKS
from twelve.text import TextEncoder

DETECTOR, BLIND, BUNDLE, SCORES, ANSWERS = "detector", "blind", "bundle", "scores.json", "answers"

STARTED = "started.json"
"""Which parameters began with a bundle's weights, and which did not."""


def _paper(*, vqa_labels: int, gqa_labels: int, feature_width: int) -> ModelConfig:
    """Give the published sizes with the paper's heads."""
    return ModelConfig(vqa_labels=vqa_labels, gqa_labels=gqa_labels, v_feature_size=feature_width, heads="paper")


PRESETS: Mapping[str, Callable[..., ModelConfig]] = {
    "paper": _paper,
    "small": ModelConfig.small,
    "tiny": ModelConfig.tiny,
}
"""Models that a recipe may name; each takes the sizes of its answer lists and features."""

CLEANED = ("auto", "always")
"""What a recipe may say of cleaning that asks for it."""

CANONICAL: Mapping[str, tuple[tuple[str, ...], Callable[[str], str]]] = {
    "vqa": (("vqa-v2", "vg-qa"), normalise_answer),
    "gqa": (("gqa",), str),
}
"""By head: whose answers it lists, and what makes two answers one."""


def begin(recipe: Recipe) -> None:
    """Bind threads and seed."""
    torch.set_num_threads(recipe.run.threads)
    torch.manual_seed(recipe.run.seed)
    recipe.run.out.mkdir(parents=True, exist_ok=True)


def data_sets(recipe: Recipe) -> DataSets:
    """Open the recipe's data sets, cleaned of test pictures as it says.

    Raises:
        ConfigInvalid: It does not say so in one of the known words.
        DataError: The data root's manifest is missing although it is asked for, or its files have changed since.
    """
    if recipe.run.clean not in OPENED:
        raise ConfigInvalid(f"[run] clean {recipe.run.clean!r}; there are {', '.join(OPENED)}")
    return OPENED[recipe.run.clean](recipe.run.data)


def is_to_be_cleaned(recipe: Recipe) -> bool:
    """Say whether a run is to read through a manifest that is still to be written."""
    return recipe.run.clean in CLEANED and not clean.is_stated(recipe.run.data)


def extractor(recipe: Recipe) -> DetectorExtractor:
    """Load the run's detector.

    Raises:
        DataError: There is none yet.
    """
    folder = recipe.run.out / DETECTOR
    if not (folder / DETECTOR_WEIGHTS).is_file():
        raise DataError(f"{folder}: holds no detector; run `python -m training detector RECIPE` first")
    return DetectorExtractor.load(folder)


def features(recipe: Recipe, *, on_total: Callable[[int], None], on_progress: Callable[[int], None]) -> Regions:
    """Find and keep the regions of all pictures of the recipe's tasks; see `training.features.prepare`."""
    begin(recipe)
    return prepare(
        data_sets(recipe),
        recipe.run.out,
        recipe.tasks,
        extractor(recipe),
        shown=shown(recipe),
        on_total=on_total,
        on_progress=on_progress,
    )


def shown(recipe: Recipe) -> Callable[[object], Sequence[Box]]:
    """Say which boxes of a record training shows although nobody gives them."""
    return right_box if recipe.loading.right_boxes else nothing


def negatives(recipe: Recipe, *, on_total: Callable[[int], None], on_progress: Callable[[int], None]) -> None:
    """Write the tables of nearest pictures that the recipe asks for; see `training.loading.mining`.

    Args:
        recipe: Whose features are prepared.
        on_total: Called with the number of pictures.
        on_progress: Called with the number of pictures done since the last call.

    Raises:
        ConfigInvalid: The recipe asks for none.
    """
    if not recipe.loading.mined:
        raise ConfigInvalid("[loading] mined is 0: say how many nearest pictures to keep of each, such as 100")
    begin(recipe)
    reader = RunItems.open(recipe)
    sources = [source for name in recipe.tasks if (source := reader.read(name, "train")).draws()]
    on_total(sum(len(source.gallery.images) for source in sources))
    for source in sources:
        folder = negatives_folder(recipe, source.task.name)
        mining.mine(folder, source.gallery, most=recipe.loading.mined, on_progress=on_progress)


def negatives_folder(recipe: Recipe, task: str) -> Path:
    """Name the folder of a task's table of nearest pictures."""
    return recipe.run.out / mining.FOLDER / f"{task}-train"


def vocabularies(recipe: Recipe) -> dict[str, AnswerList]:
    """Build the answer lists from the training annotations, once; later calls read them."""
    folder = recipe.run.out / ANSWERS
    folder.mkdir(parents=True, exist_ok=True)
    for head, (tasks, canonical) in CANONICAL.items():
        if not (folder / f"{head}.json").is_file():
            sets = data_sets(recipe)
            records = (one for task in tasks if task in recipe.tasks for one in sets.read(task, "train"))
            asked = [one for one in records if isinstance(one, AnsweredQuestion)]
            built = answer_lists.build(asked, minimum_count=recipe.model.minimum_answer_count, canonical=canonical)
            answer_lists.save(built, folder / f"{head}.json")
    return {head: answer_lists.load(folder / f"{head}.json") for head in CANONICAL}


def new_model(recipe: Recipe, lists: Mapping[str, AnswerList]) -> TwelveModel:
    """Build the recipe's model with new weights, and those of the bundle that it starts from.

    Raises:
        ConfigInvalid: There is no such preset, or an answer list is empty.
        StartupError: There is no such bundle, or a file of it has changed.
        WeightsInvalid: It does not fit the preset; says where.
    """
    if recipe.model.preset not in PRESETS:
        raise ConfigInvalid(f"[model] preset {recipe.model.preset!r}; there are {', '.join(PRESETS)}")
    sizes = {f"{head}_labels": len(listed.answers) for head, listed in lists.items()}
    if not all(sizes.values()):
        raise ConfigInvalid(f"[model] minimum_answer_count leaves an empty answer list: {sizes}; lower it")
    torch.manual_seed(recipe.run.seed)
    width = extractor(recipe).feature_width
    model = TwelveModel(with_rows(PRESETS[recipe.model.preset](**sizes, feature_width=width), recipe.tasks))
    if recipe.model.start:
        opened = Bundle.open(Path(recipe.model.start))
        opened.verify()
        begun = start(model, opened.path)
        (recipe.run.out / STARTED).write_text(json.dumps(asdict(begun), indent=1) + "\n", encoding="utf-8")
    return model


def with_rows(config: ModelConfig, tasks: Iterable[str]) -> ModelConfig:
    """Give every task a row of the task table: the published table ends where a thirteenth task's token begins."""
    return replace(
        config, task_embedding_rows=max(config.task_embedding_rows, *(1 + TASKS[name].token for name in tasks))
    )


@dataclass(frozen=True)
class RunItems:
    """Reads the items of a run's tasks; regions, tokenizer and answer lists are loaded once for all of them.

    Attributes:
        recipe: Of the run.
        shelf: Regions of all pictures.
        encoder: Tokenises.
        answers: By head.
    """

    recipe: Recipe
    shelf: PictureShelf
    encoder: TextEncoder
    answers: Mapping[str, AnswerList]

    @classmethod
    def open(cls, recipe: Recipe, *, blind: bool = False) -> Self:
        """Open what a run's features and vocabularies wrote.

        Raises:
            DataError: There are no features yet.
        """
        shelf = PictureShelf(Regions.open(recipe.run.out), blind=blind, kept=recipe.loading.pictures_kept)
        return cls(recipe, shelf, TextEncoder.load(recipe.model.vocabulary), vocabularies(recipe))

    @cached_property
    def sets(self) -> DataSets:
        """Open the data sets."""
        return data_sets(self.recipe)

    def maker(self, name: str, *, most_tokens: int | None = None) -> ItemMaker:
        """Give what makes a task's items.

        Args:
            name: Of the task.
            most_tokens: That the model can place; None where no model reads them.
        """
        task = TASKS[name]
        answers = self.answers.get(task.head, AnswerList())
        return ItemMaker(task, self.shelf, self.encoder, answers, most_tokens=most_tokens)

    def read(self, name: str, split: str, *, most_tokens: int | None = None) -> TaskItems:
        """Read a task's items of one split.

        Args:
            name: Of the task.
            split: train, val, test or novel.
            most_tokens: That the model can place; None where no model reads them.

        Raises:
            DataError: The split is empty, or a file is not as its format says.
        """
        return TaskItems.read(self.maker(name, most_tokens=most_tokens), self.sets, split, seed=self.recipe.run.seed)

    def lessons(self, name: str, *, most_tokens: int) -> TaskItems:
        """Read a task's items as the recipe has them trained on.

        Args:
            name: Of the task.
            most_tokens: That the model can place.

        Raises:
            DataError: The split is empty, or a file is not as its format says.
        """
        return TaskItems.read(
            self.maker(name, most_tokens=most_tokens),
            self.sets,
            "train",
            seed=self.recipe.run.seed,
            nearest=self._nearest(name),
            shown=shown(self.recipe),
        )

    def _nearest(self, name: str) -> Nearest:
        most = self.recipe.loading.mined
        return partial(mining.load, negatives_folder(self.recipe, name), most=most) if most else compared


def batch_maker(recipe: Recipe, *, blind: bool, most_tokens: int) -> BatchMaker:
    """Open what one process needs to make the batches of a run.

    Args:
        recipe: Of the run.
        blind: Whether pictures are hidden.
        most_tokens: That the model can place.
    """
    reader = RunItems.open(recipe, blind=blind)
    return BatchMaker({name: reader.maker(name, most_tokens=most_tokens) for name in recipe.tasks})


def run(recipe: Recipe, *, blind: bool, on_progress: Callable[[Progress], None]) -> TwelveModel:
    """Train the model, or its blind twin: the same recipe with features and locations zeroed.

    Args:
        recipe: Whose features are prepared.
        blind: Whether pictures are shown.
        on_progress: Called every few rounds.

    Returns:
        The trained model.
    """
    begin(recipe)
    reader = RunItems.open(recipe, blind=blind)
    model = new_model(recipe, reader.answers)
    most_tokens = model.config.max_position_embeddings
    out = recipe.run.out / BLIND if blind else recipe.run.out
    out.mkdir(parents=True, exist_ok=True)
    opened = partial(batch_maker, recipe, blind=blind, most_tokens=most_tokens)
    with open_workshop(opened, workers=recipe.loading.workers, ahead=recipe.loading.ahead) as workshop:
        sources = {name: reader.lessons(name, most_tokens=most_tokens) for name in recipe.tasks}
        read_through = reader.sets.read_through
        train(model, sources, recipe, out, read_through=read_through, workshop=workshop, on_progress=on_progress)
    return model.eval()


def bundle(recipe: Recipe, folder: Path, *, scores: Mapping[str, Any] | None = None) -> Bundle:
    """Write the run's model as a bundle.

    Raises:
        DataError: The run has not ended.
    """
    model = trained(recipe, blind=False)
    notes = {
        "trained_on": "the small world: generated pictures; it knows nothing of real photographs",
        "measured_on": "pictures of the same small world that training never saw",
        "licence": "Apache-2.0",
        "recipe": recipe.as_dict(),
    }
    return bundling.write(
        folder,
        model,
        name=recipe.run.name,
        version=recipe.run.version,
        tasks=list(recipe.tasks),
        detector=recipe.run.out / DETECTOR,
        vocabulary=recipe.model.vocabulary,
        answers=vocabularies(recipe),
        scores=scores or {},
        notes=notes,
    )


def trained(recipe: Recipe, *, blind: bool) -> TwelveModel:
    """Load a finished run's model.

    Raises:
        DataError: The run has not begun or not ended.
    """
    out = recipe.run.out / BLIND if blind else recipe.run.out
    place = checkpoint.find(out)
    done = checkpoint.state_of(place).round if place else 0
    if place is None or done < recipe.optim.rounds:
        raise DataError(
            f"{out}: has run {done} of {recipe.optim.rounds} rounds; run `python -m training run RECIPE` on"
        )
    return TwelveModel.load(place / checkpoint.MODEL)


def score(
    recipe: Recipe,
    model: TwelveModel,
    split: str,
    *,
    blind: bool = False,
    most: int = MOST_ITEMS,
    on_total: Callable[[int], None] = lambda total: None,
    on_progress: Callable[[int], None] = lambda done: None,
    on_rated: Callable[[TaskItems, Sequence[Rated]], None] = lambda source, rated: None,
    on_unanswered: Callable[[str, Unanswered], None] = lambda name, error: None,
) -> dict[str, dict[str, Any]]:
    """Evaluate a model on a split of every task that has one with right answers.

    `on_rated` is given every task's answers, `on_unanswered` each task that is left out since its right answers are not
    known.

    Returns:
        By task, as `TaskScore.as_dict` gives it.

    Raises:
        DataError: A task's split is empty, or no task has right answers.
    """
    begin(recipe)
    reader = RunItems.open(recipe, blind=blind)
    names = [name for name in recipe.tasks if split in reader.sets.splits(name)]
    most_tokens = model.config.max_position_embeddings
    sources = {name: reader.read(name, split, most_tokens=most_tokens) for name in names}
    on_total(sum(min(most, len(source)) for source in sources.values()))
    scores = {}
    for name, source in sources.items():
        try:
            measured = evaluate(model, source, most=most, on_progress=on_progress)
        except Unanswered as error:
            on_unanswered(name, error)
            continue
        on_rated(source, measured.rated)
        scores[name] = measured.score.as_dict()
    if sources and not scores:
        raise DataError(
            f"no task of the recipe has right answers in split {split!r}; evaluate on one that is annotated"
        )
    return scores


def cpu_s() -> float:
    """Give the CPU-seconds of this process and its ended children."""
    return sum(os.times()[:4])
