"""How Nuke's published EXR reader names channels, and what else it asks of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vfxswap.io.openexr import Header

BUILT_IN = {"red": "rgba.red", "green": "rgba.green", "blue": "rgba.blue", "alpha": "rgba.alpha"}
_SHORT = {"r": "red", "g": "green", "b": "blue", "a": "alpha"}
_FAST = {(b"\x00",): "none", (b"\x01",): "RLE", (b"\x02",): "ZIPS"}


def nuke_name(channel: str, part: str, dotted_file: bool) -> str:
    """Nuke's `layer.channel` for a channel: at most three dotted pieces, leading digits stripped,
    other signs to `_`, leading pieces joined to the layer, R, r, Red alike. The part's name counts
    only in files without any dotted channel."""
    pieces = channel.split(".", 2)
    if len(pieces) == 1 and part and not dotted_file:
        pieces = [part, *pieces]
    pieces = [re.sub(r"[^0-9a-zA-Z]", "_", p.lstrip("0123456789")) for p in pieces]
    last = _SHORT.get(pieces[-1].lower(), pieces[-1])
    last = last.lower() if last.lower() in BUILT_IN else last
    layer = "_".join(p for p in pieces[:-1] if p)
    return f"{layer}.{last}" if layer else BUILT_IN.get(last, f"other.{last}")


def nuke_channels(headers: Sequence[Header]) -> list[str]:
    """Nuke's name of every channel of a file, part by part in the order of the header."""
    dotted = any("." in c.name for h in headers for c in h.channels)
    return [
        nuke_name(c.name, str(h.attributes.get("name", "")), dotted)
        for h in headers
        for c in h.channels
    ]


def window_faults(headers: Sequence[Header]) -> list[str]:
    """What the parts must share and do not."""
    shared = {
        "data window": {h.data_window for h in headers},
        "display window": {h.display_window for h in headers},
        "pixel aspect": {h.attributes["pixelAspectRatio"] for h in headers},
        "line order": {h.attributes["lineOrder"] for h in headers},
    }
    return [f"parts differ in {name}" for name, values in shared.items() if len(values) > 1]


def slow_reasons(headers: Sequence[Header]) -> list[str]:
    """What keeps a file from the fast path, a scanline at a time; empty on it."""
    reasons = []
    for header in headers:
        if header.attributes.get("type") != "scanlineimage":
            reasons.append(f"type is {header.attributes.get('type')!r}")
        if header.attributes["compression"] not in _FAST:
            reasons.append(f"compression is {header.attributes['compression']!r}")
        if header.attributes["lineOrder"] != (b"\x00",) or header.tiled:
            reasons.append("lines are not in increasing order")
    return reasons
