"""`twelve check`: whether a bundle is fit to be served, tried rather than assumed."""

from typing import TYPE_CHECKING, Any

import typer

from twelve.bundle import Bundle
from twelve.cli.options import DEFAULT_BUNDLE, EAGER, BundleArgument
from twelve.errors import ConfigInvalid, StartupError, TwelveError

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.client import Client
    from twelve.schema import Answer
    from twelve.service import Service
    from twelve.tasks.registry import AnyTask


def check(bundle: BundleArgument = DEFAULT_BUNDLE) -> None:
    """Open a bundle, compare its hashes, load its weights and answer every task's example."""
    from twelve.cli.show import named

    opened = Bundle.open(bundle)
    typer.echo(f"{opened.manifest.name} {opened.manifest.version} has all of its {len(opened.manifest.files)} files")
    client = _client(_service(opened))
    typer.echo("hashes are as the manifest states; weights fit the configuration")
    for task in _tasks(opened):
        answer = _answer(client, task, opened)
        typer.echo(f"{task.name}: {named(answer.answer, ())} ({answer.candidates[0].score:.2f})")
    typer.echo("fit to be served")


def _service(bundle: Bundle) -> "Service":
    from twelve.assembly import Settings
    from twelve.service import Service

    try:
        return Service.open(bundle.path, Settings(engine=EAGER))
    except StartupError:
        raise
    except Exception as error:  # whatever a library says of a file that is not what it should be
        raise ConfigInvalid(
            f"{bundle.path}: cannot be loaded ({type(error).__name__}: {error}); make the bundle again"
        ) from error


def _client(service: "Service") -> "Client":
    from twelve.local import client_of

    return client_of(service)


def _tasks(bundle: Bundle) -> "list[AnyTask]":
    from twelve.tasks import TASKS

    for name in sorted(bundle.manifest.tasks.keys() - TASKS.keys()):
        typer.echo(f"{name}: passed over, this library has no such task")
    return [task for task in TASKS.values() if task.name in bundle.manifest.tasks]


def _answer(client: "Client", task: "AnyTask", bundle: Bundle) -> "Answer":
    picture = _picture(task, bundle)
    try:
        return client.ask(task.name, **task.example([picture] * task.pictures_in_example))
    except TwelveError as error:
        raise ConfigInvalid(f"task '{task.name}' does not answer its own example: {error.message}") from error


def _picture(task: "AnyTask", bundle: Bundle) -> Any:
    """Give the sample picture; where the bundle finds no regions itself, empty ones with the example's boxes."""
    from twelve.draw import SAMPLE_HEIGHT, SAMPLE_WIDTH, sample
    from twelve.heads.model import CONFIG_FILE
    from twelve.model.config import ModelConfig

    if bundle.has_detector:
        return sample()
    whole = [0.0, 0.0, float(SAMPLE_WIDTH), float(SAMPLE_HEIGHT)]
    boxes = [*task.example([None] * task.pictures_in_example).get("boxes", []), whole]
    features = [[0.0] * ModelConfig.load(bundle.path / CONFIG_FILE).v_feature_size] * len(boxes)
    return {"regions": {"features": features, "boxes": boxes, "width": SAMPLE_WIDTH, "height": SAMPLE_HEIGHT}}
