"""One synthetic performer from several camera angles, as plates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import portrait_camera
from vfxswap.synth.identity import persona
from vfxswap.synth.light import studio_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import State
from vfxswap.synth.render import render
from vfxswap.synth.shot import SPACE

SIZE = 768


def render_angles(
    name: str,
    yaws_deg: Sequence[float],
    folder: Path,
    *,
    size: int = SIZE,
) -> tuple[Path, ...]:
    """Writes performer `name` (see `identity.persona`) at rest, the head turned by each yaw to the
    picture's right, to `folder`/NAME_yaw+20.exr: scene-linear half EXR of Rec.709 primaries, `size`
    pixels square, one light for all. Raises JobError for unknown performers, OutputError."""
    performer = persona(name)
    window = Box(0, 0, size, size)
    background = 0.5 * np.minimum(random_background(np.random.default_rng([31]), size, size), 1)
    rig, written = studio_rig(), []
    folder.mkdir(parents=True, exist_ok=True)
    for yaw_deg in yaws_deg:
        state = State().posed(float(np.radians(yaw_deg)), 0.0, 0.0)
        middle = pose(performer, state).landmarks[:68].mean(0)
        camera = portrait_camera(middle, size=(size, size), height_m=0.34, distance_m=1.2)
        truth = render(performer, state, camera, rig, background=np.asarray(background, np.float32))
        half = truth.rgb.astype(np.float16)
        part = Part(
            channels={c: np.ascontiguousarray(half[..., i]) for i, c in enumerate("RGB")},
            data_window=window,
            display_window=window,
            metadata={"colorInteropID": SPACE, "vfxswap/synthetic": 1, "vfxswap/personas": name},
        )
        path = folder / f"{name}_yaw{yaw_deg:+g}.exr"
        write_image(path, Image(parts=(part,), rgb_names=("R", "G", "B"), color_space=SPACE))
        written.append(path)
    return tuple(written)
