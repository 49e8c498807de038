"""A job's paths are put in this machine's words, whole components at a time."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from command_line import Shot, one_sentence
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.errors import JobError
from vfxswap.job import ColorSettings, EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.paths import VARIABLE, PathMap, Rule

NAMES = st.text("abcXYZ .-_#%", min_size=1, max_size=6).filter(lambda n: n.strip(". ") == n)
FOLDERS = st.lists(NAMES, min_size=1, max_size=4)


def mapped(path: str, *pairs: str) -> str:
    return PathMap.stated(pairs).apply(path)


@pytest.mark.parametrize(
    ("path", "pairs", "wanted"),
    [
        ("/shots/a/p.#.exr", ["/shots=/mnt/s"], "/mnt/s/a/p.#.exr"),
        ("/shots2/a.exr", ["/shots=/mnt/s"], "/shots2/a.exr"),
        ("/shots", ["/shots=/mnt/s"], "/mnt/s"),
        ("/shots/a", ["/=/mnt"], "/mnt/shots/a"),
        ("/shots/a", ["/shots/=/"], "/a"),
        ("/shots/a/b", ["/shots=/one", "/shots/a=/two"], "/two/b"),
        ("/shots/a/b", ["/shots=/one", "/shots=/two"], "/one/a/b"),
        ("/shots/a", ["/shots=/b", "/b=/c"], "/b/a"),
        ("/Shots/a", ["/shots=/mnt"], "/Shots/a"),
        ("/shots/../other/a", ["/shots=/mnt", "/other=/o"], "/o/a"),
        ("/a=b/c", ["/a=b=/mnt"], "/mnt/c"),
        ("shots/a", ["/shots=/mnt"], "shots/a"),
        ("P:\\shots\\a\\p.%04d.exr", ["P:\\shots=/mnt/s"], "/mnt/s/a/p.%04d.exr"),
        ("p:/SHOTS/a/p.$F4.exr", ["P:\\shots=/mnt/s"], "/mnt/s/a/p.$F4.exr"),
        ("P:\\shots2\\a", ["P:\\shots=/mnt/s"], "P:\\shots2\\a"),
        ("P:\\a", ["P:/=/mnt"], "/mnt/a"),
        ("Q:\\a", ["P:/=/mnt"], "Q:\\a"),
        ("\\\\Server\\Share\\a\\b", ["\\\\server\\share=/mnt"], "/mnt/a/b"),
        ("//server/share/a", ["\\\\server\\share=/mnt"], "/mnt/a"),
        ("\\\\server\\share2\\a", ["\\\\server\\share=/mnt"], "\\\\server\\share2\\a"),
        ("/shots/a/b", ["/shots=P:\\shots"], "P:\\shots\\a\\b"),
        ("/shots/a/b", ["/shots=P:\\"], "P:\\a\\b"),
        ("P:\\a\\b", ["P:\\=Q:\\x"], "Q:\\x\\a\\b"),
        ("P:\\\u212a\\b", ["P:\\k=/mnt"], "P:\\\u212a\\b"),
    ],
)  # fmt: skip
def test_paths_are_mapped_by_whole_folders(path: str, pairs: list[str], wanted: str) -> None:
    assert mapped(path, *pairs) == wanted


@given(FOLDERS, FOLDERS, FOLDERS)
def test_what_is_mapped_there_and_back_is_the_same(
    source: list[str], destination: list[str], rest: list[str]
) -> None:
    windows, posix = "P:\\" + "\\".join(source), "/" + "/".join(destination)
    path = windows + "\\" + "\\".join(rest)
    here = Rule.of(windows, posix).apply(path)
    assert here == str(PurePosixPath(posix, *rest))
    there = Rule.of(posix, windows).apply(str(here))
    assert there is not None and PureWindowsPath(there) == PureWindowsPath(path)


@given(st.text(max_size=30), st.sampled_from(["/shots", "P:\\shots", "\\\\server\\share"]))
def test_any_text_is_mapped_inside_the_destination_or_left_alone(text: str, source: str) -> None:
    found = PathMap((Rule.of(source, "/mnt/s"),)).apply(source + "/" + text)
    inside = found == "/mnt/s" or found.startswith("/mnt/s/")
    assert (inside and ".." not in found.split("/")) or found == source + "/" + text


@pytest.mark.parametrize("text", ["", "=", "/a", "a=/b", "/a=b", "P:a=/b", "/a="])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="no path mapping"):
        PathMap.stated([text])


def openjd(folder: Path, *rules: tuple[str, str, str], **more: Any) -> Path:
    names = ("source_path_format", "source_path", "destination_path")
    stated = [dict(zip(names, rule, strict=True)) for rule in rules]
    file = folder / "rules.json"
    content = {"version": "pathmapping-1.0", "path_mapping_rules": stated, **more}
    file.write_text(json.dumps(content))
    return file


def test_rules_as_openjd_writes_them(tmp_path: Path) -> None:
    file = openjd(
        tmp_path,
        ("POSIX", "/home/a/proj", "/sessions/1"),
        ("WINDOWS", "c:\\proj", "/sessions/2"),
        ("URI", "s3://bucket/x", "/sessions/3"),
    )
    paths = PathMap.stated((), file)
    assert paths.apply("/home/a/proj/p.#.exr") == "/sessions/1/p.#.exr"
    assert paths.apply("C:\\Proj\\p.exr") == "/sessions/2/p.exr"
    file.write_text("{}")
    assert PathMap.stated((), file).rules == ()


def test_openjd_itself_maps_the_same(tmp_path: Path) -> None:
    sessions = pytest.importorskip("openjd.sessions")
    rules = [("POSIX", "/shots", "/mnt/s"), ("WINDOWS", "P:\\shots\\a", "/mnt/w")]
    paths = PathMap.stated((), openjd(tmp_path, *rules))
    names = ("source_path_format", "source_path", "destination_path")
    theirs = [
        sessions.PathMappingRule.from_dict(dict(zip(names, rule, strict=True))) for rule in rules
    ]
    for path in ("/shots/a/b.#.exr", "/shots2/a", "/shots", "P:\\SHOTS\\a\\b", "P:/shots/a/b c",
                 "P:\\shots\\ab", "/x"):  # fmt: skip
        found = [mapped for done, mapped in (t.apply(path=path) for t in theirs) if done]
        assert paths.apply(path) == (found[0] if found else path)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"version": "2"}', '{"path_mapping_rules": [1]}', '{"path_mapping_rules": {}}',
     '{"path_mapping_rules": [{"source_path_format": "AMIGA", "source_path": "a", '
     '"destination_path": "/b"}]}', "[" * 100_000],
)  # fmt: skip
def test_a_file_that_holds_no_rules_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text)
    with pytest.raises(JobError, match="path mapping"):
        PathMap.stated((), file)


def test_options_come_before_the_file_and_the_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "/a=/env; /b=/env ;")
    file = openjd(tmp_path, ("POSIX", "/a", "/file"), ("POSIX", "/c", "/file"))
    paths = PathMap.stated(["/c=/option"], file)
    assert [paths.apply(p) for p in ("/a", "/b", "/c")] == ["/file", "/env", "/option"]


def test_every_path_of_a_job_is_mapped(tmp_path: Path) -> None:
    mattes = {"holdout": MatteSource(pattern="P:\\roto\\m.#.exr", channel="A")}
    job = Job(
        plate=Plate(pattern="P:\\plates\\p.#.exr"),
        effects=(EffectSpec(effect="swap", mattes=mattes),),
        color=ColorSettings(config="P:\\config.ocio"),
        tracks="P:\\t.json",
        revocations="P:\\r.txt",
        output=Output(pattern="P:\\out\\c.#.exr"),
    )
    text = job.mapped(PathMap.stated(["P:\\=/mnt"])).model_dump_json()
    assert "P:" not in text and text.count("/mnt/") == 6
    built_in = job.model_copy(update={"color": ColorSettings(config="ocio://default")})
    assert built_in.mapped(PathMap.stated(["/=/mnt"])).color.config == "ocio://default"
    (tmp_path / "job.json").write_text(job.model_dump_json())
    with pytest.raises(JobError, match="another system"):
        Job.read(tmp_path / "job.json")
    read = Job.read(tmp_path / "job.json", paths=PathMap.stated(["P:\\=/mnt"]))
    assert read.plate.pattern == "/mnt/plates/p.#.exr"


def windows_job(shot: Shot) -> None:
    """A job file whose paths are those of another machine."""
    shot.swap("--save-job", "job.json", "--dry-run")
    text = (shot.folder / "job.json").read_text()
    job = json.loads(text.replace(str(shot.folder), "P:"))

    def backslashed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: backslashed(v) for k, v in value.items()}
        known = isinstance(value, str) and value.startswith("P:")
        return value.replace("/", "\\") if known else value

    (shot.folder / "job.json").write_text(json.dumps(backslashed(job)))


def test_commands_take_a_job_of_another_machine(tmp_path: Path) -> None:
    shot = Shot(tmp_path)
    windows_job(shot)
    one_sentence(shot.run("render", "job.json"), 2, "P:", "--path-map")
    pair = f"P:\\={tmp_path}"
    assert shot.run("check", "job.json", "--path-map", pair).returncode == 0
    assert shot.run("prepare", "job.json", "--path-map", pair).returncode == 0
    done = shot.run("render", "job.json", "--frames", "1001", VFXSWAP_PATH_MAP=pair)
    assert done.returncode == 0 and "comp.1001.exr" in shot.written()
    rules = openjd(tmp_path, ("WINDOWS", "P:\\", str(tmp_path)))
    rest = shot.run("render", "job.json", "--skip-existing", "--path-map-file", str(rules))
    assert rest.returncode == 0
    report = shot.run("report", "job.json", "-o", "r", "--path-map", pair)
    assert report.returncode == 0 and "3 of 3" in report.stderr
    one_sentence(shot.run("check", "job.json", "--path-map", "P:"), 2, "FROM=TO")
