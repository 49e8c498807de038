"""Face sets: one persona's aligned crops from footage, with all that is known of each, on disk.

A set is a folder:

* `set.json`: format, version, crop size, working space, filters, and the shots by name;
* `persona.toml`: the persona and its consent, as a model's card states them;
* `faces.jsonl`: a line a face (`SetFace`), ordered by shot, view and frame;
* `crops/SHOT/…exr`: a crop a file, scene-linear in the working space, half float: `R,G,B` and
  `face_matte.{red,green,blue,alpha}` = visible face, outline, what is before it, hair;
* `tracks/SHOT.tracks.json`: tracks that were not the artist's own file;
* `work/`: what a stopped run goes on from;
* `report/`: pictures and pages.

Crops are those of `train.crops`: the aligned crop with a margin, at a higher resolution.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tomli_w
from pydantic import Field, FiniteFloat

from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.geometry import LANDMARK_COUNT, Array
from vfxswap.persona import Persona, PersonaId, Sha256
from vfxswap.settings import Settings, validated
from vfxswap.train.face_set_expression import Expression
from vfxswap.train.face_set_looks import Light
from vfxswap.train.face_set_settings import FaceSetSettings, Share

FORMAT: Final = "vfxswap-faces"
VERSION: Final = 1
SET_FILE, PERSONA_FILE, FACES_FILE = "set.json", "persona.toml", "faces.jsonl"

Reason = Literal[
    "", "gone", "unsure", "broken", "outside", "size", "occluded", "blurred", "person", "duplicate"
]
"""Why a face is not in the set; "" is in it. In the order in which they are looked at."""

REASONS: Final[Mapping[Reason, str]] = {
    "gone": "its frame is no longer there",
    "unsure": "the tracker is not sure that a face is there",
    "broken": "pixels that are inf or nan",
    "outside": "cut off by the edge of the picture",
    "size": "too small for the crops",
    "occluded": "something is before the face",
    "blurred": "out of focus or moving",
    "person": "does not look like the persona",
    "duplicate": "much like a sharper one",
}


class SetShot(Settings):
    """A shot of a set."""

    plate: str = Field(description="File pattern of the plate, absolute.")
    frames: str = Field(default="", description="Frame range; all on disk if empty.")
    faces: tuple[int, ...] = Field(description="The persona's ids in the tracks.")
    tracks: str = Field(description="Tracks file: absolute, or within the set.")
    color_space: str = Field(default="", description="The plate's, where the file does not say.")
    pixel_aspect: float = Field(default=1.0, gt=0, description="Of the plate.")
    cuts: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="View → frames at which another take begins."
    )


class SetHeader(Settings):
    """`set.json`."""

    format: Literal["vfxswap-faces"] = FORMAT
    version: Literal[1] = VERSION
    persona: PersonaId = Field(description="Whose faces these are.")
    working_space: str = Field(description="Colour space of the crops.")
    settings: FaceSetSettings = Field(description="Crop size and filters.")
    shots: dict[str, SetShot] = Field(default_factory=dict, description="By name.")
    reference: str = Field(default="", description="Descriptor that likeness is measured against.")
    finished: bool = Field(default=True, description="Whether no run is under way, or stopped.")
    made_by: str = Field(default="", description="Version of vfxswap that wrote it.")


class SetFace(Settings):
    """One face of a set: where it was found, what it shows, whether it stays."""

    shot: str
    frame: int
    view: str = ""
    face: int = Field(description="Id in the tracks.")
    file: str = Field(description="The crop, within the set.")
    plate: str = Field(description="The frame's file name.")
    plate_bytes: int
    plate_modified_us: int
    plate_sha256: Sha256
    key: str = Field(description="Hash of all that the crop depends on.")
    crop_bytes: int
    score: Share
    confidence: Share
    points: tuple[tuple[FiniteFloat, FiniteFloat], ...] = Field(
        min_length=LANDMARK_COUNT, max_length=LANDMARK_COUNT, description="On the plate."
    )
    matrix: tuple[FiniteFloat, ...] = Field(
        min_length=6, max_length=6, description="[2, 3] from plate pixels to the crop's."
    )
    face_px: float = Field(description="Larger side of the landmarks' box, square plate pixels.")
    resolution: float = Field(description="Plate pixels for a pixel of the aligned crop.")
    yaw_deg: FiniteFloat = Field(description="Turn to image right.")
    pitch_deg: FiniteFloat = Field(description="Nod down.")
    roll_deg: FiniteFloat = Field(description="Tilt to image right.")
    expression: Expression
    light: Light | None = None
    blur: float | None = Field(description="Percent of the crop's width; null: not measurable.")
    occlusion: Share
    glasses: Share
    outside: Share
    broken: Share
    appearance: str = Field(description="Small grey picture, base64.")
    descriptor: str = Field(description="Who it looks like, base64.")
    gone: bool = Field(default=False, description="Whether its frame is no longer on disk.")
    likeness: float | None = None
    reason: Reason = ""
    like: str = Field(default="", description="The sharper face that a duplicate is like.")

    @property
    def kept(self) -> bool:
        return not self.reason

    @property
    def name(self) -> str:
        """As people read it: shot, frame and view."""
        return " ".join(filter(None, [self.shot, str(self.frame), self.view]))

    @property
    def place(self) -> tuple[str, str, int, int]:
        """What tells it from the set's other faces, in the set's order."""
        return self.shot, self.view, self.frame, self.face

    def landmarks(self) -> Array:
        """[70, 2] in pixels of the stored crop."""
        matrix = np.array(self.matrix).reshape(2, 3)
        return np.asarray(np.array(self.points) @ matrix[:, :2].T + matrix[:, 2])


class FaceSet:
    """A set as read: header, persona, faces in order; `folder` is where it lies."""

    def __init__(
        self, folder: Path, header: SetHeader, persona: Persona, faces: Iterable[SetFace]
    ) -> None:
        self.folder = folder
        self.header = header
        self.persona = persona
        self.faces = tuple(sorted(faces, key=lambda face: face.place))

    @property
    def kept(self) -> tuple[SetFace, ...]:
        return tuple(face for face in self.faces if face.kept)

    def rejected(self) -> dict[Reason, list[SetFace]]:
        """Faces that are not in the set, by reason, in the order of `REASONS`."""
        found: dict[Reason, list[SetFace]] = {reason: [] for reason in REASONS}
        for face in self.faces:
            if face.reason:
                found[face.reason].append(face)
        return {reason: faces for reason, faces in found.items() if faces}


def is_face_set(folder: Path) -> bool:
    """Whether a finished set lies there."""
    return (folder / SET_FILE).is_file()


def read_face_set(folder: Path) -> FaceSet:
    """A set from its folder. Raises JobError for what is none, is of another version, damaged, or
    was left unfinished by a stopped run."""
    header = read_header(folder)
    if not header.finished:
        raise JobError("the face set is not finished", wanted="its `vfxswap faces` once more",
                       file=folder)  # fmt: skip
    persona = read_persona(folder / PERSONA_FILE)
    if persona.id != header.persona:
        raise JobError("the set's persona is another one than its card's", got=persona.id,
                       wanted=header.persona, file=folder / PERSONA_FILE)  # fmt: skip
    return FaceSet(folder, header, persona, read_faces(folder / FACES_FILE))


def read_header(folder: Path) -> SetHeader:
    """`set.json` of a set. Raises JobError."""
    file = folder / SET_FILE
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError("no face set lies here", wanted=SET_FILE, file=folder) from None
    except OSError as error:
        raise JobError(f"face set cannot be read: {error.strerror}", file=file) from None
    except ValueError as error:
        raise JobError(f"not a face set: broken JSON ({error})", file=file) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise JobError("not a face set", wanted=f'"format": "{FORMAT}"', file=file)
    if data.get("version") != VERSION:
        raise JobError("face set of another version", got=data.get("version"), wanted=VERSION,
                       file=file)  # fmt: skip
    return validated(SetHeader, data, file=file)


def read_persona(file: Path) -> Persona:
    """A persona's card: TOML with `id`, and `synthetic = true` or a `[consent]` table.

    Raises JobError when it cannot be read or says something wrong.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"persona card cannot be read: {error.strerror}", file=file) from None
    except ValueError as error:
        raise JobError(f"persona card is no valid TOML: {error}", file=file) from None
    return validated(Persona, content, file=file)


def read_faces(file: Path) -> list[SetFace]:
    """Faces from JSON lines. Raises JobError that names the line."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise JobError(f"faces cannot be read: {error.strerror}", file=file) from None
    lines = data.split(b"\n")
    faces = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise JobError(f"line {number} is no valid JSON ({error})", file=file) from None
        faces.append(validated(SetFace, content, file=file))
    return faces


def face_line(face: SetFace) -> bytes:
    """A face as its line in `faces.jsonl`."""
    content = face.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_face_set(found: FaceSet) -> None:
    """Writes faces, persona and header, each atomically, the header last. Raises OutputError."""
    write_atomically(found.folder / FACES_FILE, b"".join(map(face_line, found.faces)))
    write_header(found.folder, found.persona, found.header)


def write_header(folder: Path, persona: Persona, header: SetHeader) -> None:
    """Writes the persona's card and the header. Raises OutputError."""
    card = persona.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    write_atomically(folder / PERSONA_FILE, tomli_w.dumps(card).encode())
    content = header.model_dump(mode="json")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / SET_FILE, text.encode("utf-8", "replace"))
