"""Synthetic performers by seed: shape, skin, eyes, hair. Deterministic; no real person's data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from vfxswap.errors import JobError
from vfxswap.geometry import STABLE
from vfxswap.synth.head import FACIAL_ACTIONS, Floats, head_asset
from vfxswap.synth.paint import Complexion, neck_color, paint_skin

STARTERS = {"amber": 49, "basalt": 35, "cedar": 39}
"""Seeds of the named performers that the shipped models know."""

_AGED = re.compile(r"(?P<performer>.+)-age(?P<percent>100|[1-9]?[0-9])")

HAIR_COLORS = np.array(
    [
        [0.012, 0.009, 0.008],
        [0.03, 0.018, 0.011],
        [0.07, 0.038, 0.02],
        [0.14, 0.075, 0.035],
        [0.30, 0.19, 0.09],
        [0.20, 0.07, 0.025],
    ]
)
GREY = np.array([0.32, 0.31, 0.30])
IRIS_COLORS = np.array(
    [
        [0.10, 0.05, 0.02],
        [0.05, 0.025, 0.012],
        [0.09, 0.15, 0.22],
        [0.15, 0.21, 0.25],
        [0.09, 0.13, 0.06],
        [0.17, 0.12, 0.05],
    ]
)


@dataclass(frozen=True)
class HairStyle:
    """Scalp shells and, for long hair, the helper geometry down to `cut_m` (template height)."""

    name: str
    height_m: float
    cover: float
    cut_m: float
    fine: float
    specular: float


@dataclass(frozen=True, eq=False)
class Identity:
    """One performer at one age. `vertices` [N, 3] in metres at rest, `texture` [H, W, 12].

    `resting` [52] is the face at rest (how far the lids hang); expressions add to it.
    """

    seed: int
    age: float
    vertices: Floats
    texture: Floats
    look: Complexion
    iris: Floats
    skin: Floats
    cloth: Floats
    hair: HairStyle
    resting: Floats
    pupil_rad: float
    sclera: float
    specular: float
    gloss: float
    brows_m: float = 0.0
    """How far above their vertices the brows' landmarks lie."""
    cache: dict[str, Any] = field(default_factory=dict, repr=False)
    """Device copies of the texture, kept by the renderer."""

    @classmethod
    def from_seed(cls, seed: int, *, age: float | None = None, texture_rows: int = 768) -> Identity:
        """The performer of a seed. `age` 0 (young adult) … 1 (old) overrides the seed's own.

        The same seed at another age keeps bone shape, colours and style and only ages.
        `texture_rows` trades detail for time (384 is enough up to 192 px).
        """
        rng = np.random.default_rng([7, seed])
        own_age = float(np.clip(rng.beta(1.2, 1.8), 0, 1))
        age = own_age if age is None else float(np.clip(age, 0.0, 1.0))
        traits = _Traits.draw(rng)
        vertices = _shape(rng, traits, age)
        look, hair = _look(np.random.default_rng([8, seed]), traits, age)
        rng = np.random.default_rng([9, seed])
        iris = IRIS_COLORS[rng.integers(2)] if look.tone > 2.6 or rng.random() < 0.45 else (
            IRIS_COLORS[rng.integers(len(IRIS_COLORS))]
        )  # fmt: skip
        resting = np.zeros(len(FACIAL_ACTIONS), np.float32)
        lids, corners = rng.uniform(0.05, 0.2), rng.uniform(0.04, 0.22)
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            resting[FACIAL_ACTIONS.index(name)] = lids
        for name in ("mouthSmileLeft", "mouthSmileRight"):
            resting[FACIAL_ACTIONS.index(name)] = corners
        texture = paint_skin(np.random.default_rng([10, seed]), look, texture_rows)
        return cls(
            seed=seed,
            age=age,
            vertices=vertices,
            texture=texture,
            look=look,
            iris=(iris * rng.uniform(0.8, 1.3)).astype(np.float32),
            skin=neck_color(texture),
            cloth=(rng.uniform(0.02, 0.45, 3) * rng.uniform(0.3, 1.0)).astype(np.float32),
            hair=hair,
            resting=resting,
            pupil_rad=float(rng.uniform(0.13, 0.2)),
            sclera=float(rng.uniform(0.5, 0.62)),
            specular=float(rng.uniform(0.18, 0.4)),
            gloss=float(rng.uniform(12, 24)),
        )


@lru_cache(maxsize=8)
def persona(name: str, *, age: float | None = None, texture_rows: int = 768) -> Identity:
    """A named starter (`STARTERS`), or the performer of a number in decimal; with `-age85` behind
    it at 85 hundredths of the way from young adult to old. `age` overrides what the name says."""
    said = aged(name)[1] if age is None else age
    return Identity.from_seed(known(name), age=said, texture_rows=texture_rows)


def known(name: str) -> int:
    """The seed of a performer's name (see `persona`). Raises JobError for others."""
    performer, _ = aged(name)
    if performer not in STARTERS and not (performer.isascii() and performer.isdigit()):
        wanted = f"{', '.join(STARTERS)} or a number, with -age0 to -age100 for another age"
        raise JobError("unknown performer", got=name, wanted=wanted)
    return STARTERS[performer] if performer in STARTERS else int(performer)


def aged(name: str) -> tuple[str, float | None]:
    """A performer's name without its age, and the age 0…1; None where it says none."""
    stated = _AGED.fullmatch(name)
    if stated is None:
        return name, None
    return stated["performer"], int(stated["percent"]) / 100


@dataclass(frozen=True)
class _Traits:
    gender: float
    muscle: float
    weight: float
    races: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Traits:
        gender = float(np.clip(0.5 + 0.62 * (rng.random() - 0.5) + 0.3 * rng.choice([-1, 1]), 0, 1))
        races = rng.dirichlet(np.full(3, 0.6))
        return cls(
            gender,
            float(rng.uniform(0.2, 0.8)),
            float(rng.uniform(0.1, 0.9)),
            (float(races[0]), float(races[1]), float(races[2])),
        )


def _shape(rng: np.random.Generator, traits: _Traits, age: float) -> Floats:
    asset = head_asset()

    def three(value: float, names: tuple[str, str, str]) -> dict[str, float]:
        low, high = max(0.0, 1 - 2 * value), max(0.0, 2 * value - 1)
        return {names[0]: low, names[1]: 1 - low - high, names[2]: high}

    weights = {
        "universal": 1.0,
        "male": 1 - traits.gender,
        "female": traits.gender,
        "young": 1 - age,
        "old": age,
        **three(traits.muscle, ("minmuscle", "averagemuscle", "maxmuscle")),
        **three(traits.weight, ("minweight", "averageweight", "maxweight")),
        **dict(zip(("african", "asian", "caucasian"), traits.races)),
    }
    macro = np.array(
        [np.prod([weights[part] for part in str(name).split("-")]) for name in asset.macro_names],
        np.float32,
    )
    local = np.zeros(len(asset.local_names), np.float32)
    names = [str(n) for n in asset.local_names]
    outlines = [i for i, n in enumerate(names) if n in HEAD_SHAPES]
    stems: dict[str, float] = {}
    partners: dict[str, list[str]] = {}
    for name in names:
        partners.setdefault(name.rsplit("-", 1)[0], []).append(name)
    for i, name in enumerate(names):
        if i in outlines or name == "chin-triangle":
            continue
        if name.startswith("asym"):
            local[i] = max(0.0, rng.normal(0, 0.16))
            continue
        pair = partners[name.rsplit("-", 1)[0]]
        both_sides = name[2:] if name[:2] in ("l-", "r-") else name
        stem = both_sides.rsplit("-", 1)[0]
        if stem not in stems:
            strong = stem.startswith(("nose", "mouth", "chin", "eye-", "cheek", "forehead"))
            amplitude = 0.15 if "age" in stem else 0.75 if strong else 0.55
            stems[stem] = float(np.clip(rng.normal(0, 0.45), -1, 1)) * amplitude
        value = stems[stem]
        if name in pair[:2]:
            local[i] = max(value, 0.0) if name == pair[0] else max(-value, 0.0)
    local[int(rng.choice(outlines))] = rng.uniform(0.1, 0.8)
    shift = np.tensordot(macro, asset.macro, 1) + np.tensordot(local, asset.local, 1)
    # Bodies differ in height: every head is put where the template's is, by its steady points.
    steady = asset.landmarks[list(STABLE)]
    return np.asarray(asset.template + shift - shift[steady].mean(0), np.float32)


HEAD_SHAPES = frozenset(
    f"head-{s}"
    for s in (
        "rectangular", "round", "square", "diamond", "oval", "triangular", "invertedtriangular",
    )
)  # fmt: skip


def _look(rng: np.random.Generator, traits: _Traits, age: float) -> tuple[Complexion, HairStyle]:
    african, asian, _ = traits.races
    tone = african * 5.5 + asian * 1.2 + rng.normal(0.6, 0.7) + (1 - african) * rng.uniform(0, 1.5)
    tone = float(np.clip(tone, 0.0, 5.9))
    female = traits.gender > 0.5
    if tone < 2.7:
        hair = HAIR_COLORS[rng.choice(6, p=[0.3, 0.27, 0.17, 0.11, 0.09, 0.06])]
    else:
        hair = HAIR_COLORS[rng.choice(2, p=[0.75, 0.25])]
    grey = float(np.clip((age - rng.uniform(0.45, 0.9)) * 2.5, 0, 0.85))
    hair = (hair * rng.uniform(0.8, 1.2)) * (1 - grey) + GREY * grey
    chances = [0.0, 0.08, 0.42, 0.5] if female else [0.08, 0.27, 0.55, 0.1]
    style = str(rng.choice(["bald", "buzz", "short", "long"], p=chances))
    height = {"bald": 0.0, "buzz": 0.004, "short": rng.uniform(0.010, 0.02),
              "long": rng.uniform(0.010, 0.017)}[style]  # fmt: skip
    cover = {"bald": 0.0, "buzz": 0.8, "short": 1.25, "long": 1.3}[style]
    beards = [0.1, 0.28, 0.5, 0.85]
    beard = 0.0 if female else float(rng.choice(beards, p=[0.42, 0.28, 0.18, 0.12]))
    receding = 0.0 if female else rng.uniform(0, 0.014) * age
    look = Complexion(
        tone=tone,
        ruddy=float(rng.uniform(0.12, 0.3)),
        age=age,
        female=female,
        hair=hair.astype(np.float32),
        hairline_m=float(rng.uniform(-0.006, 0.008) + receding),
        hairline_side_m=float(rng.uniform(-0.006, 0.006)),
        scalp={"bald": 0.12, "buzz": 0.7, "short": 0.88, "long": 0.9}[style],
        beard=beard,
        brow_thickness_m=float(rng.uniform(0.0032, 0.0058) * (0.82 if female else 1.05)),
        brow_density=float(rng.uniform(0.65, 0.98)),
        brow_lift_m=float(rng.uniform(-0.002, 0.002)),
        brow_arch=float(rng.uniform(-0.5, 1.6)),
        lipstick=float(rng.uniform(0.4, 0.9)) if female and rng.random() < 0.5 else 0.0,
    )
    hairstyle = HairStyle(
        style, float(height), cover, float(rng.uniform(0.46, 0.64)),
        float(rng.uniform(700, 1100)), float(rng.uniform(0.12, 0.35)),
    )  # fmt: skip
    return look, hairstyle
