"""Acting: facial actions, gaze and head pose, as single states and as curves over a shot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vfxswap.synth.head import FACIAL_ACTIONS

Array = NDArray[np.float64]
INDEX = {name: i for i, name in enumerate(FACIAL_ACTIONS)}


@dataclass(frozen=True, eq=False)
class State:
    """One moment. `actions` [52] in 0…1, in the order of `FACIAL_ACTIONS`.

    Angles in radians: yaw > 0 turns to the subject's left (image right), pitch > 0 nods down,
    roll > 0 tilts to image right; gaze likewise, relative to the head. `shift_m` [3] moves the
    head (x image right, y away from the camera, z up).
    """

    actions: Array = field(default_factory=lambda: np.zeros(len(FACIAL_ACTIONS)))
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def posed(self, yaw: float, pitch: float, roll: float) -> State:
        """The same acting with another head pose."""
        return replace(self, yaw=yaw, pitch=pitch, roll=roll)

    @property
    def rotation(self) -> Array:
        """[3, 3] head rotation; roll acts last, in the image plane."""
        return rotation(self.yaw, self.pitch, self.roll)


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """[3, 3] rotation of the head's axes: yaw about Z, then pitch about X, then roll about Y."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    nod = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    tilt = np.array([[cr, 0.0, sr], [0.0, 1.0, 0.0], [-sr, 0.0, cr]])
    return np.asarray(tilt @ nod @ turn)


def actions(**values: float) -> Array:
    """[52] vector from names; a name without Left/Right sets both sides."""
    out = np.zeros(len(FACIAL_ACTIONS))
    for name, value in values.items():
        names = [name] if name in INDEX else [f"{name}Left", f"{name}Right"]
        for each in names:
            out[INDEX[each]] = value
    return out


def random_expression(rng: np.random.Generator, *, amount: float = 1.0) -> State:
    """A random face: neutral one time in eight, else a mixture; gaze always varies.

    The head pose is left straight. `amount` scales all actions but blinks and gaze.
    """
    e = np.zeros(len(FACIAL_ACTIONS))

    def pick(chance: float, high: float = 1.0) -> float:
        on, value = rng.random() < chance, rng.uniform(0, high)
        return float(value) if on else 0.0

    def put(name: str, value: float, uneven: float = 0.1) -> None:
        if name in INDEX:
            e[INDEX[name]] = value
            return
        e[INDEX[f"{name}Left"]] = value
        e[INDEX[f"{name}Right"]] = np.clip(value + (value > 0) * rng.normal(0, uneven), 0, 1)

    if rng.random() > 0.12:
        put("jawOpen", pick(0.5, 0.85))
        smile = pick(0.42)
        put("mouthSmile", smile)
        put("cheekSquint", 0.6 * smile)
        if smile < 0.2:
            put("mouthFrown", pick(0.3, 0.9))
        for name, chance, high in (
            ("mouthFunnel", 0.15, 0.8), ("mouthPucker", 0.22, 1.0), ("mouthUpperUp", 0.25, 0.8),
            ("mouthLowerDown", 0.25, 0.8), ("mouthStretch", 0.2, 0.8), ("mouthPress", 0.15, 0.7),
            ("mouthDimple", 0.15, 0.6), ("noseSneer", 0.2, 0.8), ("eyeSquint", 0.3, 0.8),
            ("eyeWide", 0.15, 0.9), ("browDown", 0.3, 1.0), ("browInnerUp", 0.3, 1.0),
            ("mouthRollLower", 0.1, 0.8), ("mouthRollUpper", 0.1, 0.8),
            ("mouthShrugLower", 0.15, 0.8), ("cheekPuff", 0.08, 0.8), ("mouthLeft", 0.1, 0.8),
            ("mouthRight", 0.1, 0.8), ("jawLeft", 0.08, 0.8), ("jawRight", 0.08, 0.8),
            ("jawForward", 0.05, 0.8),
        ):  # fmt: skip
            put(name, pick(chance, high))
        put("browOuterUp", pick(0.3), 0.2)
        e *= amount
        kind = rng.random()
        blink = 1.0 if kind < 0.09 else float(rng.uniform(0, 0.55)) if kind < 0.4 else 0.0
        e[INDEX["eyeBlinkLeft"]] = blink
        e[INDEX["eyeBlinkRight"]] = blink if rng.random() < 0.93 else 0.0
        if blink > 0.3:
            e[INDEX["eyeWideLeft"]] = e[INDEX["eyeWideRight"]] = 0.0
    yaw, pitch = rng.normal(0, [0.24, 0.14])
    return State(e, float(np.clip(yaw, -0.6, 0.6)), float(np.clip(pitch, -0.35, 0.35)))


def with_gaze(state: State) -> Array:
    """Actions [52] with the lids following the gaze (the eyeballs turn by their angles)."""
    e = state.actions.copy()
    left, down = state.gaze_yaw / 0.55, state.gaze_pitch / 0.40
    for name, value in (
        ("eyeLookOutLeft", left), ("eyeLookInRight", left), ("eyeLookInLeft", -left),
        ("eyeLookOutRight", -left), ("eyeLookDownLeft", down), ("eyeLookDownRight", down),
        ("eyeLookUpLeft", -down), ("eyeLookUpRight", -down),
    ):  # fmt: skip
        e[INDEX[name]] = np.clip(e[INDEX[name]] + max(0.0, value), 0.0, 1.0)
    return e
