"""Files of any content end in a sentence: no crash, no hang, nothing run, nothing outside.

The fast runs are few and always the same; `-m fault` runs thousands. Pictures are decoded in a
child process, so that a crash of a native library is a failed test that names its seed.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoder import Decoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import COMPRESSIONS, header_numbers, mutated, real_files
from small_shot import Gain, gain_effect, gain_job, write_face_tracks, write_models, write_shot

from vfxswap.errors import PlateError, VfxSwapError
from vfxswap.io.exr import read_image, verify_image
from vfxswap.io.openexr import read_headers
from vfxswap.io.prepared import read_prepared
from vfxswap.io.tracks import read_tracks
from vfxswap.io.weights import load_tensors, read_card
from vfxswap.job import Job
from vfxswap.paths import PathMap
from vfxswap.persona import revocations
from vfxswap.render import check, render

__all__ = ["gain_effect"]

ALWAYS_THE_SAME = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EVENTS = ("os.system", "os.exec", "subprocess.Popen", "pickle.find_class", "socket.connect")
"""What reading a file must never do, in the words of `sys.audit`."""
HEARD: list[str] = []


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    child = Decoder()
    yield child
    child.close()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return real_files(tmp_path_factory.mktemp("originals"))


# Pictures -------------------------------------------------------------------------------------


def test_every_original_is_whole(decoder: Decoder, originals: list[Path]) -> None:
    assert len(originals) == len(COMPRESSIONS) + 3 + 2 + 4
    assert [decoder.look(file) for file in originals] == ["whole"] * len(originals)


def damaged_pictures(decoder: Decoder, originals: list[Path], folder: Path, seeds: range) -> None:
    for seed in seeds:
        original = originals[seed % len(originals)]
        file = folder / f"damaged{original.suffix}"
        file.write_bytes(mutated(original.read_bytes(), np.random.default_rng([77, seed])))
        said = decoder.look(file)
        assert not said.startswith(("escaped", "died")), (original.name, seed, said)
        assert "\\n" not in said and len(said) < 1200


def test_a_damaged_picture_is_read_or_ends_in_a_sentence(
    decoder: Decoder, originals: list[Path], tmp_path: Path
) -> None:
    damaged_pictures(decoder, originals, tmp_path, range(190))


@pytest.mark.fault
@pytest.mark.timeout(1800)
def test_thousands_of_damaged_pictures_are_read_or_end_in_sentences(
    decoder: Decoder, originals: list[Path], tmp_path: Path
) -> None:
    damaged_pictures(decoder, originals, tmp_path, range(190, 6000))


def sized(data: bytes, width: int, height: int) -> bytes:
    """An EXR whose header promises another data window."""
    changed = bytearray(data)
    for name, start, _ in header_numbers(data):
        if name in ("dataWindow", "displayWindow"):
            changed[start : start + 16] = struct.pack("<4i", 0, 0, width - 1, height - 1)
    return bytes(changed)


def test_a_small_file_that_promises_a_huge_picture_is_refused_by_its_header(
    originals: list[Path], tmp_path: Path
) -> None:
    tiled = next(file for file in originals if file.name == "zip16.exr").read_bytes()
    for name, start, _ in header_numbers(tiled):
        if name == "tiles":
            tiled = tiled[:start] + struct.pack("<II", 1 << 24, 1 << 24) + tiled[start + 8 :]
    bomb = tmp_path / "bomb.exr"
    bomb.write_bytes(sized(tiled, 1 << 20, 1 << 20))
    for read in (read_image, read_headers):
        with pytest.raises(PlateError, match=r"bomb\.exr: picture is too large \(got 8192"):
            read(bomb)
    assert not verify_image(bomb)


def test_thousands_of_channels_are_refused(tmp_path: Path) -> None:
    from vfxswap.geometry import Box
    from vfxswap.io.openexr import PartToWrite, write_scanlines

    channels = {f"c{i:05}": np.zeros((1, 1), np.float16) for i in range(5000)}
    with (tmp_path / "many.exr").open("wb") as file:
        window = Box(0, 0, 1, 1)
        write_scanlines(
            file, [PartToWrite("", channels, {})], data_window=window, display_window=window,
            pixel_aspect=1.0,
        )  # fmt: skip
    with pytest.raises(PlateError, match="more than 4096 channels"):
        read_image(tmp_path / "many.exr")


def test_a_picture_that_does_not_fit_into_memory_is_a_broken_frame(
    originals: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Source:
        def read_image(self, *which: object) -> None:
            raise MemoryError

    from vfxswap.io import exr

    with pytest.raises(PlateError, match="does not fit into memory"):
        exr._pixels(Source(), originals[0], 7)


def hostile_frames(folder: Path, seeds: range) -> None:
    """Renders and checks of plates with one whole and one damaged frame."""
    write_shot(folder, (1001, 1002))
    data = (folder / "plate.1001.exr").read_bytes()
    for seed in seeds:
        rng = np.random.default_rng([78, seed])
        (folder / "plate.1001.exr").write_bytes(mutated(data, rng) if seed % 3 == 0 else data)
        (folder / "plate.1002.exr").write_bytes(mutated(data, rng))
        for run in (render, check):
            try:
                run(gain_job(folder, "1001-1002"))
            except VfxSwapError as error:
                str(error).encode()
        outside = {p.name for p in folder.iterdir()} - {"out", "plate.1001.exr", "plate.1002.exr"}
        assert outside == set() and not list((folder / "out").glob(".*")), seed


def test_a_damaged_frame_never_ends_a_render_without_a_sentence(
    tmp_path: Path, gain_effect: type[Gain]
) -> None:
    hostile_frames(tmp_path, range(30))


@pytest.mark.fault
@pytest.mark.timeout(1800)
def test_hundreds_of_damaged_frames_never_end_a_render_without_a_sentence(
    tmp_path: Path, gain_effect: type[Gain]
) -> None:
    hostile_frames(tmp_path, range(30, 400))


# Text -----------------------------------------------------------------------------------------

NAMES = ("../../x", "/etc/passwd", "a\x00b", "\ud800", "%V", "#", "", "P:\\x")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, content: dict[str, Any]) -> str:
    """A good file with some values anywhere in it replaced by any others, or cut, or not JSON."""
    changed = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = changed
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inside = at[key]
            if isinstance(inside, dict | list) and inside and draw(st.booleans()):
                at = inside
                continue
            at[key] = draw(JSON | st.sampled_from(NAMES))
            break
    text = json.dumps(changed)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@pytest.fixture(scope="module", autouse=True)
def ears() -> None:
    """Hears what files make this process do; such ears cannot be taken off."""

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS:
            HEARD.append(event)

    sys.addaudithook(hear)


def ends_in_a_sentence(read: Callable[[], object]) -> None:
    """Reading gives something or one error of this package, and runs nothing."""
    HEARD.clear()
    try:
        read()
    except VfxSwapError as error:
        said = str(error)
        assert said and "\n" not in said
        said.encode()
    assert HEARD == []


GOOD_JOB = gain_job(Path("shot"), "1001-1002", gain={"keys": {"1001": 1.0}}).model_dump(mode="json")
GOOD_JOB["effects"][0]["mattes"] = {"holdout": {"pattern": "roto.#.exr", "channel": "A"}}


@ALWAYS_THE_SAME
@given(text=changed_json(GOOD_JOB))
def test_any_job_file_is_read_checked_or_refused(
    tmp_path_factory: pytest.TempPathFactory, gain_effect: type[Gain], text: str
) -> None:
    folder = tmp_path_factory.mktemp("job")
    (folder / "job.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    ends_in_a_sentence(lambda: check(Job.read(folder / "job.json")))
    assert [p.name for p in folder.iterdir()] == ["job.json"]


@ALWAYS_THE_SAME
@given(data=st.data())
def test_any_tracks_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tracks")
    file = write_face_tracks(folder / "t.json", "p.#.exr", (1001,))
    text = data.draw(changed_json(json.loads(file.read_text())))
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    ends_in_a_sentence(lambda: read_tracks(file))


@pytest.mark.parametrize("read", [Job.read, read_tracks, lambda p: PathMap.stated((), p)])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b"{" * 9,
        b"\xff\xfe",
        b"\0" * 64,
        b"1e999",
        b"",
        b'{"version": ' + b"9" * 9000,
    ],
)
def test_what_is_hardly_text_is_refused(
    tmp_path: Path, read: Callable[[Path], object], data: bytes
) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(data)
    with pytest.raises(VfxSwapError):
        read(file)


@ALWAYS_THE_SAME
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_revocation_list_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("list") / "r.txt"
    file.write_bytes(data)
    ends_in_a_sentence(lambda: revocations(file))


@ALWAYS_THE_SAME
@given(data=st.binary(max_size=200))
def test_any_bytes_are_no_prepared_shot(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("prepared") / "p.json.gz"
    file.write_bytes(b"\x1f\x8b\x08" + data)
    assert read_prepared(file) == ()


# Models ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models")) / "tinycomb"


@ALWAYS_THE_SAME
@given(seed=st.integers(0, 10**6))
def test_a_damaged_card_is_refused(model: Path, seed: int) -> None:
    whole = (model / "card.toml").read_bytes()
    rng = np.random.default_rng(seed)
    try:
        (model / "card.toml").write_bytes(mutated(whole, rng))
        ends_in_a_sentence(lambda: read_card(model))
    finally:
        (model / "card.toml").write_bytes(whole)


@ALWAYS_THE_SAME
@given(seed=st.integers(0, 10**6))
def test_damaged_weights_are_refused_also_when_their_hash_was_forged(
    tmp_path_factory: pytest.TempPathFactory, model: Path, seed: int
) -> None:
    import hashlib

    folder = tmp_path_factory.mktemp("weights")
    damaged = mutated((model / "weights.safetensors").read_bytes(), np.random.default_rng(seed))
    (folder / "weights.safetensors").write_bytes(damaged)
    forged = {"weights_sha256": hashlib.sha256(damaged).hexdigest()}
    card = read_card(model).model_copy(update=forged)
    ends_in_a_sentence(lambda: load_tensors(folder, card))


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "a\x00b", "", "A b", "x" * 200])
def test_a_card_cannot_name_a_path(model: Path, name: str) -> None:
    whole = (model / "card.toml").read_bytes()
    for field in ("name", "id"):
        old = b'name = "tinycomb"' if field == "name" else b'id = "alder"'
        assert old in whole
        new = f"{field} = {json.dumps(name)}".encode()
        try:
            (model / "card.toml").write_bytes(whole.replace(old, new))
            with pytest.raises(VfxSwapError):
                read_card(model)
        finally:
            (model / "card.toml").write_bytes(whole)
