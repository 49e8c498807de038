"""Small footage of drawn faces, with tracks, and networks of no training to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from cartoon import drawn_face
from pydantic import BaseModel
from small_shot import write_models

from vfxswap.align.head import HeadPose, head_points
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import PlateIdentity, TrackerModel, Tracks, write_tracks
from vfxswap.io.weights import save_model
from vfxswap.nets.identity import IdentityNet, IdentitySettings
from vfxswap.nets.parsing import CLASSES, ParsingNet, ParsingSettings
from vfxswap.persona import Consent, ModelCard, Persona
from vfxswap.shot import format_frames

DISPLAY = Box(0, 0, 200, 150)
WINDOW = Box(-4, -3, 208, 156)
FRAMES = (1, 2, 3, 4, 5)
HERO = Persona(id="hero", synthetic=True)
CONSENT = Consent(
    granted_by="party-7",
    shows=("kestrel",),
    uses=("face_set",),
    expires=date(2999, 1, 1),
    document_sha256="ab" * 32,
)


def turned(yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Array:
    """[3, 3]: yaw to image right, then a nod down, then a tilt, in picture axes."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ yaw)


def face_at(
    x: float, y: float, *, px_a_mm: float = 0.45, yaw_deg: float = 0.0, pitch_deg: float = 0.0
) -> Array:
    """Landmarks [70, 2] of the mean head, its eyes' middle at (x, y)."""
    pose = HeadPose(turned(yaw_deg, pitch_deg), px_a_mm, np.array([x, y]))
    return pose.project(head_points())


def picture(faces: Sequence[Array], *, ground: float = 0.2, nan: Box | None = None) -> Image:
    """A plate with overscan in ACEScg with drawn faces, and broken pixels in `nan`."""
    y, x = np.mgrid[0 : WINDOW.height, 0 : WINDOW.width]
    linear = np.repeat((ground + 0.001 * x + 0.0005 * y)[..., None], 3, -1).astype(np.float32)
    for number, points in enumerate(faces):
        drawn_face(points - [WINDOW.x, WINDOW.y], linear, 0.3 + 0.25 * number)
    if nan is not None:
        linear[nan.slices_in(WINDOW)] = np.nan
    half = linear.astype(np.float16)
    part = Part(
        {c: np.ascontiguousarray(half[..., i]) for i, c in enumerate("RGB")},
        WINDOW,
        DISPLAY,
        metadata={"colorInteropID": "lin_ap1_scene"},
    )
    return Image((part,), ("R", "G", "B"))


def write_footage(
    folder: Path, faces: Mapping[int, Sequence[Array]], *, nan: Mapping[int, Box] | None = None
) -> tuple[str, Path]:
    """Plate and tracks of `faces` by frame, their ids in order; pattern and tracks file."""
    for frame, shown in faces.items():
        image = picture(shown, nan=(nan or {}).get(frame))
        write_image(folder / f"clip.{frame:04d}.exr", image)
    pattern = str(folder / "clip.####.exr")
    return pattern, write_clip_tracks(folder / "clip.tracks.json", pattern, faces)


def write_clip_tracks(file: Path, pattern: str, faces: Mapping[int, Sequence[Array]]) -> Path:
    """Tracks of `faces` by frame, ids in order."""
    seen = {
        frame: [Face(i, points, np.full(70, 0.9), 0.95) for i, points in enumerate(shown)]
        for frame, shown in faces.items()
    }
    identity = PlateIdentity.of(pattern, format_frames(faces), size=(DISPLAY.width, DISPLAY.height))
    write_tracks(file, Tracks.of(identity, {"": seen}, model=TrackerModel(name="by hand")))
    return file


def moving(frames: Sequence[int] = FRAMES) -> dict[int, list[Array]]:
    """One face that turns by 9 degrees a frame."""
    return {f: [face_at(90 + 2 * i, 60, yaw_deg=9 * i - 18)] for i, f in enumerate(frames)}


def write_face_models(folder: Path) -> Path:
    """Networks for $VFXSWAP_MODELS: landmarks that see nobody, parsing that sees skin everywhere,
    and looks by chance."""
    write_models(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parser = ParsingNet(ParsingSettings(width=4))
        looks = IdentityNet(IdentitySettings(width=4, length=8))
    with torch.no_grad():
        parser.parts.weight.zero_()
        assert parser.parts.bias is not None
        parser.parts.bias.zero_()
        parser.parts.bias[CLASSES.index("skin")] = 12
    _save(folder / "skin", "parsing", parser, parser.settings)
    _save(folder / "looks", "identity", looks, looks.settings)
    return folder


def _save(folder: Path, stage: str, net: torch.nn.Module, settings: BaseModel) -> None:
    card = ModelCard(
        name=folder.name,
        effect=stage,
        network=stage,
        network_settings=settings.model_dump(),
        licence="Apache-2.0",
        synthetic=True,
        training_data="none",
        training_licence="CC0-1.0",
        recipe="none: random weights",
    )
    save_model(folder, card, net.state_dict())
