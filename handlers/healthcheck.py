"""Whether the server is really ready: `python -m handlers.healthcheck`, exit code 0 or 1. For Docker and for probes.

TorchServe's `/ping` says "Healthy" before the model is loaded, while its worker dies again and again, and with no
worker at all. So the workers are counted by the management API, and a small request is answered.
"""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer

MODEL = "twelve"
CONFIG = "config.properties"
SELF_TEST = Path("model_store/twelve-model/self-test.json")
SELF_TEST_HEADER = "X-Self-Test"
"""Marks our own questions, which are no traffic; a proxy lets no client send it."""

HALF_WRITTEN = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)
"""What reading a reply raises whose writer ended meanwhile; no JSON, or other JSON, is among it."""

MOST_TOLD = 500
"""Bytes of an error's body."""

EVERYWHERE, HERE = "//0.0.0.0:", "//127.0.0.1:"


class NotReady(Exception):
    """The server does not answer yet, or no longer; says what is missing."""


@dataclass(frozen=True)
class Server:
    """Where a server answers.

    Attributes:
        inference: Address of the predictions.
        management: Address of the management API.
        self_test: A request that it can answer, as JSON.
    """

    inference: str
    management: str
    self_test: bytes

    @classmethod
    def of(cls, run_dir: Path) -> Self:
        """Read from a server's run directory where it answers.

        Raises:
            NotReady: No server was started there, or one is just being.
        """
        try:
            lines = (run_dir / CONFIG).read_text(encoding="utf-8").splitlines()
            values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
            inference = values["inference_address"].replace(EVERYWHERE, HERE)
            return cls(inference, values["management_address"], (run_dir / SELF_TEST).read_bytes())
        except FileNotFoundError as error:
            raise NotReady(f"no server was started in {run_dir}: {error.filename} is missing") from error
        except KeyError as error:
            raise NotReady(f"{run_dir / CONFIG} is being written: it has no {error} yet") from error

    def check(self, *, timeout_s: float, fewest: int | None = None) -> None:
        """Ask for the workers, then for an answer.

        Args:
            timeout_s: For each of the two.
            fewest: Workers that must be ready; None = all.

        Raises:
            NotReady: A worker is missing, or there is no answer.
        """
        try:
            self._check_workers(timeout_s, fewest)
            ask(self.inference, self.self_test, timeout_s=timeout_s)
        except urllib.error.HTTPError as error:
            raise NotReady(f"{error.url} answers {error.code}: {_body(error)}") from error
        except HALF_WRITTEN as error:
            raise NotReady(f"the server does not answer: {error!r}") from error

    def _check_workers(self, timeout_s: float, fewest: int | None) -> None:
        with urllib.request.urlopen(f"{self.management}/models/{MODEL}", timeout=timeout_s) as reply:
            model = json.load(reply)[0]
        states = [worker["status"] for worker in model["workers"]]
        ready, wanted = states.count("READY"), max(1, model["minWorkers"], len(states))
        if ready < (fewest or wanted):
            raise NotReady(f"{ready} of {wanted} workers are ready")


def _body(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(MOST_TOLD).decode(errors="replace")
    except HALF_WRITTEN as half:
        return f"half of a body, {half!r}"


def ask(address: str, request: bytes, *, timeout_s: float) -> dict[str, Any]:
    """Ask for a prediction.

    Args:
        address: Of the predictions.
        request: JSON.
        timeout_s: For the answer.

    Returns:
        The answer.
    """
    url, headers = f"{address}/predictions/{MODEL}", {"Content-Type": "application/json", SELF_TEST_HEADER: "1"}
    with urllib.request.urlopen(urllib.request.Request(url, request, headers), timeout=timeout_s) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def main(
    run_dir: Annotated[Path, typer.Option(envvar="RUN_DIR", help="The server's run directory.")],
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for each of the two questions.")] = 10,
) -> None:
    """Say whether the server is ready."""
    try:
        Server.of(run_dir).check(timeout_s=timeout)
    except NotReady as error:
        typer.echo(f"not ready: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
