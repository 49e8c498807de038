"""Pictures of one performer by the angle that the head is seen from, and a sheet of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch

from vfxswap.align.head import head_pose
from vfxswap.align.pose import LandmarkFinder
from vfxswap.color import ColorManager, from_net
from vfxswap.effects.aligned import Alignment
from vfxswap.errors import JobError, PlateError
from vfxswap.geometry import Face
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image
from vfxswap.io.weights import load_net
from vfxswap.ops.convert import to_pixels
from vfxswap.ops.sheet import contact_sheet
from vfxswap.render.models import model_of_stage
from vfxswap.render.references import read_reference, working_frame

CELL_PX: Final = 320
COLUMNS: Final = 5


@dataclass(frozen=True, eq=False)
class Angle:
    """A picture, its largest face, and how its head is turned: to the picture's right, down and
    clockwise, in degrees."""

    plate: Path
    face: Face
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def find_angles(
    plates: Iterable[Path],
    *,
    color: ColorManager,
    device: torch.device,
) -> tuple[list[Angle], dict[Path, str]]:
    """The angles on `plates` from left to right, and what is wrong with those that show none.
    Raises ModelError, ColorError."""
    stored = model_of_stage("landmarks")
    finder = cast(LandmarkFinder, load_net(stored.card, stored.folder, device=device))
    angles: list[Angle] = []
    wrong: dict[Path, str] = {}
    for plate in plates:
        try:
            frame = read_reference(plate, color=color, finder=finder, device=device)
        except (JobError, PlateError) as error:
            wrong[plate] = str(error)
        else:
            face = frame.faces[0]
            turn = head_pose(face.points, pixel_aspect=frame.pixel_aspect).angles_deg
            angles.append(Angle(plate, face, *turn))
    return sorted(angles, key=lambda angle: angle.yaw_deg), wrong


def nearest_angles(angles: Sequence[Angle], yaws_deg: Sequence[float]) -> list[Angle]:
    """For each yaw the angle that is nearest to it, each angle once, from left to right."""
    chosen: list[Angle] = []
    for yaw in sorted(yaws_deg):
        left = [angle for angle in angles if angle not in chosen]
        if left:
            chosen.append(min(left, key=lambda angle: abs(angle.yaw_deg - yaw)))
    return sorted(chosen, key=lambda angle: angle.yaw_deg)


def angles_sheet(
    angles: Sequence[tuple[Angle, Path]], *, color: ColorManager, cell_px: int = CELL_PX
) -> Pixels:
    """Faces of results, display-referred [H, W, 3]: of each angle the square around its face on
    the picture that was made of it, above its angles. Raises PlateError, ColorError, ValueError
    without angles."""
    cells = []
    for angle, made in angles:
        frame = working_frame(read_image(made), made, color=color)
        crop = Alignment.of(angle.face, frame.rgb, frame, size=cell_px, device=torch.device("cpu"))
        assert crop is not None  # the face was found on this window
        cell = color.to_display(to_pixels(from_net(crop.target)))
        cells.append((f"{angle.plate.stem}  yaw {angle.yaw_deg:+.0f}", cell))
    return contact_sheet(cells, columns=min(COLUMNS, len(cells)))
