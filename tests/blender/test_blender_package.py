"""The extension as a package: what is in the zip, what it imports, how it is installed."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from blender_lab import ROOT
from vfxswap_blender.description import snapshot as fetched

import vfxswap
from vfxswap.cli import main
from vfxswap.cli.install_blender import contents, snapshot
from vfxswap.effects.describe import description
from vfxswap.errors import JobError
from vfxswap.io.weights import list_models

SOURCE = ROOT / "plugins" / "blender" / "vfxswap_blender"
SOURCES = sorted(SOURCE.glob("*.py"))
PURE = ("description", "mapping", "sequences", "spaces", "store", "report", "jobs", "service")
"""Modules that must work where there is no bpy."""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "deep" / "vfxswap_blender.zip"
    assert run("install", "blender", "--out", str(path)) == 0
    return path


def test_the_zip_holds_the_extension_the_client_and_this_engines_description(
    archive: Path,
) -> None:
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.testzip() is None
        files = {name: zipped.read(name) for name in zipped.namelist()}
    for path in SOURCES:
        assert files[path.name] == path.read_bytes()
    for path in (ROOT / "plugins" / "client").glob("*.py"):
        assert files[f"client/{path.name}"] == path.read_bytes()
    now = json.loads(json.dumps(description()["effects"]))
    kept = json.loads(files["description.json"])
    assert kept["effects"] == now
    told = {"effects": now, "version": vfxswap.__version__}
    assert kept == fetched(told, [model.row() for model in list_models(broken=[])])
    assert {"amber", "comb-starter"} <= set(kept["names"]["swap"])
    assert b"/models/" not in files["description.json"], "paths of this machine stay here"
    assert b"GNU GENERAL PUBLIC LICENSE" in files["LICENSE"]
    assert not [name for name in files if "__pycache__" in name or name.endswith(".json.py")]


def test_the_manifest_is_as_blender_wants_it(archive: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        manifest = tomllib.loads(zipped.read("blender_manifest.toml").decode())
    assert manifest["version"] == vfxswap.__version__
    assert manifest["id"] == "vfxswap_blender" and manifest["type"] == "add-on"
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"files"}, "no network, no other right is asked for"
    for text in (manifest["tagline"], *manifest["permissions"].values()):
        assert len(text) <= 64 and not re.search(r"[.!?]$", text)


def test_the_same_files_make_the_same_zip(archive: Path, tmp_path: Path) -> None:
    assert run("install", "blender", "--out", str(tmp_path / "again.zip")) == 0
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_installation_that_is_not_whole_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobError, match="no whole extension"):
        contents(tmp_path, snapshot())
    out = str(tmp_path / "x.zip")
    assert run("install", "blender", "--out", out, "--blender", "/no/blender") == 2
    assert "no such Blender" in capsys.readouterr().err
    failing = tmp_path / "blender"
    failing.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    failing.chmod(0o755)
    assert run("install", "blender", "--out", out, "--blender", str(failing)) == 1
    assert "it is broken" in capsys.readouterr().err


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_module_is_free_software_and_imports_python_and_bpy_alone(source: Path) -> None:
    text = source.read_text()
    assert text.startswith("# SPDX-License-Identifier: GPL-3.0-or-later\n")
    allowed = {*sys.stdlib_module_names, "bpy", "bpy_extras"}
    if source.stem == "service":
        allowed.add("client")  # for the type checker; the zip has it inside
    if source.stem in PURE:
        allowed -= {"bpy", "bpy_extras"}
    for node in ast.walk(ast.parse(text, feature_version=(3, 11))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert str(node.module).split(".")[0] in allowed


def test_no_effect_is_named_in_the_extension() -> None:
    for source in SOURCES:
        strings = {
            node.value
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for effect in description()["effects"]:
            assert effect["name"] not in strings, source.name
