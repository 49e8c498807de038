"""Pictures that an effect takes something from: the consent that lies beside them, and their face.

Beside `nose.exr` lies `nose.card.toml`: the fields of a `persona.Persona`, so an `id`, and either
`synthetic = true` or a `[consent]` whose uses hold `feature_reference`.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path

import numpy as np
import torch

from vfxswap.align.detect import detect
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.color import ColorManager, to_net
from vfxswap.effects.base import Frame
from vfxswap.errors import ConsentError, JobError, PlateError
from vfxswap.geometry import Face
from vfxswap.image import Image, Pixels
from vfxswap.io.exr import read_image
from vfxswap.ops.convert import to_tensor
from vfxswap.persona import Persona
from vfxswap.settings import validated

CARD_SUFFIX = ".card.toml"


def card_path(picture: str | os.PathLike[str]) -> Path:
    """`nose.exr` has `nose.card.toml`."""
    return Path(picture).with_suffix(CARD_SUFFIX)


def read_card(picture: str | os.PathLike[str]) -> Persona:
    """Who is on a reference picture, by the card beside it; or whom a card of its own names.

    Raises JobError when the picture is not there, ConsentError when there is no card, or one that
    cannot be read.
    """
    own = os.fspath(picture).endswith(CARD_SUFFIX)
    if not Path(picture).is_file():
        raise JobError(f"the {'card' if own else 'reference'} is not there", file=picture)
    card = Path(picture) if own else card_path(picture)
    try:
        content = tomllib.loads(card.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConsentError(
            "a reference needs a card beside it",
            wanted=f"{card.name} with an id, and synthetic = true or a [consent]",
            file=picture,
        ) from None
    except (OSError, ValueError) as error:
        raise ConsentError(f"card of a reference cannot be read: {error}", file=card) from None
    return validated(Persona, content, error_type=ConsentError, file=card)


def picture_sha256(picture: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) of a picture's file; of nothing when it cannot be read."""
    try:
        with Path(picture).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256().hexdigest()


def read_reference(
    picture: str | os.PathLike[str],
    *,
    color: ColorManager,
    finder: LandmarkFinder,
    device: torch.device,
    space: str = "",
) -> Frame:
    """A still as a frame whose only face is the largest on it; `space` is its colour space, where
    the job says so.

    Raises JobError when it shows no face, PlateError when it cannot be read, ColorError.
    """
    image = read_image(picture)
    frame = working_frame(image, picture, color=color, space=space)
    face = largest_face(frame, finder=finder, device=device)
    if face is None:
        raise JobError("the reference shows no face", file=picture)
    return Frame(
        number=frame.number,
        rgb=frame.rgb,
        data_window=frame.data_window,
        display_window=frame.display_window,
        seed=0,
        pixel_aspect=frame.pixel_aspect,
        faces=(face,),
    )


def read_still(picture: str | os.PathLike[str], *, color: ColorManager, space: str = "") -> Pixels:
    """A picture as [H, W, 4] over its display window in the working space, premultiplied; alpha is
    1 where it has none, and 0 where no pixel is stored. `space` is its colour space, where the job
    says so. Raises PlateError, ColorError."""
    image = read_image(picture)
    frame = working_frame(image, picture, color=color, space=space)
    if image.alpha_name is None:
        alpha = np.ones(frame.rgb.shape[:2], np.float32)
    else:
        stored = image.part.channels[image.alpha_name]
        scale = np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1
        alpha = np.clip(stored.astype(np.float32) / np.float32(scale), 0, 1)
    stored_pixels = np.concatenate([frame.rgb, alpha[..., None]], -1)
    window = frame.display_window
    seen = np.zeros((window.height, window.width, 4), np.float32)
    both = window.intersection(frame.data_window)
    seen[both.slices_in(window)] = stored_pixels[both.slices_in(frame.data_window)]
    return seen


def working_frame(
    image: Image,
    path: str | os.PathLike[str],
    *,
    color: ColorManager,
    number: int = 1,
    space: str = "",
) -> Frame:
    """A picture in the working space, without faces; `space` is its colour space, empty for what
    the file says. Raises PlateError, ColorError."""
    part = image.part
    rgb = color.to_working(image.rgb(), color.resolve(image, Path(path), space or None).space)
    if not np.isfinite(rgb).any():
        raise PlateError("the picture holds no finite pixel", file=path)
    window = part.data_window
    return Frame(number, rgb, window, part.display_window, 0, pixel_aspect=part.pixel_aspect)


def largest_face(frame: Frame, *, finder: LandmarkFinder, device: torch.device) -> Face | None:
    """The face with the largest box on a frame, with id 0; None when there is none."""
    return next(iter(faces_of_still(frame, finder=finder, device=device)), None)


def faces_of_still(
    frame: Frame, *, finder: LandmarkFinder, device: torch.device
) -> tuple[Face, ...]:
    """The faces on a frame, the one with the largest box first; ids are their ranks."""
    pixels = to_tensor(to_net(frame.rgb), device=device)
    view = View(pixels, (frame.data_window.x, frame.data_window.y), frame.pixel_aspect)
    with torch.inference_mode():
        faces = detect(view, finder)

    def area(face: Face) -> float:
        return float(np.ptp(face.points, axis=0).prod())

    found = sorted(faces, key=area, reverse=True)
    return tuple(Face(k, f.points, f.confidence, f.score) for k, f in enumerate(found))
