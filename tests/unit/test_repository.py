"""Rules of the house that the linters cannot state: what may be used where, what an import costs, what is installed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import ROOT, kept_files

PACKAGES = ("twelve", "handlers", "export", "training", "dev", "ops", "benchmarks")
MODULES = kept_files(*(f"{package}/*.py" for package in PACKAGES))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "requirements/constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]

ONLY_IN = {
    "torch.jit": ("export/", "twelve/runtimes/", "twelve/regions/ops/"),
    "torch.onnx": ("export/", "twelve/regions/ops/"),
    "torch.load": ("twelve/convert/", "training/data/"),
    "pickle.load": ("twelve/convert/", "training/data/"),
    "pickle.loads": ("twelve/convert/", "training/data/", "training/loading/", "benchmarks/feature_store.py"),
    "pickle.Unpickler": ("twelve/convert/", "training/data/"),
    "twelve.convert": ("twelve/convert/", "twelve/cli", "training/", "benchmarks/"),
    "onnxruntime": ("twelve/runtimes/", "export/", "benchmarks/"),
    "ts": ("handlers/",),
}
"""Dotted names, and the places that may use them. What training/loading unpickles, its own workers pickled."""

EMPTY_NAMES = {"utils", "util", "helpers", "common", "manager", "misc"}

LIGHT = ("twelve", "twelve.errors", "twelve.bundle", "twelve.schema", "twelve.client", "twelve.metrics")
"""What a client or an installer imports: none of it may cost the import of torch."""


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Name every imported module and every name imported from one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)


def attribute_chains(tree: ast.AST) -> Iterator[str]:
    """Name every chain of attributes, as `torch.jit.load`."""
    return (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def is_within(used: str, name: str) -> bool:
    """Say whether a dotted name is another one or lies below it."""
    return used == name or used.startswith(f"{name}.")


def syntax(path: Path) -> ast.AST:
    """Parse a kept file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def uses(tree: ast.AST, name: str) -> bool:
    """Say whether a syntax tree imports a dotted name, or reaches it by attributes."""
    return any(is_within(used, name) for used in (*imported_names(tree), *attribute_chains(tree)))


@pytest.mark.parametrize("name", ONLY_IN)
def test_a_restricted_name_is_used_only_where_it_may_be(name: str):
    strangers = [path for path in MODULES if not str(path).startswith(ONLY_IN[name])]
    assert [str(path) for path in strangers if uses(syntax(path), name)] == []


@pytest.mark.parametrize(
    "line", ["import torch.jit", "from torch import jit", "from torch.jit import trace", "x = torch.jit.load(f)"]
)
def test_every_way_to_use_a_restricted_name_is_seen(line: str):
    assert uses(ast.parse(line), "torch.jit")


def test_no_module_has_an_empty_name():
    assert [str(path) for path in MODULES if path.stem in EMPTY_NAMES] == []


def test_no_module_bears_the_name_of_a_package_that_it_imports():
    clashes = [path for path in MODULES if any(is_within(name, path.stem) for name in imported_names(syntax(path)))]
    assert [str(path) for path in clashes] == []


def test_no_tensor_is_moved_to_a_device_by_name():
    calls = [f"{path}" for path in MODULES if ".cuda()" in (ROOT / path).read_text(encoding="utf-8")]
    assert calls == []


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_imports_without_torch(module: str):
    code = f"import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_library_is_installed():
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == ["twelve*"]


def test_every_wanted_package_is_pinned_within_its_range():
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in CONSTRAINTS}
    extras = {name: wanted for name, wanted in PROJECT["project"]["optional-dependencies"].items() if name != "gpu"}
    lines = [*PROJECT["project"]["dependencies"], *(line for wanted in extras.values() for line in wanted)]
    for wanted in map(Requirement, lines):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), str(wanted)


def test_every_pin_is_exact():
    assert [str(pin) for pin in CONSTRAINTS if not re.fullmatch(r"==[^*]+", str(pin.specifier))] == []


def test_the_environment_holds_the_pinned_versions():
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    for pin in CONSTRAINTS:
        assert pin.specifier.contains(installed[canonicalize_name(pin.name)]), str(pin)


def test_torchvision_is_not_wanted_by_anything():
    assert "torchvision" not in {canonicalize_name(pin.name) for pin in CONSTRAINTS}


def test_every_dependency_says_why_it_is_wanted():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^    "([a-z0-9-]+)[<>=]*[0-9.]*",(.*)$', text.split("[project.scripts]")[0], re.MULTILINE)
    assert [name for name, rest in listed if "# " not in rest] == []
