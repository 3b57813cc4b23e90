"""One network of each preset for all tests: building and fitting one takes seconds."""

from functools import cache
from typing import Any

import pytest
from torch import nn

from tests.detectron2 import guests

guests.shim()


@cache
def _guest(preset: str) -> tuple[Any, nn.Module]:
    cfg = guests.settings(preset)
    return cfg, guests.network(cfg)


@pytest.fixture(scope="session")
def guest_of() -> Any:
    """Give the settings and the network of a preset."""
    return _guest
