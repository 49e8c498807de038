"""Contact sheets and the demo's page: plain HTML with inline SVG, nothing from outside."""

from __future__ import annotations

import html
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vfxswap import __version__
from vfxswap.files import write_atomically
from vfxswap.geometry import Array, Box
from vfxswap.image import Pixels

Tile = tuple[str, Pixels]
"""A caption and a display-referred picture [H, W, 3] in 0…1."""

BAR_PX = 22
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em;"
    "background:#161616;color:#ddd}img{max-width:100%}table{border-collapse:collapse}"
    "td,th{padding:.2em 1em .2em 0;text-align:left}h1,h2{font-weight:500}a{color:#8bf}"
)


@dataclass(frozen=True, eq=False)
class Stability:
    """One frame's track: `offset` [70, 2] from truth in plate pixels (nan when not found)."""

    frame: int
    offset: Array


def contact_sheet(rows: Sequence[Sequence[Tile]], *, width: int | None = None) -> Pixels:
    """Tiles [H, W, 3] in a grid with captions; scaled down to `width`, else at 100 %."""
    lines = []
    for row in rows:
        cells = [np.concatenate([_caption(name, p), p]) for name, p in _sized(row, width)]
        lines.append(np.concatenate(cells, axis=1))
    widest = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, widest - line.shape[1]), (0, 0))) for line in lines]
    return np.concatenate(padded).astype(np.float32)


def framed(points: Array, shape: Sequence[int], window: Box) -> tuple[slice, slice]:
    """Rows and columns around a face: half its height more on every side, inside the picture.

    `window` gives where the picture's first pixel lies on the plate.
    """
    low, high = points.min(0), points.max(0)
    margin = 0.4 * float((high - low).max())
    x0, y0 = np.maximum(np.floor(low - margin - (window.x, window.y)), 0).astype(int)
    x1, y1 = np.ceil(high + margin - (window.x, window.y)).astype(int)
    return slice(int(y0), min(int(y1), shape[0])), slice(int(x0), min(int(x1), shape[1]))


def write_report(
    folder: Path,
    seconds: Mapping[str, float],
    decibels: Mapping[str, Mapping[str, float]],
    stability: Sequence[Stability],
) -> None:
    """Writes `report.html` and `report.json` into `folder`, which holds the sheets."""
    error = [float(np.sqrt(np.mean(np.sum(s.offset**2, -1)))) for s in stability]
    values = {
        "version": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": {k: round(v, 2) for k, v in seconds.items()},
        "psnr_inside_matte_db": decibels,
        "track_error_rms_px": {str(s.frame): e for s, e in zip(stability, error, strict=True)},
        "track_jitter_rms_px": _jitter(stability),
    }
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(folder / "report.json", text.encode())
    write_atomically(folder / "report.html", _page(values, stability, error).encode())


def _page(
    values: Mapping[str, object], stability: Sequence[Stability], error: Sequence[float]
) -> str:
    seconds, decibels = values["seconds"], values["psnr_inside_matte_db"]
    assert isinstance(seconds, Mapping) and isinstance(decibels, Mapping)
    times = "".join(f"<tr><td>{html.escape(k)}</td><td>{v} s</td></tr>" for k, v in seconds.items())
    quality = "".join(
        f"<tr><td>{html.escape(p)}</td><td>{d['comp']:.1f} dB</td><td>{d['plate']:.1f} dB</td></tr>"
        for p, d in decibels.items()
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>vfxswap demo</title><style>{_STYLE}</style>"
        "<h1>vfxswap demo</h1><p>A synthetic performer, swapped to each starter persona. Nobody in "
        f"these pictures exists. Version {values['version']}, {values['machine']}.</p>"
        "<h2>Frames</h2><p>Plate, swaps, truth (the same performance rendered as the persona) and "
        "the swap's matte. The comp keeps the plate's light and colour, truth has the persona's "
        'own skin.</p><a href="sheet.png"><img src="sheet.png" alt="contact sheet"></a>'
        '<h2>Faces at 100 %</h2><a href="faces.png"><img src="faces.png" alt="faces"></a>'
        "<h2>Against truth, inside the matte</h2><p>Display-referred, both at the truth's mean "
        "colour.</p>"
        "<table><tr><th>persona</th><th>comp</th>"
        f"<th>plate (unswapped)</th></tr>{quality}</table>"
        "<h2>Stability of the track</h2><p>Distance of the 70 landmarks from truth (RMS, plate "
        f"pixels) by frame; jitter, the part that changes from frame to frame, is "
        f"{values['track_jitter_rms_px']:.2f} px.</p>{_plot(stability, error)}"
        f"<h2>Time</h2><table>{times}</table>"
        "<p>Layers are in <code>swap_*.exr</code>, jobs in <code>swap_*.job.json</code>.</p>"
    )


def _jitter(stability: Sequence[Stability]) -> float:
    """RMS of the frame-to-frame change of the offsets over √2, pixels: a constant bias does not
    count, white noise counts with its own size."""
    if len(stability) < 2:
        return 0.0
    steps = np.diff(np.stack([s.offset for s in stability]), axis=0)
    return float(np.sqrt(np.nanmean(np.sum(steps**2, -1)) / 2))


def _plot(stability: Sequence[Stability], error: Sequence[float]) -> str:
    """Error by frame as SVG."""
    width, height, pad = 720, 200, 36
    known = [e for e in error if np.isfinite(e)]
    top = max(known, default=1.0) * 1.2 or 1.0
    step = (width - 2 * pad) / max(1, len(error) - 1)
    points = [
        (pad + i * step, height - pad - (height - 2 * pad) * e / top)
        for i, e in enumerate(error)
        if np.isfinite(e)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#8bf"/>' for x, y in points)
    frames = "".join(
        f'<text x="{pad + i * step:.1f}" y="{height - 12}" text-anchor="middle">{s.frame}</text>'
        for i, s in enumerate(stability)
        if i % max(1, len(stability) // 8) == 0
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" fill="#999" font-size="12">'
        f'<rect x="{pad}" y="{pad}" width="{width - 2 * pad}" height="{height - 2 * pad}" '
        'fill="#1e1e1e"/>'
        f'<text x="{pad}" y="{pad - 8}">{top:.2f} px</text>{frames}'
        f'<polyline points="{line}" fill="none" stroke="#8bf" stroke-width="1.5"/>{dots}</svg>'
    )


def _sized(row: Sequence[Tile], width: int | None) -> list[Tile]:
    if width is None:
        return list(row)
    sized = []
    for name, picture in row:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        sized.append((name, np.asarray(small, np.float32)))
    return sized


def _caption(text: str, picture: Pixels) -> Pixels:
    bar = np.full((BAR_PX, picture.shape[1], 3), 22, np.uint8)  # OpenCV 5 writes on bytes alone
    font, grey = cv2.FONT_HERSHEY_SIMPLEX, (230, 230, 230)
    cv2.putText(bar, text, (5, BAR_PX - 7), font, 0.42, grey, 1, cv2.LINE_AA)
    return bar.astype(np.float32) / np.float32(255)
