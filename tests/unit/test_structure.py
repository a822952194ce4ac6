"""The shape of the source tree: who may import whom, docstrings, sizes, and that tests mirror it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ferryman"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

MAY_IMPORT = {
    "errors": {"config"},  # for a type only
    "wire": set[str](),
    "rules": set[str](),
    "plan": {"rules"},
    # dataplane: accesslog.check, which knows the log language; wire: clienthello, to read OpenSSL's own
    "config": {"errors", "plan", "rules", "wire", "dataplane"},
    "dataplane": {"plan", "rules", "wire"},
    "controlplane": {"errors", "plan", "rules", "wire", "dataplane"},
    "transparent": {"errors", "plan"},
    "opennebula": {"errors", "config", "plan", "dataplane", "controlplane"},
    "kubernetes": {"errors", "config"},
    "policy": {"errors", "config", "kubernetes"},
    "doctor": {"errors", "config", "wire"},
    "migrate": {"errors", "config", "plan", "rules", "controlplane", "kubernetes"},
    "cli": {
        *("errors", "plan", "rules", "wire", "dataplane", "controlplane", "config", "transparent", "opennebula"),
        *("kubernetes", "policy", "doctor", "migrate"),
    },
}
"""Dependencies point one way. A part always knows itself."""

STDLIB_ONLY = ("wire", "rules", "plan", "dataplane", "errors")


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            if node.module == "ferryman":
                found |= {f"ferryman.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_dependencies_point_one_way(path: Path) -> None:
    here = part(path)
    if here in ("__init__", "__main__"):
        return
    others = {module.split(".")[1] for module in imports(path) if module.startswith("ferryman.")} - {here}
    assert others <= MAY_IMPORT[here], f"{name(path)} must not know {others - MAY_IMPORT[here]}"


@pytest.mark.parametrize("path", [path for path in MODULES if part(path) in STDLIB_ONLY], ids=name)
def test_the_data_plane_needs_only_the_standard_library(path: Path) -> None:
    tops = {module.split(".")[0] for module in imports(path)} - {"ferryman"}
    assert tops <= set(sys.stdlib_module_names), f"{name(path)} needs {tops - set(sys.stdlib_module_names)}"


def test_no_dialect_knows_another() -> None:
    folder = SOURCE / "config" / "dialects"
    dialects = {path.stem for path in folder.iterdir() if path.stem != "__init__" and not path.name.startswith("__")}
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module in imports(path):
            if module.startswith("ferryman.config.dialects."):
                assert module.split(".")[3] in (own, "__init__"), f"{name(path)} knows {module}"
    assert {"native", "haproxy"} <= dialects


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, f"{name(path)} has no docstring"


def test_files_stay_readable() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in MODULES)
    assert lengths[len(lengths) // 2] <= 170, "the median file"
    long = [name(path) for path in MODULES if len(path.read_text().splitlines()) > 500]
    assert not long, f"above 500 lines: {long}"


def test_tests_mirror_the_source() -> None:
    """A unit test file stands for a source file or folder of the same name, or a function of the package's own.

    `test_against_X` compares the package with the program X.
    """
    strays = []
    for test in (ROOT / "tests" / "unit").rglob("test_*.py"):
        relative = test.relative_to(ROOT / "tests" / "unit")
        stem = relative.stem.removeprefix("test_")
        folder = SOURCE / relative.parent
        if relative.name == "test_structure.py" or (stem.startswith("against_") and folder.is_dir()):
            continue
        if f"def {stem}(" in (folder / "__init__.py").read_text():
            continue
        if not any((folder / candidate).exists() for candidate in (f"{stem}.py", stem)) and folder.name != stem:
            strays.append(str(relative))
    assert not strays, f"no such source: {strays}"
