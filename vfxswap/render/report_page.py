"""The shot report as a folder: `report.json`, and `report.html`, one file without script or
network."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from vfxswap.color import ColorManager
from vfxswap.errors import ColorError, JobError
from vfxswap.files import write_atomically
from vfxswap.io.tracks import read_tracks
from vfxswap.job import Job
from vfxswap.render.page import cards, escaped, page, section, table
from vfxswap.render.plan import color_manager
from vfxswap.render.plots import Series, bar_plot, line_plot, path_plot, strip
from vfxswap.render.prepare import beside_output, tracks_path
from vfxswap.render.shot_report import FrameReport, ShotReport
from vfxswap.render.stability import FaceTrack
from vfxswap.render.thumbnails import thumbnails
from vfxswap.shot import format_frames

MOST_THUMBNAILS = 60


def write_shot_report(folder: Path, job: Job, report: ShotReport) -> Path:
    """Writes `report.json` and `report.html` into `folder` (made if need be); the page's path.
    Raises OutputError."""
    data = json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "report.json", (data + "\n").encode("utf-8", "replace"))
    page = folder / "report.html"
    write_atomically(page, _page(job, report).encode("utf-8", "replace"))
    return page


def report_folder(job: Job) -> Path:
    """Where the report of a job goes unless told: beside its output."""
    return beside_output(job, ".report")


def _page(job: Job, report: ShotReport) -> str:
    totals = report.totals
    good = totals.whole == totals.frames
    lacking = totals.frames - totals.whole
    words = "all frames are there" if good else f"{lacking} of {totals.frames} frames are not there"
    sections = [
        f'<span class="verdict {"good" if good else "bad"}">{words}</span>'
        f"<h1>{escaped(Path(report.output).name)}</h1>"
        f"<p>Frames {escaped(report.frame_range)}"
        f"{', views ' + escaped(', '.join(report.views)) if any(report.views) else ''} of "
        f"<code>{escaped(report.plate)}</code></p>",
        _cards(report),
        f'<div class="strip">{strip([_cell(f) for f in report.frames])}</div>'
        "<small>One cell a frame file: green whole, yellow with notes, red broken, hollow missing."
        "</small>",
        section("To look at", _attention(report)),
        section("Pictures", _film(job, report)),
        section("Faces", _stability(job, report.stability)),
        section("Time", _times(report)),
        section("Who rendered", _machines(report)),
        section("What made it", _ingredients(report)),
        f"<details><summary>All frames</summary>{_frames(report.frames)}</details>",
        f"<p>Made {escaped(report.made)} by vfxswap {escaped(report.made_by)}. "
        "Times are each machine's own. The same for programs is in <code>report.json</code>.</p>",
    ]
    return page(f"{Path(report.output).name}: {totals.whole} of {totals.frames}", sections)


def _cards(report: ShotReport) -> str:
    totals = report.totals
    times = [f.seconds for f in report.frames if f.seconds is not None]
    return cards(
        [
            ("whole", f"{totals.whole} of {totals.frames}"),
            ("broken", str(totals.broken)),
            ("missing", str(totals.missing)),
            ("time in all", _duration(totals.seconds)),
            ("a frame", f"{statistics.median(times):.2f} s" if times else "unknown"),
            ("machines", str(len({m.host for m in report.machines}))),
            ("faces", str(len(totals.face_ids)) if totals.face_ids else "none"),
        ]
    )


def _cell(f: FrameReport) -> tuple[str, str]:
    noted = f.state == "whole" and (f.notes or f.warnings)
    words = "; ".join(filter(None, [f.reason, *f.warnings, *f.notes]))
    return ("noted" if noted else f.state), f"{_name(f)}: {f.state}{', ' + words if words else ''}"


def _name(f: FrameReport) -> str:
    return f"{f.frame} {f.view}".strip()


def _attention(report: ShotReport) -> str:
    """Warnings of the shot, broken and missing frames with their reasons, notes by frames."""
    rows = [("shot", "warning", text) for text in report.warnings]
    by_words: dict[tuple[str, str], list[int]] = {}
    for f in report.frames:
        if f.state != "whole":
            reason = f.reason or "not rendered, and nothing says why"
            by_words.setdefault((f.state, reason), []).append(f.frame)
        for text in f.warnings:
            by_words.setdefault(("warning", text), []).append(f.frame)
        for text in f.notes:
            by_words.setdefault(("note", text), []).append(f.frame)
    rows += [(format_frames(frames), kind, text) for (kind, text), frames in by_words.items()]
    return table(("frames", "", ""), rows)


def _film(job: Job, report: ShotReport) -> str:
    whole = [f for f in report.frames if f.state == "whole"]
    step = max(1, -(-len(whole) // MOST_THUMBNAILS))
    chosen = whole[::step]
    manager = _manager(job)
    if manager is None or not chosen:
        return ""
    files = [(Path(f.path), f.color_space) for f in chosen]
    pictures = thumbnails(files, manager, threads=min(os.cpu_count() or 1, 8))
    shown = "".join(
        f'<figure><img src="{picture}" alt="frame {escaped(_name(f))}" loading="lazy">'
        f"<figcaption>{escaped(_name(f))}</figcaption></figure>"
        for f, picture in zip(chosen, pictures, strict=True)
        if picture is not None
    )
    left_out = f" Every {step}th frame." if step > 1 else ""
    return (
        f'<div class="film">{shown}</div><small>The comp in sRGB, highlights rolled off; '
        f"not for judging a grade.{left_out}</small>"
    )


def _manager(job: Job) -> ColorManager | None:
    try:
        return color_manager(job)
    except ColorError:
        return None


def _stability(job: Job, tracks: Sequence[FaceTrack]) -> str:
    if not tracks:
        return ""

    def series(name: str) -> list[Series]:
        return [
            Series(_face(t), list(zip(t.frames, getattr(t, name), strict=True)), _gap(t))
            for t in tracks
        ]

    rows = [
        (
            _face(t),
            format_frames(t.frames),
            f"{t.jitter_rms_px:.3f} px" if t.jitter_rms_px is not None else "unknown",
            f"{min(t.confidence):.2f} … {max(t.confidence):.2f}",
        )
        for t in tracks
    ]
    paths = [Series(_face(t), list(zip(t.x, t.y, strict=True))) for t in tracks]
    size = _plate_size(job)
    return "".join(
        [
            table(("face", "frames", "jitter, RMS", "confidence"), rows),
            line_plot("Jitter of the landmarks by frame", series("jitter_px"), unit="px"),
            line_plot("Confidence by frame", series("confidence"), unit="", top=1.0),
            path_plot("Path over the picture (ring: first, dot: last)", paths, size=size)
            if size
            else "",
            "<small>Jitter: what a landmark differs from the mean of the frames before and after; "
            "steady motion does not count, fast accelerations do.</small>",
        ]
    )


def _face(track: FaceTrack) -> str:
    return f"face {track.face} {track.view}".strip()


def _gap(track: FaceTrack) -> float:
    steps = [b - a for a, b in zip(track.frames, track.frames[1:], strict=False)]
    return float(min(steps, default=1))


def _plate_size(job: Job) -> tuple[int, int] | None:
    try:
        plate = read_tracks(tracks_path(job)).plate
    except JobError:
        return None
    return plate.width, plate.height


def _times(report: ShotReport) -> str:
    bars = [(float(f.frame), f.seconds, f.host or "unknown") for f in report.frames if f.seconds]
    return bar_plot("Seconds by frame", bars, unit="s")


def _machines(report: ShotReport) -> str:
    rows = [
        (m.host, m.device, m.precision, m.version, str(m.frames), _duration(m.seconds))
        for m in report.machines
    ]
    return table(("machine", "device", "precision", "vfxswap", "frames", "time"), rows)


def _ingredients(report: ShotReport) -> str:
    rows = [("show", report.show or "none named")]
    for effect in report.effects:
        rows.append(
            ("effect", f"{effect['effect']} {json.dumps(effect['settings'], sort_keys=True)}")
        )
    weights = dict.fromkeys(item for f in report.frames for item in f.weights.items())
    rows += [("weights", f"{name} {sha}") for name, sha in weights]
    pairs = dict.fromkeys(
        pair for f in report.frames for pair in zip(f.personas, f.consents, strict=False)
    )
    rows += [("persona, consent", f"{persona}, {consent}") for persona, consent in pairs]
    return table(("", ""), rows)


def _frames(frames: Iterable[FrameReport]) -> str:
    rows = [
        (
            _name(f),
            f.state,
            "" if f.seconds is None else f"{f.seconds:.2f} s",
            "" if f.faces is None else str(len(f.faces)),
            " ".join(f"{_number(face.get('confidence'))}" for face in f.faces or ()),
            f.host,
            f.finished,
            f.file_sha256[:16],
        )
        for f in frames
    ]
    heads = ("frame", "state", "time", "faces", "confidence", "machine", "finished", "SHA-256")
    return table(heads, rows)


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
