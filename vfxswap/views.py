"""Pictures of one performer by how the head is turned, and a sheet of them."""

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
class View:
    """A picture, its largest face, and how its head is turned: to the picture's right, down and
    clockwise, in degrees."""

    plate: Path
    face: Face
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def find_views(
    plates: Iterable[Path],
    *,
    color: ColorManager,
    device: torch.device,
) -> tuple[list[View], dict[Path, str]]:
    """The views on `plates` from left to right, and what is wrong with those that show none.
    Raises ModelError, ColorError."""
    stored = model_of_stage("landmarks")
    finder = cast(LandmarkFinder, load_net(stored.card, stored.folder, device=device))
    views: list[View] = []
    wrong: dict[Path, str] = {}
    for plate in plates:
        try:
            frame = read_reference(plate, color=color, finder=finder, device=device)
        except (JobError, PlateError) as error:
            wrong[plate] = str(error)
        else:
            face = frame.faces[0]
            angles = head_pose(face.points, pixel_aspect=frame.pixel_aspect).angles_deg
            views.append(View(plate, face, *angles))
    return sorted(views, key=lambda view: view.yaw_deg), wrong


def nearest_views(views: Sequence[View], yaws_deg: Sequence[float]) -> list[View]:
    """For each yaw the view that is nearest to it, each view once, from left to right."""
    chosen: list[View] = []
    for yaw in sorted(yaws_deg):
        left = [view for view in views if view not in chosen]
        if left:
            chosen.append(min(left, key=lambda view: abs(view.yaw_deg - yaw)))
    return sorted(chosen, key=lambda view: view.yaw_deg)


def views_sheet(
    views: Sequence[tuple[View, Path]], *, color: ColorManager, cell_px: int = CELL_PX
) -> Pixels:
    """Faces of results, display-referred [H, W, 3]: of each view the square around its face on
    the picture that was made of it, above its angles. Raises PlateError, ColorError, ValueError
    without views."""
    cells = []
    for view, made in views:
        frame = working_frame(read_image(made), made, color=color)
        crop = Alignment.of(view.face, frame.rgb, frame, size=cell_px, device=torch.device("cpu"))
        assert crop is not None  # the face was found on this window
        cell = color.to_display(to_pixels(from_net(crop.target)))
        cells.append((f"{view.plate.stem}  yaw {view.yaw_deg:+.0f}", cell))
    return contact_sheet(cells, columns=min(COLUMNS, len(cells)))
