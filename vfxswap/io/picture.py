"""Which part and which channels of a file are the picture."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Final

from vfxswap.errors import PlateError
from vfxswap.image import Image, Part

FilePath = str | PathLike[str]

_COLOR_LAYERS: Final = ("rgba", "rgb", "beauty", "combined", "image", "color", "main")
"""Where a part without bare R, G, B keeps its picture, first found wins."""
_SPACE_ATTRIBUTES: Final = ("colorInteropID", "oiio:ColorSpace", "colorSpace", "colorspace")


def choose(
    parts: Sequence[Part],
    path: FilePath,
    frame: int | None,
    part: int | str | None,
    view: str | None,
) -> Image:
    by_part = view is not None and any(p.view for p in parts)
    if by_part:
        kept = tuple(p for p in parts if p.view in ("", view))
        if not any(p.view == view for p in kept):
            raise PlateError(
                "no such view", got=view, wanted=_listed(sorted({p.view for p in parts})),
                file=path, frame=frame,
            )  # fmt: skip
    else:
        kept = tuple(parts)
    views = () if by_part else tuple(kept[0].metadata.get("multiView", ()))
    if view is not None and not by_part and view not in (*views, *(("",) if not views else ())):
        raise PlateError(
            "no such view", got=view, wanted=_listed(views) or "a file with views",
            file=path, frame=frame,
        )  # fmt: skip
    prefix = view + "." if view and views and view != views[0] else ""
    for index, candidate in enumerate(kept):
        if part is not None and part not in (index, candidate.name):
            continue
        if by_part and candidate.view != view:
            continue
        picture = _picture(candidate, prefix)
        if picture is not None:
            rgb, alpha = picture
            space = next(
                (str(candidate.metadata[a]) for a in _SPACE_ATTRIBUTES if a in candidate.metadata),
                "",
            )
            return Image(kept, rgb, index, alpha, space)
    if part is not None and part not in (*range(len(kept)), *(p.name for p in kept)):
        names = [p.name or str(i) for i, p in enumerate(kept)]
        raise PlateError("no such part", got=part, wanted=_listed(names), file=path, frame=frame)
    found = [name for p in kept for name in p.channels]
    raise PlateError(
        "no picture", got=f"channels {_listed(found)}", wanted="R, G, B or one channel",
        file=path, frame=frame,
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _picture(part: Part, prefix: str) -> tuple[tuple[str, str, str], str | None] | None:
    """Names of R, G, B and of alpha in the part; the bare ones, else those of a colour layer."""
    layers: dict[str, dict[str, str]] = {}
    for name in part.channels:
        layer, _, channel = name.rpartition(".")
        layers.setdefault(layer, {}).setdefault(channel.lower(), name)
    wanted = prefix.rstrip(".")

    def rank(layer: str) -> tuple[int, str]:
        last = layer.rpartition(".")[2].lower()
        known = _COLOR_LAYERS.index(last) if last in _COLOR_LAYERS else len(_COLOR_LAYERS)
        return (-2 if layer == wanted else -1 if not layer else known), layer

    for layer in sorted(layers, key=rank):
        if prefix and layer != wanted and not layer.startswith(prefix):
            continue
        found = layers[layer]
        alpha = found.get("a") or found.get("alpha")
        for r, g, b in (("r", "g", "b"), ("red", "green", "blue")):
            if r in found and g in found and b in found:
                return (found[r], found[g], found[b]), alpha
        plain = not layer or layer == wanted or layer.rpartition(".")[2].lower() in _COLOR_LAYERS
        if plain and "y" in found and "ry" not in found:  # elsewhere Y is a vector's
            return (found["y"],) * 3, alpha
    if len(part.channels) == 1:
        return (next(iter(part.channels)),) * 3, None
    return None
