"""vfxswap install nuke: what it writes, leaves alone and takes out again."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import ROOT, Shot, one_sentence
from fake_nuke import FakeNuke


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return Shot(tmp_path_factory.mktemp("install"))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    program = tmp_path / 'an "odd" folder' / "vfxswap"
    program.parent.mkdir()
    program.touch()
    return program


def test_without_write_the_lines_are_shown_and_nothing_changes(
    shot: Shot, tmp_path: Path, engine: Path
) -> None:
    folder = tmp_path / ".nuke"
    done = shot.run("install", "nuke", "--folder", str(folder), "--engine", str(engine))
    assert done.returncode == 0 and not folder.exists()
    assert f'nuke.pluginAddPath("{ROOT.as_posix()}/plugins/nuke")' in done.stdout
    assert "--write puts them there" in done.stderr
    compile(done.stdout, "init.py", "exec")


def test_lines_are_written_once_and_taken_out_byte_for_byte(
    shot: Shot, tmp_path: Path, engine: Path
) -> None:
    init = tmp_path / ".nuke" / "init.py"
    init.parent.mkdir()
    own = "import nuke\r\n# mine: é\r\nnuke.pluginAddPath('x')"
    init.write_bytes(own.encode())
    told = ("install", "nuke", "--folder", str(init.parent), "--engine", str(engine))
    assert shot.run(*told, "--write").returncode == 0
    first = init.read_bytes()
    assert first.startswith(own.encode())
    assert "is as it should be" in shot.run(*told, "--write").stdout
    assert init.read_bytes() == first
    other = tmp_path / "other"
    other.touch()
    shot.run("install", "nuke", "--folder", str(init.parent), "--engine", str(other), "--write")
    assert init.read_bytes().count(b'pluginAddPath("') == 1 and b"other" in init.read_bytes()
    assert "are out" in shot.run("install", "nuke", "--folder", str(init.parent), "--remove").stdout
    assert init.read_bytes() == own.encode() + b"\n"
    assert (
        "nothing of vfxswap"
        in shot.run("install", "nuke", "--folder", str(init.parent), "--remove").stdout
    )


def test_a_linked_init_stays_a_link(shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / ".nuke").mkdir()
    real, link = tmp_path / "studio" / "init.py", tmp_path / ".nuke" / "init.py"
    real.write_text("# studio\n")
    link.symlink_to(real)
    shot.run("install", "nuke", "--folder", str(link.parent), "--write")
    assert link.is_symlink() and "pluginAddPath" in real.read_text()


def test_what_is_wrong_is_one_sentence(shot: Shot, tmp_path: Path) -> None:
    folder = str(tmp_path)
    init = tmp_path / "init.py"
    one_sentence(shot.run("install", "nuke", "--write", "--remove"), 2, "one of them")
    one_sentence(shot.run("install", "nuke", "--engine", "/no/engine"), 2, "/no/engine")
    init.write_text("# >>> vfxswap: written by `vfxswap install nuke`, removed by `--remove` >>>\n")
    one_sentence(
        shot.run("install", "nuke", "--folder", folder, "--write"), 2, "changed by hand", str(init)
    )
    init.write_bytes(b"\xff\xfe")
    one_sentence(shot.run("install", "nuke", "--folder", folder, "--write"), 2, str(init))
    assert init.read_bytes() == b"\xff\xfe"


def test_what_is_written_brings_the_nodes_into_a_nuke(
    shot: Shot, tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".nuke"
    monkeypatch.setenv("VFXSWAP_ENGINE", "set again by monkeypatch")
    monkeypatch.delenv("VFXSWAP_ENGINE")
    shot.run("install", "nuke", "--folder", str(folder), "--engine", str(engine), "--write")
    with FakeNuke(gui=True) as fake:
        fake.load_plugin(folder)
        import os

        assert os.environ["VFXSWAP_ENGINE"] == str(engine)
        assert (ROOT / "plugins" / "nuke").as_posix() in fake.plugin_paths
        # Nuke runs the init.py of a folder that is added.
        fake.load_plugin(ROOT / "plugins" / "nuke")
        assert fake.create("VfxSwap").name() == "VfxSwap1"
        assert "swap" not in sys.modules


def test_the_rez_example_names_folders_as_the_wheel_has_them() -> None:
    named: dict[str, object] = {}
    paths: list[str] = []
    env = SimpleNamespace(NUKE_PATH=paths)
    exec((ROOT / "plugins" / "nuke" / "rez" / "package.py").read_text(), named)
    named["env"] = env
    commands = named["commands"]
    assert callable(commands)
    commands()
    (path,) = paths
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    bundled = wheel["targets"]["wheel"]["force-include"]
    assert path.endswith(f"site-packages/{bundled['plugins']}/nuke")
    assert bundled["gizmos"] == "vfxswap/_bundled/gizmos"
    assert env.VFXSWAP_ENGINE == "{root}/engine"
