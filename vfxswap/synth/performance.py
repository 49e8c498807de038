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
    head (x image right, y away from the camera, z up); `stand_m` moves the whole performer.
    """

    actions: Array = field(default_factory=lambda: np.zeros(len(FACIAL_ACTIONS)))
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stand_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

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


SINGLE: tuple[dict[str, float], ...] = (
    {"mouthPucker": 1.0},
    {"mouthFunnel": 0.9},
    {"mouthSmile": 1.0, "cheekSquint": 0.6},
    {"mouthFrown": 0.9},
    {"mouthStretch": 0.8},
    {"mouthUpperUp": 0.8, "noseSneer": 0.8},
    {"jawOpen": 0.85},
    {"browInnerUp": 1.0, "browOuterUp": 0.9},
    {"browInnerUp": 1.0, "browOuterUp": 0.8, "eyeWide": 0.8},
    {"browDown": 1.0},
    {"eyeBlink": 1.0},
    {"eyeSquint": 0.8},
    {},
)
"""Actions that are read as one; the last is gaze alone."""


def single_expression(rng: np.random.Generator) -> State:
    """One of `SINGLE` at 0.4…1 of its strength on a face that does nothing else but look about.

    A mixture hides its parts: what a pucker alone looks like is rare in `random_expression`.
    """
    chosen = SINGLE[rng.integers(len(SINGLE))]
    strength = float(rng.uniform(0.4, 1.0))
    yaw, pitch = rng.uniform([-0.55, -0.3], [0.55, 0.3]) if not chosen else rng.normal(0, 0.05, 2)
    e = actions(**{name: strength * value for name, value in chosen.items()})
    return State(e, float(yaw), float(pitch))


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


@dataclass(frozen=True, eq=False)
class _Curve:
    """Values [K, C] at times [K] in seconds, joined by monotone ease-in/ease-out steps."""

    times: Array
    values: Array

    def at(self, time: float) -> Array:
        i = int(np.clip(np.searchsorted(self.times, time) - 1, 0, len(self.times) - 2))
        t = np.clip((time - self.times[i]) / (self.times[i + 1] - self.times[i]), 0.0, 1.0)
        t = t * t * (3.0 - 2.0 * t)
        return np.asarray(self.values[i] * (1 - t) + self.values[i + 1] * t)


class Performance:
    """A performer acting over a shot: speech, smiles, brows, blinks, glances, head motion.

    Deterministic by `seed`; smooth in time, so fractional frames (motion blur, slow motion) may
    be asked for. `energy` scales expressions and head motion alike; frame 0 is the first.
    """

    def __init__(self, seed: int, frames: int, *, fps: float = 24.0, energy: float = 1.0) -> None:
        if frames < 1 or fps <= 0:
            raise ValueError(f"{frames} frames at {fps} a second")
        self.frames, self.fps = frames, fps
        rng = np.random.default_rng([12, seed])
        # A second of lead-in and lead-out keeps every curve defined beyond both ends.
        start, end = -1.0, frames / fps + 1.0
        self._head = _keys(rng, start, end, (0.5, 1.4), [0.20, 0.09, 0.06], energy)
        self._lean = _keys(rng, start, end, (1.0, 2.5), [0.008, 0.008, 0.005], energy)
        self._moods = [
            (
                actions(**mood),
                _pulses(rng, start, end, every, (0.25, 0.6), (0.5, 1.6), high * energy),
            )
            for mood, every, high in MOODS
        ]
        self._speech = _speech(rng, start, end, energy)
        self._blinks = _pulses(rng, start, end, 2.6, (0.07, 0.12), (0.0, 0.04), 1.0)
        self._gaze = _glances(rng, start, end)
        self._drift = rng.uniform(0, 2 * np.pi, 3)

    def at(self, frame: float) -> State:
        """The state at a frame, which may be fractional."""
        time = frame / self.fps
        e = self._speech.at(time)
        for mood, curve in self._moods:
            e = e + mood * float(curve.at(time)[0])
        e = np.clip(e, 0.0, 1.0)
        blink = float(self._blinks.at(time)[0])
        for side in ("Left", "Right"):
            i = INDEX[f"eyeBlink{side}"]
            e[i] = max(e[i], blink)
        yaw, pitch, roll = self._head.at(time)
        sway = 0.012 * np.sin(2 * np.pi * np.array([0.31, 0.43, 0.27]) * time + self._drift)
        # Eyes stay on their target while the head turns, by about half.
        glance = self._gaze.at(time) - 0.5 * np.array([yaw, pitch])
        return State(
            actions=e,
            gaze_yaw=float(np.clip(glance[0], -0.55, 0.55)),
            gaze_pitch=float(np.clip(glance[1], -0.3, 0.3)),
            yaw=float(yaw + sway[0]),
            pitch=float(pitch + sway[1]),
            roll=float(roll + sway[2]),
            shift_m=tuple(float(v) for v in self._lean.at(time)),  # type: ignore[arg-type]
        )


MOODS: tuple[tuple[dict[str, float], float, float], ...] = (
    ({"mouthSmile": 0.85, "cheekSquint": 0.5, "mouthUpperUp": 0.2}, 3.5, 1.0),
    ({"browInnerUp": 0.8, "browOuterUp": 0.6, "eyeWide": 0.35}, 3.0, 0.9),
    ({"browDown": 0.8, "eyeSquint": 0.4, "noseSneer": 0.25}, 4.5, 0.9),
    ({"mouthPucker": 0.8, "mouthFunnel": 0.2}, 5.0, 0.9),
    ({"mouthFrown": 0.6, "mouthShrugLower": 0.4}, 6.0, 0.8),
    ({"mouthLeft": 0.5, "mouthDimpleLeft": 0.4}, 8.0, 0.8),
)
"""Actions of a mood, seconds between its onsets, and its highest weight."""

VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.55, "mouthLowerDown": 0.25},
    {"jawOpen": 0.30, "mouthStretch": 0.30, "mouthLowerDown": 0.2},
    {"jawOpen": 0.28, "mouthFunnel": 0.55},
    {"jawOpen": 0.12, "mouthPucker": 0.65},
    {"mouthPress": 0.45, "mouthRollLower": 0.35, "mouthRollUpper": 0.25},
    {"jawOpen": 0.10, "mouthRollLower": 0.45, "mouthUpperUp": 0.3},
    {"jawOpen": 0.18, "mouthUpperUp": 0.25, "mouthLowerDown": 0.3},
    {"jawOpen": 0.42, "mouthUpperUp": 0.15},
)
"""Mouth shapes of speech: ah, eh, oh, oo, m/b/p, f/v, s/t, uh."""


def _keys(
    rng: np.random.Generator,
    start: float,
    end: float,
    spacing: tuple[float, float],
    spread: list[float],
    energy: float,
) -> _Curve:
    times = [start]
    while times[-1] < end:
        times.append(times[-1] + rng.uniform(*spacing))
    values = np.clip(rng.normal(0, 1, (len(times), len(spread))), -2.2, 2.2)
    return _Curve(np.array(times), values * np.array(spread) * energy)


def _pulses(
    rng: np.random.Generator,
    start: float,
    end: float,
    every: float,
    rise: tuple[float, float],
    hold: tuple[float, float],
    high: float,
) -> _Curve:
    """0 with humps: rise, hold, fall; onsets `every` seconds apart on average."""
    times, values = [start], [0.0]
    while times[-1] < end:
        onset = times[-1] + 0.15 + rng.exponential(every)
        up, stay, down = rng.uniform(*rise), rng.uniform(*hold) + 1e-3, rng.uniform(*rise) * 1.4
        peak = high if high == 1.0 and rise[1] < 0.2 else high * rng.uniform(0.45, 1.0)
        times += [onset, onset + up, onset + up + stay, onset + up + stay + down]
        values += [0.0, peak, peak, 0.0]
    return _Curve(np.array(times), np.array(values)[:, None])


def _speech(rng: np.random.Generator, start: float, end: float, energy: float) -> _Curve:
    times, values = [start], [np.zeros(len(FACIAL_ACTIONS))]
    while times[-1] < end:
        loudness = rng.uniform(0.55, 1.15) * energy
        for _ in range(int(rng.integers(4, 14))):
            times.append(times[-1] + rng.uniform(0.10, 0.22))
            shape = actions(**VISEMES[int(rng.integers(len(VISEMES)))])
            values.append(shape * loudness * rng.uniform(0.6, 1.1))
        rest = times[-1] + rng.uniform(0.12, 0.2)
        times += [rest, rest + rng.uniform(0.2, 1.1)]
        values += [np.zeros(len(FACIAL_ACTIONS))] * 2
    return _Curve(np.array(times), np.clip(np.array(values), 0, 1))


def _glances(rng: np.random.Generator, start: float, end: float) -> _Curve:
    """Gaze held on targets, with saccades of about 60 ms between them."""
    times, values = [start], [np.zeros(2)]
    while times[-1] < end:
        target = rng.normal(0, [0.2, 0.08])
        leave = times[-1] + rng.uniform(0.3, 1.8)
        times += [leave, leave + rng.uniform(0.045, 0.08)]
        values += [values[-1], target]
    return _Curve(np.array(times), np.array(values))
