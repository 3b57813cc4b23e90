"""Extraction: a source's pictures into a feature store. The store is the checkpoint: what it knows is not read again.

    listing -> inputs the ledger does not know -> cuts of CUT_INPUTS -> decode, detect -> a shard, then ledger lines

A cut is committed whole, and the inputs that are left begin where the last commit ended. So a SIGKILL costs at most one
cut, and a run that was killed makes the same cuts, hence the same bytes, as one that was not. Inputs whose fault may
pass (a file that is not there, a failing detector) are tried again by the next run, after the others; what is no news
is not written.

    STORE/            a feature store (`twelve.features.store`); a picture's key is its digest
    ├── ledger/       what became of each input (`ledger`)
    └── extraction.json  how its pictures are read
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from twelve.errors import DataError
from twelve.features import FeatureStore, RegionSet
from twelve.features.disk import commit
from twelve.regions.extraction.engine import Engine, Seen
from twelve.regions.extraction.ledger import REJECTED, TO_RETRY, Known, Ledger, Outcome, Record
from twelve.regions.extraction.looking import Fault, Reading
from twelve.regions.extraction.sources import Entry, Source

CUT_INPUTS = 128
"""Inputs between two commits: at 4 pictures a second a kill wastes half a minute; full-size regions take 106 MB."""

LEDGER_FOLDER = "ledger"
READING_FILE = "extraction.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        looked: Inputs looked at by this run.
        known: Inputs that it knew from an earlier one.
        rejected: Of both.
        total: Inputs of the source; None where nobody can tell.
        fault: What was just found wrong, with the input's name.
    """

    looked: int
    known: int
    rejected: int
    total: int | None
    fault: tuple[str, Fault] | None = None


@dataclass(frozen=True)
class Extracted:
    """What became of a source's inputs, in this run or an earlier one; the counts add up to the listing.

    Attributes:
        done: Inputs whose picture's regions are kept.
        duplicate: Inputs that show the picture of another one of the listing.
        rejected: Inputs without regions.
        known: How many of them all were known from an earlier run, and not read.
        is_whole: Whether all were looked at; else the run was stopped.
    """

    done: int
    duplicate: int
    rejected: int
    known: int
    is_whole: bool


def ignore(progress: Progress) -> None:
    """Show nothing."""


def never() -> bool:
    """Do not stop."""
    return False


def extract(
    source: Source,
    store: Path,
    engine: Engine,
    *,
    reading: Reading,
    on_progress: Callable[[Progress], None] = ignore,
    should_stop: Callable[[], bool] = never,
    cut_inputs: int = CUT_INPUTS,
) -> Extracted:
    """Bring a store up to date with a source; make the store where there is none.

    Args:
        source: Of the pictures.
        store: The store's folder.
        engine: Finds regions; always of the same detector for one store.
        reading: How pictures are read. Where the limits are others than last time, rejected inputs are tried again.
        on_progress: Told about each input that was looked at.
        should_stop: Asked after each cut; if it says so, the rest is left.
        cut_inputs: Inputs between two commits.

    Returns:
        What became of the inputs.

    Raises:
        Busy: Another process writes to the store.
        DataError: It is a store of another detector or of pictures read otherwise, or the source is damaged.
    """
    with _opened(store, engine) as features:
        features.append([])  # makes this process the writer, and nobody else
        are_new = _check_reading(store / READING_FILE, reading)
        ledger = Ledger(store / LEDGER_FOLDER)
        ledger.clear_parts()
        known = Known(ledger, features.position, retry_all=are_new)
        run = _Run(features, ledger, known, engine, reading, _Counts(source.count()), on_progress, should_stop)
        is_whole = run.follow(source, cut_inputs)
        if is_whole and are_new:
            _keep_reading(store / READING_FILE, reading)
        return run.counts.outcome(is_whole=is_whole)


class _Counts:
    """Counts inputs by what became of them. Of those that show one picture the first is done, the others duplicates."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.by_outcome = dict.fromkeys(Outcome, 0)
        self.looked = self.known = 0
        self._shown = bytearray()  # one byte a picture of the store

    def placed(self, position: int) -> Outcome:
        """Count an input whose picture has a position in the store."""
        self._shown.extend(bytes(max(0, position + 1 - len(self._shown))))
        outcome = Outcome.DUPLICATE if self._shown[position] else Outcome.DONE
        self._shown[position] = 1
        self.by_outcome[outcome] += 1
        return outcome

    def rejected(self) -> Outcome:
        """Count an input that has no regions."""
        self.by_outcome[Outcome.REJECTED] += 1
        return Outcome.REJECTED

    def progress(self, fault: tuple[str, Fault] | None) -> Progress:
        """Tell where the run stands."""
        return Progress(self.looked, self.known, self.by_outcome[Outcome.REJECTED], self.total, fault)

    def outcome(self, *, is_whole: bool) -> Extracted:
        """Tell what became of all."""
        done, duplicate, rejected = (self.by_outcome[one] for one in Outcome)
        return Extracted(done, duplicate, rejected, self.known, is_whole)


@dataclass(frozen=True)
class _Run:
    """One run over a source."""

    features: FeatureStore
    ledger: Ledger
    known: Known
    engine: Engine
    reading: Reading
    counts: _Counts
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def follow(self, source: Source, cut_inputs: int) -> bool:
        """Look at the unknown inputs, then at those whose fault may have passed.

        Returns:
            Whether no input is left.
        """
        return self._drain(self._unknown(source), cut_inputs) and self._drain(self._to_retry(source), cut_inputs)

    def _unknown(self, source: Source) -> Iterator[Entry]:
        for entry in source:
            place = self.known.find(entry.name, entry.stamp) if len(self.known) else None
            if place is None:
                yield entry
            elif place != TO_RETRY:
                self._count_known(place)

    def _to_retry(self, source: Source) -> Iterator[Entry]:
        """Give them in a second reading of the source, if there are any."""
        if not self.known.has_faults:
            return
        yield from (entry for entry in source if self.known.find(entry.name, entry.stamp) == TO_RETRY)

    def _count_known(self, place: int) -> None:
        self.counts.known += 1
        if place == REJECTED:
            self.counts.rejected()
        else:
            self.counts.placed(place)

    def _drain(self, entries: Iterator[Entry], cut_inputs: int) -> bool:
        """Commit cut by cut; True when nothing is left."""
        found: dict[str, RegionSet] = {}

        def is_kept(key: str) -> bool:
            return key in found or key in self.features

        with closing(self.engine.look(entries, self.reading, is_kept)) as seen:
            while not self.should_stop():
                records = [self._record(each, found) for each in islice(seen, cut_inputs)]
                if not records:
                    return True
                self.features.append(list(found.items()))
                self.ledger.commit([record for record in records if not self.known.says(record)])
                found.clear()
        return False

    def _record(self, seen: Seen, found: dict[str, RegionSet]) -> Record:
        """Give an input's line; regions that are not kept yet go into `found`."""
        fault = seen.fault or self._keep(seen, found)
        self.counts.looked += 1
        record = self._rejected(seen, fault) if fault else self._placed(seen, found)
        self.on_progress(self.counts.progress((seen.name, fault) if fault else None))
        return record

    def _keep(self, seen: Seen, found: dict[str, RegionSet]) -> Fault | None:
        """Take regions that are new into the cut; tell why, if a store cannot hold them."""
        if seen.regions is None or seen.key is None or seen.key in found or seen.key in self.features:
            return None
        try:
            self.features.check("regions", seen.regions)
        except DataError as error:
            return Fault.of(error)
        found[seen.key] = seen.regions
        return None

    def _placed(self, seen: Seen, found: dict[str, RegionSet]) -> Record:
        assert seen.key is not None, "what has no fault has a key"
        position = self.features.position(seen.key)
        if position is None:
            position = len(self.features) + list(found).index(seen.key)
        return Record(seen.name, seen.stamp, self.counts.placed(position), key=seen.key)

    def _rejected(self, seen: Seen, fault: Fault) -> Record:
        return Record(
            seen.name,
            seen.stamp,
            self.counts.rejected(),
            code=fault.code,
            reason=fault.reason,
            may_pass=fault.may_pass,
        )


def _opened(path: Path, engine: Engine) -> FeatureStore:
    """Open the store, or make it."""
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: is no folder; name one for the store, which is made where it is missing")
    if not (path / "store.json").exists():
        return FeatureStore.create(path, feature_width=engine.feature_width, detector_digest=engine.digest)
    features = FeatureStore.open(path)
    if features.settings.detector_digest != engine.digest:
        raise DataError(f"{path}: holds another detector's features; name another folder, or that detector")
    return features


def _check_reading(path: Path, reading: Reading) -> bool:
    """See that a store's pictures are all read alike.

    Returns:
        Whether the limits are others than those of the last whole run.
    """
    if not path.exists():
        _keep_reading(path, reading)
        return False
    kept = _kept_reading(path)
    if kept["exif"] != reading.exif:
        how = "turned as EXIF says" if kept["exif"] else "not turned as EXIF says"
        raise DataError(f"{path.parent}: its pictures were {how}; do the same, or name another folder")
    return bool(kept != json.loads(_written(reading)))


def _kept_reading(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("exif"), bool):
        raise DataError(
            f"{path}: is damaged: it does not say whether pictures were turned as EXIF says; remove it, and name "
            "--exif or --no-exif as before"
        )
    return kept


def _keep_reading(path: Path, reading: Reading) -> None:
    commit(path, _written(reading))


def _written(reading: Reading) -> bytes:
    return (json.dumps(asdict(reading), indent=2) + "\n").encode()
