"""A job: everything that decides the pixels of a render, as one JSON file.

A job knows effects by name alone; their settings are checked where the effects are known.
Paths are relative to the job file in a file, and to the current folder in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.geometry import Box
from vfxswap.paths import NO_MAP, PathMap, is_windows
from vfxswap.persona import ShowName
from vfxswap.settings import Settings, validated
from vfxswap.shot import Shot, parse_frames

JOB_VERSION = 1
FILE_SETTINGS = ("reference", "frames_picture", "clean_plate", "consent_card")
"""Settings, of whichever effect, that name a file: their paths are those of the job."""
_BUILT_IN = "ocio://"
"""Begins the name of a colour config that is no file."""


class Plate(Settings):
    """The plate, and where its picture lies in it."""

    pattern: str = Field(
        min_length=1, description="File or sequence: plate.#.exr, plate.%04d.exr, plate.$F4.exr."
    )
    color_space: str = Field(
        default="", description="Colour space; empty takes the file's own word, then file rules."
    )
    part: str = Field(default="", description="EXR part of the picture; empty takes the first.")
    layer: str = Field(default="", description="Layer of the picture; empty takes bare R, G, B.")


class MatteSource(Settings):
    """Where a matte comes from; it is read frame by frame beside the plate."""

    pattern: str = Field(min_length=1, description="File or sequence, as for the plate.")
    channel: str = Field(
        default="", description="Channel, as in A or roto.alpha; empty takes the only one or A."
    )


class EffectSpec(Settings):
    """One effect of a job: its name, settings that may be keyframed, and mattes by role."""

    effect: str = Field(min_length=1, description="Name of the effect, as in swap.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Settings by name: a value, or for numbers and switches "
        '{"keys": {"1001": 0.0, "1050": 1.0}, "interpolation": "linear" | "smooth" | "step"}.',
    )
    mattes: dict[str, MatteSource] = Field(
        default_factory=dict, description="Role (holdout, garbage or the effect's own) → matte."
    )
    spaces: dict[str, str] = Field(
        default_factory=dict,
        description="Colour space of the picture that a setting names, by setting, as in "
        '{"reference": "ACEScg"}; without it the file\'s own word, then file rules.',
    )

    @model_validator(mode="after")
    def _spaces_of_pictures(self) -> Self:
        for name in self.spaces:
            if name not in FILE_SETTINGS:
                raise ValueError(f"spaces names {name}, wanted a setting that names a picture")
        return self


class Tracking(Settings):
    """How faces are found and followed."""

    min_face_px: int = Field(
        default=48,
        ge=16,
        description="Smallest face (larger side of its landmarks' box), in square plate pixels.",
        json_schema_extra={"unit": "px"},
    )
    min_score: float = Field(
        default=0.3, ge=0, le=1, description="Faces that the detector is less sure of are dropped."
    )
    max_faces: int = Field(default=64, ge=1, le=64, description="Most faces on one frame.")
    smooth: bool = Field(default=True, description="Steady the landmarks over time, without delay.")
    max_gap_frames: int = Field(
        default=4,
        ge=0,
        le=1000,
        description="A face lost for at most so long is filled in, with fading confidence.",
    )
    find_cuts: bool = Field(
        default=True, description="Look for cuts: no face is followed across one."
    )
    landmarks: str = Field(
        default="", description="Landmark model by name; empty takes the first that is installed."
    )
    identify: bool = Field(
        default=True,
        description="Tell performers apart by their looks: ids hold through crossings and cuts.",
    )
    cuts: tuple[int, ...] = Field(
        default=(), description="Frames at which another take begins, beside those found."
    )


class ColorSettings(Settings):
    """Colour management of the job."""

    config: str = Field(
        default="", description="OCIO config file or ocio:// name; empty takes $OCIO or built-in."
    )
    working: str = Field(
        default="", description="Working space; empty takes the config's scene_linear role."
    )


class Output(Settings):
    """What is written."""

    pattern: str = Field(min_length=1, description="EXR sequence to write: out.#.exr.")
    single_part: bool = Field(default=False, description="All layers in one part.")
    layers: bool = Field(default=True, description="Write the effects' layers beside the comp.")
    sidecar: bool = Field(default=True, description="Write ids and hashes beside the frames.")


class Job(Settings):
    """A render of a shot: plate, frames, show, effects, colour and output."""

    version: Literal[1] = Field(default=1, description="Version of this form.")
    plate: Plate = Field(description="What is read.")
    frames: str = Field(
        default="", description="Frame range, as in 1001-1100x2; empty takes every frame found."
    )
    handles: int = Field(
        default=0, ge=0, description="Frames before and after that tracking sees as well."
    )
    views: tuple[str, ...] = Field(
        default=(), description="Views to render, in order; empty takes those of the plate."
    )
    show: ShowName | Literal[""] = Field(default="", description="Show that consent is asked for.")
    effects: tuple[EffectSpec, ...] = Field(
        default=(), description="Effects in order; each works on the result of the one before."
    )
    color: ColorSettings = Field(default=ColorSettings(), description="Colour management.")
    tracks: str = Field(default="", description="Tracks file of the shot.")
    tracking: Tracking = Field(default=Tracking(), description="How the shot is tracked.")
    revocations: str = Field(
        default="", description="Revocation list, honoured beside $VFXSWAP_REVOCATIONS."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of all randomness.")
    region: tuple[int, int, int, int] | None = Field(
        default=None, description="Only this window: x, y, width, height in plate pixels."
    )
    proxy: Literal[1, 2, 4, 8] = Field(default=1, description="Work at 1/proxy of the size.")
    output: Output = Field(description="What is written.")

    @field_validator("frames")
    @classmethod
    def _frames_read(cls, text: str) -> str:
        if text:
            try:
                parse_frames(text)
            except JobError as error:
                raise ValueError(str(error)) from None
        return text

    @field_validator("region")
    @classmethod
    def _region_holds_pixels(
        cls, region: tuple[int, int, int, int] | None
    ) -> tuple[int, int, int, int] | None:
        if region is not None and min(region[2:]) < 1:
            raise ValueError(f"width and height are {region[2]} and {region[3]}, wanted 1 or more")
        return region

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, paths: PathMap = NO_MAP) -> Self:
        """The job in a file, its paths mapped by `paths` and relative ones resolved against the
        file's folder.

        Raises JobError (file, what, got, wanted) when it cannot be read, is no JSON, is of
        another version, or has unknown or wrong keys.
        """
        file = Path(path)
        try:
            data = json.loads(
                file.read_text(encoding="utf-8-sig"),
                object_pairs_hook=_without_repeats,
                parse_constant=_no_constant,
            )
        except OSError as error:
            raise JobError(f"job cannot be read: {error.strerror}", file=file) from None
        except (ValueError, RecursionError) as error:
            raise JobError(f"job is no valid JSON: {error}", file=file) from None
        if not isinstance(data, dict) or "version" not in data:
            raise JobError("not a job", wanted='a JSON object with "version"', file=file)
        if data["version"] != JOB_VERSION:
            raise JobError(
                "job of another version", got=data["version"], wanted=JOB_VERSION, file=file
            )
        return validated(cls, data, file=file).mapped(paths).resolved(file.parent)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the job as canonical JSON (keys sorted, defaults spelled out, absolute paths),
        complete or not at all. Raises OutputError, and JobError for a setting (inf, nan) that
        JSON cannot hold."""
        content = self.resolved(Path.cwd()).model_dump()
        try:
            text = json.dumps(
                content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
            )
            data = (text + "\n").encode()
        except ValueError as error:
            raise JobError(f"job cannot be written as JSON: {error}", file=path) from None
        write_atomically(path, data)

    def resolved(self, folder: str | os.PathLike[str]) -> Self:
        """The same job with every relative path taken from `folder` and made absolute.

        Raises JobError for a path of Windows elsewhere, which would be taken for a relative one.
        """

        def path(text: str) -> str:
            if os.sep == "/" and is_windows(text):
                raise JobError(
                    "path of another system", got=text, wanted="a mapping for it (--path-map)"
                )
            return os.path.normpath(Path(folder).absolute() / text)

        return self._with_paths(path)

    def mapped(self, paths: PathMap) -> Self:
        """The same job with every path as this machine knows it."""
        return self._with_paths(paths.apply) if paths.rules else self

    def _with_paths(self, change: Callable[[str], str]) -> Self:
        """The same job with each path that it states changed: plate, mattes, pictures that settings
        name, output, colour config, tracks, revocations."""

        def path(text: str) -> str:
            return text if not text or text.startswith(_BUILT_IN) else change(text)

        def matte(source: MatteSource) -> MatteSource:
            return source.model_copy(update={"pattern": path(source.pattern)})

        def effect(spec: EffectSpec) -> EffectSpec:
            named = {name: path(str(spec.settings[name])) for name in _files(spec)}
            mattes = {role: matte(source) for role, source in spec.mattes.items()}
            return spec.model_copy(
                update={"mattes": mattes, "settings": {**spec.settings, **named}}
            )

        effects = tuple(effect(spec) for spec in self.effects)
        return self.model_copy(
            update={
                "plate": self.plate.model_copy(update={"pattern": path(self.plate.pattern)}),
                "output": self.output.model_copy(update={"pattern": path(self.output.pattern)}),
                "color": self.color.model_copy(update={"config": path(self.color.config)}),
                "effects": effects,
                "tracks": path(self.tracks),
                "revocations": path(self.revocations),
            }
        )

    def for_show(self, show: str) -> Self:
        """The same job for `show`, where it names none of its own; "" leaves it as it is.

        Raises JobError for what is no name of a show.
        """
        if not show or self.show:
            return self
        return validated(type(self), {**self.model_dump(mode="json"), "show": show})

    def shot(self, *, found: tuple[int, ...] = ()) -> Shot:
        """The job's shot; `found` are the plate's frames on disk, for a job without a range."""
        frames = parse_frames(self.frames) if self.frames else found
        return Shot(self.plate.pattern, frames, self.handles, self.views)

    @property
    def region_box(self) -> Box | None:
        """The region as a window in plate pixels."""
        return Box(*self.region) if self.region is not None else None

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of a job file."""
        schema = cls.model_json_schema()
        schema["required"] = sorted({"version", *schema["required"]})
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _files(spec: EffectSpec) -> list[str]:
    """The settings of an effect that name files."""
    return [name for name in FILE_SETTINGS if isinstance(spec.settings.get(name), str)]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key} appears twice")
        values[key] = value
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
