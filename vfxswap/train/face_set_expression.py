"""Expression of a face, measured from its landmarks.

The head's pose is taken off with the mean head's depths; what is left is expression and the
face's own shape. So expressions are read relative to a persona's own rest (`face_set_coverage`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat

from vfxswap.align.head import HeadPose, head_points
from vfxswap.geometry import BROWS, LEFT_EYE, PUPILS, RIGHT_EYE, Array
from vfxswap.settings import Settings

_FLATTEST: Final = 0.2
"""Least share of the face's plane that must still be seen to see it from the front."""
_CORNERS: Final = (48, 54)
_UPPER, _LOWER = (61, 62, 63), (67, 66, 65)
_LIPS_MIDDLE: Final = (51, 57)
_NOSE_BASE, _CHIN = 33, 8


class Expression(Settings):
    """What a face does, as lengths on it seen from the front; each face has its own rest.

    Where nothing else is said a unit is the distance of the eyes' centres.
    """

    mouth_open: FiniteFloat = Field(description="Gap of the inner lips.")
    mouth_width: FiniteFloat = Field(description="From corner to corner; small in a pucker.")
    corners_up: FiniteFloat = Field(description="Mouth corners above the lips' middle: a smile.")
    jaw: FiniteFloat = Field(description="From the nose to the chin.")
    lid_right: FiniteFloat = Field(description="Opening of the subject's right eye, in eye widths.")
    lid_left: FiniteFloat = Field(description="Opening of the left eye, in eye widths.")
    gaze_x: FiniteFloat = Field(description="Pupils off the eyes' middle, image right, eye widths.")
    gaze_y: FiniteFloat = Field(description="The same, downwards.")
    brows: FiniteFloat = Field(description="Brows above the eyes.")


def expression(points: Array, pose: HeadPose) -> Expression:
    """The expression of landmarks [70, 2] in the pixels that `pose` was found in."""
    face = frontal(points, pose)
    right, left = face[RIGHT_EYE], face[LEFT_EYE]
    across = max(float(np.linalg.norm(left.mean(0) - right.mean(0))), 1e-6)
    corners = face[list(_CORNERS)]
    gap = (face[list(_LOWER), 1] - face[list(_UPPER), 1]).mean()
    gaze = np.mean([_in_eye(p, e) for p, e in zip(face[PUPILS], (right, left), strict=True)], 0)
    eyes_y = np.concatenate([right, left])[:, 1].mean()
    values = {
        "mouth_open": gap / across,
        "mouth_width": (corners[1, 0] - corners[0, 0]) / across,
        "corners_up": (face[list(_LIPS_MIDDLE), 1].mean() - corners[:, 1].mean()) / across,
        "jaw": (face[_CHIN, 1] - face[_NOSE_BASE, 1]) / across,
        "lid_right": _opening(right),
        "lid_left": _opening(left),
        "gaze_x": gaze[0],
        "gaze_y": gaze[1],
        "brows": (eyes_y - face[BROWS, 1].mean()) / across,
    }
    return Expression(**{name: round(float(value), 4) for name, value in values.items()})


def frontal(points: Array, pose: HeadPose) -> Array:
    """Landmarks [70, 2] on the plate as they would lie on a head that looks at the camera, in
    millimetres, each at the mean head's depth. Where the face is seen from its side, what cannot
    be known of its width is left at 0."""
    depth = head_points()[:, 2:]
    seen = (points - pose.origin) * [pose.pixel_aspect, 1.0] / pose.scale
    seen = seen - depth * pose.rotation[:2, 2]
    # A pseudo-inverse that drops what is foreshortened to nothing.
    return np.asarray(seen @ np.linalg.pinv(pose.rotation[:2, :2], rcond=_FLATTEST).T)


def _opening(eye: Array) -> float:
    """Mean gap of the lids of an eye's six points, in eye widths."""
    width = max(float(np.linalg.norm(eye[3] - eye[0])), 1e-6)
    return float((eye[[5, 4], 1] - eye[[1, 2], 1]).mean()) / width


def _in_eye(pupil: Array, eye: Array) -> Array:
    """Where a pupil lies off the middle of its eye's corners [2], in eye widths."""
    width = max(float(np.linalg.norm(eye[3] - eye[0])), 1e-6)
    return np.asarray((pupil - (eye[0] + eye[3]) / 2) / width)
