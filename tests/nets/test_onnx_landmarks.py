"""Somebody else's landmark network plugs in as ONNX, with its own crops, colours and points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vfxswap.align.crop import template
from vfxswap.align.localise import localise
from vfxswap.align.pose import View
from vfxswap.color import to_net
from vfxswap.errors import ModelError
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.io.landmark_import import import_landmarks
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.nets.onnx_landmarks import OWN, OnnxLandmarks

STUDIO = {"licence": "LicenseRef-Studio", "training_data": "own", "training_licence": "own"}
SIZE = 32


def network(path: Path, points: Any, *, confidence: bool = False, flat: bool = False) -> Path:
    """An ONNX file that gives `points` [N, 2] whatever it sees, plus the mean of its crop."""
    wanted = np.asarray(points, np.float32)
    shape = [1, wanted.size] if flat else [1, *wanted.shape]
    nodes = [
        helper.make_node("ReduceMean", ["crop"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["level"]),
        helper.make_node("Add", ["still", "level"], ["points"]),
        helper.make_node("Mul", ["level", "zero"], ["sure"]),
    ]
    first = [
        numpy_helper.from_array(wanted.reshape(shape), "still"),
        numpy_helper.from_array(np.array([-1] + [1] * (len(shape) - 1)), "column"),
        numpy_helper.from_array(
            np.zeros((1, len(wanted)) if not flat else (1,), np.float32), "zero"
        ),
    ]
    outputs = [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["B", *shape[1:]])]
    if confidence:
        outputs.append(helper.make_tensor_value_info("sure", TensorProto.FLOAT, ["B", None, None]))
    graph = helper.make_graph(
        nodes,
        "points",
        [helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["B", 3, SIZE, SIZE])],
        outputs,
        first,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def imported(folder: Path, file: Path, **settings: Any) -> OnnxLandmarks:
    made = import_landmarks(
        file, folder / "studio", settings={"input_px": SIZE, **settings}, **STUDIO
    )
    net = load_net(made.card, made.folder, device="cpu")
    assert isinstance(net, OnnxLandmarks)
    return net


def black(net: OnnxLandmarks) -> torch.Tensor:
    level = float(to_net(np.zeros(1, np.float32))[0])
    return torch.full((2, 3, net.SIZE, net.SIZE), level)


def test_points_come_back_in_pixels_of_the_crop(tmp_path: Path) -> None:
    given = np.random.default_rng(1).uniform(0, SIZE, (68, 2))
    net = imported(tmp_path, network(tmp_path / "a.onnx", given), share=1.2)
    assert pytest.approx(1.45) == net.SHARE
    found = net(black(net)).points[0, :68].numpy()
    step = 1.2 / 1.45 * net.SIZE / SIZE
    np.testing.assert_allclose(found, (given - SIZE / 2) * step + net.SIZE / 2, atol=0.02)


def test_wider_framing_than_ours_widens_the_crop(tmp_path: Path) -> None:
    net = imported(tmp_path, network(tmp_path / "a.onnx", np.full((68, 2), 16.0)), share=2.0)
    assert net.SHARE == 2.0
    found = net(black(net)).points[0, 0]
    torch.testing.assert_close(found, torch.full((2,), net.SIZE / 2), atol=0.02, rtol=0)


def test_what_it_lacks_is_our_own(tmp_path: Path) -> None:
    points = (*(OWN,) * 48, *range(20), OWN, OWN)
    file = network(tmp_path / "a.onnx", np.full((20, 2), 5.0), flat=True)
    net = imported(tmp_path, file, points=points)
    stored = find_model("landmarks-synthetic")
    own = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(own, LandmarkNet)
    crop = torch.rand(1, 3, net.SIZE, net.SIZE)
    ours = own(net._middle(crop, own.SHARE, own.SIZE))
    found = net(crop)
    wanted = net._back(ours.points, own.SHARE, own.SIZE)
    torch.testing.assert_close(found.points[:, :48], wanted[:, :48])
    torch.testing.assert_close(found.points[:, 68:], wanted[:, 68:])
    torch.testing.assert_close(found.score, ours.score)


def test_its_crops_are_srgb_scaled_and_shifted_as_asked(tmp_path: Path) -> None:
    # The network adds the mean of its crop to every point.
    file = network(tmp_path / "a.onnx", np.zeros((68, 2)))
    net = imported(tmp_path, file, scale=2.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    grey = float(to_net(np.full(1, 0.18, np.float32))[0])
    found = net(torch.full((1, 3, net.SIZE, net.SIZE), grey)).points[0, 0, 0]
    given = (float(found) - net.SIZE / 2) * SIZE / net.SIZE + SIZE / 2
    srgb = 1.055 * 0.18 ** (1 / 2.4) - 0.055
    assert given == pytest.approx((2 * srgb - 0.5) / 0.25, abs=0.02)


def test_its_confidence_counts(tmp_path: Path) -> None:
    file = network(tmp_path / "a.onnx", np.full((68, 2), 9.0), confidence=True)
    net = imported(tmp_path, file, confidence_output="sure")
    assert float(net(black(net)).confidence[:, :68].max()) == 0.0


def test_localisation_runs_on_it(tmp_path: Path) -> None:
    model = template(100)
    box = np.ptp(model[:68], axis=0).max()
    centre = (model[:68].min(0) + model[:68].max(0)) / 2
    given = (model[:68] - centre) / (1.45 * box) * SIZE + SIZE / 2
    net = imported(tmp_path, network(tmp_path / "a.onnx", given))
    level = float(to_net(np.zeros(1, np.float32))[0])
    view = View(torch.full((1, 3, 200, 200), level))
    start = Face(0, model + 50, np.ones(LANDMARK_COUNT), 1.0)
    found = localise(view, start, net, beta=0.0)
    np.testing.assert_allclose(found.points[:68], start.points[:68], atol=0.3)


def test_what_cannot_work_is_a_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a network")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (junk, {}, "cannot be loaded"),
        (tmp_path / "none.onnx", {}, "cannot be read"),
        (network(tmp_path / "few.onnx", np.zeros((5, 2))), {}, "too few points.*5.*68"),
        (network(tmp_path / "a.onnx", np.zeros((68, 2))), {"input_px": 16}, "failed"),
        (tmp_path / "a.onnx", {"points_output": "xy"}, "no such output"),
        (tmp_path / "a.onnx", {"colour": "srgb"}, "colour"),
    ]
    for file, settings, says in cases:
        with pytest.raises(ModelError, match=says):
            imported(tmp_path, file, **settings)
        assert not (tmp_path / "studio").exists()
