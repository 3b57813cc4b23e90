"""Finds what could run code out of a file, in whatever a server imports: `python -m dev.load_path`, by `make check`.

A bundle is safetensors, JSON and text; a graph is opened by the hash that its export wrote down. So nothing that a
server imports may name a module that unpickles, or a function that does so or runs text. Reading the authors' pickles
is left to `twelve.convert`, which no server imports, and which builds nothing but plain containers of them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SERVED = ("twelve", "handlers")
NOT_SERVED = Path("twelve/convert")

MODULES = frozenset(
    {"pickle", "_pickle", "cPickle", "pickletools", "copyreg", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
)
BUILT_IN = frozenset({"eval", "exec", "compile", "__import__"})
FUNCTIONS = frozenset(
    {
        *("torch.load", "torch.serialization.load", "torch.hub.load", "torch.package.PackageImporter"),
        *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"),
        *("pandas.read_pickle", "runpy.run_path", "runpy.run_module", "builtins.eval", "builtins.exec"),
    }
)
FLAGS = {"allow_pickle": False, "weights_only": True, "trust_remote_code": False}
"""Arguments that have to have this value wherever they are given."""


class Finding(NamedTuple):
    """A place that could run code out of a file."""

    path: str
    line: int
    what: str


def findings(folder: Path = ROOT) -> list[Finding]:
    """Read all that a server of this checkout imports.

    Args:
        folder: Of the checkout.

    Returns:
        Places, by file and line.
    """
    return [
        Finding(str(path), line, what)
        for path in served(folder)
        for line, what in uses((folder / path).read_text("utf-8"))
    ]


def served(folder: Path) -> list[Path]:
    """Give the files that a server imports or could, relative to the checkout."""
    files = (file.relative_to(folder) for package in SERVED for file in (folder / package).rglob("*.py"))
    return sorted(file for file in files if not file.is_relative_to(NOT_SERVED))


def uses(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines of a module that could run code, and what does."""
    tree = ast.parse(text)
    names = dict(_names(tree))
    for node in ast.walk(tree):
        for what in (*_imported(node), *_named(node, names), *_flagged(node)):
            yield getattr(node, "lineno", 0), what


def _names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Give what each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((one.asname, one.name) for one in node.names if one.asname)
        if isinstance(node, ast.ImportFrom):
            yield from ((one.asname or one.name, f"{node.module}.{one.name}") for one in node.names)


def _imported(node: ast.AST) -> Iterator[str]:
    modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        modules = [f"{node.module}.{one.name}" for one in node.names]
    yield from (module for module in modules if module in FUNCTIONS or module.split(".")[0] in MODULES)


def _named(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    dotted = _dotted(node)
    if dotted is None:
        return
    first, *others = dotted.split(".")
    if not others and first in BUILT_IN:
        yield first
    whole = ".".join((names.get(first, first), *others))
    if others and (whole in FUNCTIONS or whole.split(".")[0] in MODULES):
        yield whole


def _dotted(node: ast.AST) -> str | None:
    """Write `a.b.c` as text; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)) is not None:
        return f"{before}.{node.attr}"
    return None


def _flagged(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.keyword) and node.arg in FLAGS:
        is_right = isinstance(node.value, ast.Constant) and node.value.value is FLAGS[node.arg]
        if not is_right:
            yield f"{node.arg}={ast.unparse(node.value)}"


def main() -> int:
    """Print what was found; 1 if anything was."""
    found = findings()
    for one in found:
        print(f"{one.path}:{one.line}: {one.what} could run code out of a file; a server must not", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
