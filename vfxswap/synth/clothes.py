"""Hair, brows, lashes and teeth of the MakeHuman community (CC0), fitted to a posed head.

A folder of them has `hair/NAME/NAME.mhclo` and likewise `eyebrows`, `eyelashes`, `teeth` and
`tongue`; `eyes/materials/*_eye.png` are pictures of eyeballs. Nothing of it is shipped: the caller
names the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import JobError
from vfxswap.synth.head import Floats, Ints, base_mesh
from vfxswap.synth.identity import Identity

Array = NDArray[np.float64]
KINDS = ("hair", "eyebrows", "eyelashes", "teeth", "tongue")
SHORT_HAIR = ("short01", "short02", "short03", "short04", "afro01")
LONG_HAIR = ("bob01", "bob02", "long01", "ponytail01", "braid01")
FOREHEAD_M = 0.010
"""Skin this near to brow landmarks tells how the forehead runs there."""
COARSE_CURLS_TONE = 4.0
"""Complexions darker than this may wear `afro01`."""


@dataclass(frozen=True, eq=False)
class Clothes:
    """One mesh that follows the base mesh (a `.mhclo` file: "MakeHuman clothes").

    Vertex i sits at `weights[i]` of base vertices `anchors[i]` [V, 3] plus `offsets[i]` [V, 3],
    stretched on each axis by the distance of two base vertices (`scales`: axis, first, second,
    distance at rest). `faces` [F, 3], `uv` [F, 3, 2] with v upwards; `picture` holds colour and
    alpha. Axes and unit are the file's: decimetres, y up, z forward.
    """

    name: str
    anchors: Ints
    weights: Array
    offsets: Array
    scales: tuple[tuple[int, int, int, float], ...]
    faces: Ints
    uv: Floats
    picture: Path

    def fit(self, base: Array) -> Floats:
        """[V, 3] metres in the head's axes, on a base mesh [19158, 3] of those axes."""
        native = base[:, [0, 2, 1]] * np.array([10.0, 10.0, -10.0])
        stretch = np.ones(3)
        for axis, a, b, distance in self.scales:
            stretch[axis] = abs(native[a, axis] - native[b, axis]) / distance
        at = (native[self.anchors] * self.weights[..., None]).sum(1) + self.offsets * stretch
        return np.asarray(at[:, [0, 2, 1]] * np.array([0.1, -0.1, 0.1]), np.float32)


@lru_cache(maxsize=32)
def read_clothes(file: Path) -> Clothes:
    """Reads `.mhclo`, the `.obj` beside it and the name of its picture from its `.mhmat`.

    Raises JobError when one is missing or says nothing usable.
    """
    rows: list[list[float]] = []
    scales: list[tuple[int, int, int, float]] = []
    named = {"obj_file": "", "material": ""}
    fitting = False
    try:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] in ("x_scale", "y_scale", "z_scale"):
                axis = "xyz".index(words[0][0])
                scales.append((axis, int(words[1]), int(words[2]), float(words[3])))
            elif words[0] in named:
                named[words[0]] = words[1]
            elif words[0] == "verts":
                fitting = True
            elif words[0] == "delete_verts":
                fitting = False
            elif words[0][0].isdigit() and fitting:
                rows.append(_binding([float(w) for w in words]))
        faces, uv = _read_faces(file.parent / named["obj_file"])
        picture = _picture(file.parent / named["material"]) if named["material"] else file
        data = np.array(rows, np.float64).reshape(-1, 9)
    except OSError as error:
        raise JobError("an asset cannot be read", got=error.strerror, file=file) from error
    except (ValueError, IndexError) as error:
        raise JobError("an asset is malformed", got=error, file=file) from error
    anchors = data[:, :3].astype(np.int32)
    if not len(data) or anchors.max() >= len(base_mesh()[0]) or faces.max() >= len(data):
        raise JobError("an asset does not fit the base mesh", wanted="basemesh hm08", file=file)
    return Clothes(
        file.stem, anchors, data[:, 3:6], data[:, 6:9], tuple(scales), faces, uv, picture
    )


def _binding(numbers: list[float]) -> list[float]:
    """Three vertices, their weights and an offset; one number alone binds to that vertex."""
    if len(numbers) == 1:
        return numbers * 3 + [1.0] + [0.0] * 5
    if len(numbers) not in (6, 9):
        raise ValueError(f"{len(numbers)} numbers in a line")
    return numbers + [0.0] * (9 - len(numbers))


def _read_faces(file: Path) -> tuple[Ints, Floats]:
    uvs: list[tuple[float, float]] = []
    corners: list[list[tuple[int, int]]] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "vt":
            u, v = rest.split()[:2]
            uvs.append((float(u), float(v)))
        elif kind == "f":
            pairs = [c.split("/") for c in rest.split()]
            face = [(int(p[0]) - 1, int(p[1]) - 1) for p in pairs]
            corners += [[face[0], face[k], face[k + 1]] for k in range(1, len(face) - 1)]
    table = np.array(corners, np.int32)
    return table[..., 0], np.array(uvs, np.float32)[table[..., 1]]


def _picture(material: Path) -> Path:
    for line in material.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["diffuseTexture"]:
            found = material.parent / words[1]
            if found.exists():
                return found
            # Some material files still name the picture by its earlier name.
            others = sorted(material.parent.glob("*diffuse*.png"))
            if others:
                return others[0]
    raise JobError("a material names no picture that is there", file=material)


def whole_base(points: Floats, template: Floats) -> Array:
    """[19158, 3] base mesh around a head's vertices [N, 3]; what lies outside the head (chest,
    arms) moves as a vertex of the head near it does."""
    rest, kept = base_mesh()
    shift = points - template
    out = rest.astype(np.float64)
    out += shift[_near_head()]
    out[kept] = points
    return out


@lru_cache(maxsize=1)
def _near_head() -> NDArray[np.int64]:
    rest, kept = base_mesh()
    chosen = np.arange(0, len(kept), 8)
    gaps = [((p - rest[kept[chosen]]) ** 2).sum(-1) for p in rest]
    return np.asarray(chosen[np.argmin(gaps, axis=1)], np.int64)


def brow_offsets(points: Floats, skin: Floats, landmarks: Array) -> Floats:
    """[V, 3] metres that move fitted brows onto a performer's brow landmarks [10, 3], all at rest.

    Each brow is moved up or down along its length so that its middle line has the height and the
    slant of the landmarks, and follows the forehead `skin` [S, 3] in depth.
    """
    out = np.zeros_like(points)
    for side in (-1, 1):
        mine = points[:, 0] * side > 0
        wanted = landmarks[landmarks[:, 0] * side > 0]
        if not mine.any() or len(wanted) < 2:
            continue
        line = np.polyfit(wanted[:, 0], wanted[:, 2], 1)
        has = np.polyfit(points[mine, 0], points[mine, 2], 1)
        out[mine, 2] = np.polyval(line - has, points[mine, 0])
        near = np.linalg.norm(skin[:, None] - wanted[None], axis=-1).min(1) < FOREHEAD_M
        # A smooth surface: single vertices may belong to the inside of the eye's socket.
        surface = np.linalg.lstsq(
            _quadratic(skin[near]), skin[near, 1].astype(np.float64), rcond=None
        )[0]
        change = _quadratic(points[mine] + out[mine]) - _quadratic(points[mine])
        out[mine, 1] = change @ surface
    return out


def _quadratic(points: Floats | Array) -> Array:
    x, z = points[:, 0].astype(np.float64), points[:, 2].astype(np.float64) - 0.75
    return np.stack([np.ones_like(x), x, z, x * x, x * z, z * z], -1)


def chosen_assets(folder: Path, identity: Identity, *, hair: str = "") -> dict[str, Path]:
    """The `.mhclo` files that a performer wears, by kind; the same seed wears the same.

    `hair` names one of the folder's hair styles; without it the performer's own style decides,
    and bald or cropped heads get none. Raises JobError when the folder has nothing to wear.
    """
    if not folder.is_dir():
        raise JobError("no such folder of assets", file=folder)
    there = {kind: _complete(folder / kind) for kind in KINDS}
    if not any(there.values()):
        raise JobError("a folder without assets", wanted="hair/NAME/NAME.mhclo …", file=folder)
    rng = np.random.default_rng([12, identity.seed])
    worn: dict[str, Path] = {}
    for kind, names in there.items():
        pick = float(rng.random())
        choice = list(names)
        if kind == "hair":
            choice = [hair] if hair else _styles(identity, choice)
            if hair and hair not in names:
                raise JobError("no such hair", got=hair, wanted=", ".join(names), file=folder)
        elif kind == "teeth":
            choice = [n for n in choice if n == "teeth_base"] or choice
        if choice:
            worn[kind] = names[choice[int(pick * len(choice))]]
    return worn


def _complete(folder: Path) -> dict[str, Path]:
    """Assets by name, without those whose picture was left out of the folder."""
    pictured = {f.parent for f in folder.glob("*/*.png")}
    return {
        f.stem: f
        for f in sorted(folder.glob("*/*.mhclo"))
        if f.parent in pictured or (folder / "materials").is_dir()
    }


def _styles(identity: Identity, names: list[str]) -> list[str]:
    styles: dict[str, tuple[str, ...]] = {"short": SHORT_HAIR, "long": LONG_HAIR}
    wanted = styles.get(identity.hair.name, ())
    if identity.hair.name == "short" and identity.look.female:
        wanted = (*SHORT_HAIR[:4], "bob01", "bob02")
    curls = identity.look.tone > COARSE_CURLS_TONE
    return [n for n in wanted if n in names and (n != "afro01" or curls)]


def linear(encoded: Floats) -> Floats:
    """sRGB code values to scene-linear (IEC 61966-2-1)."""
    high = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, high).astype(np.float32)


@lru_cache(maxsize=32)
def mean_brightness(picture: Path) -> float:
    """Mean scene-linear luminance of a picture where it is opaque."""
    pixels = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise JobError("an asset's picture cannot be read", file=picture)
    small = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    weight = small[..., 3] if small.shape[2] == 4 else np.ones(small.shape[:2], np.float32)
    luminance = linear(small[..., :3]) @ np.array([0.0722, 0.7152, 0.2126], np.float32)
    return max(float((luminance * weight).sum() / max(float(weight.sum()), 1e-6)), 1e-4)
