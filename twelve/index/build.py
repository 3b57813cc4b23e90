"""Adding a folder to an index. The index is the checkpoint: what it knows is not looked at again.

    listing -> files that are new or changed -> cuts of CUT_FILES -> decode, extract -> features, then rows

A cut is committed whole. A SIGKILL therefore costs at most one cut, and since the files that are left begin where the
last commit ended, a build that was killed makes the same cuts as one that was not. Files that could not be read for
reasons that may pass (permissions, a failing engine) are rejected and looked at again by the next run, after the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from twelve.errors import DataError, RequestError, ServerError, UnreadableImage
from twelve.features import RegionSet
from twelve.features.encoding import HALF
from twelve.image import ImageLimits, Picture, read
from twelve.index.catalogue import Row
from twelve.index.directory import Index, Reject, writing
from twelve.index.listing import UNKNOWN, File, list_pictures
from twelve.regions.extractor import RegionExtractor

CUT_FILES = 128
"""Files between two commits: at 4 pictures a second a kill wastes half a minute; full-size regions take 106 MB."""


@dataclass(frozen=True)
class Progress:
    """Where a build stands.

    Attributes:
        path: The file just looked at.
        finished: Files looked at by this run.
        total: Files it will look at; those that did not change are not among them.
        reject: The file just looked at, if it was rejected.
    """

    path: str
    finished: int
    total: int
    reject: Reject | None


@dataclass(frozen=True)
class Outcome:
    """What became of a folder's files, in this run or an earlier one. The four counts add up to the listing.

    Attributes:
        done: Files whose picture is in the index.
        duplicate: Files that show a picture that is there under another path.
        rejected: Files that are not in the index.
        left: Files not looked at, because the run was stopped.
        unchanged: How many of them all were known from an earlier run, and not read.
        rejects: The rejected ones, with reasons.
    """

    done: int
    duplicate: int
    rejected: int
    left: int
    unchanged: int
    rejects: tuple[Reject, ...]


def ignore(progress: Progress) -> None:
    """Show nothing."""


def never() -> bool:
    """Do not stop."""
    return False


def add(
    index_dir: Path,
    folder: Path,
    extractor: RegionExtractor,
    limits: ImageLimits,
    on_progress: Callable[[Progress], None] = ignore,
    *,
    should_stop: Callable[[], bool] = never,
    cut_files: int = CUT_FILES,
    encoding: str = HALF,
) -> Outcome:
    """Bring an index up to date with a folder; make the index where there is none.

    New and changed files are looked at, unchanged ones (same path, size and time) are not. Files that were removed
    stay in the index until `prune`: a folder that is not mounted must not empty it.

    Args:
        index_dir: The index.
        folder: The folder of pictures, with all folders below it.
        extractor: Finds regions; always the same for one index.
        limits: Of pictures.
        on_progress: Told about each file.
        should_stop: Asked after each file; if it says so, what is finished is committed and the rest left.
        cut_files: Files between two commits.
        encoding: How a new index keeps features, a name of `twelve.features.encoding.ENCODINGS`.

    Returns:
        What became of the folder's files.

    Raises:
        Busy: Another process adds to the index.
        DataError: It is no index, an index of another detector, or the folder cannot be listed.
    """
    listing = list_pictures(folder)
    with writing(index_dir):
        index = Index.open_or_create(index_dir, extractor, encoding=encoding)
        with index.features:
            known = {row.path: row for row in index.catalogue.rows()}
            pending = _pending(listing, known)
            finished = _Run(index, extractor, limits, on_progress, should_stop).follow(pending, cut_files)
            if finished:
                index.catalogue.compact()
            return _outcome(index, listing, pending, left=pending[finished:])


def prune(index_dir: Path) -> int:
    """Forget the files that are no longer on the disk.

    Args:
        index_dir: The index.

    Returns:
        How many were forgotten.

    Raises:
        Busy: Another process writes to the index.
        DataError: It is no index.
    """
    index = Index.open(index_dir)
    with writing(index_dir):
        return index.prune()


def _pending(listing: Sequence[File], known: Mapping[str, Row]) -> list[File]:
    """Give the files to look at: in the order of the listing, those tried before in vain at the end."""
    changed = [file for file in listing if file.path not in known or not known[file.path].is_of(file)]
    return sorted(changed, key=lambda file: file.path in known and known[file.path].mtime_ns == UNKNOWN)


def _outcome(index: Index, listing: Sequence[File], pending: Sequence[File], left: Sequence[File]) -> Outcome:
    tally = index.tally({file.path for file in listing} - {file.path for file in left})
    return Outcome(
        done=len(tally.done),
        duplicate=len(tally.duplicate),
        rejected=len(tally.rejected),
        left=len(left),
        unchanged=len(listing) - len(pending),
        rejects=tally.rejected,
    )


@dataclass(frozen=True)
class _Run:
    """One run over the pending files."""

    index: Index
    extractor: RegionExtractor
    limits: ImageLimits
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def follow(self, pending: Sequence[File], cut_files: int) -> int:
        """Look at the files, cut by cut.

        Returns:
            How many, all of them committed.
        """
        finished = 0
        while finished < len(pending) and not self.should_stop():
            finished += self._commit_cut(pending, finished, min(finished + cut_files, len(pending)))
        return finished

    def _commit_cut(self, pending: Sequence[File], begin: int, end: int) -> int:
        found: dict[str, RegionSet] = {}
        rows: list[Row] = []
        for position in range(begin, end):
            row = self._look_at(pending[position], found)
            rows.append(row)
            self.on_progress(Progress(row.path, position + 1, len(pending), _reject(row)))
            if self.should_stop():
                break
        self.index.features.append(list(found.items()))
        self.index.catalogue.merge(rows)
        return len(rows)

    def _look_at(self, file: File, found: dict[str, RegionSet]) -> Row:
        """Give a file's row; regions that are not kept yet go into `found`. Whatever is wrong with it is its reason."""
        try:
            picture = _read(file, self.limits)
            if picture.digest not in self.index.features and picture.digest not in found:
                found[picture.digest] = self._checked_regions(picture)
        except (RequestError, DataError) as error:
            return _rejected(file, error.code, error.message)
        except ServerError as error:
            return _rejected(_to_try_again(file), error.code, error.message)
        except OSError as error:
            return _rejected(_to_try_again(file), "unreadable-file", f"the file cannot be read: {error.strerror}")
        return Row(file.path, file.size, file.mtime_ns, ref=picture.digest)

    def _checked_regions(self, picture: Picture) -> RegionSet:
        regions = self.extractor.extract(picture)
        self.index.features.check("regions", regions)
        return regions


def _read(file: File, limits: ImageLimits) -> Picture:
    path = Path(file.path)
    if not path.exists() and "\\" in file.path:
        raise UnreadableImage("the file's name is no UTF-8; rename it")
    if path.exists() and not path.is_file():
        raise UnreadableImage("this is no regular file, but a pipe or a device; remove it")
    return read(path, limits=limits)


def _rejected(file: File, code: str, reason: str) -> Row:
    return Row(file.path, file.size, file.mtime_ns, code=code, reason=reason)


def _to_try_again(file: File) -> File:
    return replace(file, mtime_ns=UNKNOWN)


def _reject(row: Row) -> Reject | None:
    return None if row.ref is not None else Reject(row.path, row.code or "", row.reason or "")
