"""Takes: the same performance, light and camera by every persona (and by a guest), as aligned
crops on disk for the training and the measuring of combs.

A comb that only ever saw its personas meets the performers of real plates for the first time on
the shot. So each take is also played by a guest, a random performer who is no persona.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import Field

from vfxswap.align.crop import apply, outline
from vfxswap.color import DEFAULT_CONFIG, ColorManager, to_net
from vfxswap.errors import CancelledError
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.matte import polygon_matte
from vfxswap.ops.warp import inverted, warp_affine
from vfxswap.settings import Settings
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera
from vfxswap.synth.crops import COMB_CROPS, face_camera, random_state, steady
from vfxswap.synth.identity import Identity, persona
from vfxswap.synth.light import random_rig, studio_rig
from vfxswap.synth.performance import Performance, State, actions, single_expression
from vfxswap.synth.render import Truth, render
from vfxswap.train.crops import (
    GUESTS,
    Crops,
    as_byte,
    joined,
    stored_matrix,
    stored_size,
    write_description,
    write_shard,
)

SHARD = 100
"""Takes in a shard."""
RENDER_SPACE = "Linear Rec.709 (sRGB)"
TIGHTNESS = 2.2
"""Side of the picture over the landmarks' box: covers the stored crop and its margin."""
PICTURE_SHARE = 1.2
"""Side of the picture over the stored crop's: a little finer than what is kept of it."""
TEXTURE_ROWS = 384
HIGHEST = 60000.0
SHOWN: dict[str, State] = {
    "neutral": State(),
    "smile": State(actions(mouthSmile=0.9, cheekSquint=0.5)),
    "pucker": State(actions(mouthPucker=1.0)),
    "jaw": State(actions(jawOpen=0.7)),
    "blink": State(actions(eyeBlink=1.0)),
    "gaze left": State(gaze_yaw=-0.45),
    "gaze right": State(gaze_yaw=0.45),
    "brows": State(actions(browInnerUp=0.9, browOuterUp=0.8, eyeWide=0.5)),
}
"""Expressions that a sheet has to show, by name; gaze as seen in the picture."""


class Takes(Settings):
    """What is played. A take depends on these settings and its number alone."""

    personas: tuple[str, ...] = Field(
        default=("amber", "basalt", "cedar"), description="Named starters, or performers' numbers."
    )
    count: int = Field(default=5000, ge=1, description="Performances.")
    seed: int = Field(default=1, ge=0, description="Of everything that varies.")
    crop_size: int = Field(
        default=64, ge=4, description="Side of the aligned crop.", json_schema_extra={"unit": "px"}
    )
    guests: int = Field(
        default=400, ge=0, description="Different guests, one a take in turn; 0 for none."
    )
    wild_light: float = Field(
        default=0.3, ge=0, le=1, description="Share of takes lit hard or from behind."
    )
    vary: Literal["all", "expression", "shot", "shown"] = Field(
        default="all",
        description="expression keeps the head straight, the camera and a studio light; shot plays "
        "one continuous performance, a frame a take; shown is the table of named expressions.",
    )
    steady_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of takes with a straight head in studio light: expression alone.",
    )
    single_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of takes with one facial action alone."
    )


def render_takes(
    folder: Path,
    takes: Takes,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders all takes into `folder`, shard by shard, keeping whole shards that are there.

    0 processes render in this one. Raises CancelledError after the shard in hand.
    """
    text = f"synthetic takes: {takes.model_dump_json()}"
    write_description(folder, crop_size=takes.crop_size, paired=True, text=text)
    shards = range((takes.count + SHARD - 1) // SHARD)
    orders = [(folder, takes, n) for n in shards if not _shard_file(folder, n).exists()]
    done = len(shards) - len(orders)
    if processes == 0:
        for order in orders:
            _render_shard(order)
            done += 1
            progress(done, len(shards))
            if stop():
                raise CancelledError("rendering of takes was stopped")
        return
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_one_thread) as pool:
        for _ in pool.imap_unordered(_render_shard, orders):
            done += 1
            progress(done, len(shards))
            if stop():
                raise CancelledError("rendering of takes was stopped")


def take(takes: Takes, number: int) -> dict[str, Crops]:
    """The stored crops [1, …] of one take by role: the personas and, if any, `guests`."""
    rng = np.random.default_rng([takes.seed, number])
    state = random_state(rng, COMB_CROPS)
    rig = random_rig(rng, mild=bool(rng.random() >= takes.wild_light))
    if takes.vary in ("shot", "shown"):
        return _staged(takes, number)
    # A draw of its own, so that all else of a take stays what it is without it.
    still = np.random.default_rng([takes.seed, number, 1]).random() < takes.steady_share
    if still or takes.vary == "expression":
        state, rig = steady(state), studio_rig()
    one = np.random.default_rng([takes.seed, number, 2])
    if one.random() < takes.single_share:
        alone = single_expression(one)
        state = replace(alone, yaw=state.yaw, pitch=state.pitch, roll=state.roll)
    distance = float(np.exp(rng.uniform(np.log(0.6), np.log(3.0))))
    performers = _performers(takes, number)
    camera = _camera(takes, performers[takes.personas[0]], state, distance)
    size = camera.window.width
    crops = {}
    for role, performer in performers.items():
        background = random_background(rng, size, size)
        truth = render(performer, state, camera, rig, background=background)
        crops[role] = stored(truth, takes.crop_size)
    return crops


def _staged(takes: Takes, number: int) -> dict[str, Crops]:
    """A frame of a shot: one camera, light and background, head and face moving as in life; or,
    for "shown", a named expression before a fixed camera in a studio light."""
    rng = np.random.default_rng([takes.seed, 2])
    performers = _performers(takes, number)
    first = performers[takes.personas[0]]
    rig, state = studio_rig(), State()
    if takes.vary == "shot":
        rig = random_rig(rng, mild=True)
        state = Performance(takes.seed, takes.count).at(number)
    elif number < len(SHOWN):
        state = list(SHOWN.values())[number]
    camera = _camera(takes, first, State(), 1.5)
    background = random_background(rng, camera.window.width, camera.window.width)
    return {
        role: stored(render(who, state, camera, rig, background=background), takes.crop_size)
        for role, who in performers.items()
    }


def _performers(takes: Takes, number: int) -> dict[str, Identity]:
    performers = {name: persona(name, texture_rows=TEXTURE_ROWS) for name in takes.personas}
    if takes.guests:
        performers[GUESTS] = _guest(takes, number)
    return performers


def _camera(takes: Takes, first: Identity, state: State, distance_m: float) -> Camera:
    size = round(stored_size(takes.crop_size) * PICTURE_SHARE / 8) * 8
    return face_camera(first, state, size, tightness=TIGHTNESS, distance_m=distance_m)


def stored(truth: Truth, crop_size: int) -> Crops:
    """One rendered face as a stored crop, aligned by its true landmarks."""
    side = stored_size(crop_size)
    matrix = stored_matrix(truth.landmarks, crop_size=crop_size)
    back = torch.from_numpy(inverted(matrix))[None]
    working = _colors().to_working(np.clip(truth.rgb, 0, HIGHEST), RENDER_SPACE)
    picture = np.concatenate([to_net(working), truth.face_matte[..., None]], -1)
    warped = warp_affine(to_tensor(picture), back, (side, side), border="clamp")
    points = apply(matrix, truth.landmarks)
    polygon = polygon_matte(outline(points), (side, side))
    return Crops(
        pixels=warped[:, :3].half(),
        polygon=as_byte(polygon),
        face=as_byte(warped[:, 3:]),
        points=torch.from_numpy(points).float()[None],
    )


@lru_cache(maxsize=1)
def _colors() -> ColorManager:
    # Opening a config takes longer than rendering a crop. The built-in one: what a starter is
    # trained on must not depend on the machine's $OCIO.
    return ColorManager(DEFAULT_CONFIG)


def _guest(takes: Takes, number: int) -> Identity:
    # Each guest plays neighbouring takes, so it is built once a stretch; seeds of starters and
    # of other trainings' performers lie elsewhere.
    each = max(1, takes.count // takes.guests)
    seed = 2_000_000 + takes.seed * 100_000 + number // each
    return persona(str(seed), texture_rows=TEXTURE_ROWS)


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"takes-{number:05d}.safetensors"


def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _render_shard(order: tuple[Path, Takes, int]) -> int:
    folder, takes, shard = order
    numbers = range(shard * SHARD, min((shard + 1) * SHARD, takes.count))
    played = [take(takes, number) for number in numbers]
    write_shard(
        _shard_file(folder, shard), {role: joined([t[role] for t in played]) for role in played[0]}
    )
    return shard
