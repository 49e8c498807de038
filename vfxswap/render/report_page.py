"""The shot report as a folder: `report.json`, and `report.html`, one file without script or
network."""

from __future__ import annotations

import html
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
from vfxswap.render.plan import color_manager
from vfxswap.render.plots import Series, bar_plot, line_plot, path_plot, strip
from vfxswap.render.prepare import beside_output, tracks_path
from vfxswap.render.shot_report import FrameReport, ShotReport
from vfxswap.render.stability import FaceTrack
from vfxswap.render.thumbnails import thumbnails
from vfxswap.shot import format_frames

MOST_THUMBNAILS = 60
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:dark;--ink:#e4e6eb;--dim:#9aa1ad;--plane:#1d2026;--line:#2f343d}
body{font:15px/1.5 system-ui,sans-serif;background:#14161a;color:var(--ink);margin:0 auto;
max-width:66em;padding:1.5em 1.2em 4em}
h1{font-weight:600;font-size:1.5em;margin:.2em 0}
h2{font-weight:600;font-size:1.1em;margin:2.2em 0 .6em}
p,small{color:var(--dim)}b{font-weight:600;color:var(--ink)}code{font-size:.86em;color:#c8cedb}
.verdict{display:inline-block;padding:.15em .8em;border-radius:1em;font-weight:600;color:#111}
.good{background:#7fd88f}.bad{background:#ff8f7a}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8em,1fr));gap:.7em;
margin:1.2em 0}
.cards div{background:var(--plane);border-radius:.5em;padding:.6em .9em;color:var(--dim)}
.cards b{display:block;font-size:1.25em;white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.9em}
td,th{text-align:left;vertical-align:top;padding:.3em .9em .3em 0;
border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:500}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
td{overflow-wrap:anywhere}
.film{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2em,1fr));gap:.5em}
.film figure{margin:0;background:var(--plane);border-radius:.4em;overflow:hidden}
.film img{display:block;width:100%}.film figcaption{margin:0;padding:.15em .5em;font-size:.8em}
figure{margin:1em 0}figcaption{color:var(--dim);font-size:.9em;margin-bottom:.3em}
figcaption span{margin-left:1.2em;white-space:nowrap}
figcaption i{display:inline-block;width:.8em;height:.8em;border-radius:.2em;margin-right:.35em}
svg{display:block;width:100%;height:auto;background:var(--plane);border-radius:.4em;font-size:11px}
svg text{fill:var(--dim)}svg line{stroke:var(--line)}.end{text-anchor:end}.mid{text-anchor:middle}
.plane{fill:#22262d;stroke:var(--line)}.whole{fill:#4f9d69}.broken{fill:#ff8f7a}.missing{fill:none;
stroke:#ff8f7a}.noted{fill:#ffb454}.strip svg{background:none}
summary{cursor:pointer;color:var(--dim)}
"""


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
        f"<h1>{_e(Path(report.output).name)}</h1>"
        f"<p>Frames {_e(report.frame_range)}"
        f"{', views ' + _e(', '.join(report.views)) if any(report.views) else ''} of "
        f"<code>{_e(report.plate)}</code></p>",
        _cards(report),
        f'<div class="strip">{strip([_cell(f) for f in report.frames])}</div>'
        "<small>One cell a frame file: green whole, yellow with notes, red broken, hollow missing."
        "</small>",
        _section("To look at", _attention(report)),
        _section("Pictures", _film(job, report)),
        _section("Faces", _stability(job, report.stability)),
        _section("Time", _times(report)),
        _section("Who rendered", _machines(report)),
        _section("What made it", _ingredients(report)),
        f"<details><summary>All frames</summary>{_frames(report.frames)}</details>",
        f"<p>Made {_e(report.made)} by vfxswap {_e(report.made_by)}. Times are each machine's own. "
        "The same for programs is in <code>report.json</code>.</p>",
    ]
    title = f"{Path(report.output).name}: {totals.whole} of {totals.frames}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_e(title)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(sections)}</body></html>\n"
    )


def _e(value: object) -> str:
    return html.escape(str(value))


def _section(title: str, body: str) -> str:
    return f"<h2>{_e(title)}</h2>{body}" if body else ""


def _cards(report: ShotReport) -> str:
    totals = report.totals
    times = [f.seconds for f in report.frames if f.seconds is not None]
    cards = [
        ("whole", f"{totals.whole} of {totals.frames}"),
        ("broken", str(totals.broken)),
        ("missing", str(totals.missing)),
        ("time in all", _duration(totals.seconds)),
        ("a frame", f"{statistics.median(times):.2f} s" if times else "unknown"),
        ("machines", str(len({m.host for m in report.machines}))),
        ("faces", str(len(totals.face_ids)) if totals.face_ids else "none"),
    ]
    return (
        f'<div class="cards">{"".join(f"<div>{_e(k)}<b>{_e(v)}</b></div>" for k, v in cards)}</div>'
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
    return _table(("frames", "", ""), rows)


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
        f'<figure><img src="{picture}" alt="frame {_e(_name(f))}" loading="lazy">'
        f"<figcaption>{_e(_name(f))}</figcaption></figure>"
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
            _table(("face", "frames", "jitter, RMS", "confidence"), rows),
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
    return _table(("machine", "device", "precision", "vfxswap", "frames", "time"), rows)


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
    return _table(("", ""), rows)


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
    return _table(heads, rows)


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_e(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="n">{_e(c)}</td>' if i == 0 else f"<td>{_e(c)}</td>"
                         for i, c in enumerate(row)) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}</table>"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
