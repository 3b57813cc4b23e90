"""Detectors that others published, to a folder with `detector.json` and `detector.safetensors`."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from twelve.bundle import DETECTOR_CONFIG, DETECTOR_WEIGHTS, sha256_of
from twelve.convert import detector_source
from twelve.convert.accounts import as_dtype, refuse_no_numbers
from twelve.convert.detector_formats import Format, recognise
from twelve.convert.detector_names import Shape, reason_of, turn_of
from twelve.convert.detector_settings import Asked, candidates
from twelve.convert.detector_source import DetectorSource
from twelve.convert.detector_streaming import Form, write_safetensors
from twelve.convert.packing import DTYPES, READABLE, in_place_when_whole, refuse_full_disk, refuse_taken, sync
from twelve.convert.watch import Watch
from twelve.errors import WeightsInvalid
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.detector import Rcnn
from twelve.regions.rcnn.proposals import CellAnchors

NOTES_FILE = "import.json"
"""Beside a detector: where it comes from, and what became of every key."""

NAMED = 5
"""Keys that a sentence names; of more it gives the count."""

ANCHORS_OF = "proposal_generator.anchor_generator.cell_anchors."


class Plan(NamedTuple):
    """A checkpoint held against one configuration.

    Attributes:
        config: The configuration.
        shapes: Of our parameters.
        computed: Those that the checkpoint lacks and the configuration gives.
        missing: Keys that it should have.
        unexpected: Keys that it should not.
        dropped: Keys by the reason why they are.
    """

    config: RcnnConfig
    shapes: Mapping[str, Shape]
    computed: Mapping[str, Tensor]
    missing: Sequence[str]
    unexpected: Sequence[str]
    dropped: Mapping[str, Sequence[str]]

    @property
    def misfits(self) -> int:
        """Count the keys that do not fit."""
        return len(self.missing) + len(self.unexpected)


@dataclass(frozen=True)
class ImportedDetector:
    """What an import gave.

    Attributes:
        folder: Of the detector.
        source: Where its weights come from, without them.
        form: Name of its format.
        config: Its configuration.
        digest: Its identity, as feature stores know it.
        keys: How many keys became parameters.
        numbers: In all of its parameters.
        dropped: Keys by the reason why they are not in it.
        computed: Parameters that its configuration gave.
    """

    folder: Path
    source: Mapping[str, Any]
    form: str
    config: RcnnConfig
    digest: str
    keys: int
    numbers: int
    dropped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    computed: Sequence[str] = ()

    def summary(self) -> dict[str, Any]:
        """Give all of it as JSON values, but for the class names: they stand in `detector.json`."""
        return {
            "detector": str(self.folder),
            "digest": self.digest,
            "format": self.form,
            "preset": self.config.preset,
            "classes": len(self.config.class_names),
            "source": dict(self.source),
            "keys": {
                "taken": self.keys,
                "dropped": {reason: list(keys) for reason, keys in self.dropped.items()},
                "computed": list(self.computed),
            },
            "numbers": self.numbers,
        }


def import_detector(path: Path, out: Path, asked: Asked, *, watch: Watch) -> ImportedDetector:
    """Make a detector of a published checkpoint.

    Args:
        path: Of the checkpoint, or of its folder.
        out: The detector's folder, which is made.
        asked: What it is to be, as far as the checkpoint does not say.
        watch: Shows progress.

    Returns:
        The detector, and what became of every key.

    Raises:
        WeightsInvalid: The checkpoint or the list of class names is not as it should be; names the key.
        ConfigInvalid: The preset or a setting does not fit, the folder is taken, or the disk is too small.
    """
    refuse_taken(out)
    with watch("reading"):
        source = detector_source.read(path)
    form = recognise(source.path, _shapes(source.tensors))
    plan = planned(source, form, asked)
    _refuse_misfits(form, plan, source)
    _refuse_other_numbers(form, plan, source, watch)
    return _written(source, form, plan, out, dtype=DTYPES[asked.dtype], watch=watch)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def planned(source: DetectorSource, form: Format, asked: Asked) -> Plan:
    """Hold a checkpoint against each preset that it may be.

    Args:
        source: The checkpoint.
        form: Its format.
        asked: What it is to be.

    Returns:
        The plan by which it fits best, if not well.

    Raises:
        WeightsInvalid: The list of class names does not fit, or there are no classes.
        ConfigInvalid: The preset is not one of the format's, or a setting means nothing.
    """
    configs = candidates(form, form.classes(_shapes(source.tensors)), source, asked)
    return min((_plan(source.tensors.keys(), form, config) for config in configs), key=lambda plan: plan.misfits)


def _plan(keys: Collection[str], form: Format, config: RcnnConfig) -> Plan:
    with torch.device("meta"):  # shapes are wanted, and no numbers
        detector = Rcnn(config)
    shapes = _shapes(detector.state_dict())
    given = {f"{ANCHORS_OF}{level}": one for level, one in _anchors(config, detector).items()}
    computed = {name: given[name] for name in form.optional_of(shapes) if form.key_of(name) not in keys}
    expected = {form.key_of(name): None for name in shapes if name not in computed}
    others = [key for key in keys if key not in expected]
    return Plan(
        config,
        shapes,
        computed,
        missing=[key for key in expected if key not in keys],
        unexpected=[key for key in others if reason_of(key) is None],
        dropped=_by_reason(others),
    )


def _anchors(config: RcnnConfig, detector: Rcnn) -> dict[str, Tensor]:
    return CellAnchors(config, detector.backbone.strides).state_dict()


def _by_reason(keys: Sequence[str]) -> dict[str, list[str]]:
    reasons = {key: reason_of(key) for key in keys}
    return {
        reason: [key for key in keys if reasons[key] == reason] for reason in dict.fromkeys(reasons.values()) if reason
    }


def _refuse_misfits(form: Format, plan: Plan, source: DetectorSource) -> None:
    called = f"{source.path}: the {form.name} checkpoint, taken for {plan.config.preset},"
    if plan.missing:
        raise WeightsInvalid(f"{called} lacks {_some(plan.missing)} of its {len(plan.shapes)} keys")
    if plan.unexpected:
        raise WeightsInvalid(f"{called} has {_some(plan.unexpected)}, which no part of it knows")
    for name, shape in plan.shapes.items():
        key, wanted = form.key_of(name), turn_of(name, form.turns).their_shape(shape)
        found = source.tensors.get(key)
        if found is not None and tuple(found.shape) != wanted:
            raise WeightsInvalid(f"{called} has {key} of shape {list(found.shape)}, expected {list(wanted)}")


def _refuse_other_numbers(form: Format, plan: Plan, source: DetectorSource, watch: Watch) -> None:
    used = {key: source.tensors[key] for key in map(form.key_of, plan.shapes) if key in source.tensors}
    with watch("checking", length=sum(tensor.nbytes for tensor in used.values())) as counted:
        for key, tensor in used.items():
            if not tensor.is_floating_point():
                raise WeightsInvalid(f"{source.path}: {key} is a tensor of {tensor.dtype}, expected floats")
            if not torch.stack(torch.aminmax(tensor.flatten())).isfinite().all():  # needs no memory, unlike the next
                refuse_no_numbers(key, tensor)
            counted(tensor.nbytes)


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - NAMED
    return ", ".join(keys[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _written(
    source: DetectorSource, form: Format, plan: Plan, out: Path, *, dtype: torch.dtype, watch: Watch
) -> ImportedDetector:
    forms = {name: (shape, _dtype_of(name, dtype)) for name, shape in plan.shapes.items()}
    size = sum(torch.Size(shape).numel() * kind.itemsize for shape, kind in forms.values())
    refuse_full_disk(out, size)
    taken = len(plan.shapes) - len(plan.computed)
    with in_place_when_whole(out) as folder:
        weights = folder / DETECTOR_WEIGHTS
        with watch("writing", length=size) as counted:
            write_safetensors(weights, forms, _turned(source.tensors, form, plan, forms, counted))
            weights.chmod(READABLE)
            plan.config.write(folder / DETECTOR_CONFIG)
        with watch("signing"):
            imported = ImportedDetector(
                out,
                _origin(source),
                form.name,
                plan.config,
                plan.config.digest(sha256_of(weights)),
                taken,
                sum(torch.Size(shape).numel() for shape in plan.shapes.values()),
                plan.dropped,
                tuple(plan.computed),
            )
            notes = {name: value for name, value in imported.summary().items() if name != "detector"}
            (folder / NOTES_FILE).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
            sync(folder)
    return imported


def _dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    """Store anchors as they are: as halves they would be off by up to a quarter of a pixel."""
    return torch.float32 if name.startswith(ANCHORS_OF) else dtype


def _turned(
    tensors: dict[str, Tensor], form: Format, plan: Plan, forms: Mapping[str, Form], counted: Callable[[int], None]
) -> Iterator[Tensor]:
    """Give our parameters one by one; each of theirs is let go of when it was used."""
    for name, (_, dtype) in forms.items():
        given = plan.computed.get(name)
        theirs = tensors.pop(form.key_of(name)) if given is None else given
        turned = as_dtype(name, turn_of(name, form.turns if given is None else ()).change(theirs), dtype)
        del theirs
        yield turned
        counted(turned.nbytes)


def _origin(source: DetectorSource) -> dict[str, Any]:
    return {
        "name": source.path.name,
        "form": source.form,
        "bytes": source.path.stat().st_size,
        "sha256": sha256_of(source.path),
        "passed_over": list(source.passed_over),
    }
