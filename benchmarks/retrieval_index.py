"""The retrieval index on the small world: does it survive kills, score as the server does, and find what is meant?

    python -m benchmarks.retrieval_index --server http://127.0.0.1:8080

Builds an index of test pictures of the small world, some of them broken; builds it again under SIGKILLs; compares the
two and both with a running server; ranks every picture for a sample of test captions. Needs `runs/world`, which
`make train-small` or `python -m training world --out runs/world` makes.
"""

import hashlib
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from training.data.readers import available_splits, read
from twelve.client import Client
from twelve.index.directory import Index
from twelve.index.search import search
from twelve.retriever import BundleRetriever

TASK = "coco-retrieval"
CAPTIONED = ("coco-retrieval", "flickr30k-retrieval")
SPLITS = ("test", "novel", "val", "train")
"""Pictures come from these in turn until there are enough."""

CUTOFFS = (1, 5, 10)
CANDIDATES = 10
"""Pictures of one served request."""

SERVED_CAPTIONS = 10
BROKEN_FILES: Mapping[str, bytes] = {
    "empty.jpg": b"",
    "text.jpg": b"this is no picture\n",
    "header.png": b"\x89PNG\r\n\x1a\n",
}
CUT_SHORT = 20
"""Pictures that end after a third of their bytes."""

REJECTED_EXIT = 3
console = Console(stderr=True)


@dataclass(frozen=True)
class Built:
    """A finished build.

    Attributes:
        digest: Of all that the index holds.
        counts: Files by what became of them.
        cpu_s: Of all processes that took part.
        kills: That it survived.
    """

    digest: str
    counts: Mapping[str, int]
    cpu_s: float
    kills: int


@dataclass(frozen=True)
class Collection:
    """A folder of pictures, and captions that describe some of them.

    Attributes:
        folder: Of the files.
        captions: (caption, name of the file it describes).
    """

    folder: Path
    captions: Sequence[tuple[str, str]]


def gather(data: Path, folder: Path, pictures: int) -> Collection:
    """Copy different pictures into a folder, and broken files beside them.

    Args:
        data: The world.
        folder: Does not exist yet.
        pictures: How many.
    """
    folder.mkdir(parents=True)
    seen: set[str] = set()
    captions: list[tuple[str, str]] = []
    for split, record in _captioned(data):
        source = data / record.image
        content = hashlib.sha256(source.read_bytes()).hexdigest()
        if content in seen:
            continue
        seen.add(content)
        name = f"{content[:16]}.jpg"
        shutil.copyfile(source, folder / name)
        if split == "test":
            captions += [(caption, name) for caption in record.captions]
        if len(seen) == pictures:
            break
    _break_some(folder)
    return Collection(folder, captions)


def _captioned(data: Path) -> Iterator[tuple[str, Any]]:
    for split, task in itertools.product(SPLITS, CAPTIONED):
        if split in available_splits(task, data):
            yield from ((split, record) for record in read(task, data, split))


def _break_some(folder: Path) -> None:
    for whole in sorted(folder.iterdir())[:CUT_SHORT]:
        content = whole.read_bytes()
        (folder / f"cut-{whole.name}").write_bytes(content[: len(content) // 3])
    for name, content in BROKEN_FILES.items():
        (folder / name).write_bytes(content)


def build(index: Path, folder: Path, bundle: Path, kill_after_s: Sequence[float] = ()) -> Built:
    """Build an index with `twelve index add`, killed first after each of the given times.

    Args:
        index: Made here.
        folder: Of pictures.
        bundle: Whose detector finds regions.
        kill_after_s: Seconds that each attempt is given before SIGKILL; the last attempt is left in peace.

    Returns:
        What was built, once an attempt ran to its end.
    """
    before = _children_cpu_s()
    command = [
        str(Path(sys.executable).with_name("twelve")),
        "index",
        "add",
        str(index),
        str(folder),
        "--bundle",
        str(bundle),
    ]
    kills = sum(_killed(command, seconds) for seconds in kill_after_s)
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != REJECTED_EXIT:
        raise SystemExit(f"the build left with {finished.returncode}, expected {REJECTED_EXIT}:\n{finished.stderr}")
    counts = {name: int(count) for name, count in re.findall(r"(done|duplicate|rejected)=(\d+)", finished.stdout)}
    return Built(Index.open(index).digest(), counts, _children_cpu_s() - before, kills)


def _killed(command: Sequence[str], seconds: float) -> bool:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ranks(index: Index, retriever: BundleRetriever, captions: Sequence[tuple[str, str]]) -> list[int]:
    """Give the rank of the right picture among all pictures, from 1, for each caption."""
    found = []
    for number, (caption, name) in enumerate(captions, start=1):
        hits = search(index, caption, len(index.pictures()), retriever.score)
        found.append(1 + [Path(hit.path).name for hit in hits].index(name))
        console.print(f"caption {number}/{len(captions)}: rank {found[-1]}")
    return found


def largest_difference(
    server: str, index: Index, retriever: BundleRetriever, collection: Collection, rng: random.Random
) -> float:
    """Compare the index's scores with a server's, as shares of the candidates of a request.

    Returns:
        The largest difference of a share.
    """
    refs = {Path(path).name: ref for ref, path in index.pictures().items()}
    worst = 0.0
    with Client(server) as client:
        for caption, name in rng.sample(collection.captions, SERVED_CAPTIONS):
            names = [name, *rng.sample(sorted(refs.keys() - {name}), CANDIDATES - 1)]
            answer = client.ask(TASK, caption=caption, images=[collection.folder / one for one in names])
            served = {one.answer: one.score for one in answer.candidates}
            shares = _softmax(retriever.score(caption, [index.features[refs[one]] for one in names]))
            worst = max(worst, *(abs(served[place] - share) for place, share in enumerate(shares)))
    return worst


def _softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    return [power / sum(powers) for power in powers]


def main(
    server: Annotated[str, typer.Option(help="A running server with the same bundle.")],
    data: Annotated[Path, typer.Option(help="The small world.")] = Path("runs/world"),
    bundle: Annotated[Path, typer.Option(help="The model's folder.")] = Path("model_store/small"),
    pictures: Annotated[int, typer.Option(help="In the index.")] = 2000,
    captions: Annotated[int, typer.Option(help="Ranked against all pictures.")] = 100,
    kills: Annotated[int, typer.Option(help="Of the second build, at moments drawn at random.")] = 8,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/retrieval_index.json"),
) -> None:
    """Build twice, compare, rank, and write a report."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as work:
        collection = gather(data, Path(work) / "pictures", pictures)
        began = time.monotonic()
        peaceful = build(Path(work) / "peaceful", collection.folder, bundle)
        wall_s = time.monotonic() - began
        console.print(f"built in peace: {peaceful}")
        moments = [rng.uniform(0.1, 2 / kills) * wall_s for _ in range(kills)]
        disturbed = build(Path(work) / "disturbed", collection.folder, bundle, moments)
        console.print(f"built under kills: {disturbed}")
        index, retriever = Index.open(Path(work) / "disturbed"), BundleRetriever.open(bundle)
        indexed = len(index.pictures())
        difference = largest_difference(server, index, retriever, collection, rng)
        console.print(f"largest difference from the server: {difference:.1e}")
        sample = rng.sample(collection.captions, captions)
        began_cpu_s = time.process_time()
        ranked = ranks(index, retriever, sample)
        ms_a_pair = 1000 * (time.process_time() - began_cpu_s) / (captions * indexed)
    report = {
        "pictures": indexed,
        "files": peaceful.counts,
        "kills": disturbed.kills,
        "same_digest": peaceful.digest == disturbed.digest,
        "build_cpu_s": round(peaceful.cpu_s, 1),
        "build_cpu_s_with_kills": round(disturbed.cpu_s, 1),
        "largest_difference_from_server": difference,
        "captions": captions,
        "score_cpu_ms_a_pair": round(ms_a_pair, 2),
        "recall": {f"R@{k}": round(sum(rank <= k for rank in ranked) / captions, 3) for k in CUTOFFS},
        "chance": {f"R@{k}": round(k / indexed, 4) for k in CUTOFFS},
    }
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    typer.run(main)
