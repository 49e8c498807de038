"""`vfxswap synth`: writes a synthetic shot and its truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vfxswap import __version__
from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.image import Image, Layer, MetaValue, Part
from vfxswap.io.exr import write_image
from vfxswap.io.sequence import PlateSequence
from vfxswap.synth.cycles import Cycles, bpy_python
from vfxswap.synth.cycles import render as render_by_cycles
from vfxswap.synth.head import Floats, data_folder
from vfxswap.synth.identity import known
from vfxswap.synth.render import Truth
from vfxswap.synth.shot import SPACE, Shot, ShotSpec, truth_layers

Progress = Callable[[int, int], None]
"""Called with frames done and frames wanted."""


def run(
    spec: ShotSpec,
    output: str,
    *,
    as_personas: Sequence[str] = (),
    truth: bool = True,
    device: str = "cpu",
    cycles: Cycles | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Writes the shot's plate to `output` (`shot.####.exr`) and returns the plate's files.

    Beside it: `shot_landmarks.json` (70 points in plate pixels by frame and performer) and
    `shot_shot.json` (the settings that make it again); with `truth` `shot_truth.####.exr` (the
    picture without grain, mattes and depth as layers); for each of `as_personas` (a name, or as
    many names as performers joined by +) `shot_as_NAME.####.exr`: the same shot performed so.
    Warp renders on `device`; with `cycles` that renderer does, in a Python of its own.
    Files are scene-linear half EXR, Rec.709 primaries, with overscan as data window. Raises
    JobError for unknown performers, a pattern that is not EXR, or a missing extra; OutputError.
    """
    data_folder()
    if cycles is not None:
        bpy_python(cycles)
    pattern = Path(output)
    sequence = PlateSequence(output)
    if pattern.suffix.lower() != ".exr" or (sequence.still and spec.frames > 1):
        raise JobError("synthetic shots are EXR sequences", got=output, wanted="shot.####.exr")
    casts = {"": spec.personas, **{f"_as_{n}": _cast(n, spec) for n in as_personas}}
    for names in casts.values():
        for name in names:
            known(name)
    renderer = None if cycles is None else partial(render_by_cycles, settings=cycles)
    shot = Shot(spec, device=device, renderer=renderer)
    landmarks: dict[str, list[dict[str, object]]] = {}
    written = []
    for done in range(spec.frames):
        number = spec.first_frame + done
        for suffix, names in casts.items():
            truths = shot.frame(number, cast=names)
            path = PlateSequence(str(_beside(pattern, suffix))).path(number)
            write_image(path, _image(truths[0].rgb, shot, names))
            if suffix:
                continue
            written.append(path)
            landmarks[str(number)] = [_record(n, t) for n, t in zip(names, truths, strict=True)]
            if truth:
                clean = truths if spec.grain == 0 else shot.frame(number, grain=False)
                layers = [layer for i, t in enumerate(clean) for layer in _numbered(t, i)]
                file = PlateSequence(str(_beside(pattern, "_truth"))).path(number)
                write_image(file, _image(clean[0].rgb, shot, names), layers)
        if progress is not None:
            progress(done + 1, spec.frames)
    stem = pattern.name.split(".")[0]
    _write_json(pattern.with_name(f"{stem}_landmarks.json"), landmarks)
    settings = {"version": __version__, "color_space": SPACE, "settings": spec.model_dump()}
    settings["renderer"] = {"name": "cycles", **cycles.described()} if cycles else {"name": "warp"}
    _write_json(pattern.with_name(f"{stem}_shot.json"), settings)
    return tuple(written)


def _cast(name: str, spec: ShotSpec) -> tuple[str, ...]:
    names = tuple(name.split("+"))
    if len(names) == 1:
        return names * len(spec.personas)
    if len(names) != len(spec.personas):
        raise JobError("too many or too few personas", got=name, wanted=f"{len(spec.personas)}")
    return names


def _beside(pattern: Path, suffix: str) -> Path:
    stem, dot, rest = pattern.name.partition(".")
    return pattern.with_name(f"{stem}{suffix}{dot}{rest}")


def _image(rgb: Floats, shot: Shot, names: tuple[str, ...]) -> Image:
    top = float(np.finfo(np.float16).max)
    half = np.clip(rgb, -top, top).astype(np.float16)
    metadata: dict[str, MetaValue] = {
        "colorInteropID": SPACE,
        "chromaticities": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
        "vfxswap/synthetic": 1,
        "vfxswap/personas": " ".join(names),
        "vfxswap/seed": shot.spec.seed,
    }
    channels = {c: np.ascontiguousarray(half[..., i]) for i, c in enumerate("RGB")}
    part = Part(
        channels=channels,
        data_window=shot.camera.window,
        display_window=shot.display_window,
        pixel_aspect=shot.spec.pixel_aspect,
        metadata=metadata,
    )
    return Image(parts=(part,), rgb_names=("R", "G", "B"), color_space=SPACE)


def _numbered(truth: Truth, index: int) -> list[Layer]:
    """Truth layers; those of the second performer on carry its number: `truth2_face`."""
    number = "" if index == 0 else str(index + 1)
    return [
        Layer(x.name.replace("truth", f"truth{number}"), x.channels, x.pixels, x.kind)
        for x in truth_layers(truth)
    ]


def _record(name: str, truth: Truth) -> dict[str, object]:
    return {
        "persona": name,
        "points": np.round(truth.landmarks, 3).tolist(),
        "visible": truth.visible.astype(int).tolist(),
    }


def _write_json(path: Path, data: object) -> None:
    write_atomically(path, (json.dumps(data, separators=(",", ":")) + "\n").encode())
