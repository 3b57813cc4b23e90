"""The configurations that a checkpoint may be of: a preset's, as its format, its folder and the user change it."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twelve.convert.detector_formats import COCO, VISUAL_GENOME, Format
from twelve.convert.detector_source import DetectorSource
from twelve.errors import ConfigInvalid, WeightsInvalid
from twelve.regions.rcnn.config import PRESETS, RcnnConfig

NAMED_LISTS: Mapping[str, Path] = {
    "visual-genome": Path(__file__).with_name(VISUAL_GENOME),
    "coco": Path(__file__).with_name(COCO),
}
"""Lists of class names that come with the library, and may be named in a file's place."""

SYNONYM = ","
"""Divides the names that a class of Visual Genome has; the first is taken."""

NUMBERS = (int, float)


@dataclass(frozen=True)
class Asked:
    """What a user says of a detector to import.

    Attributes:
        preset: What it is, or None where its keys tell.
        class_names: Its classes, a name a line, or one of `NAMED_LISTS`; None for the format's own, or numbers.
        settings: A file of entries of `detector.json`, or None for none.
        dtype: Of its weights on disk, one of `twelve.convert.packing.DTYPES`.
    """

    preset: str | None = None
    class_names: Path | None = None
    settings: Path | None = None
    dtype: str = "float32"


def candidates(form: Format, classes: int, source: DetectorSource, asked: Asked) -> list[RcnnConfig]:
    """Give the configurations that a checkpoint may be of.

    Args:
        form: Its format.
        classes: How many it has.
        source: The checkpoint; its folder's settings go before the format's,
        asked: and these before both.

    Returns:
        One a preset that is possible.

    Raises:
        ConfigInvalid: The preset is not one of the format's, or a setting means nothing.
        WeightsInvalid: There are more or fewer class names than classes.
    """
    wished = _wished(asked.settings)
    entries = {**form.settings, **_of_folder(form, source), **wished}
    presets = _presets(form, asked.preset or wished.get("preset"))
    names = _class_names(form, classes, asked.class_names, wished.get("class_names"))
    return [RcnnConfig.from_dict({**entries, "preset": preset, "class_names": list(names)}) for preset in presets]


def _wished(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{path}: is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{path}: holds a {type(values).__name__}, expected an object with entries of a detector")
    try:
        RcnnConfig.refuse_other_types(values)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error.message}") from error
    return values


def _presets(form: Format, asked: str | None) -> Sequence[str]:
    if asked is None:
        return form.presets
    if asked not in form.presets:
        known = "" if asked in PRESETS else ", and no preset has that name"
        raise ConfigInvalid(
            f"the checkpoint's format is {form.name}, which holds {' or '.join(form.presets)}; got {asked}{known}"
        )
    return (asked,)


def _of_folder(form: Format, source: DetectorSource) -> dict[str, Any]:
    """Take what a folder's own file of settings says, as far as the format's code reads it, and what that code does."""
    if not source.settings:
        return {}
    said = {
        ours: _fitting(source.path, theirs, source.settings[theirs], ours)
        for theirs, ours in form.entries.items()
        if theirs in source.settings
    }
    return {**form.of_folder, **said}


def _fitting(path: Path, theirs: str, value: Any, ours: str) -> Any:
    """Make a setting's value one of ours: several numbers where we have several, whole ones where ours are."""
    kind = KINDS[ours]
    several = value if isinstance(value, list) else [value]
    if not several or not all(type(one) in NUMBERS and math.isfinite(one) for one in several):
        raise WeightsInvalid(f"{path.parent}: its setting {theirs} is {value!r:.40}, expected numbers")
    return tuple(map(float, several)) if kind not in NUMBERS else kind(several[0])


KINDS: Mapping[str, Any] = {one.name: one.type for one in dataclasses.fields(RcnnConfig)}
"""Types of our settings."""


def _class_names(form: Format, classes: int, asked: Path | None, wished: Sequence[str] | None) -> Sequence[str]:
    own = Path(__file__).with_name(form.lists[classes]) if classes in form.lists else None
    if asked is None and wished is not None:
        return _counted(wished, classes, "the settings")
    path = own if asked is None else NAMED_LISTS.get(str(asked), asked)
    return [f"class {label}" for label in range(classes)] if path is None else _counted(_read(path), classes, str(path))


def _counted(names: Sequence[str], classes: int, origin: str) -> Sequence[str]:
    if len(names) != classes:
        raise WeightsInvalid(
            f"{origin}: has {len(names):,} class names, the checkpoint has {classes:,} classes; "
            "list them in the order of its labels, background left out"
        )
    return names


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise WeightsInvalid(
            f"{path}: there is no such file; name a list of class names, or one of {', '.join(NAMED_LISTS)}"
        ) from error
    except UnicodeDecodeError as error:
        raise WeightsInvalid(f"{path}: is no text in UTF-8; list the class names, one a line") from error
    return [line.split(SYNONYM)[0].strip() for line in lines if line.strip()]
