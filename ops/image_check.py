"""Build the Dockerfile for real, start the server in it and ask it one question a group: `make image-check`.

Needs no container engine (see ops/builder.py), but root, to install buildah and debootstrap where they are missing. All
of it lies in one temporary folder, which is removed at the end.
"""

import base64
import itertools
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from handlers.healthcheck import ask
from ops.builder import BASE_IMAGE, ROOT, Builder, Failed, Pip, install_tools, timed
from twelve.tasks.registry import TASKS

PICTURES = ROOT / "docs" / "pictures"
PUBLIC_PORTS = {"8080/tcp", "8083/tcp", "8086/tcp"}
ANSWER_TIMEOUT_S = 60


def check_configuration(configuration: Mapping[str, Any]) -> None:
    """See that an image runs as an ordinary user and opens only the ports of predictions, metrics and health.

    Args:
        configuration: As the image has it.

    Raises:
        Failed: It does not.
    """
    if configuration.get("User", "") in ("", "root", "0"):
        raise Failed("the server image runs as root; the Dockerfile's stage `serve` needs a USER line")
    if set(configuration["ExposedPorts"]) != PUBLIC_PORTS:
        raise Failed(f"the server image opens {sorted(configuration['ExposedPorts'])}, should {sorted(PUBLIC_PORTS)}")


def ask_each_group(address: str) -> None:
    """Ask the example of one task of each group, and print the answers.

    Args:
        address: Of the predictions.

    Raises:
        urllib.error.HTTPError: The server refuses one.
    """
    pictures = [base64.b64encode(path.read_bytes()).decode() for path in sorted(PICTURES.glob("*.jpg"))]
    for task in {task.group: task for task in TASKS.values()}.values():
        shown = list(itertools.islice(itertools.cycle(pictures), task.pictures_in_example))
        request = json.dumps({"task": task.name, **task.example(shown)}).encode()
        reply = ask(address, request, timeout_s=ANSWER_TIMEOUT_S)
        print(f"image-check: {task.group}: {task.name} answers {json.dumps(reply['answer'])}", flush=True)


def check(folder: Path) -> None:
    """Build both images in a folder and try them.

    Args:
        folder: Empty; a few gigabytes are written to it.

    Raises:
        Failed: Something is not as it should be.
    """
    builder, pip = Builder(folder), Pip.here()
    with timed(f"{BASE_IMAGE} from Debian's mirror"):
        builder.make_base_image()
    with timed("stage serve"):
        builder.build("serve", pip)
    check_configuration(builder.configuration("serve"))
    with builder.container("serve") as name, ExitStack() as running:
        with timed("start until healthy"):
            address = running.enter_context(builder.server(name, "serve"))
        ask_each_group(address)
    with timed("stage train"):
        builder.build("train", pip)
    with builder.container("train") as name:
        builder("run", name, "--", "python3", "-m", "training", "--help")
    print(f"image-check: sizes: serve {builder.size('serve')}, train {builder.size('train')}")


def main() -> None:
    """Check the images in a temporary folder."""
    with timed("all"), tempfile.TemporaryDirectory(prefix="image-check-") as folder:
        try:
            install_tools()
            check(Path(folder))
        except Failed as failed:
            sys.exit(f"image-check: {failed}")


if __name__ == "__main__":
    main()
