"""Contact sheets of styles: one frame of a plate in every style of a model, as one picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vfxswap.effects.style import every_style
from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.io.exr import write_png
from vfxswap.job import Job
from vfxswap.nets.style import StyleNet
from vfxswap.ops.sheet import contact_sheet
from vfxswap.render.device import pick_device
from vfxswap.render.models import Shelf
from vfxswap.render.plan import color_manager, opened_files, read_plate
from vfxswap.settings import nearest

COLUMNS = 4
ALL = "all"


def style_sheet(
    job: Job, out: Path, *, styles: str, model: str, cell_px: int = 400, device: str = "auto"
) -> tuple[str, ...]:
    """Writes the first of the job's frames in `styles` ("all", or names with commas between) to
    `out`, a PNG; every cell is `cell_px` wide. Returns the names.

    The job's plate, frames, views and colour count, nothing else. All styles go through the
    network in one batch. Raises JobError for another kind of file, a model of something else and
    unknown styles; PlateError, ModelError, ColorError, OutputError.
    """
    if out.suffix.lower() != ".png":
        raise JobError("contact sheets are PNG", got=out.name, wanted="sheet.png")
    loaded = Shelf(pick_device(device)).by_name(model)
    net = loaded.net
    if not isinstance(net, StyleNet):
        raise JobError("not a model of styles", got=model)
    names = (
        net.styles if styles == ALL else tuple(w.strip() for w in styles.split(",") if w.strip())
    )
    for name in names:
        if name not in net.styles:
            raise JobError("no such style", got=name, wanted=nearest(name, net.styles))
    if not names:
        raise JobError("no style is named", wanted=ALL)
    plate, _, frames, views = opened_files(job)
    frame = frames[0]
    path = plate.path(frame, views[0] if plate.has_views else None)
    image = read_plate(job, path, frame, views[0])
    color = color_manager(job)
    space = color.resolve(image, path, job.plate.color_space or None).space
    small = _narrowed(color.to_working(image.rgb(), space), cell_px, image.part.pixel_aspect)
    cells = [("plate", color.to_display(small))]
    chosen = net if names == net.styles else net.only(names)
    cells += [(name, color.to_display(made)) for name, made in every_style(chosen, small)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, contact_sheet(cells, columns=min(COLUMNS, len(cells))))
    return names


def _narrowed(rgb: Pixels, width: int, pixel_aspect: float) -> Pixels:
    """At `width` with square pixels, by area means; smaller plates keep their size."""
    wide = rgb.shape[1] * pixel_aspect
    scale = min(1.0, width / wide)
    size = (max(16, round(wide * scale)), max(16, round(rgb.shape[0] * scale)))
    finite = np.nan_to_num(rgb, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(cv2.resize(finite, size, interpolation=cv2.INTER_AREA), np.float32)
