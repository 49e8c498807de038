"""Builds face sets from shots: consent, tracks, crops, filters; goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, cast

import torch

from vfxswap import __version__
from vfxswap.align.identify import Describer
from vfxswap.errors import (
    EXIT_DONE,
    EXIT_RETRY,
    CancelledError,
    PlateError,
    VfxSwapError,
)
from vfxswap.geometry import Array, Face
from vfxswap.io.sequence import PlateSequence
from vfxswap.io.tracks import FaceRecord, Tracks, read_tracks
from vfxswap.job import Job
from vfxswap.nets.parsing import ParsingNet
from vfxswap.persona import Persona, check_consent, consent_id, revocations
from vfxswap.render.device import pick_device, torch_threads
from vfxswap.render.models import Shelf
from vfxswap.render.plan import Plan, Unit, open_job
from vfxswap.render.prepare import plate_state, track_shot
from vfxswap.render.report import Event, Listener, silent
from vfxswap.render.tracking import IDENTITY, tracker_model
from vfxswap.settings import validated
from vfxswap.train.face_set import (
    FACES_FILE,
    FaceSet,
    Reason,
    SetFace,
    SetHeader,
    SetShot,
    face_line,
    read_faces,
    write_face_set,
    write_header,
)
from vfxswap.train.face_set_cut import Cutter, write_crop
from vfxswap.train.face_set_filters import filtered
from vfxswap.train.face_set_looks import packed, unpacked
from vfxswap.train.face_set_memory import Lines, PlateFiles, Sightings
from vfxswap.train.face_set_open import alone, opened_header
from vfxswap.train.face_set_who import choose_faces, look_of, reference_look

STAGE: Final = "faces"
_Where = tuple[str, int]
"""View and frame."""

CUT_VERSION: Final = 1
"""Goes up when crops or what is measured on them come out otherwise."""


@dataclass(frozen=True)
class ShotOrder:
    """A shot to take faces from: plate, frames, views, colour and tracking of `job`, whose effects
    and output do not count; ids of the persona's face in its tracks (none: found out)."""

    job: Job
    faces: tuple[int, ...] = ()


@dataclass(eq=False)
class Build:
    """What a run did, in names of faces (`SetFace.name`), and the set as it is now."""

    found: FaceSet
    new: int = 0
    unchanged: int = 0
    redone: int = 0
    looked: int = 0
    """Frames that were tracked."""
    removed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: list[VfxSwapError] = field(default_factory=list)

    @property
    def rejected(self) -> dict[Reason, int]:
        """How many faces are not in the set, by reason."""
        return {reason: len(faces) for reason, faces in self.found.rejected().items()}

    @property
    def exit_code(self) -> int:
        return EXIT_RETRY if self.failed else EXIT_DONE


def build_face_set(
    folder: Path,
    persona: Persona,
    orders: Sequence[ShotOrder],
    stated: Mapping[str, Any],
    *,
    show: str,
    revocation_list: str = "",
    today: date | None = None,
    reference: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
) -> Build:
    """Builds a set in `folder`, or brings it up to date, with the faces of these shots.

    `stated` are those of `FaceSetSettings` that differ from the set's own, or from the defaults.
    `reference` shows the persona: another set of it, or a picture. Without `orders` what lies
    there is filtered anew. Faces of other shots in the set stay. Frames that
    cannot be read are among `failed`, the rest is built. Crops are written one by one; a stopped
    run goes on where it was.

    Raises ConsentError before anything of a shot is read; JobError for another persona's set,
    another crop size, tracks without the face; ModelError, ColorError, OutputError,
    CancelledError after the frame in hand.
    """
    revoked = revocations(*([revocation_list] if revocation_list else []))
    check_consent(persona, show=show, use="face_set", today=today, revoked=revoked)
    with alone(folder), torch_threads(threads), torch.inference_mode():
        look = None if reference is None else reference_look(reference, persona)
        header = opened_header(folder, persona, stated, look)
        work = folder / "work"
        with Lines(work / "plates.jsonl") as plates, Lines(work / "journal.jsonl") as journal:
            run = _Run(
                folder, header, persona, PlateFiles(plates), journal,
                pick_device(device), progress, cancel or threading.Event(),
            )  # fmt: skip
            for order in orders:
                run.take(order)
            result = run.finish()
        (work / "journal.jsonl").unlink(missing_ok=True)
    return result


class _Run:
    """One run over a set."""

    def __init__(
        self,
        folder: Path,
        header: SetHeader,
        persona: Persona,
        files: PlateFiles,
        journal: Lines,
        device: torch.device,
        progress: Listener,
        cancel: threading.Event,
    ) -> None:
        self.folder, self.header, self.persona = folder, header, persona
        self.files, self.journal, self.device = files, journal, device
        self.progress, self.cancel = progress, cancel
        known = read_faces(folder / FACES_FILE) if (folder / FACES_FILE).is_file() else []
        written = [validated(SetFace, line) for _, line in journal.read()]
        self.faces = {face.place: face for face in (*known, *written)}
        self.build = Build(FaceSet(folder, header, persona, ()))

    def take(self, order: ShotOrder) -> None:
        """Brings one shot's faces up to date."""
        name, earlier = self._name(order)
        pattern = "unused.%V.####.exr" if _has_views(order.job) else "unused.####.exr"
        output = order.job.output.model_copy(update={"pattern": str(self.folder / pattern)})
        job = order.job.model_copy(update={"effects": (), "output": output})
        try:
            plan = open_job(job, device=self.device)
        except PlateError:
            if earlier is None:
                raise
            self._lost(name, PlateSequence(earlier.plate), {})
            return
        tracks, file = self._tracks(name, plan)
        ids = order.faces or (earlier.faces if earlier is not None else ())
        shelf = Shelf(self.device, nets=plan.shelf.nets)
        describer = cast(Describer, shelf.for_stage(IDENTITY).net)
        faces = choose_faces(
            plan, tracks, ids, describer,
            look=self._look(), least=self.header.settings.min_likeness, where=file,
            note=lambda text: self.progress(Event(STAGE, "note", 0, 1, message=f"{name}: {text}")),
        )  # fmt: skip
        shot = SetShot(
            plate=job.plate.pattern,
            frames=job.frames,
            faces=faces,
            tracks=str(file.relative_to(self.folder) if file.is_relative_to(self.folder) else file),
            color_space=job.plate.color_space,
            pixel_aspect=plan.identity.pixel_aspect,
            cuts={view: tuple(cuts) for view, cuts in tracks.cuts.items()},
        )
        self.header = self.header.model_copy(
            update={
                "shots": {**self.header.shots, name: shot},
                "working_space": plan.color.working,
                "made_by": __version__,
            }
        )
        write_header(self.folder, self.persona, self.header)
        self._cut(name, plan, tracks, faces, shelf, describer)

    def finish(self) -> Build:
        """Filters all faces of the set and writes it."""
        reference = unpacked(self.header.reference) if self.header.reference else None
        header = self.header.model_copy(update={"finished": True})
        faces = filtered(
            list(self.faces.values()), header.shots, header.settings.filters, reference=reference
        )
        self.build.found = FaceSet(self.folder, header, self.persona, faces)
        write_face_set(self.build.found)
        return self.build

    def _name(self, order: ShotOrder) -> tuple[str, SetShot | None]:
        """The shot's name in the set, and what the set knows of it."""
        pattern = order.job.plate.pattern
        for name, shot in self.header.shots.items():
            if shot.plate == pattern:
                return name, shot
        stem = _stem(pattern)
        number, name = 1, stem
        while name in self.header.shots:
            number += 1
            name = f"{stem}-{number}"
        return name, None

    def _tracks(self, name: str, plan: Plan) -> tuple[Tracks, Path]:
        """The shot's tracks and their file: the artist's own where the job names it and it is
        there, else as good as new."""
        stated = plan.job.tracks
        file = Path(stated) if stated else self.folder / "tracks" / f"{name}.tracks.json"
        if file.is_file() and (stated or read_tracks(file).state == plate_state(plan)):
            return read_tracks(file, plate=plan.identity), file
        how = json.dumps(
            [
                tracker_model(plan.job.tracking).model_dump(),
                plan.job.tracking.model_dump(mode="json"),
                plan.job.plate.model_dump(mode="json", exclude={"pattern"}),
                [plan.color.fingerprint, plan.color.working, self.device.type],
            ]
        )
        with Lines(self.folder / "work" / f"{name}.seen.jsonl") as lines:
            memory = Sightings(lines, self.files, how)
            tracks = track_shot(
                plan.job, file, device=str(self.device), progress=self.progress,
                cancel=self.cancel, nets=plan.shelf.nets, memory=memory,
            )  # fmt: skip
            self.build.looked += memory.looked
        return tracks, file

    def _look(self) -> Array | None:
        """A descriptor of the persona, where one is known."""
        if self.header.reference:
            return unpacked(self.header.reference)
        return look_of([face for face in self.faces.values() if face.kept])

    def _cut(
        self,
        name: str,
        plan: Plan,
        tracks: Tracks,
        ids: Sequence[int],
        shelf: Shelf,
        describer: Describer,
    ) -> None:
        parser = cast(ParsingNet, shelf.for_stage("parsing").net)
        cutter = Cutter(parser, describer, self.header.settings.crop_size, self.device)
        weights = {name: model.card.weights_sha256 for name, model in shelf.used.items()}
        units = plan.units(plan.prepare_frames)
        self._say("begin", 0, len(units))
        wanted: dict[_Where, list[Face]] = {}
        for unit in units:
            if tracks.covers(unit.frame, unit.view):
                found = tracks.faces(unit.frame, unit.view)
                wanted[unit.view, unit.frame] = [face for face in found if face.id in ids]
        self._lost(name, plan.plate, {at: [f.id for f in found] for at, found in wanted.items()})
        for done, unit in enumerate(units, 1):
            if self.cancel.is_set():
                raise CancelledError("stopped; the same command goes on where it was")
            faces = wanted.get((unit.view, unit.frame), [])
            try:
                as_before = self._frame(name, plan, cutter, unit, faces, weights)
            except PlateError as error:
                self.build.failed.append(error)
                self._say("failed", done, len(units), unit, error)
            else:
                self._say("skipped" if as_before else "done", done, len(units), unit)

    def _frame(
        self,
        name: str,
        plan: Plan,
        cutter: Cutter,
        unit: Unit,
        wanted: Sequence[Face],
        weights: Mapping[str, str],
    ) -> bool:
        """The persona's faces on one frame; whether there are some, all as before. Raises
        PlateError."""
        if not wanted or not unit.source.exists():
            return False
        stated = self.files.stated(unit.source, unit.frame)
        keys = {face.id: self._key(plan, stated["sha256"], unit, face, weights) for face in wanted}
        todo = []
        for face in wanted:
            known = self.faces.get((name, unit.view, unit.frame, face.id))
            if known is not None and known.key == keys[face.id] and self._is_there(known):
                self.build.unchanged += 1
                now = {"plate_modified_us": stated["modified_us"], "gone": False}
                self.faces[known.place] = known.model_copy(update=now)
            else:
                todo.append(face)
        if not todo:
            return True
        image = plan.read(unit)
        plan.check_size(image, unit)
        space = plan.color_space(image, unit.source).space
        working = plan.color.to_working(image.rgb(), space)
        for face in todo:
            cut = cutter.cut(working, image, face, path=unit.source, frame=unit.frame)
            view = f".{unit.view}" if unit.view else ""
            file = f"crops/{name}/{name}{view}.{unit.frame:04d}.f{face.id}.exr"
            path = self.folder / file
            write_crop(
                path, cut, space=plan.color.working,
                metadata={
                    "vfxswap/persona": self.persona.id,
                    "vfxswap/consent": consent_id(self.persona),
                    "vfxswap/source": unit.source.name,
                    "vfxswap/source_sha256": stated["sha256"],
                    "vfxswap/frame": unit.frame,
                    "vfxswap/face": face.id,
                    "vfxswap/key": keys[face.id],
                },
            )  # fmt: skip
            made = SetFace(
                shot=name, frame=unit.frame, view=unit.view, face=face.id, file=file,
                plate=unit.source.name, plate_bytes=stated["bytes"],
                plate_modified_us=stated["modified_us"], plate_sha256=stated["sha256"],
                key=keys[face.id], crop_bytes=path.stat().st_size,
                descriptor=packed(cut.descriptor), **cut.measured,
            )  # fmt: skip
            self.build.redone += made.place in self.faces
            self.build.new += made.place not in self.faces
            self.faces[made.place] = made
            self.journal.add(json.loads(face_line(made)))
        return False

    def _key(
        self, plan: Plan, content: str, unit: Unit, face: Face, weights: Mapping[str, str]
    ) -> str:
        said = {
            "version": CUT_VERSION,
            "plate": content,
            "view": unit.view,
            "picture": plan.job.plate.model_dump(mode="json", exclude={"pattern"}),
            "color": [plan.color.fingerprint, plan.color.working],
            "face": FaceRecord.of(face).model_dump(mode="json"),
            "crop": self.header.settings.crop_size,
            "weights": dict(weights),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    def _is_there(self, face: SetFace) -> bool:
        with suppress(OSError):
            return (self.folder / face.file).stat().st_size == face.crop_bytes
        return False

    def _lost(self, name: str, plate: PlateSequence, ids: Mapping[_Where, Sequence[int]]) -> None:
        """The shot's faces that are no more: gone with their frame, or no longer in the tracks.

        `ids` are the persona's by view and frame; other frames were not come by.
        """
        for face in [f for f in self.faces.values() if f.shot == name]:
            if not plate.path(face.frame, face.view if plate.has_views else None).exists():
                self.faces[face.place] = face.model_copy(update={"gone": True})
                self.build.gone.append(face.name)
            elif face.face not in ids.get((face.view, face.frame), (face.face,)):
                del self.faces[face.place]
                self.build.removed.append(face.name)
                (self.folder / face.file).unlink(missing_ok=True)

    def _say(
        self,
        kind: Any,
        done: int,
        total: int,
        unit: Unit | None = None,
        error: PlateError | None = None,
    ) -> None:
        frame, view = (None, "") if unit is None else (unit.frame, unit.view)
        message = "" if error is None else str(error)
        self.progress(Event(STAGE, kind, done, total, frame, view, message, error=error))


def _has_views(job: Job) -> bool:
    return bool(job.views) or "%V" in job.plate.pattern or "%v" in job.plate.pattern


def _stem(pattern: str) -> str:
    """A name for the shot of a plate: its file name without frame number and views."""
    stem = Path(pattern.replace("%V", "").replace("%v", "")).stem
    stem = re.sub(r"[._-]*(%0?\d*d|\$F\d*|[#@]+)", "", stem).strip("._-")
    return re.sub(r"[^\w.-]+", "_", stem) or "shot"
