"""The checkout that the tests run in: its root and the files that git keeps or would keep."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def kept_files(*patterns: str) -> list[Path]:
    """List tracked files and new ones that are not ignored, relative to the root; all, or those of a pattern."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return sorted(path for path in paths if (ROOT / path).is_file())


def text_of(path: Path) -> str | None:
    """Read a kept file as text; None where it is no UTF-8."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
