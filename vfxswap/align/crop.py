"""Where a face's square crop lies on the plate, and which part of it is swapped.

The crop shows the face upright at a fixed size, whatever its place, size and roll on the plate
(US 2020/0372621 A1, para. 50: eyes on a fixed line at a fixed interocular distance).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vfxswap.errors import VfxSwapError
from vfxswap.geometry import BROWS, JAW, LANDMARK_COUNT, STABLE, Array, Similarity

EYE_MIDPOINT: Final = (0.50, 0.40)
"""Where the midpoint of the template's eye centres lies, in crop widths."""

EYE_DISTANCE: Final = 0.27
"""Distance of the template's eye centres (each midway between its corners), in crop widths."""

FOREHEAD_SHARE: Final = 0.15
"""How far the brow line is raised for the outline, in face heights (brow line to chin)."""

# Orthographic front view of the synthetic performers' neutral mean head (MakeHuman's base mesh,
# CC0), in crop widths. Symmetric about x = 0.5; the subject's right is on the image's left.
_TEMPLATE: Final = (
    *((0.1909, 0.4918), (0.2018, 0.5384), (0.2270, 0.6212), (0.2424, 0.6632), (0.2616, 0.6992)),
    *((0.3036, 0.7556), (0.3498, 0.7977), (0.4043, 0.8439), (0.5000, 0.8762), (0.5957, 0.8439)),
    *((0.6502, 0.7977), (0.6964, 0.7556), (0.7384, 0.6992), (0.7576, 0.6632), (0.7730, 0.6212)),
    *((0.7982, 0.5384), (0.8091, 0.4918)),
    *((0.2670, 0.3294), (0.3197, 0.3105), (0.3548, 0.3020), (0.3898, 0.3163), (0.4305, 0.3211)),
    *((0.5695, 0.3211), (0.6102, 0.3163), (0.6452, 0.3020), (0.6803, 0.3105), (0.7330, 0.3294)),
    *((0.5000, 0.4057), (0.5000, 0.4335), (0.5000, 0.4894), (0.5000, 0.5572)),
    *((0.4319, 0.5761), (0.4648, 0.5876), (0.5000, 0.6019), (0.5352, 0.5876), (0.5681, 0.5761)),
    *((0.3057, 0.3970), (0.3489, 0.3778), (0.3995, 0.3818)),
    *((0.4243, 0.4030), (0.3821, 0.4161), (0.3361, 0.4107)),
    *((0.5757, 0.4030), (0.6005, 0.3818), (0.6511, 0.3778)),
    *((0.6943, 0.3970), (0.6639, 0.4107), (0.6179, 0.4161)),
    *((0.3895, 0.6893), (0.4550, 0.6723), (0.4653, 0.6452), (0.5000, 0.6547), (0.5347, 0.6452)),
    *((0.5450, 0.6723), (0.6105, 0.6893), (0.5813, 0.7229), (0.5246, 0.7353), (0.5000, 0.7388)),
    *((0.4754, 0.7353), (0.4187, 0.7229)),
    *((0.4088, 0.6895), (0.4563, 0.6845), (0.5000, 0.6868), (0.5437, 0.6845), (0.5912, 0.6895)),
    *((0.5450, 0.6872), (0.5000, 0.6897), (0.4550, 0.6872)),
    *((0.3675, 0.3957), (0.6325, 0.3957)),
)

_NOSE_ROOT, _NOSE_BASE, _CHIN = 27, 33, 8


def template(size: int) -> Array:
    """[70, 2] landmarks of the mean frontal head in a crop of `size` pixels."""
    return np.array(_TEMPLATE, dtype=np.float64) * size


def crop_matrix(points: Array, *, size: int, pixel_aspect: float = 1.0) -> Array:
    """[2, 3] matrix that maps plate pixels to pixels of a square crop of `size`.

    `points` are [70, 2] landmarks in plate pixels. The map is the least-squares similarity of
    the stable points (eye corners and nose, which expression moves least) onto the template,
    taken in square pixels: x times `pixel_aspect`. So a crop of a squeezed plate shows the face
    unsqueezed. Raises VfxSwapError for landmarks that are not finite or that coincide.
    """
    if points.shape != (LANDMARK_COUNT, 2):
        raise ValueError(f"landmarks of shape {points.shape}")
    if not pixel_aspect > 0.0:
        raise ValueError(f"pixel aspect {pixel_aspect}")
    stable = points[list(STABLE)].astype(np.float64) * [pixel_aspect, 1.0]
    if not np.isfinite(stable).all():
        raise VfxSwapError("cannot align a face", got="landmarks that are not finite numbers")
    try:
        similarity = Similarity.fit(stable, template(size)[list(STABLE)])
    except ValueError:
        similarity = Similarity(0.0, 0.0, 0.0, 0.0)
    if not similarity.scale > 0.0:
        raise VfxSwapError("cannot align a face", got="eye corners and nose in one place")
    return similarity.matrix * [pixel_aspect, 1.0, 1.0]


def apply(matrix: Array, points: Array) -> Array:
    """Maps points [..., 2] by a [2, 3] affine `matrix`."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def outline(points: Array) -> Array:
    """[27, 2] polygon around the swapped part of a face, in the pixels `points` [70, 2] are in.

    Jaw from the subject's right ear over the chin to the left one, then the brow line, raised by
    `FOREHEAD_SHARE` of the face height so that part of the forehead lies inside. The height is
    measured along the nose, by the template's proportions: the jaw, which speech moves, would
    make the forehead's edge bob. Jaw points are fixed places of the skin, not the silhouette,
    so in profile the far cheek's edge lies a little inside the face.
    """
    mean = np.array(_TEMPLATE)
    face_height = mean[_CHIN, 1] - mean[BROWS, 1].mean()
    nose_length = mean[_NOSE_BASE, 1] - mean[_NOSE_ROOT, 1]
    nose = points[_NOSE_ROOT] - points[_NOSE_BASE]
    raised = points[BROWS] + FOREHEAD_SHARE * face_height / nose_length * nose
    return np.concatenate([points[JAW], raised[::-1]])
