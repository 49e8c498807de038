"""Face sets from real EXR footage: what is cut, kept, redone and refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import ROOT, one_sentence
from command_line import Done as DoneProcess
from face_footage import (
    CONSENT,
    DISPLAY,
    FRAMES,
    HERO,
    WINDOW,
    face_at,
    moving,
    picture,
    write_clip_tracks,
    write_face_models,
    write_footage,
)

from vfxswap.align.crop import apply
from vfxswap.errors import ConsentError, JobError
from vfxswap.geometry import Box
from vfxswap.io.exr import read_image, write_image
from vfxswap.io.tracks import FaceEdit, read_tracks, write_tracks
from vfxswap.job import Job, Output, Plate
from vfxswap.ops.warp import inverted
from vfxswap.persona import Persona
from vfxswap.train.crops import stored_size
from vfxswap.train.face_set import FaceSet, read_face_set
from vfxswap.train.face_set_build import Build, ShotOrder, build_face_set
from vfxswap.train.face_set_open import alone, card_of
from vfxswap.train.face_set_report import write_face_report

STATED = {"crop_size": 64, "min_likeness": -1.0, "max_blur": 100.0, "duplicate_distance": 0.5}
"""Filters that drawn faces and chance networks pass."""


@pytest.fixture(autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_face_models(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("VFXSWAP"):
                patch.delenv(name)
        patch.setenv("VFXSWAP_MODELS", str(folder))
        yield folder


def order(pattern: str, tracks: Path, *faces: int, frames: str = "") -> ShotOrder:
    job = Job(
        plate=Plate(pattern=pattern),
        frames=frames,
        tracks=str(tracks),
        output=Output(pattern=str(tracks.parent / "unused.####.exr")),
    )
    return ShotOrder(job, faces)


def build(folder: Path, *orders: ShotOrder, persona: Persona = HERO, **stated: object) -> Build:
    return build_face_set(
        folder, persona, orders, {**STATED, **stated}, show="", device="cpu", threads=1
    )


@pytest.fixture
def clip(tmp_path: Path) -> tuple[str, Path]:
    return write_footage(tmp_path / "plates", moving())


def test_crops_are_half_float_and_show_what_lies_under_the_landmarks(
    tmp_path: Path, clip: tuple[str, Path]
) -> None:
    done = build(tmp_path / "set", order(*clip))
    assert (done.new, done.redone, done.unchanged, done.exit_code) == (5, 0, 0, 0)
    found = read_face_set(tmp_path / "set")
    assert [face.frame for face in found.faces] == list(FRAMES)
    side = stored_size(64)
    for face in found.faces:
        image = read_image(found.folder / face.file)
        assert image.part.data_window == Box(0, 0, side, side)
        assert {image.part.channels[c].dtype.name for c in "RGB"} == {"float16"}
        assert image.color_space == found.header.working_space == "ACEScg"
        metadata = image.part.metadata
        assert metadata["vfxswap/persona"] == "hero"
        assert metadata["vfxswap/consent"] == "synthetic"
        assert metadata["vfxswap/source"] == f"clip.{face.frame:04d}.exr"
        plate = picture(moving()[face.frame]).rgb()
        back = inverted(np.array(face.matrix).reshape(2, 3))
        for x, y in ((4, 5), (90, 6), (5, 90)):  # flat ground, clear of the face
            at = apply(back, np.array([x + 0.5, y + 0.5]))
            want = 0.2 + 0.001 * (at[0] - WINDOW.x - 0.5) + 0.0005 * (at[1] - WINDOW.y - 0.5)
            assert image.rgb()[y, x, 0] == pytest.approx(want, rel=0.02)
        assert plate.shape == (WINDOW.height, WINDOW.width, 3)
        assert face.yaw_deg == pytest.approx(9 * FRAMES.index(face.frame) - 18, abs=0.5)
        outline = image.part.channels["face_matte.green"]
        points = face.landmarks().astype(int)
        assert outline[points[30, 1], points[30, 0]] == 1
        assert outline[0].max() == 0


def test_plates_in_other_spaces_and_overscan_come_into_the_working_space(
    tmp_path: Path, clip: tuple[str, Path]
) -> None:
    plain = build(tmp_path / "plain", order(*clip))
    pattern, tracks = clip
    job = order(pattern, tracks).job
    as_rec709 = job.model_copy(
        update={"plate": Plate(pattern=pattern, color_space="Linear Rec.709 (sRGB)")}
    )
    other = build(tmp_path / "other", ShotOrder(as_rec709))
    a, b = (
        read_image(each.found.folder / each.found.faces[0].file).rgb() for each in (plain, other)
    )
    assert not np.allclose(a, b, rtol=0.05)
    # Grey is grey in both: only colours move.
    assert np.allclose(a[4, 4], b[4, 4], rtol=0.01)


def test_nothing_is_read_without_consent(tmp_path: Path) -> None:
    nobody = Persona(id="rowan", consent=CONSENT)
    nowhere = order(str(tmp_path / "absent.####.exr"), tmp_path / "absent.json")
    with pytest.raises(ConsentError, match="does not cover this show"):
        build_face_set(tmp_path / "set", nobody, [nowhere], {}, show="other")
    with pytest.raises(ConsentError, match="has no consent"):
        build_face_set(tmp_path / "set", Persona(id="ash"), [nowhere], {}, show="kestrel")
    swap_only = CONSENT.model_copy(update={"uses": ("swap",)})
    with pytest.raises(ConsentError, match="does not cover this use"):
        build_face_set(tmp_path / "set", Persona(id="rowan", consent=swap_only), [nowhere], {},
                       show="kestrel")  # fmt: skip
    assert not (tmp_path / "set").exists()


def test_the_consent_travels_and_is_asked_for_again(
    tmp_path: Path, clip: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rowan = Persona(id="rowan", consent=CONSENT)
    folder = tmp_path / "set"
    done = build_face_set(folder, rowan, [order(*clip)], STATED, show="kestrel", threads=1)
    assert read_face_set(folder).persona == rowan == card_of("", folder)
    metadata = read_image(folder / done.found.faces[0].file).part.metadata
    assert str(metadata["vfxswap/consent"]).startswith("consent-")
    revoked = tmp_path / "revoked.txt"
    revoked.write_text("party-7\n")
    monkeypatch.setenv("VFXSWAP_REVOCATIONS", str(revoked))
    with pytest.raises(ConsentError, match="revoked"):
        build_face_set(folder, rowan, [], {}, show="kestrel")
    with pytest.raises(ConsentError, match="revoked"):
        write_face_report(done.found, show="kestrel")


def stamps(found: FaceSet) -> dict[str, int]:
    return {face.file: (found.folder / face.file).stat().st_mtime_ns for face in found.faces}


def test_a_second_run_redoes_what_changed_alone(tmp_path: Path, clip: tuple[str, Path]) -> None:
    pattern, tracks = clip
    folder = tmp_path / "set"
    first = build(folder, order(pattern, tracks))
    before = stamps(first.found)
    assert (build(folder, order(pattern, tracks)).unchanged, stamps(first.found)) == (5, before)

    plates = tmp_path / "plates"
    (plates / "clip.0002.exr").touch()  # another time, the same content
    write_image(plates / "clip.0003.exr", picture(moving()[3], ground=0.3))
    (plates / "clip.0004.exr").unlink()
    sixth = [face_at(90, 60, yaw_deg=40)]
    write_image(plates / "clip.0006.exr", picture(sixth))
    write_clip_tracks(tracks, pattern, {**moving(), 6: sixth})
    again = build(folder, order(pattern, tracks))
    assert (again.new, again.redone, again.unchanged) == (1, 1, 3)
    assert again.gone == ["clip 4"]
    after = stamps(again.found)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"crops/clip/clip.0003.f0.exr"}
    assert {f.frame: f.reason for f in again.found.faces if not f.kept} == {4: "gone"}


def test_an_artists_word_in_the_tracks_counts(tmp_path: Path, clip: tuple[str, Path]) -> None:
    pattern, tracks = clip
    folder = tmp_path / "set"
    build(folder, order(pattern, tracks))
    edited = read_tracks(tracks)
    edited = edited.with_edit(2, FaceEdit(id=0, removed=True))
    edited = edited.with_edit(3, FaceEdit(id=0, points={30: (100.0, 70.0)}))
    edited = edited.with_edit(4, FaceEdit(id=0, as_id=7))
    write_tracks(tracks, edited)
    again = build(folder, order(pattern, tracks, 0))
    assert (again.redone, again.unchanged) == (1, 2)
    assert again.removed == ["clip 2", "clip 4"]
    assert not (folder / "crops/clip/clip.0002.f0.exr").exists()
    moved = next(face for face in again.found.faces if face.frame == 3)
    assert moved.points[30] == (100.0, 70.0)


def test_broken_pixels_leave_a_face_out_and_a_broken_file_does_not_stop_the_shot(
    tmp_path: Path,
) -> None:
    faces = moving()
    pattern, tracks = write_footage(
        tmp_path / "plates", faces, nan={2: Box(80, 50, 30, 30), 3: WINDOW}
    )
    (tmp_path / "plates" / "clip.0004.exr").write_bytes(b"\x76\x2f\x31\x01torn")
    done = build(tmp_path / "set", order(pattern, tracks))
    assert {f.frame: f.reason for f in done.found.faces} == {1: "", 2: "broken", 3: "broken", 5: ""}
    assert done.exit_code == 1
    (error,) = done.failed
    assert "clip.0004.exr, frame 4" in str(error)
    for face in done.found.faces:
        assert np.isfinite(read_image(done.found.folder / face.file).rgb()).all()


def test_of_two_performers_one_must_be_named(tmp_path: Path) -> None:
    two = {f: [face_at(60, 60, px_a_mm=0.35), face_at(140, 60, px_a_mm=0.35)] for f in (1, 2)}
    clip = write_footage(tmp_path / "plates", two)
    with pytest.raises(JobError, match=r"several performers.*faces 0 on 1-2; 1 on 1-2.*--face"):
        build(tmp_path / "set", order(*clip))
    with pytest.raises(JobError, match=r"do not have this face.*face 5"):
        build(tmp_path / "set", order(*clip, 5))
    done = build(tmp_path / "set", order(*clip, 1), duplicate_distance=0)
    assert {face.face for face in done.found.faces} == {1}
    assert {face.landmarks()[30].round().tolist()[0] for face in done.found.faces} == {
        round(stored_size(64) / 2)
    }
    # Once known, it need not be said again.
    assert build(tmp_path / "set", order(*clip), duplicate_distance=0).unchanged == 2


def test_sets_are_of_one_persona_and_one_size(tmp_path: Path, clip: tuple[str, Path]) -> None:
    build(tmp_path / "set", order(*clip))
    other = Persona(id="ash", synthetic=True)
    with pytest.raises(JobError, match=r"another persona .got ash; wanted hero"):
        build(tmp_path / "set", order(*clip), persona=other)
    with pytest.raises(JobError, match=r"crops of another size .got 128; wanted 64"):
        build(tmp_path / "set", order(*clip), crop_size=128)
    with pytest.raises(JobError, match="no face set lies here"):
        read_face_set(tmp_path)
    with pytest.raises(ConsentError, match="no card that says who allowed it"):
        card_of("ash", tmp_path / "elsewhere")


def test_filters_change_without_a_plate_and_shots_add_up(
    tmp_path: Path, clip: tuple[str, Path]
) -> None:
    build(tmp_path / "set", order(*clip))
    second = write_footage(tmp_path / "more", {1: [face_at(80, 60, yaw_deg=30)]})
    done = build(tmp_path / "set", order(*second))
    assert sorted(done.found.header.shots) == ["clip", "clip-2"]
    assert len(done.found.kept) == 6
    shutil.rmtree(tmp_path / "plates")
    shutil.rmtree(tmp_path / "more")
    folder = tmp_path / "set"
    fewer = build_face_set(folder, HERO, [], {"duplicate_distance": 4}, show="")
    assert fewer.rejected == {"duplicate": 3}
    kept = fewer.found.header.settings
    assert (kept.max_blur, kept.duplicate_distance) == (100, 4)


def test_reports_show_what_is_there_and_what_is_lacking(
    tmp_path: Path, clip: tuple[str, Path]
) -> None:
    one = build(tmp_path / "one", order(*clip), min_resolution=0.1)
    far = {f: [face_at(90, 60, yaw_deg=45 + 5 * f, pitch_deg=-20)] for f in (1, 2)}
    nan = write_footage(tmp_path / "far", {**far, 3: [face_at(90, 60)]}, nan={3: WINDOW})
    ash = Persona(id="ash", synthetic=True)
    two = build(tmp_path / "two", order(*nan), persona=ash)
    page = write_face_report(one.found, against=two.found.folder)
    content = json.loads((page.parent / "report.json").read_text())
    assert content["kept"] == 5 and content["against"] == "ash"
    first = content["lacking"][0]
    assert (first["what"], first["faces"]) == ("head far right and up", 2)
    text = page.read_text()
    assert "no face with head far right and up; ash has 2" in text
    assert "://" not in text and "<script" not in text
    for name in ("coverage.png", "lacking.png", "sheet-at-rest.png"):
        assert read_image(page.parent / name).part.data_window.width > 100
    left_out = write_face_report(two.found).parent
    assert (left_out / "rejected-broken.png").is_file()
    assert "frame" not in json.loads((left_out / "report.json").read_text())["lacking"]


CARD = 'id = "hero"\nsynthetic = true\n'


def command(
    folder: Path, models: Path, *arguments: str, file_limit: int | None = None
) -> subprocess.Popen[str]:
    """`vfxswap faces`; `file_limit` bytes are the most that it can write into one file."""

    def limited() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    kept = {k: v for k, v in os.environ.items() if not k.startswith("VFXSWAP")}
    env = {**kept, "VFXSWAP_MODELS": str(models), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "vfxswap", "faces", *arguments], cwd=folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limited,
    )  # fmt: skip


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(tmp_path: Path, models: Path) -> None:
    frames = tuple(range(1, 31))
    faces = {f: [face_at(90, 60, yaw_deg=2 * f - 30)] for f in frames}
    pattern, tracks = write_footage(tmp_path / "plates", faces)
    (tmp_path / "hero.toml").write_text(CARD)
    given = [pattern, "--persona", "hero", "--card", "hero.toml", "--tracks", str(tracks),
             "--crop-size", "64", "--min-likeness", "-1", "--max-blur", "100", "--no-report",
             "--device", "cpu", "--threads", "1", "--progress", "plain"]  # fmt: skip
    run = command(tmp_path, models, *given, "-o", "broken")
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("[faces 4/"):
            run.kill()
            break
    run.communicate()
    assert run.returncode == -9
    broken = tmp_path / "broken"
    with pytest.raises(JobError, match="not finished"):
        read_face_set(broken)
    journal = broken / "work" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert 3 <= len(lines) < 30
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:50])  # as if killed while writing
    stamps = {p.name: p.stat().st_mtime_ns for p in broken.glob("crops/*/*.exr")}

    resumed = build_face_set(
        broken, HERO, [order(pattern, tracks)],
        {"crop_size": 64, "min_likeness": -1, "max_blur": 100}, show="", device="cpu", threads=1,
    )  # fmt: skip
    assert resumed.unchanged == len(lines) - 1
    kept = [p for p in broken.glob("crops/*/*.exr") if p.stat().st_mtime_ns == stamps.get(p.name)]
    assert len(kept) >= len(lines) - 1
    assert not journal.exists() and not list(broken.rglob("*.tmp*"))
    whole = build_face_set(
        tmp_path / "whole", HERO, [order(pattern, tracks)],
        {"crop_size": 64, "min_likeness": -1, "max_blur": 100}, show="", device="cpu", threads=1,
    )  # fmt: skip
    assert resumed.found.faces == whole.found.faces
    for face in whole.found.faces:
        a, b = ((each.folder / face.file).read_bytes() for each in (resumed.found, whole.found))
        assert a == b


def test_a_set_that_another_process_builds_is_refused(
    tmp_path: Path, clip: tuple[str, Path]
) -> None:
    pattern, tracks = clip
    with alone(tmp_path / "set"), pytest.raises(JobError, match="another process is building"):
        build(tmp_path / "set", order(pattern, tracks))
    assert build(tmp_path / "set", order(pattern, tracks)).new == len(FRAMES)


@pytest.mark.parametrize(("limit", "whole"), [(4_096, False), (24_000, True)])
def test_on_a_full_disk_the_run_ends_in_a_sentence_and_goes_on_later(
    tmp_path: Path, models: Path, clip: tuple[str, Path], limit: int, whole: bool
) -> None:
    """A limit on file sizes stands for the disk: crops pass the second, the report neither."""
    pattern, tracks = clip
    (tmp_path / "hero.toml").write_text(CARD)
    given = [pattern, "--persona", "hero", "--card", "hero.toml", "--tracks", str(tracks),
             "--crop-size", "64", "--min-likeness", "-1", "--max-blur", "100",
             "--device", "cpu", "--threads", "1", "-o", "set"]  # fmt: skip
    run = command(tmp_path, models, *given, file_limit=limit)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "cannot be written" in err and "Traceback" not in err
    assert not list((tmp_path / "set").rglob("*.tmp*"))
    if whole:
        assert "report" in err
        assert len(read_face_set(tmp_path / "set").faces) == len(FRAMES)
    else:
        with pytest.raises(JobError, match="not finished"):
            read_face_set(tmp_path / "set")
    resumed = build(tmp_path / "set", order(pattern, tracks), duplicate_distance=0.05)
    assert len(resumed.found.faces) == len(FRAMES)


def test_the_command_refuses_in_a_sentence(tmp_path: Path, models: Path) -> None:
    (tmp_path / "rowan.toml").write_text('id = "rowan"\n')
    run = command(tmp_path, models, "absent.####.exr", "--persona", "rowan", "--card",
                  "rowan.toml", "-o", "set")  # fmt: skip
    out, err = run.communicate(timeout=120)
    done = DoneProcess([], run.returncode, out, err)
    one_sentence(done, 2, "persona rowan is not synthetic and has no consent")
    assert not (tmp_path / "set").exists()


def test_scores_of_tracks_are_looked_at(tmp_path: Path, clip: tuple[str, Path]) -> None:
    pattern, tracks = clip
    stated = read_tracks(tracks)
    seen = {
        frame: [replace(face, score=0.1 if frame == 3 else face.score) for face in
                stated.faces(frame)]
        for frame in FRAMES
    }  # fmt: skip
    again = type(stated).of(stated.plate, {"": seen}, model=stated.model)
    write_tracks(tracks, again)
    done = build(tmp_path / "set", order(pattern, tracks))
    assert {f.frame: f.reason for f in done.found.faces if not f.kept} == {3: "unsure"}
    assert DISPLAY.width == stated.plate.width
