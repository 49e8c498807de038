"""The second renderer of synthetic performers: Cycles, in a Python of its own that has `bpy`.

The engine writes the posed performer to a folder (`cycles_export`), another process renders it
(`cycles_scene`), and pixels and truth are read back. Skin, eyeballs, teeth and tongue stand where
the Warp renderer has them, so landmarks are the same; mattes, alpha and depth are rendered by
Cycles itself, since hair differs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vfxswap.errors import JobError, VfxSwapError
from vfxswap.io.exr import read_image
from vfxswap.settings import Settings
from vfxswap.synth.camera import Camera
from vfxswap.synth.cycles_export import Moment, export
from vfxswap.synth.cycles_truth import DEPTH, FACE, PARTS
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import LightRig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import State
from vfxswap.synth.render import LANDMARK_BEHIND_M, MATTES, Truth

PYTHON_VARIABLE = "VFXSWAP_BPY_PYTHON"
SCRIPT = Path(__file__).with_name("cycles_scene.py")
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TEMP", "LANG", "LC_ALL")
TRUTH_PASSES = 3
CAMERAS_AGREE_PX = 0.05


class Cycles(Settings):
    """How Cycles renders, and where it is."""

    python: str = Field(
        default="", description=f"Python that has bpy; without it ${PYTHON_VARIABLE}."
    )
    samples: int = Field(default=16, ge=1, description="Light paths in a pixel.")
    truth_samples: int = Field(default=16, ge=1, description="Samples in a pixel of the mattes.")
    denoise: bool = Field(default=True, description="Remove the noise that few samples leave.")
    seed: int = Field(default=0, ge=0, description="Of the light paths.")
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 takes all cores.")
    assets: str = Field(
        default="", description="Folder of MakeHuman hair, brows, lashes and teeth; may be empty."
    )
    hair: str = Field(default="", description="A hair of that folder; by the performer if empty.")
    start_timeout_s: float = Field(
        default=120, gt=0, description="Time to start.", json_schema_extra={"unit": "s"}
    )
    picture_timeout_s: float = Field(
        default=300, gt=0, description="Time for a picture.", json_schema_extra={"unit": "s"}
    )

    def described(self) -> dict[str, object]:
        """What the pictures depend on, without this machine's paths and limits."""
        used = {"samples", "truth_samples", "denoise", "seed", "hair"}
        return {**self.model_dump(include=used), "assets": bool(self.assets)}


def chosen_renderer(name: str, *, assets: Path | None, samples: int) -> Cycles | None:
    """Settings of Cycles for a renderer's name, None for `warp`; `samples` is the side of a grid
    of samples in a pixel, of which Cycles takes four times as many: its light is noisy too.

    Raises JobError for another name, or for assets that nothing would wear.
    """
    if name == "cycles":
        grid = samples * samples
        return Cycles(
            samples=4 * grid, truth_samples=max(16, grid), assets=str(assets) if assets else ""
        )
    if name != "warp":
        raise JobError("unknown renderer", got=name, wanted="warp or cycles")
    if assets is not None:
        raise JobError("assets are worn in cycles alone", got="renderer warp")
    return None


def render(
    identity: Identity,
    state: State,
    camera: Camera,
    rig: LightRig,
    *,
    settings: Cycles | None = None,
    background: Floats | None = None,
) -> Truth:
    """One frame, as the Warp renderer's `render`; see `render_moments`."""
    moments = [Moment(state, camera, rig, background)]
    return render_moments(identity, moments, settings or Cycles())[0]


def render_moments(identity: Identity, moments: Sequence[Moment], settings: Cycles) -> list[Truth]:
    """Pictures of one performer by one process of Cycles, in the order of `moments`.

    The same arguments give the same bits on one machine. Depth is a mean over what covers a
    pixel. Raises JobError when no Python with bpy is named or assets are wrong, VfxSwapError
    when rendering fails or takes too long.
    """
    python = bpy_python(settings)
    with tempfile.TemporaryDirectory(prefix="vfxswap-cycles-") as name:
        folder = Path(name)
        export(
            folder,
            identity,
            moments,
            samples=settings.samples,
            truth_samples=settings.truth_samples,
            denoise=settings.denoise,
            threads=settings.threads,
            seed=settings.seed,
            assets=Path(settings.assets) if settings.assets else None,
            hair=settings.hair,
        )
        limit = settings.start_timeout_s + settings.picture_timeout_s * len(moments)
        run_script(python, SCRIPT, folder, timeout_s=limit)
        return [read_back(folder, i, identity, moment) for i, moment in enumerate(moments)]


def bpy_python(settings: Cycles) -> str:
    """The Python to run Blender's module in. Raises JobError when none is named or it is absent."""
    named = settings.python or os.environ.get(PYTHON_VARIABLE, "")
    if not named:
        raise JobError(
            "Cycles needs a Python of its own with bpy",
            wanted=f"the setting python or ${PYTHON_VARIABLE}",
        )
    found = shutil.which(named)
    if found is None:
        raise JobError("no such Python for Cycles", got=named, wanted="an executable with bpy")
    return found


def run_script(python: str, script: Path, folder: Path, *, timeout_s: float) -> None:
    """Runs a scene script over a folder: isolated from the caller's Python variables and user
    site, with Blender's user files in the folder, killed with its children after `timeout_s`.

    Raises JobError when that Python has no bpy, VfxSwapError when the script fails or is late.
    """
    environment = {k: os.environ[k] for k in KEPT_VARIABLES if k in os.environ}
    environment["BLENDER_USER_RESOURCES"] = str(folder / "blender")
    command = [python, "-I", "-B", str(script), str(folder)]
    log = folder / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise VfxSwapError(
                "Cycles did not finish in time", got=f"over {timeout_s:g} s", file=python
            ) from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    if "No module named 'bpy'" in text:
        raise JobError("this Python has no bpy", wanted="pip install bpy==4.5.*", file=python)
    if code != 0 or not (folder / "result.json").exists():
        raise VfxSwapError("Cycles failed", got=_reason(text) or f"exit {code}", file=python)


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return (told or lines or [""])[-1][:300]


def read_back(folder: Path, index: int, identity: Identity, moment: Moment) -> Truth:
    """What the script wrote of one moment. Raises VfxSwapError when cameras disagree, PlateError
    when a picture is missing or damaged."""
    told: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    frame = told["frames"][index]
    camera, window = moment.camera, moment.camera.window
    points = camera.project(pose(identity, moment.state).landmarks)
    seen = np.array(frame["landmarks"], np.float64) + np.array([window.x, window.y])
    apart = float(np.abs(seen - points[:, :2]).max())
    if not apart < CAMERAS_AGREE_PX:
        raise VfxSwapError("Blender's camera is another one", got=f"landmarks {apart:.3f} px off")
    beauty = _pixels(folder / f"{frame['name']}-beauty.exr")
    passes = [_pixels(folder / f"{frame['name']}-truth{k}.exr") for k in range(TRUTH_PASSES)]
    values = np.concatenate([p[..., :3] for p in passes], -1)
    cover = np.clip(passes[0][..., 3], 0.0, 1.0)
    parts = np.maximum(values[..., : len(PARTS)], 0.0)
    parts *= np.minimum(1.0, cover / np.maximum(parts.sum(-1), 1e-9))[..., None]
    mattes = {name: np.zeros(cover.shape, np.float32) for name in MATTES}
    mattes |= {name: parts[..., i] for i, name in enumerate(PARTS)}
    mattes["skin"] = np.maximum(cover - parts.sum(-1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(cover > 0, values[..., DEPTH] / cover, np.inf).astype(np.float32)
    rgb = beauty[..., :3]
    if moment.background is not None:
        rgb = rgb + moment.background * (1 - cover)[..., None]
    return Truth(
        rgb=np.asarray(rgb, np.float32),
        alpha=cover,
        depth=depth,
        mattes=mattes,
        face_matte=np.clip(values[..., FACE], 0.0, cover),
        landmarks=points[:, :2],
        visible=_visible(points, np.array(frame["front_m"]), mattes["hair"], camera),
    )


def _pixels(file: Path) -> Floats:
    part = read_image(file).part
    return np.stack([part.channels[c].astype(np.float32) for c in "RGBA"], -1)


def _visible(
    points: NDArray[np.float64], front_m: NDArray[np.float64], hair: Floats, camera: Camera
) -> NDArray[np.bool_]:
    """In the window, not behind skin, and not in a pixel that is mostly hair."""
    window = camera.window
    column = np.floor(points[:, 0]).astype(int) - window.x
    row = np.floor(points[:, 1]).astype(int) - window.y
    inside = (column >= 0) & (row >= 0) & (column < window.width) & (row < window.height)
    bare = np.zeros(len(points), bool)
    bare[inside] = hair[row[inside], column[inside]] < 0.5
    return np.asarray(bare & (points[:, 2] < front_m + LANDMARK_BEHIND_M))
