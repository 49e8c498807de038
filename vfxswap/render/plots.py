"""Plots as inline SVG: no script, nothing from outside, readable without colour."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLORS = ("#6cb4ff", "#ffb454", "#7fd88f", "#f28fb1", "#c3a6ff", "#e6e07a", "#7fd6d6", "#ff9d7a")
"""Told apart by people of any colour vision when lines are labelled as well."""
_WIDTH, _HEIGHT = 1010, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 22, 26
_MOST_TICKS = 10
_MOST_CELLS = 120


@dataclass(frozen=True)
class Series:
    """A line: (x, y) in order; a y of None or a step in x above `gap` breaks it."""

    label: str
    points: Sequence[tuple[float, float | None]]
    gap: float = 1.0


def line_plot(title: str, series: Sequence[Series], *, unit: str, top: float | None = None) -> str:
    """Lines over frames, from 0 to `top` or to what they reach."""
    xs = [x for each in series for x, _ in each.points]
    ys = [y for each in series for _, y in each.points if y is not None]
    if not ys:
        return ""
    axes = _Axes(min(xs), max(xs), 0.0, top or _round_up(max(ys)))
    body = [axes.grid(unit), *(_lines(each, axes, _color(i)) for i, each in enumerate(series))]
    return _framed(title, "".join(body), [each.label for each in series])


def bar_plot(title: str, bars: Sequence[tuple[float, float, str]], *, unit: str) -> str:
    """Bars over frames: (frame, height, kind); kinds are told apart by colour and legend."""
    if not bars:
        return ""
    kinds = list(dict.fromkeys(kind for _, _, kind in bars))
    frames = sorted({frame for frame, _, _ in bars})
    step = min((b - a for a, b in itertools.pairwise(frames)), default=1)
    top = _round_up(max(height for _, height, _ in bars))
    axes = _Axes(frames[0] - step / 2, frames[-1] + step / 2, 0.0, top)
    width = max(0.6, min(16.0, 0.8 * step * axes.x_scale))
    drawn = [axes.grid(unit)]
    for frame, height, kind in bars:
        x, y = axes.at(frame, height)
        drawn.append(
            f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{axes.floor - y:.1f}" fill="{_color(kinds.index(kind))}">'
            f"<title>{frame:g}: {height:.3g} {html.escape(unit)}, {html.escape(kind)}</title>"
            "</rect>"
        )
    return _framed(title, "".join(drawn), kinds)


def path_plot(title: str, series: Sequence[Series], *, size: tuple[int, int]) -> str:
    """Where things went on a picture of `size` (width, height): x right, y down."""
    if not any(each.points for each in series):
        return ""
    scale = min(0.5 * _WIDTH / size[0], 260 / size[1])
    width, height = size[0] * scale, size[1] * scale
    drawn = [f'<rect width="{width:.1f}" height="{height:.1f}" class="plane"/>']
    for index, each in enumerate(series):
        points = [(x * scale, y * scale) for x, y in each.points if y is not None]
        if not points:
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        color = _color(index)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        (x, y), (u, v) = points[0], points[-1]
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="none" stroke="{color}"/>')
        drawn.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="4" fill="{color}"/>')
    svg = _svg(f"0 0 {width:.0f} {height:.0f}", "".join(drawn), width)
    return _figure(title, svg, [each.label for each in series])


def strip(cells: Sequence[tuple[str, str]]) -> str:
    """A cell for each frame: (state, words); the state is its class in the page's style."""
    columns = min(max(len(cells), 1), _MOST_CELLS)
    side, drawn, rows = min(_WIDTH / columns, 40.0), [], -(-len(cells) // columns)
    for index, (state, words) in enumerate(cells):
        row, column = divmod(index, columns)
        drawn.append(
            f'<rect x="{column * side:.1f}" y="{row * 16}" width="{side - 1.2:.1f}" height="14" '
            f'rx="1.5" class="{state}"><title>{html.escape(words)}</title></rect>'
        )
    width = columns * side
    return _svg(f"0 0 {width:.0f} {rows * 16}", "".join(drawn), width)


@dataclass(frozen=True)
class _Axes:
    first: float
    last: float
    low: float
    high: float

    @property
    def x_scale(self) -> float:
        return (_WIDTH - _LEFT - _RIGHT) / max(self.last - self.first, 1.0)

    @property
    def floor(self) -> float:
        return _HEIGHT - _BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        share = (min(y, self.high) - self.low) / (self.high - self.low)
        return _LEFT + (x - self.first) * self.x_scale, self.floor - share * (self.floor - _TOP)

    def grid(self, unit: str) -> str:
        drawn = []
        for tick in _ticks(self.low, self.high, 4):
            _, y = self.at(self.first, tick)
            drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            label = f"{tick:g}" + (f" {unit}" if tick == 0 and unit else "")
            drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{label}</text>')
        for tick in _ticks(self.first, self.last, _MOST_TICKS):
            if tick == int(tick):
                x, _ = self.at(tick, self.low)
                drawn.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" class="mid">{tick:g}</text>')
        return "".join(drawn)


def _lines(series: Series, axes: _Axes, color: str) -> str:
    drawn = []
    for run in _runs(series):
        points = [axes.at(x, y) for x, y in run]
        if len(points) == 1:
            drawn.append(
                f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2" fill="{color}"/>'
            )
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    return "".join(drawn)


def _runs(series: Series) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in series.points:
        if run and (y is None or x - run[-1][0] > series.gap):
            yield run
            run = []
        if y is not None:
            run.append((x, y))
    if run:
        yield run


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers (1, 2, 5 and tens) from low to high, at most `most` + 1."""
    span = max(high - low, 1e-9)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= most), 10)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _round_up(value: float) -> float:
    ticks = _ticks(0.0, max(value, 1e-6) * 1.1, 4)
    step = ticks[1] if len(ticks) > 1 else 1.0
    return step * math.ceil(max(value, 1e-6) / step)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _framed(title: str, body: str, labels: Sequence[str]) -> str:
    return _figure(title, _svg(f"0 0 {_WIDTH} {_HEIGHT}", body, _WIDTH), labels)


def _figure(title: str, svg: str, labels: Sequence[str]) -> str:
    shown = "".join(
        f'<span><i style="background:{_color(i)}"></i>{html.escape(label)}</span>'
        for i, label in enumerate(labels)
        if label
    )
    return f"<figure><figcaption>{html.escape(title)}{shown}</figcaption>{svg}</figure>"


def _svg(box: str, body: str, width: float) -> str:
    return f'<svg viewBox="{box}" style="max-width:{width:.0f}px" role="img">{body}</svg>'
