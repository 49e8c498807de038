"""Sessions of Nuke of their own: in a terminal, without an engine, without the plug-in."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_nuke import FakeNuke
from nuke_studio import FRAMES, ROOT, Artist, Studio, assert_layers_equal_the_file, result


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    made = Studio(tmp_path)
    made.enter(monkeypatch)
    return made


def test_a_terminal_session_renders_to_the_end_whatever_its_python_is_told(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a farm: no GUI, and a host whose own Python would break the engine's."""
    poison = tmp_path / "poison"
    poison.mkdir()
    for name in ("torch", "numpy", "json", "sitecustomize", "usercustomize", "OpenImageIO"):
        (poison / f"{name}.py").write_text("raise RuntimeError('the host leaked')\n")
    for name in ("PYTHONPATH", "PYTHONHOME", "QT_PLUGIN_PATH", "NUKE_PATH"):
        monkeypatch.setenv(name, str(poison))
    monkeypatch.setenv("PYTHONSTARTUP", str(poison / "json.py"))
    with FakeNuke(gui=False) as fake:
        artist = Artist(fake, studio)
        try:
            node = artist.build(tmp_path, gain=3.0)
            fake.press(node, "vfx_render")
            assert all(result(tmp_path, frame).exists() for frame in FRAMES)
            assert_layers_equal_the_file(fake.picture(node, 1003), result(tmp_path, 1003))
        finally:
            artist.close()


def test_an_engine_that_is_not_there_is_told_before_anything_is_written(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_ENGINE", "/nowhere/vfxswap")
    with FakeNuke() as fake:
        artist = Artist(fake, studio)
        artist.press(artist.build(tmp_path))
        assert len(fake.messages) == 1 and "/nowhere/vfxswap" in fake.messages[0]
        assert fake.written == []


@pytest.fixture
def _no_plugin() -> Iterator[None]:
    """A Python in which the plug-in cannot be found."""
    hidden = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split(".")[0] == "vfxswap_nuke"}
    path = list(sys.path)
    sys.path[:] = [folder for folder in path if not folder.endswith("plugins/nuke")]
    yield
    sys.modules.update(hidden)
    sys.path[:] = path


@pytest.mark.usefixtures("_no_plugin")
@pytest.mark.parametrize(
    "button", ["vfx_render", "vfx_render_frame", "vfx_background", "vfx_cancel"]
)
def test_a_button_without_the_plug_in_says_so_once(studio: Studio, button: str) -> None:
    with FakeNuke() as fake:
        fake.plugin_paths.append(str(studio.gizmos))
        fake.press(fake.create("VfxSlow"), button)
        assert len(fake.messages) == 1 and "not installed" in fake.messages[0]


def test_the_suite_for_a_real_nuke_runs_in_the_stand_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its checks of an engine; test_nuke_effects.py makes those as well."""
    monkeypatch.setenv("VFXSWAP_ENGINE", "")
    monkeypatch.setenv("PATH", "")
    path = ROOT / "plugins" / "nuke" / "tests" / "run_in_nuke.py"
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    with FakeNuke(gui=False), pytest.raises(SystemExit) as left:
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert left.value.code == 0, said
    assert said.count("ok      ") == 11 and said.count("skipped ") == 2, said
