"""What the plug-in may be made of: Python 3.7, the standard library, and Nuke where it says so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vfxswap

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "plugins" / "nuke"
SOURCES = sorted(p for at in (".", "vfxswap_nuke", "cat") for p in (PLUGIN / at).glob("*.py"))
HOST_MODULES = {"nuke", "nukescripts"}
QT_MODULES = {"PySide2", "PySide6", "shiboken2", "shiboken6"}
GONE = {
    "asynchat", "asyncore", "distutils", "imp", "smtpd",
    "aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "mailcap", "msilib", "nis",
    "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib",
}  # fmt: skip
"""Modules of 3.7 that Python 3.12 and 3.13 have no more."""
OLD_PYTHON_CHECKS = Path(__file__).parent / "shim_on_old_python.py"


def imported(tree: ast.Module) -> Iterator[str]:
    """Top names of what a module imports at run time, wherever it does."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_a_source_is_python_3_7_and_says_what_of_the_host_it_imports(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 7))
    modules = set(imported(tree))
    assert not modules & GONE
    found = modules - set(sys.stdlib_module_names) - {"vfxswap_nuke"}
    assert found <= HOST_MODULES | QT_MODULES, found
    if source.parent == PLUGIN:
        return
    said = ast.get_docstring(tree) or ""
    assert ("nuke" in found) == ("Imports `nuke`" in said)
    assert bool(found & QT_MODULES) == (source.stem == "panel_qt")


def test_no_module_of_the_host_is_met_by_what_needs_none() -> None:
    """Those that are free of Nuke by their own source are so with all that they import."""
    free = [
        s.stem
        for s in SOURCES
        if s.parent.name == "vfxswap_nuke"
        and not set(imported(ast.parse(s.read_text()))) & (HOST_MODULES | QT_MODULES)
        and s.stem not in ("__init__", *_of_the_host())
    ]
    assert {"jobs", "foreground", "background", "panel_model"} <= set(free)
    code = (
        "import importlib, sys\n"
        f"for name in {free!r}: importlib.import_module('vfxswap_nuke.' + name)\n"
        "met = {'nuke', 'nukescripts', 'PySide6', 'PySide2', 'client'} & set(sys.modules)\n"
        "assert not met, met\n"
    )
    subprocess.run([sys.executable, "-B", "-c", code], check=True, env=environment())


def _of_the_host() -> set[str]:
    """Modules that import one that imports the host, at run time."""
    direct = {"host", "node", "actions", "menus", "panel", "panel_qt"}
    sources = {s.stem: s for s in SOURCES if s.parent.name == "vfxswap_nuke"}
    return direct | {
        name
        for name, source in sources.items()
        if re.search(r"^from vfxswap_nuke\.(panel_qt|host|node) import", source.read_text(), re.M)
        or re.search(r"^from vfxswap_nuke import .*\b(host|node)\b", source.read_text(), re.M)
    }


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VFXSWAP", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(PLUGIN)}


def old_pythons() -> dict[str, str]:
    """Interpreters of the versions that Nuke 13 to 16 carry and of 3.13, those that are there."""
    found: dict[str, str] = {}
    places = os.environ.get("PATH", "").split(os.pathsep)
    places += [str(p) for p in Path("~/.pyenv/versions").expanduser().glob("*/bin")]
    for place in places:
        for version in VERSIONS:
            path = Path(place) / f"python{version}"
            if version not in found and path.is_file():
                works = subprocess.run([path, "-c", "import ssl"], capture_output=True)
                if works.returncode == 0:
                    found[version] = str(path)
    return found


VERSIONS = ("3.7", "3.9", "3.10", "3.11", "3.13")
PYTHONS = old_pythons()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_plug_in_works_in_every_python_that_a_nuke_carries(
    version: str, tmp_path: Path
) -> None:
    if version not in PYTHONS:
        pytest.skip(f"no Python {version} is here: what Nuke's carries is not tried")
    done = subprocess.run(
        [PYTHONS[version], "-B", str(OLD_PYTHON_CHECKS), str(tmp_path)],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"({version.replace('.', ', ')}")


def test_the_example_of_a_rez_package_names_what_an_installation_has() -> None:
    """Run as rez would; the wheel's own layout says what lies where."""
    source = (PLUGIN / "rez" / "package.py").read_text()
    ast.parse(source, feature_version=(3, 7))

    class Paths(list[str]):
        """As rez's variables: a name that is given is set, one that is added to is a list."""

    class Variables:
        NUKE_PATH = Paths()
        VFXSWAP_ENGINE = ""

    package: dict[str, Any] = {"env": Variables}
    exec(compile(source, "package.py", "exec"), package)
    assert package["name"] == "vfxswap_nuke" and package["version"] == vfxswap.__version__
    package["commands"]()
    (path,) = Variables.NUKE_PATH
    engine = Variables.VFXSWAP_ENGINE
    assert path.startswith(engine + "/") and engine.startswith("{root}/")
    inside = path.partition("site-packages/")[2]
    bundled = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = bundled["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert inside == included["plugins"] + "/nuke" and (ROOT / "plugins" / "nuke").is_dir()
