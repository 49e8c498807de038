"""Whole synthetic shots as plates, with truth: landmarks, mattes, depth, other personas.

A frame depends on the shot's settings and its number alone. The same performance, camera, light,
occluders and grain can be rendered as any other persona: what a perfect swap would give.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vfxswap.geometry import Box
from vfxswap.image import Layer
from vfxswap.settings import Settings
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera, portrait_camera
from vfxswap.synth.head import Floats, head_asset
from vfxswap.synth.identity import Identity, persona
from vfxswap.synth.light import LightRig, direction, random_rig, studio_rig
from vfxswap.synth.mesh import NECK
from vfxswap.synth.occlude import draw_occluder, occlude, over
from vfxswap.synth.performance import Array, Performance, State
from vfxswap.synth.render import Truth, render

SPACE = "lin_rec709_scene"
"""Colour interop id of what is rendered: scene-linear, Rec.709 primaries."""
FACE_CENTRE = np.array([0.0, -0.11, 0.70])
LAMP_LEVEL = 14.0
SPACING_M = 0.30
"""Between performers who stand side by side."""
GLITTER = ((46, 35), (40, 31), (30, 27), (8, 57))
"""Glitter sits half-way between these landmarks: cheeks, nose, chin."""

Occluder = Literal["none", "hand", "microphone", "strands", "shape", "glasses"]


class ShotSpec(Settings):
    """A synthetic shot. Two shots of equal settings are equal bit for bit on one device."""

    personas: tuple[str, ...] = Field(
        default=("amber",), description="Performers, side by side: starters' names or numbers."
    )
    frames: int = Field(default=24, ge=1, description="Number of frames.")
    first_frame: int = Field(default=1001, description="Number of the first frame.")
    seed: int = Field(default=1, ge=0, description="Seed of acting, light, background and grain.")
    width: int = Field(default=512, ge=16, description="Display window, pixels.")
    height: int = Field(default=384, ge=16, description="Display window, pixels.")
    overscan_px: int = Field(default=0, ge=0, description="Data window beyond the display window.")
    pixel_aspect: float = Field(default=1.0, gt=0, description="Width over height of a pixel.")
    fps: float = Field(default=24.0, gt=0, description="Frames a second of the acting.")
    energy: float = Field(default=1.0, ge=0, description="How lively acting and head are.")
    framing_m: float = Field(default=0.34, gt=0, description="Height of the picture at the face.")
    distance_m: float = Field(default=1.2, gt=0.2, description="Camera to face.")
    light: Literal["studio", "random"] = Field(default="random", description="The rig.")
    exposure_stops: float = Field(default=0.0, description="Brightens everything.")
    occluder: Occluder = Field(default="none", description="What comes before the face.")
    highlights: bool = Field(default=False, description="A lamp in frame, glitter on the faces.")
    motion_samples: int = Field(default=1, ge=1, le=32, description="Time samples of motion blur.")
    shutter_deg: float = Field(default=180.0, ge=0, le=360, description="Shutter angle.")
    grain: float = Field(default=0.0, ge=0, description="Film grain, share of the level at 0.18.")
    samples: int = Field(default=2, ge=1, le=8, description="Side of the sample grid in a pixel.")
    texture_rows: int = Field(default=768, ge=96, le=3072, description="Rows of skin textures.")


class Renderer(Protocol):
    """Draws one performer over a background: Warp's `render` or Cycles' with their settings."""

    def __call__(
        self,
        identity: Identity,
        state: State,
        camera: Camera,
        rig: LightRig,
        *,
        background: Floats | None = None,
    ) -> Truth:
        """Scene-linear picture and truth over the camera's window."""


class Shot:
    """Renders the frames of a `ShotSpec`, by Warp on `device` unless a renderer is given."""

    def __init__(
        self, spec: ShotSpec, *, device: str = "cpu", renderer: Renderer | None = None
    ) -> None:
        self.spec = spec
        self.render = renderer or partial(render, samples=spec.samples, device=device)

    @cached_property
    def camera(self) -> Camera:
        """The static camera; its window is the data window."""
        s = self.spec
        return portrait_camera(
            FACE_CENTRE,
            size=(s.height, s.width),
            height_m=s.framing_m,
            distance_m=s.distance_m,
            overscan_px=s.overscan_px,
            pixel_aspect=s.pixel_aspect,
        )

    @property
    def display_window(self) -> Box:
        """Where the picture is shown; overscan lies outside."""
        return Box(0, 0, self.spec.width, self.spec.height)

    @cached_property
    def background(self) -> Floats:
        """[H, W, 3] behind the performers, with a lamp where highlights are asked for."""
        window, s = self.camera.window, self.spec
        picture = random_background(
            np.random.default_rng([20, s.seed]), window.height, window.width
        )
        picture = np.asarray(np.minimum(picture, 1.0) * 0.6, np.float32)
        if s.highlights:
            rng = np.random.default_rng([21, s.seed])
            side = -1.0 if rng.random() < 0.5 else 1.0
            y, x = np.mgrid[0 : window.height, 0 : window.width] + 0.5
            cx, cy = window.width * (0.5 + 0.4 * side), window.height * rng.uniform(0.08, 0.3)
            away = np.hypot((x - cx) * s.pixel_aspect, y - cy) / (0.045 * s.height)
            lamp = np.clip(1.5 - away, 0, 1) + 0.04 * np.exp(-(away**2) / 18)
            glow = (LAMP_LEVEL * lamp)[..., None] * np.array([1.0, 0.9, 0.75])
            picture = picture + glow.astype(np.float32)
        return np.asarray(picture * 2.0**s.exposure_stops, np.float32)

    def rig(self, frame: float) -> LightRig:
        """The light; a random rig's key wanders slowly."""
        s = self.spec
        if s.light == "studio":
            return studio_rig().scaled(2.0**s.exposure_stops)
        rng = np.random.default_rng([22, s.seed])
        rig = random_rig(rng, mild=True)
        azimuth, elevation, phase = rng.uniform([-0.9, 0.1, 0], [0.9, 0.8, 2 * np.pi])
        turn = 0.25 * np.sin(2 * np.pi * 0.12 * frame / s.fps + phase)
        glint = 4.0 if s.highlights else 1.0
        rig = replace(rig, key_direction=direction(azimuth + turn, elevation), glint=glint)
        return rig.scaled(2.0**s.exposure_stops)

    def state(self, frame: float, performer: int = 0) -> State:
        """The acting at a frame number, fractional for motion blur."""
        state = _performance(self.spec, performer).at(frame - self.spec.first_frame)
        count = len(self.spec.personas)
        offset = (performer - (count - 1) / 2) * SPACING_M
        return replace(state, stand_m=(offset, 0.0, 0.0))

    def frame(
        self, frame: int, *, cast: tuple[str, ...] | None = None, grain: bool = True
    ) -> tuple[Truth, ...]:
        """One `Truth` per performer. The picture, the same in all of them, shows all performers;
        mattes, depth and landmarks are each performer's own (without what others hide).

        `cast` replaces the personas (as many); `grain` False leaves the grain away.
        """
        s = self.spec
        names = s.personas if cast is None else cast
        if len(names) != len(s.personas):
            raise ValueError(f"{len(names)} personas for {len(s.personas)} performers")
        cast_now = [persona(n, texture_rows=s.texture_rows) for n in names]
        shutter = s.shutter_deg / 360.0
        count = s.motion_samples
        offsets = (np.arange(count) + 0.5) / count * shutter - shutter / 2 if count > 1 else [0.0]
        moments = [self._moment(frame + float(o), cast_now) for o in offsets]
        truths = moments[0] if count == 1 else _averaged(moments, self._moment(frame, cast_now))
        if grain and s.grain > 0:
            grainy = add_grain(truths[0].rgb, s.grain, seed=s.seed, frame=frame)
            truths = tuple(replace(t, rgb=grainy) for t in truths)
        return truths

    def _moment(self, frame: float, cast: list[Identity]) -> tuple[Truth, ...]:
        s, camera, rig = self.spec, self.camera, self.rig(frame)
        picture = self.background
        truths: list[Truth] = []
        for i, identity in enumerate(cast):
            state = self.state(frame, i)
            truth = self.render(identity, state, camera, rig, background=picture)
            rng = np.random.default_rng([23, s.seed, i])
            truth = occlude(
                rng, truth, camera, rig, glasses=s.occluder == "glasses", occluder=False
            )
            if s.highlights:
                truth = replace(truth, rgb=self._glitter(truth, frame, i))
            picture = truth.rgb
            # Performers stand side by side; where they overlap the later one is in front.
            truths = [over(t, truth.alpha) for t in truths]
            truths.append(truth)
        if s.occluder not in ("none", "glasses"):
            color, cover = self._occluder(frame, rig)
            picture = picture * (1 - cover[..., None]) + color * cover[..., None]
            truths = [over(t, cover, as_occluder=True) for t in truths]
        return tuple(replace(t, rgb=np.asarray(picture, np.float32)) for t in truths)

    def _occluder(self, frame: float, rig: LightRig) -> tuple[Floats, Floats]:
        """The occluder is drawn once and moved: across the face and back, or hardly at all."""
        s, window = self.spec, self.camera.window
        rng = np.random.default_rng([24, s.seed])
        anchor = self.camera.project(_template_points(State()))[:, :2]
        anchor = anchor - [window.x, window.y]
        color, cover = draw_occluder(
            rng, s.occluder, anchor, (window.height, window.width), rig, s.pixel_aspect
        )
        side = float(np.ptp(anchor[:68, 1]))
        phase = rng.uniform(0, 2 * np.pi)
        still = 0.12 if s.occluder in ("microphone", "strands") else 0.9
        t = 2 * np.pi * 0.35 * (frame - s.first_frame) / s.fps + phase
        move = side * still * np.array([np.sin(t), 0.4 * np.sin(0.7 * t + 1)])
        matrix = np.array([[1, 0, move[0] / s.pixel_aspect], [0, 1, move[1]]])
        size = (window.width, window.height)
        return (
            np.asarray(cv2.warpAffine(color, matrix, size, borderMode=cv2.BORDER_REPLICATE)),
            np.asarray(cv2.warpAffine(cover, matrix, size)),
        )

    def _glitter(self, truth: Truth, frame: float, performer: int) -> Floats:
        """Points of light on the skin, far above 1, twinkling as the head turns."""
        rgb, s = truth.rgb.copy(), self.spec
        window = self.camera.window
        state = self.state(frame, performer)
        points = truth.landmarks - [window.x, window.y]
        for k, (a, b) in enumerate(GLITTER):
            if not (truth.visible[a] or truth.visible[b]):
                continue
            x, y = (points[a] + points[b]) / 2
            twinkle = 0.55 + 0.45 * np.sin(40 * (state.yaw + state.pitch) + 2.1 * k)
            level = (14.0 + 18.0 * twinkle) * 2.0**s.exposure_stops
            radius = max(0.7, 0.0018 * s.height)
            reach = int(np.ceil(4 * radius))
            x0, y0 = int(x) - reach, int(y) - reach
            box = Box(x0, y0, 2 * reach + 1, 2 * reach + 1).intersection(
                Box(0, 0, window.width, window.height)
            )
            if box.empty:
                continue
            v, u = np.mgrid[box.y : box.bottom, box.x : box.right] + 0.5
            spot = np.exp(-(((u - x) * s.pixel_aspect) ** 2 + (v - y) ** 2) / radius**2)
            rgb[box.y : box.bottom, box.x : box.right] += (level * spot)[..., None]
        return np.asarray(rgb, np.float32)


@lru_cache(maxsize=8)
def _performance(spec: ShotSpec, performer: int) -> Performance:
    return Performance(spec.seed * 16 + performer, spec.frames, fps=spec.fps, energy=spec.energy)


def _template_points(state: State) -> Array:
    """Landmarks [70, 3] of the mean head; occluders go by them, so they fit every persona."""
    asset = head_asset()
    points = asset.template[asset.landmarks].astype(np.float64)
    pupils = [asset.template[e].mean(0) for e in reversed(asset.eyes)]
    points = np.concatenate([points, np.stack(pupils)])
    return np.asarray((points - NECK) @ state.rotation.T + NECK + np.array(state.shift_m))


def _averaged(moments: list[tuple[Truth, ...]], middle: tuple[Truth, ...]) -> tuple[Truth, ...]:
    """Picture and mattes averaged over the shutter; depth and landmarks of its middle."""
    out = []
    for i, centre in enumerate(middle):
        samples = [m[i] for m in moments]
        out.append(
            replace(
                centre,
                rgb=_mean([t.rgb for t in samples]),
                alpha=_mean([t.alpha for t in samples]),
                face_matte=_mean([t.face_matte for t in samples]),
                mattes={k: _mean([t.mattes[k] for t in samples]) for k in centre.mattes},
            )
        )
    return tuple(out)


def _mean(images: list[Floats]) -> Floats:
    return np.asarray(np.mean(images, axis=0, dtype=np.float64), np.float32)


def add_grain(rgb: Floats, amount: float, *, seed: int, frame: int) -> Floats:
    """Film-like grain on scene-linear [H, W, 3]: soft, mostly neutral, growing as the square root
    of the level, with standard deviation `amount` times the level at 0.18. Values may go below 0.
    """
    rng = np.random.default_rng([25, seed, frame])
    shared = rng.standard_normal((*rgb.shape[:2], 1)).astype(np.float32)
    own = rng.standard_normal(rgb.shape).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(0.8 * shared + 0.6 * own, (0, 0), 0.55), np.float32)
    noise = noise / noise.std()
    level = np.sqrt(np.maximum(rgb, 0.0) * 0.18 + 1e-4)
    return np.asarray(rgb + noise * level * amount, np.float32)


def truth_layers(truth: Truth) -> tuple[Layer, ...]:
    """Truth of one performer as named layers: face, parts, surroundings, depth (metres, 0 where
    nothing stands)."""
    mattes = truth.mattes
    depth = np.where(np.isfinite(truth.depth), truth.depth, 0.0).astype(np.float32)

    def layer(name: str, **planes: NDArray[Any]) -> Layer:
        pixels = np.stack(list(planes.values()), -1).astype(np.float32)
        return Layer(name, tuple(planes), pixels, "matte")

    return (
        layer("truth_face", face=truth.face_matte, skin=mattes["skin"], brows=mattes["brows"],
              lips=mattes["lips"]),
        layer("truth_parts", eyes=mattes["eyes"], mouth=mattes["mouth"], ears=mattes["ears"],
              hair=mattes["hair"]),
        layer("truth_other", body=mattes["body"], glasses=mattes["glasses"],
              occluder=mattes["occluder"], alpha=truth.alpha),
        Layer("truth_depth", ("metres",), depth[..., None], "data"),
    )  # fmt: skip
