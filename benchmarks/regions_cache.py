"""What the server's cache of regions is worth, and whether it keeps its bounds.

    python -m export all model_store/small
    python -m benchmarks.regions_cache --work /tmp/regions_cache

A question about a picture is put to the whole service, from the bytes of an HTTP body to those of the answer: as the
first about this picture, as a later one, with the picture's bytes and by its ref, to a worker that has not seen it but
shares the folder, and with the same regions brought along. The default bundle answers as it is served. The large
detectors have random weights, as has the model of the published size that reads their regions; all run in torch there.
Times are CPU times; ratios are taken within each round, and the median counts.

Then 10,000 pictures of 100 regions, 2048 numbers each, go through the cache of one worker, with a detector that costs
nothing. Needs 8 GB of disk, which are free again at the end.
"""

import base64
import hashlib
import io
import json
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from torch import nn

from benchmarks.forward import machine
from handlers.torchserve import ALLOCATOR
from twelve.assembly import Knowledge, Parts, Settings, assemble
from twelve.bundle import VOCABULARY
from twelve.download import Downloads
from twelve.engines.engine import Engine
from twelve.features import RegionSet
from twelve.heads.model import TwelveModel
from twelve.image import ImageLimits, Picture, decode
from twelve.model.config import ModelConfig
from twelve.origins import AllowList
from twelve.pictures import PictureDesk
from twelve.regions.cache import DEFAULT_BYTES, RegionCache
from twelve.regions.cache.region_cache import MEMORY_BYTES
from twelve.regions.detector import INPUTS, OUTPUTS
from twelve.regions.extractor import RegionExtractor
from twelve.regions.local import DetectorExtractor
from twelve.regions.rcnn.backbone import fold
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.detector import Rcnn
from twelve.runtimes.module import ModuleRuntime
from twelve.schema import ModelName
from twelve.service import Service
from twelve.tasks.base import AnswerList
from twelve.tasks.registry import TASKS
from twelve.text import TextEncoder
from twelve.wire import JSON, Call

QUESTION = "What is the man on the left of the red car holding?"
DETECTORS = {"x152-fpn": 1600, "vg-r101-c4": 1600}
"""With their classes, as published, the background aside."""

SMALL_PICTURE, PHOTOGRAPH = (320, 240), (640, 480)
WORDS = Path("twelve/convert") / VOCABULARY
REGIONS, WIDTH, SIDE = 100, 2048, 600
PICTURE_BYTES = 150_000
MIB = 1 << 20
EVERY = 100
"""A look at the process and the folder every so many pictures."""

console = Console(stderr=True)


def drawn(rng: np.random.Generator, size: tuple[int, int]) -> bytes:
    """Draw a picture that nobody has seen, as a JPEG of a photograph's weight."""
    width, height = size
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    noise = rng.integers(-12, 13, smooth.shape, dtype=np.int16)
    stream = io.BytesIO()
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def call(image: Any) -> Call:
    """Ask about a picture."""
    return Call(json.dumps({"task": "vqa-v2", "question": QUESTION, "image": image}).encode(), JSON)


def brought(regions: RegionSet) -> dict[str, Any]:
    """Write regions as a caller brings them along."""
    return {
        "regions": {
            "features": base64.b64encode(regions.features.numpy().tobytes()).decode(),
            "boxes": regions.boxes_px.tolist(),
            "width": regions.width,
            "height": regions.height,
        }
    }


class Asked:
    """Puts a question to a service and says what that took."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, image: Any) -> tuple[float, dict[str, Any]]:
        """Give CPU milliseconds and the answer.

        Raises:
            SystemExit: It was refused.
        """
        asked = call(image)
        since = time.process_time()
        (reply,) = self.service.answer_calls([asked])
        took_ms = 1000 * (time.process_time() - since)
        if reply.status != HTTPStatus.OK:
            raise SystemExit(reply.body.decode())
        return took_ms, json.loads(reply.body)


def ways(parts: Parts, folder: Path, *, rounds: int, size: tuple[int, int]) -> dict[str, Any]:
    """Ask in each way about one new picture a round.

    Args:
        parts: Of a service with a detector; its own cache is not used.
        folder: Of a cache, shared by two workers.
        rounds: How many; one more goes first and is not counted.
        size: Of the pictures.

    Returns:
        The figures.
    """
    assert parts.extractor is not None
    desks = [desk_over(parts.extractor, folder) for _ in range(2)]
    worker, other = (Asked(Service(replace(parts, desk=desk))) for desk in desks)
    rng, took, counts, sizes = np.random.default_rng(0), [], [], []
    for _ in range(rounds + 1):
        encoded = drawn(rng, size)
        image = base64.b64encode(encoded).decode()
        first_ms, first = worker(image)
        (ref,) = first["images"]
        known = desks[0].cache.regions(ref)
        assert known is not None
        again = {
            "second, picture's bytes": worker(image),
            "second, ref": worker({"ref": ref}),
            "second, another worker": other(image),
            "regions brought along": worker(brought(known.regions)),
        }
        _refuse_other_answers(first, again)
        took.append({"first": first_ms, **{way: way_ms for way, (way_ms, _) in again.items()}})
        counts.append(len(known.regions))
        sizes.append(len(encoded))
    return {
        "regions": statistics.median(counts),
        "picture_bytes": statistics.median(sizes),
        **_figures(took[1:]),
    }


def desk_over(extractor: RegionExtractor, folder: Path) -> PictureDesk:
    """Give a worker's desk over a shared folder."""
    cache = RegionCache(folder, detector=extractor.digest, feature_width=extractor.feature_width)
    return PictureDesk(extractor, cache, limits=ImageLimits(), feature_width=extractor.feature_width)


def _refuse_other_answers(first: Mapping[str, Any], again: Mapping[str, tuple[float, Mapping[str, Any]]]) -> None:
    for way, (_, answer) in again.items():
        if answer["answer"] != first["answer"]:
            raise SystemExit(f"{way}: got {answer['answer']!r}, the first answer was {first['answer']!r}")


def _figures(took: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    by_brought = {
        way: round(statistics.median(one[way] / one["regions brought along"] for one in took), 3) for way in took[0]
    }
    by_first = {way: round(statistics.median(one["first"] / one[way] for one in took), 1) for way in took[0]}
    medians = {way: round(statistics.median(one[way] for one in took), 2) for way in took[0]}
    return {"cpu_ms": medians, "times_of_regions_brought_along": by_brought, "first_costs_times": by_first}


def published_size(extractor: RegionExtractor, folder: Path) -> Parts:
    """Give a service of the published size with random weights and this detector."""
    torch.manual_seed(0)
    config = ModelConfig.paper()
    counts = {"vqa": config.vqa_labels, "gqa": config.gqa_labels}
    answers = {head: AnswerList(tuple(map(str, range(count)))) for head, count in counts.items()}
    name = ModelName(name="random", version="0")
    knowledge = Knowledge(name, frozenset(TASKS), answers, config.max_position_embeddings, config.v_feature_size)
    engine = Engine.eager(TwelveModel(config).eval())
    nobody = Downloads(AllowList.of((), ()), max_bytes=ImageLimits().max_bytes)
    return Parts(knowledge, engine, extractor, desk_over(extractor, folder), TextEncoder.load(WORDS), nobody)


def random_detector(preset: str) -> Rcnn:
    """Give a detector of a preset with random weights, its norms folded as for serving; any region is good enough."""
    torch.manual_seed(0)
    names = [str(number) for number in range(DETECTORS[preset])]
    module = Rcnn(replace(RcnnConfig.of(preset, names), score_floor=0.0)).eval()
    fold(module)
    return module


def share_of_backbone(extractor: DetectorExtractor, module: nn.Module, encoded: bytes) -> float:
    """Give the share of a run that new boxes of a known picture need as well, beside their own description.

    Args:
        extractor: Runs the module.
        module: The detector.
        encoded: A picture.

    Returns:
        Time in the backbone by time in all.
    """
    moments: list[float] = []
    backbone = module.get_submodule("backbone")
    picture = decode(encoded, limits=ImageLimits())
    extractor.extract(picture)
    hooks = (
        backbone.register_forward_pre_hook(lambda *_: moments.append(time.process_time())),
        backbone.register_forward_hook(lambda *_: moments.append(time.process_time())),
    )
    since = time.process_time()
    extractor.extract(picture)
    whole_s = time.process_time() - since
    for hook in hooks:
        hook.remove()
    return round((moments[1] - moments[0]) / whole_s, 3)


class Free:
    """A detector of the published sizes that costs nothing."""

    digest = "free"
    feature_width = WIDTH

    def __init__(self) -> None:
        self.runs = 0
        self._draw = torch.Generator().manual_seed(0)

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        """Give regions that no other picture has."""
        del given_px
        self.runs += 1
        corners = torch.rand(REGIONS, 2, 2, generator=self._draw).sort(dim=1).values * SIDE
        features = torch.rand(REGIONS, WIDTH, generator=self._draw)
        scores, labels = torch.rand(REGIONS, generator=self._draw), torch.zeros(REGIONS, dtype=torch.int64)
        return RegionSet(features, corners.reshape(REGIONS, 4), scores, labels, picture.width, picture.height)


def bounds(
    folder: Path, *, pictures: int, most_bytes: int = DEFAULT_BYTES, memory_bytes: int = MEMORY_BYTES
) -> dict[str, Any]:
    """Send many pictures through one worker's cache and watch the process and the folder.

    Args:
        folder: Of the cache.
        pictures: How many.
        most_bytes: Of the folder.
        memory_bytes: Of what the worker keeps at hand.

    Returns:
        The figures.
    """
    cache = RegionCache(
        folder, detector=Free.digest, feature_width=WIDTH, most_bytes=most_bytes, memory_bytes=memory_bytes
    )
    extractor, rng = Free(), np.random.default_rng(0)
    resident, stored, took, cpu_s = [_resident_bytes()], [0], [], 0.0
    for number in range(pictures):
        ref = f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"
        regions, encoded = extractor.extract(_BLANK), rng.bytes(PICTURE_BYTES)
        since, cpu_since = time.perf_counter(), time.process_time()
        cache.keep_encoded(ref, encoded)
        cache.keep(ref, regions)
        took.append(1000 * (time.perf_counter() - since))
        cpu_s += time.process_time() - cpu_since
        if number % EVERY == EVERY - 1:
            resident.append(_resident_bytes())
            stored.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    return {
        "pictures": pictures,
        "written_mib": round(pictures * (PICTURE_BYTES + _entry_bytes(folder)) / MIB),
        "folder": {"bound_mib": most_bytes // MIB, "peak_mib": round(max(stored) / MIB, 1)},
        "memory": {
            "bound_mib": memory_bytes // MIB,
            "before_mib": round(resident[0] / MIB),
            "peak_mib": round(max(resident) / MIB),
            "peak_of_the_first_tenth_mib": round(max(resident[: 1 + len(resident) // 10]) / MIB),
        },
        "keep_cpu_ms": round(1000 * cpu_s / pictures, 2),
        "keep_ms_by_the_clock": {"median": round(statistics.median(took), 2), "longest": round(max(took), 1)},
    }


_BLANK = Picture.of(np.zeros((SIDE, SIDE, 3), dtype=np.uint8))


def _entry_bytes(folder: Path) -> int:
    return next((folder / "regions").glob("??/*")).stat().st_size


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return resource.getpagesize() * pages


def main(
    bundle: Annotated[Path, typer.Option(help="The default bundle.")] = Path("model_store/small"),
    graphs: Annotated[Path, typer.Option(help="Its exported graphs.")] = Path("build/small"),
    rounds: Annotated[int, typer.Option(help="Of the default bundle.")] = 40,
    large_rounds: Annotated[int, typer.Option(help="Of each large detector; 0 leaves them out.")] = 2,
    pictures: Annotated[int, typer.Option(help="That go through the cache.")] = 10_000,
    work: Annotated[Path, typer.Option(help="A folder that is made and removed.")] = Path("/tmp/regions_cache"),
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/regions_cache.json"),
) -> None:
    """Measure one thing after the other and write each into the report."""
    begin_as_a_worker()
    torch.set_num_threads(1)
    measurements: dict[str, Callable[[Path], Any]] = {
        "machine": lambda folder: machine(),
        "bounds": lambda folder: bounds(folder, pictures=pictures),  # before anything else has filled the memory
        "small": lambda folder: small(bundle, graphs, folder, rounds=rounds),
    }
    if large_rounds:
        measurements |= {preset: partial(large, preset, rounds=large_rounds) for preset in DETECTORS}
    report = {}
    for name, measure in measurements.items():
        console.print(name)
        try:
            report[name] = measure(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(report, indent=2))


def begin_as_a_worker() -> None:
    """Start this program again with the allocator settings of a served worker, read when a process begins."""
    if not ALLOCATOR.items() <= os.environ.items():
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.regions_cache", *sys.argv[1:]], os.environ | ALLOCATOR
        )


def small(bundle: Path, graphs: Path, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure the default bundle, as it is served."""
    parts = assemble(bundle, Settings(graphs=graphs))
    eager = DetectorExtractor.load(bundle)
    picture = drawn(np.random.default_rng(1), SMALL_PICTURE)
    figures = ways(parts, folder, rounds=rounds, size=SMALL_PICTURE)
    module = eager.runtime.module  # type: ignore[attr-defined]
    return {**figures, "backbone_share_of_a_run_in_torch": share_of_backbone(eager, module, picture)}


def large(preset: str, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure a large detector before a model of the published size, both with random weights."""
    module = random_detector(preset)
    runtime = ModuleRuntime(module, inputs=INPUTS, outputs=OUTPUTS)
    extractor = DetectorExtractor(runtime, module.config, digest=f"random {preset}")
    figures = ways(published_size(extractor, folder), folder, rounds=rounds, size=PHOTOGRAPH)
    picture = drawn(np.random.default_rng(1), PHOTOGRAPH)
    return {**figures, "backbone_share_of_a_run_in_torch": share_of_backbone(extractor, module, picture)}


if __name__ == "__main__":
    typer.run(main)
