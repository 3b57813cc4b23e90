import dataclasses
import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.tiny_runs import elsewhere, tiny_run, tiny_world
from training import pipeline
from training.config import Loading, Recipe
from training.features import nothing, right_box
from training.items import TaskItems
from training.loading.gallery import NEAR
from training.loading.loader import Filled, Loaded, Loader, Step
from training.loading.order import AsDrawn, ByLength
from training.loading.workshop import Workshop, open_workshop
from training.loop import Progress
from training.schedule import ALONE, Rank, round_robin, serials
from twelve.errors import ConfigInvalid, DataError

TASKS_TRAINED = ("vqa-v2", "visual7w", "coco-retrieval", "refcoco", "nlvr2", "gqa")
"""One of each kind that differs in how its batches are made; a model needs both answering heads."""

BATCH, MOST_TOKENS, ROUNDS, GROUP = 4, 40, 40, 5
RESUMES, STEPS_AFTER = 50, 2
RANKS = (ALONE, Rank(0, 2), Rank(1, 2))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    world = tiny_world(tmp_path_factory.mktemp("world"))
    loading = "[loading]\nright_boxes = true\n"
    chosen = tiny_run(world, tmp_path_factory.mktemp("run"), TASKS_TRAINED, batch=BATCH, more=loading)
    return dataclasses.replace(chosen, loading=Loading())


@pytest.fixture(scope="module")
def sources(recipe: Recipe) -> dict[str, TaskItems]:
    reader = pipeline.RunItems.open(recipe)
    return {name: reader.lessons(name, most_tokens=MOST_TOKENS) for name in recipe.tasks}


@pytest.fixture(scope="module")
def workshops(recipe: Recipe) -> Iterator[dict[int, Workshop]]:
    opened = partial(pipeline.batch_maker, recipe, blind=False, most_tokens=MOST_TOKENS)
    with ExitStack() as stack:
        yield {count: stack.enter_context(open_workshop(opened, workers=count, ahead=2)) for count in (0, 1, 2)}


def fresh(source: TaskItems) -> TaskItems:
    """Give the same items as a process that has just started has them."""
    return TaskItems(
        source.maker, source.records, seed=source.seed, split=source.split, nearest=lambda _: source.gallery.near
    )


def loader(sources: dict[str, TaskItems], workshop: Workshop, *, rank: Rank = ALONE, group: int = 1) -> Loader:
    started = {name: fresh(source) for name, source in sources.items()}
    return Loader.open(started, dict.fromkeys(sources, BATCH), workshop, rank=rank, group=group)


def tensors(batch: Loaded) -> list[torch.Tensor]:
    seen = [seen for one in batch.seen for seen in one.regions]
    return [*vars(batch.rows).values(), *batch.targets, *(each.boxes_px for each in seen)]


def assert_equal(found: tuple[Step, Loaded], expected: tuple[Step, Loaded]) -> None:
    assert found[0] == expected[0]
    assert [one.candidates for one in found[1].seen] == [one.candidates for one in expected[1].seen]
    for one, other in zip(tensors(found[1]), tensors(expected[1]), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other), found[0]


@pytest.mark.parametrize(("rank", "group"), [*((rank, 1) for rank in RANKS), (RANKS[-1], GROUP)])
def test_a_run_that_goes_on_at_any_step_gets_the_batches_of_one_that_never_stopped(
    sources: dict[str, TaskItems], workshops: dict[int, Workshop], rank: Rank, group: int
) -> None:
    steps = list(round_robin(list(sources), range(ROUNDS)))
    undisturbed = list(loader(sources, workshops[0], rank=rank, group=group).batches(steps))
    for place in random.Random(rank.number).sample(range(len(steps) - STEPS_AFTER), RESUMES):
        for workshop in workshops.values():
            resumed = loader(sources, workshop, rank=rank, group=group)
            found = list(islice(resumed.batches(steps[place:]), STEPS_AFTER))
            for one, expected in zip(found, undisturbed[place:], strict=False):
                assert_equal(one, expected)


def test_the_batches_are_the_stream_of_items_in_order(sources: dict[str, TaskItems]) -> None:
    for source in sources.values():
        drawn = AsDrawn(source, BATCH, ALONE)
        assert [*drawn.asked(7), *drawn.asked(8)] == [source.streamed(serial) for serial in range(28, 36)]


def test_the_shares_of_all_ranks_are_the_batch_of_one_alone(sources: dict[str, TaskItems]) -> None:
    for of in (1, 2, 4):
        shares = [serials(3, 8, Rank(number, of)) for number in range(of)]
        assert sorted(serial for share in shares for serial in share) == list(range(24, 32))
        assert len({len(share) for share in shares}) == 1
    source = sources["vqa-v2"]
    grouped = [ByLength(source, BATCH, rank, group=GROUP).asked(2) for rank in RANKS]
    assert sorted(map(repr, grouped[0])) == sorted(map(repr, grouped[1] + grouped[2]))


def test_ranks_that_cannot_share_a_batch_evenly_are_refused(sources: dict[str, TaskItems]) -> None:
    with pytest.raises(ConfigInvalid, match=r"^\[tasks\] vqa-v2: a batch of 4 cannot be shared evenly by 3 processes"):
        loader(sources, open_workshop(lambda: print, workers=0, ahead=1), rank=Rank(0, 3))


def test_grouping_by_length_pads_less_and_shows_the_same_items(
    sources: dict[str, TaskItems], workshops: dict[int, Workshop]
) -> None:
    steps = list(round_robin(list(sources), range(2 * GROUP)))
    filled = {}
    for group in (1, GROUP):
        batches = [batch for _, batch in loader(sources, workshops[0], group=group).batches(steps)]
        filled[group] = sum((Filled.of(batch.rows) for batch in batches), Filled())
    assert (filled[1].words, filled[1].regions) == (filled[GROUP].words, filled[GROUP].regions)
    before, after = filled[1].padding(), filled[GROUP].padding()
    assert after["words"] + after["regions"] < 0.8 * (before["words"] + before["regions"])


def test_an_epoch_in_groups_shows_each_item_once(sources: dict[str, TaskItems]) -> None:
    source = fresh(sources["visual7w"])
    size = len(source) // (BATCH * GROUP) * BATCH * GROUP
    grouped = ByLength(source, BATCH, ALONE, group=GROUP)
    asked = [one for number in range(size // BATCH) for one in grouped.asked(number)]
    assert sorted(map(repr, asked)) == sorted(repr(source.streamed(serial)) for serial in range(size))


def test_padding_is_the_share_of_places_that_hold_nothing() -> None:
    assert Filled(words=3, regions=9, word_places=4, region_places=10).padding() == pytest.approx(
        {"words": 0.25, "regions": 0.1}
    )
    assert Filled(1, 2, 3, 4) + Filled(10, 20, 30, 40) == Filled(11, 22, 33, 44)


def test_the_length_of_an_item_is_that_of_its_longest_row(sources: dict[str, TaskItems]) -> None:
    for source in sources.values():
        for serial in range(5):
            asked = source.streamed(serial)
            pairs = source.maker.make(asked).pairs
            longest = max(len(text.token_ids) + len(seen) - 1 for text, seen in pairs)  # less the global region
            assert source.maker.length(asked) == longest


def test_each_picture_of_a_pair_has_a_row_of_its_own(sources: dict[str, TaskItems]) -> None:
    source = sources["nlvr2"]
    item = source.item(0, 0)
    pictures = [image.key for image in item.labelled.request.images]
    (left_text, left), (right_text, right) = item.pairs
    assert left_text == right_text
    for picture, seen, regions in zip(pictures, (left, right), item.seen.regions, strict=True):
        assert len(seen) == source.maker.shelf.count(picture) + 1
        assert torch.equal(seen.features[1:], regions.features)


def test_a_right_box_is_shown_beside_all_regions_and_rates_best(recipe: Recipe, sources: dict[str, TaskItems]) -> None:
    plain = sources["refcoco"]
    taught = TaskItems(plain.maker, plain.records, seed=plain.seed, split="train", shown=right_box)
    for place in range(20):
        without, item = plain.item(place, place), taught.item(place, place)
        assert len(item.seen.regions[0]) == len(without.seen.regions[0]) + 1
        assert len(item.pairs[0][1]) == len(item.seen.regions[0]) + 1
        target = taught.task.target(item.labelled.target, item.seen)
        assert torch.equal(target[:-1], plain.task.target(item.labelled.target, without.seen))
        assert float(target[-1]) == pytest.approx(1.0, abs=1e-4)
        assert float(target[target > 0].min()) >= 0.5


def test_showing_right_boxes_changes_no_other_task(recipe: Recipe, sources: dict[str, TaskItems]) -> None:
    for name in set(recipe.tasks) - {"refcoco"}:
        plain = sources[name]
        taught = TaskItems(plain.maker, plain.records, seed=plain.seed, split="train", shown=right_box)
        assert taught.asked(3, 3) == plain.asked(3, 3)
        assert plain.asked(3, 3).shown_px == nothing(None)


def test_right_boxes_that_were_not_described_say_what_to_do(recipe: Recipe, tmp_path: Path) -> None:
    bare = tiny_run(recipe.run.data, tmp_path, ["refcoco"])
    taught = dataclasses.replace(bare, loading=Loading(right_boxes=True))
    source = pipeline.RunItems.open(taught).lessons("refcoco", most_tokens=MOST_TOKENS)
    with pytest.raises(DataError, match="was not described when features were prepared; remove features/"):
        source.batch(0, 1)


def test_two_workers_train_the_weights_that_none_trains(recipe: Recipe, tmp_path: Path) -> None:
    weights = []
    for workers in (0, 2):
        (tmp_path / str(workers)).mkdir()
        chosen = elsewhere(recipe, tmp_path / str(workers), rounds=2)
        seen: list[Progress] = []
        chosen = dataclasses.replace(chosen, loading=Loading(workers=workers))
        model = pipeline.run(chosen, blind=False, on_progress=seen.append)
        assert 0 < seen[-1].waiting < 1
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert torch.equal(*weights)


def test_a_blind_loader_shows_nothing_from_a_worker_either(recipe: Recipe, sources: dict[str, TaskItems]) -> None:
    opened = partial(pipeline.batch_maker, recipe, blind=True, most_tokens=MOST_TOKENS)
    with open_workshop(opened, workers=1, ahead=2) as workshop:
        for _, batch in loader(sources, workshop).batches(round_robin(list(sources), range(2))):
            assert not batch.rows.features.any()
            assert not batch.rows.locations.any()
            assert batch.rows.region_mask.any()


def test_only_tasks_that_choose_among_pictures_draw_others(recipe: Recipe, sources: dict[str, TaskItems]) -> None:
    assert [name for name, source in sources.items() if source.draws()] == ["coco-retrieval"]


def test_a_loader_counts_the_time_that_it_is_waited_for(sources: dict[str, TaskItems]) -> None:
    ticks = iter(range(100))
    chosen = Loader.open(
        {"vqa-v2": sources["vqa-v2"]},
        {"vqa-v2": BATCH},
        open_workshop(lambda: lambda job: None, workers=0, ahead=1),
        clock=lambda: float(next(ticks)),
    )
    assert len(list(chosen.batches(round_robin(["vqa-v2"], range(3))))) == 3
    assert chosen.waited_s == 3.0


@pytest.mark.parametrize(("key", "value"), [("workers", -1), ("ahead", 0), ("group", 0), ("mined", -1)])
def test_numbers_that_count_nothing_are_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigInvalid, match=rf"^\[loading\] {key}: got {value}, takes"):
        Loading(**{key: value})


def test_a_run_with_mined_negatives_trains_what_comparing_in_memory_trains(recipe: Recipe, tmp_path: Path) -> None:
    mined = dataclasses.replace(elsewhere(recipe, tmp_path), loading=Loading(mined=NEAR))
    totals: list[int] = []
    pipeline.negatives(mined, on_total=totals.append, on_progress=totals.append)
    assert totals[0] == sum(totals[1:]) > 0
    for name in ("coco-retrieval", "vqa-v2"):
        found = pipeline.RunItems.open(mined).lessons(name, most_tokens=MOST_TOKENS)
        plain = pipeline.RunItems.open(recipe).lessons(name, most_tokens=MOST_TOKENS)
        assert [found.streamed(serial) for serial in range(50)] == [plain.streamed(serial) for serial in range(50)]


def test_mining_for_a_recipe_that_wants_no_table_says_what_to_write(recipe: Recipe) -> None:
    with pytest.raises(ConfigInvalid, match=r"^\[loading\] mined is 0: say how many"):
        pipeline.negatives(recipe, on_total=lambda total: None, on_progress=lambda done: None)
