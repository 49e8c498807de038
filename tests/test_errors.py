"""Bad input, each with its sentence and exit code, and nothing half-written left behind."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Shot, one_sentence
from small_shot import DISPLAY, SYNTHETIC, write_shot

from vfxswap import errors
from vfxswap.image import Image, Part
from vfxswap.io.exr import verify_image, write_image


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return Shot(tmp_path)


# The tree -------------------------------------------------------------------------------------


def test_an_error_is_one_sentence_that_says_where_got_and_wanted() -> None:
    error = errors.PlateError("cut off", got="12 bytes", wanted="a file", file="a.exr", frame=7)
    assert str(error) == "a.exr, frame 7: cut off (got 12 bytes; wanted a file)"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.PlateError, 1), (errors.OutputError, 1), (errors.JobError, 2),
        (errors.ColorError, 2), (errors.ModelError, 2), (errors.ConsentError, 2),
        (errors.CancelledError, 143),
    ],
)  # fmt: skip
def test_exit_codes_tell_a_farm_whether_to_try_again(
    kind: type[errors.VfxSwapError], code: int
) -> None:
    assert kind("x").exit_code == code


# Plates ---------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def deep(path: Path) -> None:
    """A small deep scanline EXR, put together by hand: one line of one pixel without samples."""

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        packed = struct.pack("<i", len(value))
        return name.encode() + b"\0" + kind.encode() + b"\0" + packed + value

    box = struct.pack("<4i", 0, 0, 0, 0)
    channel = b"Z\0" + struct.pack("<iB3xii", 2, 0, 1, 1) + b"\0"
    header = b"".join(
        [
            attribute("channels", "chlist", channel),
            attribute("chunkCount", "int", struct.pack("<i", 1)),
            attribute("compression", "compression", b"\0"),
            attribute("dataWindow", "box2i", box),
            attribute("displayWindow", "box2i", box),
            attribute("lineOrder", "lineOrder", b"\0"),
            attribute("maxSamplesPerPixel", "int", struct.pack("<i", 0)),
            attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
            attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
            attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
            attribute("type", "string", b"deepscanline"),
            attribute("version", "int", struct.pack("<i", 1)),
        ]
    )
    start = struct.pack("<II", 20000630, 2 | 0x800) + header + b"\0"
    chunk = struct.pack("<iQQQ", 0, 4, 0, 0) + struct.pack("<i", 0)
    path.write_bytes(start + struct.pack("<Q", len(start) + 8) + chunk)


def another_kind(path: Path) -> None:
    path.write_bytes(b"This is a text, not a picture.\n" * 40)


def without_picture(path: Path) -> None:
    planes = {n: np.zeros((32, 48), np.float32) for n in ("P.x", "P.y")}
    write_image(path, Image((Part(planes, DISPLAY, DISPLAY),), ("P.x",) * 3))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (Path.unlink, "no such file"),
        (truncate, "cut off"),
        (empty, "empty"),
        (deep, "deep"),
        (another_kind, "not a complete EXR"),
        (without_picture, "no picture"),
    ],
)
def test_a_broken_frame_is_named_and_the_others_render(
    shot: Shot, spoil: Callable[[Path], None], says: str
) -> None:
    broken = Path(shot.plate).with_name("plate.1002.exr")
    spoil(broken)
    done = shot.swap()
    assert done.returncode == 1
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert lines[0] == "Frames: 2 written, 1 failed."
    assert len(lines) == 2 and f"{broken}, frame 1002: " in lines[1] and says in lines[1]
    names = [f"comp.{f}{s}" for f in (1001, 1003) for s in (".exr", ".vfxswap.json")]
    assert shot.written() == sorted([*names, "comp.1002.failed.json"])


def test_an_empty_folder_is_said_in_a_sentence(shot: Shot) -> None:
    one_sentence(
        shot.run("swap", "nowhere/p.#.exr", "--persona", SYNTHETIC, "-o", "out/c.#.exr"),
        1, "no frame", "nowhere",
    )  # fmt: skip


# Jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--frames", "10-1:x"), "10-1:x"),
        (("--color-space", "ACEScgg"), "ACEScg"),
        (("--ocio", "none.ocio"), "none.ocio"),
        (("--persona", "1=aldr"), "alder"),
        (("--persona", "second"), "second"),
        (("--matte", "holdout"), "holdout=roto"),
        (("--region", "1,2,3"), "x,y,width,height"),
        (("--region", "1,2,0,4"), "region"),
        (("--proxy", "3"), "proxy"),
        (("--device", "abacus"), "abacus"),
        (("-o", "out/comp.exr"), "frame number"),
        (("-o", "out/comp.#.jpg"), "EXR"),
        (("--show", "Not A Show!"), "show"),
        (("--tracks", "broken.json"), "broken.json"),
        (("--revocations", "absent.txt"), "absent.txt"),
    ],
)
def test_a_bad_option_is_refused_in_one_sentence(
    shot: Shot, arguments: tuple[str, ...], says: str
) -> None:
    (shot.folder / "broken.json").write_text("{")
    one_sentence(shot.swap(*arguments), 2, says)
    assert shot.written() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "JSON"),
        ('{"version": 99}', "99"),
        ('{"version": 1}', "plate"),
        ('{"version": 1, "plate": {"pattern": "p.#.exr"}, "output": {"pattern": "o.#.exr"}, '
         '"efects": []}', "effects"),
    ],
)  # fmt: skip
def test_a_bad_job_file_is_refused_in_one_sentence(shot: Shot, text: str, says: str) -> None:
    (shot.folder / "job.json").write_text(text)
    one_sentence(shot.run("render", "job.json"), 2, "job.json", says)
    one_sentence(shot.run("check", "job.json"), 2, "job.json", says)


def test_a_missing_job_file_is_refused(shot: Shot) -> None:
    one_sentence(shot.run("render", "nowhere.json"), 2, "nowhere.json")


def test_a_matte_of_another_size_fails_its_frames(shot: Shot) -> None:
    alone = {"A": np.ones((4, 4), np.float32)}
    window = DISPLAY.__class__(0, 0, 4, 4)
    write_image(shot.folder / "roto.exr", Image((Part(alone, window, window),), ("A",) * 3))
    done = shot.swap("--matte", "holdout=roto.exr")
    assert done.returncode == 1 and "matte of another size" in done.stderr
    done = shot.swap("--matte", f"holdout={shot.plate}:roto.alpha")
    assert done.returncode == 1 and "wanted roto.alpha" in done.stderr
    assert shot.written() == [f"comp.{frame}.failed.json" for frame in (1001, 1002, 1003)]


# Models and consent ---------------------------------------------------------------------------


def test_damaged_weights_and_cards_are_refused(shot: Shot) -> None:
    weights = shot.models / "tinycomb" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
    one_sentence(shot.swap(), 2, "weights.safetensors", "damaged or exchanged")
    weights.write_bytes(whole)
    card = shot.models / "tinycomb" / "card.toml"
    text = card.read_text()
    card.write_text(text.replace("2999-01-01", "3999-01-01"))
    one_sentence(shot.swap(persona="tinycomb/alder"), 2, "card.toml", "tampered")
    listed = shot.run("models", "list")
    assert listed.returncode == 2 and "tampered" in listed.stderr
    card.write_text(text)
    weights.unlink()
    one_sentence(shot.swap(), 2, "weights are missing")
    doctor = shot.run("doctor")
    assert doctor.returncode == 1 and "BROKEN  model     tinycomb" in doctor.stdout


def test_an_unknown_persona_gets_the_nearest_names(shot: Shot) -> None:
    one_sentence(shot.swap(persona="aldar"), 2, "aldar", "perhaps alder")


# Outputs --------------------------------------------------------------------------------------


def test_an_output_folder_that_cannot_be_made_is_refused(shot: Shot) -> None:
    (shot.folder / "file").write_text("")
    one_sentence(shot.swap("-o", "file/comp.#.exr"), 1, "output folder cannot be written")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 128 KB; a skip where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("CANNOT MOUNT A SMALL DISK HERE: running out of space was not tried")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.suffix == ".exr" and not verify_image(p)] + [
        p.name for p in folder.iterdir() if "tmp" in p.name
    ]


def test_when_the_disk_is_full_then_nothing_half_written_stays(
    shot: Shot, small_disk: Path
) -> None:
    write_shot(Path(shot.plate).parent, range(1004, 1016))
    done = shot.run(
        "swap", shot.plate, "--frames", "1001-1015", "--persona", SYNTHETIC,
        "-o", str(small_disk / "comp.#.exr"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr and "not reached" in done.stderr
    complete = [p for p in small_disk.iterdir() if p.suffix == ".exr"]
    assert complete and leftovers(small_disk) == []


def test_when_a_file_may_not_grow_then_nothing_half_written_stays(shot: Shot) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    code = "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "from vfxswap.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "swap", shot.plate, "--persona", SYNTHETIC,
         "--tracks", str(shot.tracks), "-o", "out/comp.#.exr"],
        cwd=shot.folder, env=shot.env(), preexec_fn=limit, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert all(name.endswith(".failed.json") for name in shot.written())


def test_an_unexpected_error_keeps_its_traceback_and_exits_with_1(shot: Shot) -> None:
    code = (
        "from vfxswap.cli import jobs, main\n"
        "def broken(*_): raise ZeroDivisionError('a bug')\n"
        "jobs.read_job = broken\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "render", "j.json"], cwd=shot.folder, env=shot.env(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" in done.stderr and "a bug" in done.stderr
