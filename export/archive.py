"""A bundle as TorchServe's model directory, served as it lies there: no archive, nothing to unpack, no Java to make it.

OUT/twelve/
  MAR-INF/MANIFEST.json    names the handler and the configuration
  twelve_handler.py        the adapter; the library itself is installed
  model-config.yaml        workers, batches, and the handler's own settings
  self-test.json           a request that a ready server answers
  bundle/  graphs/         links to the bundle and to its exported graphs
"""

import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from twelve.assembly import BUILD, DEFAULT_ENGINE
from twelve.bundle import Bundle
from twelve.errors import StartupError
from twelve.heads.model import CONFIG_FILE
from twelve.image import ImageLimits
from twelve.limits import RequestLimits
from twelve.model.config import ModelConfig
from twelve.regions.cache import DEFAULT_BYTES
from twelve.tasks import find
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

MODEL = "twelve"
"""Name of the model: `POST /predictions/twelve`."""

DIRECTORY = "twelve-model"
"""Not "twelve": the model store is on the workers' path, and there a folder of that name would hide the library."""

HANDLER = Path(__file__).resolve().parents[1] / "handlers" / "twelve_handler.py"
CONFIG = "model-config.yaml"
SELF_TEST = "self-test.json"

STRIPES = (
    "iVBORw0KGgoAAAANSUhEUgAAAUAAAADwAQAAAABZVoDGAAAAOElEQVR42u3KMQEAAAwCIPtHMaUV9g9u0qOIoiiKoiiKoiiKoiiKoiiKoiiKoiiK"
    "oiiKoiiKn+MAuu3oadTmZ2kAAAAASUVORK5CYII="
)
"""A picture of 320x240 pixels, black and white stripes, as a base64 PNG."""

MOST_BYTES = 12_000_000
"""Of an answer; `max_response_size` of config.properties lies above it, or TorchServe kills the worker."""

RESPONSE_TIMEOUT_S = 120
"""Of a batch. TorchServe kills the worker then, so it lies far above what the limits on pictures let happen."""

DEADLINE_MS = 60_000
"""Of a request that names none, and the most that one may name; as the longest of nginx in front."""

STARTUP_TIMEOUT_S = 180
FLOAT_BYTES = 4
QUEUE = 64
"""Requests that wait; the next is refused."""


@dataclass(frozen=True)
class Serving:
    """How a model directory is to be served.

    Attributes:
        engine: "onnxruntime", "onnxruntime-int8", "torchscript" or "eager".
        workers: Processes, each with the whole model.
        threads: Of each worker.
        batch_size: Most requests of a batch.
        batch_delay_ms: How long a request waits for others; 0 means 100 to TorchServe.
        cache: Folder of pictures seen, shared by the workers; relative to the model directory.
        device: "cpu", "cuda", or "cuda:1" and so on.
        image_hosts: Where pictures named by URL are fetched from; none = they are refused. See `twelve.origins`.
        image_networks: Networks these hosts may lie in beside the public ones.
        cache_bytes: Of that folder, before the longest unused files go.
        stores: Feature stores of the bundle's detector, keyed by pictures' refs.
    """

    engine: str = DEFAULT_ENGINE
    workers: int = 1
    threads: int = 1
    batch_size: int = 8
    batch_delay_ms: int = 2
    cache: str = "cache"
    device: str = "cpu"
    image_hosts: Sequence[str] = ()
    image_networks: Sequence[str] = ()
    cache_bytes: int = DEFAULT_BYTES
    stores: tuple[str, ...] = ()


def make_model_directory(bundle: Path, graphs: Path | None, out: Path, serving: Serving | None = None) -> Path:
    """Make the model directory anew.

    Args:
        bundle: The bundle's folder.
        graphs: Its exported graphs; None for the eager engine, which needs none.
        out: TorchServe's model store.
        serving: How it is to be served.

    Returns:
        The directory, `OUT/twelve-model`.

    Raises:
        BundleMissing: There is no bundle.
        ConfigInvalid: Its manifest or configuration is not as it should be.
    """
    opened = Bundle.open(bundle)
    directory = out / DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "MAR-INF").mkdir(parents=True)
    shutil.copyfile(HANDLER, directory / HANDLER.name)
    (directory / "bundle").symlink_to(bundle.resolve(), target_is_directory=True)
    if graphs is not None:
        (directory / "graphs").symlink_to(graphs.resolve(), target_is_directory=True)
    _write_json(directory / "MAR-INF" / "MANIFEST.json", manifest(opened.manifest.version))
    (directory / CONFIG).write_text(yaml.safe_dump(model_config(serving or Serving()), sort_keys=False))
    _write_json(directory / SELF_TEST, self_test(opened))
    return directory


def manifest(version: str) -> dict[str, Any]:
    """Give TorchServe's manifest of this version of the model."""
    model = {"modelName": MODEL, "modelVersion": version, "handler": HANDLER.name, "configFile": CONFIG}
    return {"runtime": "python", "archiverVersion": "0.12.0", "model": model}


def model_config(serving: Serving) -> dict[str, Any]:
    """Give `model-config.yaml`: TorchServe's own entries, then the section that the handler reads."""
    return {
        "minWorkers": serving.workers,
        "maxWorkers": serving.workers,
        "batchSize": serving.batch_size,
        "maxBatchDelay": serving.batch_delay_ms,
        "responseTimeout": RESPONSE_TIMEOUT_S,
        "startupTimeout": STARTUP_TIMEOUT_S,
        "jobQueueSize": QUEUE,
        "handler": {
            "engine": serving.engine,
            "threads": serving.threads,
            "cache": serving.cache,
            "device": serving.device,
            "image_hosts": list(serving.image_hosts),
            "image_networks": list(serving.image_networks),
            "deadline_ms": DEADLINE_MS,
            "limits": {name: value for name, value in asdict(ImageLimits()).items() if name != "formats"}
            | asdict(RequestLimits()),
            "cache_bytes": serving.cache_bytes,
            "stores": list(serving.stores),
            "max_response_bytes": MOST_BYTES,
        },
    }


def self_test(bundle: Bundle) -> dict[str, Any]:
    """Give a small request that this bundle can answer: the example of its first task, with striped pictures."""
    task = find(min(bundle.manifest.tasks.values()))
    picture = STRIPES if bundle.has_detector else _blank_regions(ModelConfig.load(bundle.path / CONFIG_FILE))
    return {"task": task.name, **task.example([picture] * task.pictures_in_example)}


def _blank_regions(config: ModelConfig) -> dict[str, Any]:
    features = bytes(FLOAT_BYTES * config.v_feature_size * len(EXAMPLE_BOXES))
    brought = {"features": base64.b64encode(features).decode(), "boxes": EXAMPLE_BOXES, "width": 320, "height": 240}
    return {"regions": brought}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    out: Annotated[Path | None, typer.Option(help="TorchServe's model store; build/NAME/torchserve if absent.")] = None,
    graphs: Annotated[Path | None, typer.Option(help="Folder of the exported graphs; build/NAME if absent.")] = None,
    engine: Annotated[str, typer.Option(help="onnxruntime, torchscript or eager.")] = DEFAULT_ENGINE,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the whole model.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Most requests of a batch.")] = 8,
    batch_delay_ms: Annotated[int, typer.Option(min=1, help="How long a request waits for others.")] = 2,
    cache: Annotated[str, typer.Option(help="Folder of pictures seen, shared by the workers.")] = "cache",
    device: Annotated[str, typer.Option(envvar="DEVICE", help="cpu, cuda, or cuda:1 and so on.")] = "cpu",
    image_hosts: Annotated[
        list[str] | None, typer.Option("--image-host", envvar="IMAGE_HOSTS", help="Fetch pictures by URL from there.")
    ] = None,
    image_networks: Annotated[
        list[str] | None, typer.Option("--image-network", envvar="IMAGE_NETWORKS", help="Where these hosts may lie.")
    ] = None,
    cache_bytes: Annotated[int, typer.Option(min=1, help="Of that folder.")] = DEFAULT_BYTES,
    store: Annotated[
        list[Path] | None, typer.Option(help="Feature store of pictures' regions; may be repeated.")
    ] = None,
) -> None:
    """Make TorchServe's model directory of a bundle; its graphs are exported before or after."""
    built = BUILD / bundle.resolve().name
    serving = Serving(
        engine=engine,
        workers=workers,
        threads=threads,
        batch_size=batch_size,
        batch_delay_ms=batch_delay_ms,
        cache=cache,
        device=device,
        image_hosts=image_hosts or (),
        image_networks=image_networks or (),
        cache_bytes=cache_bytes,
        stores=tuple(str(path.resolve()) for path in store or ()),
    )
    try:
        make_model_directory(bundle, graphs or built, out or built / "torchserve", serving)
    except StartupError as error:
        typer.echo(f"archive: {error.message}", err=True)
        raise typer.Exit(StartupError.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
