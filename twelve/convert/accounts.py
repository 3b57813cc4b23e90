"""Every key of a checkpoint is accounted for, or the checkpoint is refused by the name of the one that is not."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twelve.convert.names import SortedOut, Use, key_of, published_name, published_shapes, sort_out
from twelve.errors import WeightsInvalid
from twelve.model.config import ModelConfig

Shape = tuple[int, ...]
NAMED = 5
"""Keys that a message names; of more it gives the count."""

UNTRAINED = "linguisic_logit"
"""The multi-task class has it, the pre-training class does not."""

WIDE = (torch.bfloat16, torch.float32)
"""Types that hold larger numbers than float16."""


@dataclass(frozen=True)
class Expected:
    """What a checkpoint must hold.

    Attributes:
        kind: Of checkpoint, in words.
        config: Of the model that it becomes.
        shapes: By published key.
        otherwise: What to say of a checkpoint that has task heads against expectation, or has none.
    """

    kind: str
    config: ModelConfig
    shapes: Mapping[str, Shape]
    otherwise: str


@dataclass(frozen=True)
class Share:
    """The keys of one use.

    Attributes:
        use: What becomes of them.
        keys: As published.
        numbers: In all of their tensors.
    """

    use: Use
    keys: tuple[str, ...]
    numbers: int


@dataclass(frozen=True)
class Accounted:
    """A checkpoint that is as it should be.

    Attributes:
        parameters: By our names.
        dead: What no parameter stands for, by published names.
        shares: Every key, by use.
    """

    parameters: Mapping[str, Tensor]
    dead: Mapping[str, Tensor]
    shares: tuple[Share, ...]


def multi_task(config: ModelConfig) -> Expected:
    """Expect what the published multi-task class saves: trunk, task heads, pre-training heads."""
    return Expected(
        "multi-task checkpoint",
        config,
        published_shapes(config),
        otherwise="the checkpoint has no task heads; if it is one of pre-training, leave out the lists of answers",
    )


def pretrained(config: ModelConfig) -> Expected:
    """Expect what the published pre-training class saves: no task heads, no task table."""
    bare = dataclasses.replace(config, task_specific_tokens=False)
    shapes = {
        name: shape
        for name, shape in published_shapes(bare).items()
        if _use_of(name) is not Use.HEAD and not name.startswith(UNTRAINED)
    }
    return Expected(
        "pre-training checkpoint",
        bare,
        shapes,
        otherwise="the checkpoint has task heads; say what they answer, with --answers and --gqa-answers",
    )


def account(tensors: Mapping[str, Tensor], expected: Expected, counted: Callable[[int], None]) -> Accounted:
    """Say what becomes of each tensor, once all have been looked at.

    Args:
        tensors: By published name.
        expected: What they must be.
        counted: Takes the bytes of each tensor that was looked at.

    Returns:
        The tensors that the model takes, and what becomes of each key.

    Raises:
        WeightsInvalid: A key is missing, unexpected or of another shape, a number is none or infinite, or a copy
            differs from what it is tied to; names the key.
    """
    _refuse_other_keys(tensors.keys(), expected)
    for name, shape in expected.shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise WeightsInvalid(f"{name}: has shape {list(tensors[name].shape)}, this model's is {list(shape)}")
    for name, tensor in tensors.items():
        refuse_no_numbers(name, tensor)
        counted(tensor.nbytes)
    found = sort_out(tensors)
    _refuse_untied(found)
    return Accounted(found.parameters, found.dead, _shares(tensors))


def refuse_no_numbers(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity.

    Raises:
        WeightsInvalid: There are some; says how many, and where the first is.
    """
    finite = tensor.isfinite()
    if not finite.all():
        places = (~finite).nonzero()
        raise WeightsInvalid(
            f"{name}: {len(places)} of {tensor.numel()} numbers are NaN or infinite, the first at "
            f"{places[0].tolist()}; the file is damaged or its training diverged"
        )


def as_dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Store a tensor's numbers as another type.

    Raises:
        WeightsInvalid: A number is too large for it.
    """
    converted = tensor.to(dtype)
    if torch.finfo(dtype).max < torch.finfo(tensor.dtype).max and not converted.isfinite().all():
        largest = float(tensor.abs().max())
        fit = [_called(wide) for wide in WIDE if torch.finfo(wide).max >= largest]
        advice = f"store {' or '.join(fit)}" if fit else "no type that a bundle may have holds it"
        raise WeightsInvalid(f"{name}: {largest:g} is too large for {_called(dtype)}; {advice}")
    return converted.contiguous()


def _called(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _refuse_other_keys(names: Iterable[str], expected: Expected) -> None:
    found = list(names)
    if _has_heads(found) != _has_heads(expected.shapes):
        raise WeightsInvalid(expected.otherwise)
    missing = [name for name in expected.shapes if name not in set(found)]
    if missing:
        raise WeightsInvalid(f"the {expected.kind} lacks {_some(missing)} of its {len(expected.shapes)} keys")
    unexpected = [name for name in found if name not in expected.shapes]
    if unexpected:
        raise WeightsInvalid(f"the {expected.kind} has {_some(unexpected)} beside its {len(expected.shapes)} keys")


def _has_heads(names: Iterable[str]) -> bool:
    return any(_use_of(name) is Use.HEAD for name in names)


def _use_of(name: str) -> Use | None:
    key = key_of(name)
    return key.use if key else None


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _refuse_untied(found: SortedOut[Tensor]) -> None:
    for name, tensor in found.tied.items():
        key = key_of(name)
        assert key is not None, "a tied tensor was found by its key"
        if not torch.equal(tensor, found.parameters[key.parameter]):
            raise WeightsInvalid(
                f"{name}: differs from {published_name(key.parameter)}, of which it is a copy in the published model"
            )


def _shares(tensors: Mapping[str, Tensor]) -> tuple[Share, ...]:
    """Count keys and numbers by use, in the order in which uses are defined."""
    by_use = {use: tuple(name for name in tensors if _use_of(name) is use) for use in Use}
    return tuple(
        Share(use, names, sum(tensors[name].numel() for name in names)) for use, names in by_use.items() if names
    )
