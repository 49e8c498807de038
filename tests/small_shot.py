"""A small shot and two plain effects for tests of the loop around effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar, Self, cast

import numpy as np
import pytest
import torch
from pydantic import Field, JsonValue

from vfxswap import effects
from vfxswap.align.crop import template
from vfxswap.effects.base import EffectResult, Frame, Models, Prepared
from vfxswap.geometry import Box, Face
from vfxswap.image import Image, Layer, Part
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import PlateIdentity, TrackerModel, Tracks, write_tracks
from vfxswap.io.weights import save_model
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.nets.comb import Comb, CombSettings
from vfxswap.nets.landmark import LandmarkNet, LandmarkSettings
from vfxswap.persona import Consent, ModelCard, Persona
from vfxswap.settings import Settings
from vfxswap.shot import format_frames

DISPLAY = Box(0, 0, 48, 32)
DATA = Box(-2, -1, 52, 34)
"""Overscan of 2 and 1 pixels."""


class GainSettings(Settings):
    """Settings of the test's gain."""

    gain: float = Field(2.0, ge=0, le=100, description="Factor inside the ellipse.")
    radius_px: float = Field(
        8.0, ge=0, le=500, description="Radius.", json_schema_extra={"unit": "px"}
    )
    noise: float = Field(0.0, ge=0, le=1, description="Seeded noise added inside.")


class Gain:
    """A soft gain in a disc, with the layers that a real effect has."""

    name: ClassVar[str] = "gain"
    settings_type: ClassVar[type[Settings]] = GainSettings
    needs_faces: ClassVar[bool] = False

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        return cls()

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        return ()

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        return {}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        wanted = cast(GainSettings, settings)
        window = frame.data_window
        y, x = np.mgrid[0 : window.height, 0 : window.width] + 0.5
        cx = frame.display_window.width / 2 - window.x
        cy = frame.display_window.height / 2 - window.y
        distance = np.hypot(x - cx, y - cy)
        matte = np.clip(wanted.radius_px - distance, 0, 1).astype(np.float32)
        if "holdout" in frame.mattes:
            matte = matte * (1 - frame.mattes["holdout"])
        rng = np.random.default_rng(frame.seed)
        noise = wanted.noise * rng.random(frame.rgb.shape, np.float32)
        rgb = (frame.rgb * np.float32(wanted.gain) + noise).astype(np.float32)
        face = np.concatenate([rgb * matte[..., None], matte[..., None]], -1)
        face = np.where(matte[..., None] > 0, face, np.float32(0))
        layers = (
            Layer("gain_face", ("red", "green", "blue", "alpha"), face, "color", True),
            Layer("gain_matte", ("red",), matte[..., None], "matte"),
        )
        notes = () if matte.any() else ("nothing to do",)
        return EffectResult(rgb, matte, layers, notes)


@pytest.fixture
def gain_effect(monkeypatch: pytest.MonkeyPatch) -> type[Gain]:
    """Makes the test's effect known as "gain"."""
    monkeypatch.setitem(effects.EFFECTS, "gain", Gain)
    return Gain


def plate_image(frame: int, *, data: Box = DATA, display: Box = DISPLAY) -> Image:
    """Noise with negative and bright pixels, alpha, an id channel and float depth."""
    rng = np.random.default_rng(frame)
    shape = (data.height, data.width)
    rgb = rng.random((*shape, 3)) * 4 - 0.5
    rgb[3, 4] = 900.0
    channels = {name: rgb[..., i].astype(np.float16) for i, name in enumerate("RGB")}
    part = Part(
        channels={
            **channels,
            "A": rng.random(shape).astype(np.float16),
            "id": rng.integers(0, 2**32, shape, dtype=np.uint32),
            "Z": rng.random(shape, np.float32) * 1000,
        },
        data_window=data,
        display_window=display,
        metadata={"colorInteropID": "lin_ap1_scene", "camera": f"A{frame}"},
    )
    return Image((part,), ("R", "G", "B"), 0, "A")


def write_shot(folder: Path, frames: Iterable[int], *, data: Box = DATA) -> str:
    """Writes a plate and returns its pattern."""
    for frame in frames:
        write_image(folder / f"plate.{frame}.exr", plate_image(frame, data=data))
    return str(folder / "plate.#.exr")


def gain_job(folder: Path, frames: str = "1001-1004", **settings: JsonValue) -> Job:
    """A job with one gain over the plate in `folder`, into `folder`/out."""
    return Job(
        plate=Plate(pattern=str(folder / "plate.#.exr")),
        frames=frames,
        effects=(EffectSpec(effect="gain", settings=settings),),
        output=Output(pattern=str(folder / "out" / "comp.#.exr")),
    )


SYNTHETIC, CONSENTED, LAPSED = "alder", "rowan", "willow"
"""Personas of the test's comb: a synthetic one, and two with consents for the show `kestrel`, the
latter's expired."""


def write_models(folder: Path) -> Path:
    """A tiny comb of random weights and a landmark network that sees no face anywhere; returns
    the folder for $VFXSWAP_MODELS."""
    _write_blind_landmarks(folder / "blind")
    settings = CombSettings(personas=(SYNTHETIC, CONSENTED, LAPSED), level=2, width=0.02)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = Comb(settings)
    personas = (
        Persona(id=SYNTHETIC, synthetic=True, net_mean=(0.4, 0.35, 0.3)),
        Persona(id=CONSENTED, consent=_consent(date(2999, 1, 1)), net_mean=(0.4, 0.4, 0.4)),
        Persona(id=LAPSED, consent=_consent(date(2001, 1, 1)), net_mean=(0.4, 0.4, 0.4)),
    )
    card = ModelCard(
        name="tinycomb",
        effect="swap",
        network="comb",
        network_settings=settings.model_dump(exclude_none=True),
        crop_size=settings.crop_px,
        licence="Apache-2.0",
        synthetic=False,
        training_data="random numbers",
        training_licence="CC0-1.0",
        recipe="none: random weights",
        personas=personas,
    )
    save_model(folder / "tinycomb", card, net.state_dict())
    return folder


def _write_blind_landmarks(folder: Path) -> None:
    net = LandmarkNet(LandmarkSettings(width=4))
    with torch.no_grad():
        net.scanner.head.weight.zero_()
        assert net.scanner.head.bias is not None
        net.scanner.head.bias.fill_(-10)
    card = ModelCard(
        name=folder.name,
        effect="landmarks",
        network="landmark",
        network_settings=net.settings.model_dump(),
        licence="Apache-2.0",
        synthetic=True,
        training_data="none",
        training_licence="CC0-1.0",
        recipe="none: random weights",
    )
    save_model(folder, card, net.state_dict())


def write_face_tracks(path: Path, pattern: str, frames: Sequence[int]) -> Path:
    """Tracks with one upright face, a little further right on every frame."""
    faces = {}
    for index, frame in enumerate(frames):
        points = template(28) + np.array([10.0 + index, 2.0])
        faces[frame] = [Face(0, points, np.full(len(points), 0.9), 0.95)]
    identity = PlateIdentity.of(
        pattern, format_frames(frames), size=(DISPLAY.width, DISPLAY.height)
    )
    write_tracks(path, Tracks.of(identity, {"": faces}, model=TrackerModel(name="by hand")))
    return path


def _consent(expires: date) -> Consent:
    return Consent(
        granted_by="party-7",
        shows=("kestrel",),
        uses=("swap",),
        expires=expires,
        document_sha256="ab" * 32,
    )
