"""Facts about the index of a search: it grows, knows what it saw, and survives damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_world import CPU, face, picture, tiny_net
from safetensors import safe_open

from vfxswap.align.pose import LandmarkFinder
from vfxswap.color import ColorManager
from vfxswap.effects.base import Frame
from vfxswap.errors import CancelledError, JobError
from vfxswap.geometry import Face
from vfxswap.io.exr import write_png
from vfxswap.retrieval import index as index_module
from vfxswap.retrieval.index import Index
from vfxswap.retrieval.places import default_index, places_of
from vfxswap.retrieval.reader import Reader
from vfxswap.retrieval.search import attributes, distances, grouped, ranked, way_of
from vfxswap.retrieval.ways import Compare


class _Finder:
    """Counts what is looked at; black pictures show no face, the brightest two."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, frame: Frame, *, finder: LandmarkFinder, device: torch.device
    ) -> tuple[Face, ...]:
        self.calls += 1
        level = float(frame.rgb.mean())
        two = (face(50, x=6), face(34, x=70, id_=1))
        return () if level < 0.01 else two if level > 0.5 else two[:1]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Finder]:
    finder = _Finder()
    monkeypatch.setattr(index_module, "faces_of_still", finder)
    yield finder


@pytest.fixture(scope="module")
def reader() -> Reader:
    class Nobody(torch.nn.Module):
        pass

    return Reader(tiny_net(), Nobody(), ColorManager(), CPU, key="k")  # type: ignore[arg-type]


def fill(folder: Path, names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        write_png(folder / f"{name}.png", np.clip(picture(number) + 0.2, 0, 1))
    return folder


def open_index(folder: Path, key: str = "k") -> Index:
    return Index.open(default_index(str(folder), "tiny"), key=key)


def test_an_index_grows_and_looks_at_new_and_changed_pictures_alone(
    tmp_path: Path, looks: _Finder, reader: Reader
) -> None:
    folder = fill(tmp_path / "stills", "abc")
    first = open_index(folder).update(places_of(str(folder)), reader)
    assert (looks.calls, first.looked_at, len(first.faces)) == (3, 3, 3)
    assert open_index(folder).update(places_of(str(folder)), reader).looked_at == 0

    write_png(folder / "d.png", np.clip(picture(9), 0, 1))
    write_png(folder / "b.png", np.clip(picture(8), 0, 1))
    os.utime(folder / "a.png", (5, 5))  # Touched, not changed: its hash says so.
    again = open_index(folder).update(places_of(str(folder)), reader)
    assert (looks.calls, again.looked_at, len(again.faces)) == (5, 2, 4)
    torch.testing.assert_close(again.faces.sigma[0], first.faces.sigma[0], rtol=0, atol=0)
    assert not torch.equal(again.faces.sigma[1], first.faces.sigma[1])

    (folder / "c.png").unlink()
    last = open_index(folder).update(places_of(str(folder)), reader)
    assert [p.label for p in last.places] == ["a.png", "b.png", "d.png"]
    assert (looks.calls, len(last.faces)) == (5, 3)


def test_what_is_read_back_is_what_was_seen(tmp_path: Path, looks: _Finder, reader: Reader) -> None:
    folder = fill(tmp_path / "stills", "abcde")
    fresh = open_index(folder).update(places_of(str(folder)), reader)
    stored = open_index(folder).update(places_of(str(folder)), reader)
    for name in ("sigma", "channels"):
        one, two = getattr(fresh.faces, name), getattr(stored.faces, name)
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    np.testing.assert_array_equal(fresh.faces.points, stored.faces.points)
    assert (fresh.pictures, fresh.numbers) == (stored.pictures, stored.numbers)
    with safe_open(default_index(str(folder), "tiny"), framework="pt") as file:
        assert set(file.keys()) == {"sigma", "channels", "points"}


def test_pictures_without_a_face_and_unreadable_ones_are_skipped_and_told(
    tmp_path: Path, looks: _Finder, reader: Reader
) -> None:
    folder = fill(tmp_path / "stills", "ab")
    write_png(folder / "dark.png", np.zeros((90, 120, 3), np.float32))
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("no picture")
    for _ in range(2):  # Troubles are known the second time.
        found = open_index(folder).update(places_of(str(folder)), reader)
        assert len(found.places) == 4 and len(found.faces) == 2
        told = {path.name: why for path, why in found.troubles}
        assert set(told) == {"dark.png", "torn.png"}
        assert told["dark.png"] == "no face found" and told["torn.png"]
    assert looks.calls == 3


def test_every_face_of_a_picture_counts(tmp_path: Path, looks: _Finder, reader: Reader) -> None:
    folder = fill(tmp_path / "stills", "a")
    write_png(folder / "bright.png", np.clip(picture(3) + 0.6, 0, 1))
    found = open_index(folder).update(places_of(str(folder)), reader)
    assert found.pictures == (0, 1, 1) and found.numbers == (0, 0, 1)


def test_other_weights_or_damage_begin_anew(tmp_path: Path, looks: _Finder, reader: Reader) -> None:
    folder = fill(tmp_path / "stills", "ab")
    open_index(folder).update(places_of(str(folder)), reader)
    assert not open_index(folder, key="other").rows
    file = default_index(str(folder), "tiny")
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], b"", b"\x00" * 64, data[:8] + b"x" * 40):
        file.write_bytes(broken)
        assert not open_index(folder).rows
    assert open_index(folder).update(places_of(str(folder)), reader).looked_at == 2
    with pytest.raises(JobError, match="an index is a safetensors file"):
        Index.open(folder / "index.pkl", key="k")


def test_a_stopped_run_keeps_what_it_saw(tmp_path: Path, looks: _Finder, reader: Reader) -> None:
    folder = fill(tmp_path / "stills", "abcd")
    with pytest.raises(CancelledError):
        open_index(folder).update(places_of(str(folder)), reader, stop=lambda: looks.calls == 2)
    found = open_index(folder).update(places_of(str(folder)), reader)
    assert found.looked_at == 2 and len(found.faces) == 4


def test_a_shot_is_its_frames(tmp_path: Path, looks: _Finder, reader: Reader) -> None:
    folder = fill(tmp_path / "shot", "ab")
    for number, name in enumerate("ab"):
        (folder / f"{name}.png").rename(folder / f"sh.{1001 + number}.png")
    pattern = str(folder / "sh.#.png")
    assert [p.frame for p in places_of(pattern)] == [1001, 1002]
    found = Index.open(default_index(pattern, "tiny"), key="k").update(
        places_of(pattern, frames="1002-1003"), reader
    )
    assert len(found.faces) == 1 and found.troubles[0][1] == "no such file"


def test_places_that_hold_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for text, frames, message in (
        (str(tmp_path / "empty"), "", "no pictures in the folder"),
        (str(tmp_path / "empty"), "1-3", "a folder has no frames"),
        (str(tmp_path / "nowhere"), "", "neither a folder nor a shot"),
        (str(tmp_path / "sh.#.exr"), "", "no frame of the shot is found"),
    ):
        with pytest.raises(JobError, match=message):
            places_of(text, frames=frames)


def test_the_nearest_in_a_feature_is_the_picture_itself(
    tmp_path: Path, looks: _Finder, reader: Reader
) -> None:
    folder = fill(tmp_path / "stills", "abcdefg")
    faces = open_index(folder).update(places_of(str(folder)), reader).faces
    fitted = tiny_net()
    directions = torch.linalg.qr(torch.randn(20, 9, generator=torch.manual_seed(4)))[0]
    fitted.put_lasting(torch.zeros(20), directions.T, directions)
    for feature in ("nose", "pose", "whole"):
        for way in Compare:
            table = distances(fitted, faces, faces, feature, temperature=0.5, compare=way)
            for row in range(len(faces)):
                order, away = ranked(table[row])
                assert order[0] == row and away[0] < 1e-9
                assert (np.diff(away) >= 0).all() and away[1] > 0
    with pytest.raises(JobError, match=r"no such feature.*beak.*nose"):
        distances(fitted, faces, faces, "beak", temperature=1, compare=Compare.PLAIN)


def test_what_lasts_is_compared_where_the_model_knows_it() -> None:
    net = tiny_net()
    assert way_of(net, "nose") is Compare.NORMALISED
    with pytest.raises(JobError, match=r"does not know what lasts.*normalised or plain"):
        way_of(net, "nose", Compare.LASTING)
    net.put_lasting(torch.zeros(20), torch.ones(1, 20), torch.ones(20, 1))
    assert way_of(net, "nose") is way_of(net, "whole") is Compare.LASTING
    assert way_of(net, "nose", Compare.PLAIN) is Compare.PLAIN
    assert way_of(net, "pose") is Compare.NORMALISED
    with pytest.raises(JobError, match="the pose does not last"):
        way_of(net, "pose", Compare.LASTING)


def test_groups_part_what_lies_apart_and_are_numbered_by_size() -> None:
    rng = np.random.default_rng(2)
    centres = np.repeat([[0, 0], [9, 0], [0, 9]], [12, 7, 4], axis=0)
    points = torch.from_numpy(centres + rng.normal(0, 0.3, centres.shape))
    order = rng.permutation(len(points))
    label = grouped(points[order], 3)
    np.testing.assert_array_equal(label, np.repeat([0, 1, 2], [12, 7, 4])[order])
    np.testing.assert_array_equal(grouped(points[order], 3), label)
    assert list(grouped(points[:2], 6)) == [0, 1]


def test_attributes_need_a_feature_with_channels(
    tmp_path: Path, looks: _Finder, reader: Reader
) -> None:
    folder = fill(tmp_path / "stills", "abcdefgh")
    faces = open_index(folder).update(places_of(str(folder)), reader).faces
    assert set(attributes(reader.net, faces, "nose", 3)) <= {0, 1, 2}
    with pytest.raises(JobError, match=r"no channels of its own.*pose"):
        attributes(reader.net, faces, "pose", 3)
