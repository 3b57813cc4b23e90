"""Orders to a running launcher: a file for each in its run directory, and one beside it that tells how it went.

Whoever may write there may give orders: nothing listens.
"""

import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.torchserve import ServerDied
from twelve.errors import StartupError

log = logging.getLogger(__name__)

PID = "edge.pid"
BETWEEN_LOOKS_S = 0.1

Carry = Mapping[str, Callable[[Mapping[str, Any]], None]]
"""What to do, by the order's name."""


@dataclass(frozen=True)
class Orders:
    """The folder of orders below a launcher's run directory."""

    run_dir: Path

    @property
    def folder(self) -> Path:
        """Give where the files lie."""
        return self.run_dir / "orders"

    def open(self) -> None:
        """Take orders from now on, for this process; older ones are void."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in self.folder.iterdir():
            old.unlink()
        (self.run_dir / PID).write_text(str(os.getpid()), encoding="ascii")

    def close(self) -> None:
        """Take no more orders."""
        (self.run_dir / PID).unlink(missing_ok=True)

    def are_taken(self) -> bool:
        """Say whether a launcher runs here."""
        try:
            os.kill(int((self.run_dir / PID).read_text(encoding="ascii")), 0)
        except (OSError, ValueError):
            return False
        return True

    def carry_out(self, carry: Carry) -> None:
        """Carry out what has come, and tell how it went."""
        for path in sorted(self.folder.glob("*.order")):
            failure = _failure(carry, path)
            try:
                _write(path.with_suffix(".done"), {"failure": failure})
            except OSError:  # a full disk: whoever gave the order waits, nginx and the servers go on
                log.exception("%s is carried out, failure: %s; this could not be told", path.name, failure)

    def give(self, name: str, **details: str) -> None:
        """Give an order and wait until it is carried out.

        Args:
            name: Of the order.
            **details: Of the order.

        Raises:
            ServerDied: It failed, or no launcher runs here.
        """
        order = self.folder / f"{time.time_ns()}-{uuid.uuid4().hex}.order"
        if self.are_taken():
            _write(order, {"name": name, **details})
        done = order.with_suffix(".done")
        while not done.exists():
            if not self.are_taken():
                raise ServerDied(f"no launcher runs in {self.run_dir}; start it by `make serve-edge`", 1)
            time.sleep(BETWEEN_LOOKS_S)
        failure = json.loads(done.read_text(encoding="utf-8"))["failure"]
        done.unlink()
        if failure is not None:
            raise ServerDied(failure, 1)


def _failure(carry: Carry, path: Path) -> str | None:
    try:
        written = path.read_bytes()
        path.unlink()
        order = json.loads(written)
        carry[order["name"]](order)
    except StartupError as error:
        return error.message
    except (ServerDied, OSError) as error:
        return str(error)
    except Exception as error:  # whatever it is, nginx and the servers go on
        log.exception("an order failed")
        return f"the launcher failed on it, and its log says where: {error!r}"
    return None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value), encoding="utf-8")
    new.rename(path)
