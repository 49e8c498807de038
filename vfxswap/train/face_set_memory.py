"""What a stopped or earlier run knew: plate files by content, and what frames showed.

Files of a set's `work` folder are JSON lines that are appended and flushed one by one; a line
that a killed writer cut off is left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from vfxswap.align.cuts import THUMBNAIL
from vfxswap.errors import OutputError, PlateError
from vfxswap.geometry import LANDMARK_COUNT, Array, Face
from vfxswap.render.plan import Unit
from vfxswap.render.tracking import Sighting
from vfxswap.train.face_set_looks import packed, unpacked

_THUMBNAIL_STEP: Final = 1 / 128
_CHUNK: Final = 1 << 20


class Lines:
    """A file of JSON objects, one a line, that only grows; a line lies on disk when `add`
    returns. Use as a context manager."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def read(self) -> list[tuple[int, dict[str, Any]]]:
        """Whole lines with their offsets; none where there is no file."""
        found = []
        try:
            with self.file.open("rb") as stream:
                offset = 0
                for line in stream:
                    if line.endswith(b"\n"):
                        with suppress(ValueError):  # what a killed writer left in the middle
                            found.append((offset, json.loads(line)))
                    offset += len(line)
        except FileNotFoundError:
            return []
        return found

    def at(self, offset: int) -> dict[str, Any]:
        """The line that begins there."""
        with self.file.open("rb") as stream:
            stream.seek(offset)
            line: dict[str, Any] = json.loads(stream.readline())
        return line

    def add(self, content: dict[str, Any]) -> int:
        """One more line; the offset it begins at. Raises OutputError."""
        data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            if self._stream is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self.file.open("ab")
                if self._stream.tell() and not self._ends_whole():
                    self._stream.write(b"\n")
            offset = self._stream.tell()
            self._stream.write(data)
            self._stream.flush()
        except OSError as error:
            raise OutputError("cannot be written", got=error.strerror, file=self.file) from error
        return offset

    def _ends_whole(self) -> bool:
        with self.file.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read(1) == b"\n"


class PlateFiles:
    """Contents of plate files. A file of the same size and time as before is not read again; one
    of another time is, and may turn out to be the same."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._known: dict[str, dict[str, Any]] = {}
        for _, line in lines.read():
            self._known[line["file"]] = line

    def sha256(self, path: Path, frame: int | None = None) -> str:
        """SHA-256 of a file. Raises PlateError."""
        return str(self.stated(path, frame)["sha256"])

    def stated(self, path: Path, frame: int | None = None) -> dict[str, Any]:
        """`bytes`, `modified_us` and `sha256` of a file. Raises PlateError."""
        name = str(path)
        try:
            stat = path.stat()
            now = {"file": name, "bytes": stat.st_size, "modified_us": stat.st_mtime_ns // 1000}
            known = self._known.get(name)
            if known is not None and all(known[k] == now[k] for k in now):
                return known
            now["sha256"] = _sha256(path)
        except FileNotFoundError:
            raise PlateError("no such file", file=path, frame=frame) from None
        except OSError as error:
            raise PlateError("cannot be read", got=error.strerror, file=path, frame=frame) from None
        self._lines.add(now)
        self._known[name] = now
        return now


class Sightings:
    """What tracking saw on frames, by what their files hold and how it was looked."""

    def __init__(self, lines: Lines, files: PlateFiles, how: str) -> None:
        """`how` stands for weights, settings and colour: whatever decides what is seen."""
        self._lines, self._files, self._how = lines, files, how
        self._offsets = {line["key"]: offset for offset, line in lines.read() if "key" in line}
        self.looked = 0
        """Frames that had to be looked at."""

    def recall(self, unit: Unit) -> Sighting | None:
        """What this frame showed, if its file is still the same. Raises PlateError."""
        offset = self._offsets.get(self._key(unit))
        if offset is None:
            return None
        try:
            return _read(self._lines.at(offset))
        except (ValueError, KeyError, OSError):
            return None

    def remember(self, unit: Unit, seen: Sighting) -> Sighting:
        """Keeps it; returns it as `recall` will. Raises OutputError, PlateError."""
        key = self._key(unit)
        line = {"key": key, **_written(seen)}
        self._offsets[key] = self._lines.add(line)
        self.looked += 1
        return _read(line)

    def _key(self, unit: Unit) -> str:
        content = self._files.sha256(unit.source, unit.frame)
        said = f"{self._how}\n{content}\n{unit.view}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]


def _written(seen: Sighting) -> dict[str, Any]:
    levels = np.clip(np.rint(seen.thumbnail / _THUMBNAIL_STEP), -127, 127).astype(np.int8)
    faces = []
    for face in seen.faces:
        look = face.descriptor
        faces.append(
            {
                "id": face.id,
                "score": face.score,
                "points": packed(face.points.flatten()),
                "confidence": packed(face.confidence),
                "look": None if look is None else packed(look),
            }
        )
    return {"thumbnail": base64.b64encode(levels.tobytes()).decode("ascii"), "faces": faces}


def _read(line: dict[str, Any]) -> Sighting:
    levels = np.frombuffer(base64.b64decode(line["thumbnail"]), np.int8)
    thumbnail: Array = levels.reshape(3, *THUMBNAIL).astype(np.float64) * _THUMBNAIL_STEP
    faces = tuple(
        Face(
            id=int(each["id"]),
            points=unpacked(each["points"]).reshape(LANDMARK_COUNT, 2),
            confidence=unpacked(each["confidence"]),
            score=float(each["score"]),
            descriptor=None if each["look"] is None else unpacked(each["look"]),
        )
        for each in line["faces"]
    )
    return Sighting(faces, thumbnail)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
