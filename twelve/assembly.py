"""From a bundle to the parts of a service: the only place that knows them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from twelve.batch import ROWS_PER_PASS
from twelve.bundle import VOCABULARY, Bundle
from twelve.download import Downloads
from twelve.engines.engine import Engine
from twelve.engines.exported import DETECTOR, Exported, headless
from twelve.engines.graphs import FUSE, REGIONS, TEXT
from twelve.errors import ConfigInvalid, DataError
from twelve.features import FeatureStore
from twelve.heads.model import CONFIG_FILE, TwelveModel
from twelve.image import ImageLimits
from twelve.limits import RequestLimits
from twelve.model.config import ModelConfig
from twelve.origins import AllowList
from twelve.pictures import PictureDesk
from twelve.regions.cache import DEFAULT_BYTES, RegionCache
from twelve.regions.extractor import RegionExtractor
from twelve.regions.families import open_config
from twelve.regions.local import DetectorExtractor, digest_in_8_bits, digest_of
from twelve.runtimes.devices import CPU, Device, place
from twelve.runtimes.module import ModuleRuntime
from twelve.schema import ModelName
from twelve.tasks.base import AnswerList
from twelve.tasks.registry import TASKS
from twelve.text import TextEncoder

NO_DETECTOR = "none"
DEFAULT_ENGINE = "onnxruntime"
BUILD = Path("build")
"""Where `python -m export` writes, below the working directory."""


@dataclass(frozen=True)
class Settings:
    """How a bundle is to be served.

    Attributes:
        engine: "onnxruntime", "torchscript" or "eager"; "onnxruntime-int8" has the detector in 8 bits, if it passed.
        graphs: Folder of the exported graphs; None = `build/<name of the bundle's folder>`. Eager needs none.
        threads: Most threads of one run.
        cache: Folder of pictures seen, shared by workers; None keeps them in memory.
        cache_bytes: Of that folder.
        stores: Feature stores of this detector, keyed by pictures' refs: what they hold is not looked at again.
        limits: Of pictures.
        rows_per_pass: Most pairs that run together.
        device: "cpu", "cuda", or "cuda:1" and so on.
        deadline_ms: Time of a request that names none, and the most that one may name; None = no limit.
        requests: What a request may hold beside its pictures.
        image_hosts: Where pictures named by URL are fetched from; none = they are refused. See `twelve.origins`.
        image_networks: Networks these hosts may lie in beside the public ones.
    """

    engine: str = DEFAULT_ENGINE
    graphs: Path | None = None
    threads: int = 1
    cache: Path | None = None
    cache_bytes: int = DEFAULT_BYTES
    stores: tuple[Path, ...] = ()
    limits: ImageLimits = field(default_factory=ImageLimits)
    rows_per_pass: int = ROWS_PER_PASS
    device: str = CPU.kind
    deadline_ms: int | None = None
    requests: RequestLimits = field(default_factory=RequestLimits)
    image_hosts: Sequence[str] = ()
    image_networks: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that are none.

        Raises:
            ConfigInvalid: Threads or bytes are no whole number from 1.
        """
        for name in ("threads", "cache_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigInvalid(f"{name}: is {value!r}; give a whole number from 1")


@dataclass(frozen=True)
class Knowledge:
    """What a bundle knows beside its weights.

    Attributes:
        model: Name and version.
        tasks: Names of the tasks it was trained on.
        answers: By head.
        most_tokens: Word pieces the model can place, [CLS] and [SEP] included.
        feature_width: Of a region.
    """

    model: ModelName
    tasks: frozenset[str]
    answers: Mapping[str, AnswerList]
    most_tokens: int
    feature_width: int


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    knowledge: Knowledge
    engine: Engine
    extractor: RegionExtractor | None
    desk: PictureDesk
    encoder: TextEncoder
    downloads: Downloads


@dataclass(frozen=True)
class Runners:
    """What runs: the model's engine and, where the bundle has one, its region extractor."""

    engine: Engine
    extractor: RegionExtractor | None


def assemble(path: Path, settings: Settings) -> Parts:
    """Open a bundle and build what serves it.

    Args:
        path: The bundle's folder.
        settings: How to serve it.

    Returns:
        The parts.

    Raises:
        StartupError: The bundle or its graphs are not fit to be served; says what would do.
    """
    if settings.engine not in ENGINES:
        raise ConfigInvalid(f"engine: there is no {settings.engine!r}; choose one of {', '.join(ENGINES)}")
    bundle = Bundle.open(path)
    if not bundle.manifest.tasks:
        raise ConfigInvalid(f"{path}: knows no task, it is a starting point for training; serve another bundle")
    bundle.verify()
    torch.set_num_threads(settings.threads)
    config = ModelConfig.load(path / CONFIG_FILE)
    knowledge, encoder = knowledge_of(bundle, config), encoder_of(bundle, config)
    runners = ENGINES[settings.engine](bundle, config, settings)
    cache = cache_of(runners.extractor, config, settings)
    desk = PictureDesk(runners.extractor, cache, limits=settings.limits, feature_width=config.v_feature_size)
    allowed = AllowList.of(settings.image_hosts, settings.image_networks)
    downloads = Downloads(allowed, max_bytes=settings.limits.max_bytes)
    return Parts(knowledge, runners.engine, runners.extractor, desk, encoder, downloads)


def knowledge_of(bundle: Bundle, config: ModelConfig) -> Knowledge:
    """Read what a bundle knows beside its weights.

    Raises:
        BundleMissing: A head has no answer list.
        ConfigInvalid: A task's token is not the one it was trained with or has no row in the task table, or an answer
            list is of another length.
    """
    known = {name: token for name, token in bundle.manifest.tasks.items() if name in TASKS}
    for name, token in known.items():
        if TASKS[name].token != token:
            raise ConfigInvalid(
                f"{bundle.path}: task '{name}' was trained with token {token}, here it is {TASKS[name].token}"
            )
        if config.task_specific_tokens and not 0 <= token < config.task_embedding_rows:
            raise ConfigInvalid(
                f"{bundle.path}: task '{name}' has token {token}, the task table has {config.task_embedding_rows} rows"
            )
    lengths = {"vqa": config.vqa_labels, "gqa": config.gqa_labels}
    answers = {head: AnswerList(bundle.answers(head)) for head in lengths}
    for head, expected in lengths.items():
        if len(answers[head].answers) != expected:
            listed = len(answers[head].answers)
            raise ConfigInvalid(
                f"{bundle.path}: answers/{head}.json lists {listed} answers, the head has {expected} outputs"
            )
    model = ModelName(name=bundle.manifest.name, version=bundle.manifest.version)
    return Knowledge(
        model, frozenset(bundle.manifest.tasks), answers, config.max_position_embeddings, config.v_feature_size
    )


def encoder_of(bundle: Bundle, config: ModelConfig) -> TextEncoder:
    """Read the vocabulary.

    Raises:
        BundleMissing: There is none.
        ConfigInvalid: It has more entries than the word table has rows.
    """
    encoder = TextEncoder.load(bundle.path / VOCABULARY)
    if encoder.size > config.vocab_size:
        raise ConfigInvalid(
            f"{bundle.path}: {VOCABULARY} has {encoder.size} entries, the word table {config.vocab_size} rows; "
            "use the vocabulary the model was trained with"
        )
    return encoder


def cache_of(extractor: RegionExtractor | None, config: ModelConfig, settings: Settings) -> RegionCache:
    """Make the cache of a detector's regions.

    Raises:
        ConfigInvalid: A feature store is none, or another detector's.
    """
    digest = extractor.digest if extractor else NO_DETECTOR
    return RegionCache(
        settings.cache,
        detector=digest,
        feature_width=config.v_feature_size,
        stores=[_opened_store(path, digest) for path in settings.stores],
        most_bytes=settings.cache_bytes,
    )


def _opened_store(path: Path, detector: str) -> FeatureStore:
    try:
        store = FeatureStore.open(path)
    except DataError as error:
        raise ConfigInvalid(f"stores: {error.message}") from error
    found = store.settings.detector_digest
    if found != detector:
        raise ConfigInvalid(
            f"stores: {path} has regions of the detector {found:.23}, this bundle's is {detector:.23}; "
            "make the store with this bundle's, or leave it out"
        )
    return store


def _eager(bundle: Bundle, config: ModelConfig, settings: Settings) -> Runners:
    del config
    device = Device.of(settings.device)
    model = TwelveModel.load(bundle.path)
    place(model, device)
    extractor = DetectorExtractor.load(bundle.path) if bundle.has_detector else None
    if extractor and isinstance(extractor.runtime, ModuleRuntime):
        place(extractor.runtime.module, device)
    return Runners(Engine.eager(model), extractor)


def _exported(
    kind: str, detector_kind: str, digest: Callable[[Path], str] = digest_of
) -> Callable[[Bundle, ModelConfig, Settings], Runners]:
    def open_files(bundle: Bundle, config: ModelConfig, settings: Settings) -> Runners:
        exported = Exported.open(settings.graphs or BUILD / bundle.path.name, bundle=bundle.digest())
        heads = headless(config)
        runtime = partial(exported.runtime, kind=kind, threads=settings.threads, device=Device.of(settings.device))
        runtimes = {graph: runtime(graph) for graph in (TEXT, REGIONS, FUSE, *heads)}
        extractor = None
        if bundle.has_detector:
            detector = runtime(DETECTOR, kind=detector_kind)
            extractor = DetectorExtractor(detector, open_config(bundle.path), digest=digest(bundle.path))
        return Runners(Engine(config, heads, runtimes), extractor)

    return open_files


ENGINES: Mapping[str, Callable[[Bundle, ModelConfig, Settings], Runners]] = {
    "onnxruntime": _exported("onnx", "onnx"),
    "onnxruntime-int8": _exported("onnx", "int8", digest_in_8_bits),
    "torchscript": _exported("torchscript", "torchscript"),
    "eager": _eager,
}
