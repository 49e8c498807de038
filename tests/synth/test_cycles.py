"""The Cycles renderer: what is exported, how the other Python is run, and (host) its pictures."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vfxswap.errors import JobError, VfxSwapError
from vfxswap.geometry import Box
from vfxswap.io.exr import read_image
from vfxswap.synth import command
from vfxswap.synth import render as warp
from vfxswap.synth.camera import Camera, portrait_camera
from vfxswap.synth.clothes import brow_offsets, chosen_assets, read_clothes, whole_base
from vfxswap.synth.cycles import (
    PYTHON_VARIABLE,
    Cycles,
    bpy_python,
    chosen_renderer,
    read_back,
    render,
    render_moments,
    run_script,
)
from vfxswap.synth.cycles_export import Moment, environment, export
from vfxswap.synth.cycles_truth import PARTS, skin_mattes
from vfxswap.synth.eyeball import eye_axes, eye_map, eyeball, eyeball_faces
from vfxswap.synth.head import base_mesh, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import studio_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import State, actions, rotation
from vfxswap.synth.shot import Shot, ShotSpec

ASSETS_VARIABLE = "VFXSWAP_MAKEHUMAN_ASSETS"
SMILE = State(actions(mouthSmile=0.8, jawOpen=0.3), gaze_yaw=0.3).posed(0.35, 0.1, 0.1)


@pytest.fixture(scope="module")
def performer() -> Identity:
    return Identity.from_seed(49, texture_rows=192)


def camera_on(identity: Identity, size: int) -> Camera:
    nose = pose(identity, State()).landmarks[27:36].mean(0)
    return portrait_camera(nose, size=(size, size), height_m=0.32)


def write_export(folder: Path, identity: Identity, moment: Moment, assets: Path | None) -> None:
    export(
        folder, identity, [moment], samples=1, truth_samples=1, denoise=False, threads=1, seed=0,
        assets=assets,
    )  # fmt: skip


def write_script(folder: Path, text: str) -> Path:
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return script


# What is exported -------------------------------------------------------------------------------


def test_an_exported_folder_is_complete_and_holds_plain_arrays_alone(
    tmp_path: Path, performer: Identity
) -> None:
    moment = Moment(SMILE, camera_on(performer, 64), studio_rig())
    write_export(tmp_path, performer, moment, None)
    scene = json.loads((tmp_path / "scene.json").read_text(encoding="utf-8"))
    frame = np.load(tmp_path / "0000.npz", allow_pickle=False)
    shared = np.load(tmp_path / "shared.npz", allow_pickle=False)
    names = [thing["name"] for thing in scene["things"]]
    assert {"skin", "eye_left", "eye_right", "teeth", "tongue", "lashes"} <= set(names)
    for thing in scene["things"]:
        faces, points = shared[f"{thing['name']}.faces"], frame[f"{thing['name']}.points"]
        assert points.shape == (thing["vertices"], 3)
        assert np.isfinite(points).all()
        assert faces.min() == 0
        assert faces.max() == thing["vertices"] - 1
        assert shared[f"{thing['name']}.uv"].shape == (*faces.shape, 2)
        for surface in thing["surfaces"]:
            row = scene["surfaces"][surface]["mattes"]
            assert surface == "skin" or len(row) == len(PARTS) + 1
    np.testing.assert_array_equal(frame["landmarks"], pose(performer, SMILE).landmarks)


def test_exported_skin_is_the_skin_that_the_other_renderer_draws(
    tmp_path: Path, performer: Identity
) -> None:
    write_export(tmp_path, performer, Moment(SMILE, camera_on(performer, 64), studio_rig()), None)
    asset = head_asset()
    points = np.load(tmp_path / "0000.npz")["skin.points"]
    faces = np.load(tmp_path / "shared.npz")["skin.faces"]
    drawn = pose(performer, SMILE).points[asset.seam_vertex[asset.triangles[asset.part == 0]]]
    np.testing.assert_array_equal(points[faces], drawn)


def test_a_window_off_the_display_moves_the_principal_point_alone(
    tmp_path: Path, performer: Identity
) -> None:
    camera = camera_on(performer, 64)
    moved = dataclasses.replace(camera, window=Box(-5, 7, 70, 60))
    write_export(tmp_path, performer, Moment(State(), moved, studio_rig()), None)
    frame = json.loads((tmp_path / "scene.json").read_text(encoding="utf-8"))["frames"][0]
    assert (frame["width"], frame["height"]) == (70, 60)
    assert frame["centre_px"] == [camera.centre_px[0] + 5, camera.centre_px[1] - 7]
    assert frame["focal_px"] == camera.focal_px


def test_the_parts_of_every_texel_add_up_to_at_most_one(performer: Identity) -> None:
    parts = skin_mattes(performer.texture)[..., : len(PARTS)]
    assert parts.min() >= 0
    assert parts.sum(-1).max() <= 1 + 1e-5


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0, 6.2), st.floats(-1.4, 1.4))
def test_the_world_lights_a_matte_surface_as_the_nine_terms_do(
    seed: int, turn: float, up: float
) -> None:
    rng = np.random.default_rng(seed)
    ambient = np.zeros((9, 3))
    ambient[0] = 1.0
    ambient[1:] = rng.uniform(-0.03, 0.03, (8, 3))
    n = np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
    x, y, z = n
    terms = np.array([1, x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    radiance = environment(ambient, rows=96)
    row, column = np.mgrid[0:96, 0:192] + 0.5
    height, around = (0.5 - row / 96) * np.pi, (0.5 - column / 192) * 2 * np.pi
    toward = np.stack(
        [np.cos(around) * np.cos(height), np.sin(around) * np.cos(height), np.sin(height)], -1
    )
    weight = np.maximum(toward @ n, 0) * np.cos(height) * (np.pi / 96) ** 2
    irradiance = (radiance * weight[..., None]).sum((0, 1)) / np.pi
    np.testing.assert_allclose(irradiance, terms @ ambient, rtol=0.01)


def test_an_eyeball_faces_outwards_and_looks_along_the_gaze() -> None:
    head = rotation(0.3, -0.2, 0.1)
    gaze = rotation(0.2, 0.1, 0.0) @ np.array([0.0, -1.0, 0.0])
    points, iris, coat = eyeball(0.015, eye_axes(gaze, head))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.015, rtol=1e-9)
    np.testing.assert_allclose(points[0] / 0.015, gaze, atol=2e-3)
    a, b, c = (points[eyeball_faces()[0][:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * (a + b + c)).sum(1)
    assert (outward > 0).all()
    assert (iris @ gaze)[: len(iris) // 4].min() > 0
    np.testing.assert_allclose(np.linalg.norm(coat, axis=1), 1.0, rtol=1e-9)


def test_an_eye_is_black_in_the_pupil_and_white_far_from_it(performer: Identity) -> None:
    picture = eye_map(performer, None)
    assert picture[:10].max() < 0.02
    assert picture[120:160].mean() > 0.7 * performer.sclera
    iris = picture[45:60].mean((0, 1))
    np.testing.assert_allclose(iris / iris.sum(), performer.iris / performer.iris.sum(), atol=0.05)


# Assets -----------------------------------------------------------------------------------------


def write_asset(folder: Path, kind: str, rows: list[str], scale: str = "") -> Path:
    home = folder / kind / "one"
    home.mkdir(parents=True)
    (home / "one.obj").write_text("vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n")
    (home / "one.mhmat").write_text("diffuseTexture one.png\n")
    (home / "one.png").write_bytes(b"")
    head = f"obj_file one.obj\nmaterial one.mhmat\n{scale}verts 0\ntag young\n"
    (home / "one.mhclo").write_text(head + "\n".join(rows) + "\ndelete_verts\n1 - 5\n")
    return home / "one.mhclo"


def test_clothes_bound_to_single_vertices_lie_on_them(tmp_path: Path) -> None:
    numbers = (5478, 262, 134, 423)
    clothes = read_clothes(write_asset(tmp_path, "hair", [str(n) for n in numbers]))
    base = base_mesh()[0].astype(np.float64)
    np.testing.assert_allclose(clothes.fit(base), base[list(numbers)], atol=1e-6)
    assert clothes.faces.shape == (2, 3)


def test_offsets_stretch_with_the_head(tmp_path: Path) -> None:
    row = "134 134 134 1 0 0 0 0.5 0"
    scale = "y_scale 5478 262 1.0\n"
    clothes = read_clothes(write_asset(tmp_path, "hair", [row] * 4, scale))
    base = base_mesh()[0].astype(np.float64)
    native_height = 10 * abs(base[5478, 2] - base[262, 2])
    lifted = clothes.fit(base)[0] - base[134]
    np.testing.assert_allclose(lifted, [0, 0, 0.05 * native_height], atol=1e-6)


def test_the_body_outside_the_head_follows_it() -> None:
    template = head_asset().template
    shift = np.array([0.01, 0.02, 0.03], np.float32)
    moved = whole_base(template + shift, template)
    np.testing.assert_allclose(moved, base_mesh()[0] + shift, atol=1e-6)


def test_worn_brows_are_moved_onto_the_landmarks() -> None:
    asset = head_asset()
    marks = asset.template[asset.landmarks[17:27]].astype(np.float64)
    skin = asset.template[np.unique(asset.seam_vertex[asset.triangles[asset.part == 0]])]
    lowered = (marks - np.array([0.0, 0.0, 0.004])).astype(np.float32)
    moved = lowered + brow_offsets(lowered, skin, marks)
    np.testing.assert_allclose(moved[:, 2], marks[:, 2], atol=1e-5)
    np.testing.assert_allclose(moved[:, 0], marks[:, 0], atol=1e-6)
    assert np.abs(moved[:, 1] - marks[:, 1]).max() < 0.002


@pytest.mark.parametrize(
    ("rows", "message"), [(["1 2"], "malformed"), ([], "base mesh"), (["99999"] * 4, "base mesh")]
)
def test_an_asset_that_does_not_fit_is_refused(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        read_clothes(write_asset(tmp_path, "hair", rows))


def test_a_folder_without_assets_or_without_that_hair_is_refused(
    tmp_path: Path, performer: Identity
) -> None:
    with pytest.raises(JobError, match="no such folder"):
        chosen_assets(tmp_path / "none", performer)
    with pytest.raises(JobError, match="without assets"):
        chosen_assets(tmp_path, performer)
    write_asset(tmp_path, "hair", ["1"] * 4)
    with pytest.raises(JobError, match="no such hair"):
        chosen_assets(tmp_path, performer, hair="mohawk")
    assert chosen_assets(tmp_path, performer, hair="one").keys() == {"hair"}


# Running another Python -------------------------------------------------------------------------


def test_when_no_python_is_named_then_the_error_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(JobError, match=PYTHON_VARIABLE):
        bpy_python(Cycles())
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    with pytest.raises(JobError, match="/no/such/python"):
        bpy_python(Cycles())
    assert bpy_python(Cycles(python=sys.executable)) == sys.executable


def test_a_renderer_is_chosen_by_name() -> None:
    assert chosen_renderer("warp", assets=None, samples=2) is None
    cycles = chosen_renderer("cycles", assets=Path("there"), samples=3)
    assert cycles is not None
    assert (cycles.samples, cycles.assets) == (36, "there")
    assert "there" not in str(cycles.described())
    with pytest.raises(JobError, match="eevee"):
        chosen_renderer("eevee", assets=None, samples=2)
    with pytest.raises(JobError, match="assets"):
        chosen_renderer("warp", assets=Path("there"), samples=2)


def test_when_the_python_has_no_bpy_then_the_job_is_wrong(performer: Identity) -> None:
    settings = Cycles(python=sys.executable)
    with pytest.raises(JobError, match="no bpy"):
        render(performer, State(), camera_on(performer, 16), studio_rig(), settings=settings)


def test_when_the_script_fails_then_its_reason_is_told(tmp_path: Path) -> None:
    script = write_script(tmp_path, "import sys\nprint('error: no light')\nsys.exit(3)\n")
    with pytest.raises(VfxSwapError, match="no light"):
        run_script(sys.executable, script, tmp_path, timeout_s=60)


def test_when_the_script_ends_without_a_result_then_it_failed(tmp_path: Path) -> None:
    with pytest.raises(VfxSwapError, match="failed"):
        run_script(sys.executable, write_script(tmp_path, ""), tmp_path, timeout_s=60)


def test_when_the_script_is_late_then_it_and_its_children_are_killed(tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(60)\n",
    )
    with pytest.raises(VfxSwapError, match="in time"):
        run_script(sys.executable, script, tmp_path, timeout_s=1.5)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.05)
    pytest.fail("the script's child still runs")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_callers_python_variables_do_not_reach_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", "/elsewhere")
    script = write_script(
        tmp_path,
        "import json, os, sys\n"
        "told = {'isolated': sys.flags.isolated, 'names': sorted(os.environ)}\n"
        "open('result.json', 'w').write(json.dumps(told))\n",
    )
    run_script(sys.executable, script, tmp_path, timeout_s=60)
    told = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert told["isolated"] == 1
    assert not {"PYTHONPATH", "BLENDER_USER_SCRIPTS"} & set(told["names"])


# Reading back -----------------------------------------------------------------------------------


def write_exr(file: Path, pixels: NDArray[np.float32]) -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 4, oiio.FLOAT)
    out = oiio.ImageOutput.create(str(file))
    assert out is not None
    assert out.open(str(file), spec)
    assert out.write_image(pixels)
    out.close()


def write_rendered(folder: Path, landmarks: NDArray[np.float64], values: list[float]) -> None:
    rgba = np.array([[[0.3, 0.2, 0.1, 0.5]]], np.float32).repeat(32, 0).repeat(32, 1)
    write_exr(folder / "0000-beauty.exr", rgba)
    for k in range(3):
        rgba[..., :3] = values[3 * k : 3 * k + 3]
        write_exr(folder / f"0000-truth{k}.exr", rgba)
    frame = {"name": "0000", "landmarks": landmarks.tolist(), "front_m": [0.5] * 35 + [9.0] * 35}
    told = {"frames": [frame]}
    (folder / "result.json").write_text(json.dumps(told), encoding="utf-8")


def test_mattes_add_up_to_alpha_and_background_fills_the_rest(
    tmp_path: Path, performer: Identity
) -> None:
    background = np.ones((32, 32, 3), np.float32)
    moment = Moment(State(), camera_on(performer, 32), studio_rig(), background)
    points = moment.camera.project(pose(performer, State()).landmarks)[:, :2]
    write_rendered(tmp_path, points, [0.1, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.25, 0.5])
    truth = read_back(tmp_path, 0, performer, moment)
    np.testing.assert_allclose(sum(truth.mattes.values()), truth.alpha, atol=1e-6)
    np.testing.assert_allclose(truth.mattes["skin"], 0.2, atol=1e-6)
    np.testing.assert_allclose(truth.rgb, [[[0.8, 0.7, 0.6]]] * np.ones((32, 32, 1)), atol=1e-6)
    np.testing.assert_allclose(truth.depth, 1.0)
    np.testing.assert_allclose(truth.face_matte, 0.25)
    assert not truth.visible[:35].any()
    assert truth.visible[35:].all()


def test_when_blenders_camera_differs_then_nothing_is_returned(
    tmp_path: Path, performer: Identity
) -> None:
    moment = Moment(State(), camera_on(performer, 32), studio_rig())
    points = moment.camera.project(pose(performer, State()).landmarks)[:, :2]
    write_rendered(tmp_path, points + 0.2, [0.0] * 9)
    with pytest.raises(VfxSwapError, match="camera"):
        read_back(tmp_path, 0, performer, moment)


# Real pictures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick() -> Cycles:
    if not os.environ.get(PYTHON_VARIABLE):
        pytest.skip(f"NOT TESTED: Cycles needs ${PYTHON_VARIABLE}, a Python with bpy 4.5")
    return Cycles(samples=4, truth_samples=16, threads=1)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


@pytest.mark.host
@pytest.mark.timeout(900)
def test_cycles_and_warp_agree_on_where_everything_is(performer: Identity, quick: Cycles) -> None:
    wide = dataclasses.replace(
        camera_on(performer, 128), window=Box(-8, 4, 72, 124), pixel_aspect=2.0, centre_px=(30, 64)
    )
    moments = [
        Moment(SMILE, camera_on(performer, 128), studio_rig()),
        Moment(State().posed(-0.6, 0.0, 0.0), wide, studio_rig()),
    ]
    for moment, ours in zip(moments, render_moments(performer, moments, quick)):
        theirs = warp.render(performer, moment.state, moment.camera, moment.rig, samples=4)
        assert ours.rgb.shape == theirs.rgb.shape
        assert np.isfinite(ours.rgb).all()
        assert overlap(ours.alpha, theirs.alpha) > 0.97
        assert overlap(ours.face_matte, theirs.face_matte) > 0.97
        for part in ("skin", "lips", "body", "hair"):
            assert overlap(ours.mattes[part], theirs.mattes[part]) > 0.9, part
        np.testing.assert_array_equal(ours.landmarks, theirs.landmarks)
        # Warp goes by the nearest depth in a whole pixel and so hides slanted edges as well.
        assert ours.visible[theirs.visible].mean() > 0.95
        assert not ours.visible.all()
        np.testing.assert_allclose(sum(ours.mattes.values()), ours.alpha, atol=1e-5)
        solid = (ours.alpha > 0.999) & (theirs.alpha > 0.999)
        assert np.median(np.abs(ours.depth[solid] - theirs.depth[solid])) < 0.002
        assert np.isinf(ours.depth[ours.alpha == 0]).all()
        lit = solid & (ours.mattes["skin"] > 0.99)
        assert np.corrcoef(ours.rgb[lit].mean(-1), theirs.rgb[lit].mean(-1))[0, 1] > 0.6


@pytest.mark.host
@pytest.mark.timeout(900)
def test_light_is_linear_and_pictures_repeat_bit_for_bit(
    performer: Identity, quick: Cycles
) -> None:
    camera, rig = camera_on(performer, 48), studio_rig()
    moments = [Moment(State(), camera, light) for light in (rig, rig, rig.scaled(2.0))]
    raw = quick.model_copy(update={"denoise": False})
    first, again, twice = render_moments(performer, moments, raw)
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.alpha, again.alpha)
    np.testing.assert_allclose(twice.rgb.sum(), 2 * first.rgb.sum(), rtol=0.02)


@pytest.mark.host
@pytest.mark.timeout(900)
def test_a_shot_by_cycles_has_the_truth_of_the_same_shot_by_warp(
    tmp_path: Path, quick: Cycles
) -> None:
    spec = ShotSpec(frames=1, width=96, height=72, overscan_px=6, texture_rows=192, samples=3)
    truths = [
        Shot(spec).frame(1001)[0],
        Shot(spec, renderer=partial(render, settings=quick)).frame(1001)[0],
    ]
    np.testing.assert_array_equal(truths[0].landmarks, truths[1].landmarks)
    assert overlap(truths[0].alpha, truths[1].alpha) > 0.97
    files = command.run(spec, str(tmp_path / "s.####.exr"), cycles=quick)
    plate = read_image(files[0]).part
    half = truths[1].rgb[..., 0].astype(np.float16)
    np.testing.assert_array_equal(plate.channels["R"], half)
    stored = json.loads((tmp_path / "s_shot.json").read_text(encoding="utf-8"))
    assert stored["renderer"]["name"] == "cycles"


@pytest.mark.host
@pytest.mark.timeout(900)
def test_assets_replace_hair_and_leave_the_skin_where_it_is(
    performer: Identity, quick: Cycles
) -> None:
    assets = os.environ.get(ASSETS_VARIABLE)
    if not assets:
        pytest.skip(f"NOT TESTED: ${ASSETS_VARIABLE} names no folder of MakeHuman assets")
    moment = Moment(SMILE, camera_on(performer, 96), studio_rig())
    bare = render_moments(performer, [moment], quick)[0]
    worn = render_moments(performer, [moment], quick.model_copy(update={"assets": assets}))[0]
    assert overlap(bare.mattes["lips"], worn.mattes["lips"]) > 0.9
    assert overlap(bare.mattes["hair"], worn.mattes["hair"]) < 0.9
    assert worn.mattes["brows"].sum() > 4
    np.testing.assert_array_equal(bare.landmarks, worn.landmarks)
