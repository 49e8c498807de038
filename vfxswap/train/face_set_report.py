"""The report of a face set: `report/` in its folder, pages and pictures without script or network.

`report.html` and `report.json`; `coverage.png`; `sheet-….png` by expression; `rejected-….png` by
reason; with another set, what that has and this one lacks, and `lacking.png`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from vfxswap.files import write_atomically
from vfxswap.image import Pixels
from vfxswap.io.exr import write_png
from vfxswap.persona import check_consent, consent_id, revocations
from vfxswap.render.page import cards, escaped, page, section, table
from vfxswap.render.thumbnails import jpeg_uri
from vfxswap.train.face_set import REASONS, FaceSet, Reason, SetFace, read_face_set
from vfxswap.train.face_set_coverage import ACTINGS, Bin, Coverage, Lack, Parts, lacking
from vfxswap.train.face_set_picture import Album, coverage_picture, faces_sheet

FOLDER: Final = "report"
PAGE: Final = "report.html"
_MOST_IN_SHEET: Final = 100
_MOST_IN_BIN: Final = 8
_MOST_IN_FILM: Final = 24
_MOST_BINS: Final = 60
_MOST_LACKS: Final = 40
_FEW: Final = 100


def write_face_report(
    found: FaceSet,
    *,
    against: Path | None = None,
    show: str = "",
    revocation_list: str = "",
    today: date | None = None,
) -> Path:
    """Writes the report of a set into it; the page's path.

    `against` is another set, whose examples are shown where this one lacks something; consent is
    asked for both. Raises ConsentError before a crop is read, JobError, OutputError.
    """
    other = None if against is None else read_face_set(against)
    revoked = revocations(*([revocation_list] if revocation_list else []))
    for each in filter(None, (found, other)):
        check_consent(each.persona, show=show, use="face_set", today=today, revoked=revoked)
    folder = found.folder / FOLDER
    own, album = Coverage(found.kept), Album(found)
    theirs = None if other is None else (other, Coverage(other.kept), Album(other))
    lacks = [] if theirs is None else lacking(own, theirs[1])
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("sheet-*.png"), *folder.glob("rejected-*.png")):
        old.unlink()
    (folder / "lacking.png").unlink(missing_ok=True)
    picture = coverage_picture(found, own, album, other=theirs)
    write_png(folder / "coverage.png", picture)
    sheets = _write_sheets(folder, found, own, album)
    if theirs is not None and lacks:
        examples = [(lack.words, theirs[2].picture(lack.faces[0])) for lack in lacks[:_MOST_LACKS]]
        _write_examples(folder / "lacking.png", examples)
    content = _content(found, own, other, lacks)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "report.json", (text + "\n").encode("utf-8", "replace"))
    body = _page(found, own, album, theirs, lacks, sheets, picture)
    write_atomically(folder / PAGE, body.encode("utf-8", "replace"))
    return folder / PAGE


def _write_sheets(folder: Path, found: FaceSet, own: Coverage, album: Album) -> list[str]:
    """Contact sheets of what stays by expression, of what does not by reason; their names."""
    names = []
    for number, acting in enumerate(ACTINGS):
        faces = _spread(
            sorted(own.of(Parts(acting=number)), key=lambda f: f.yaw_deg), _MOST_IN_SHEET
        )
        sheet = faces_sheet(faces, album, caption=_where)
        if sheet is not None:
            names.append(f"sheet-{acting.replace(' ', '-')}.png")
            write_png(folder / names[-1], sheet)
    for reason, faces in found.rejected().items():
        sheet = faces_sheet(_spread(faces, _MOST_IN_SHEET), album, caption=_and_why)
        if sheet is not None:
            names.append(f"rejected-{reason}.png")
            write_png(folder / names[-1], sheet)
    return names


def _write_examples(file: Path, examples: Sequence[tuple[str, Any]]) -> None:
    from vfxswap.ops.sheet import contact_sheet

    shown = [(words, picture) for words, picture in examples if picture is not None]
    if shown:
        write_png(file, contact_sheet(shown, columns=min(8, len(shown))))


def _content(
    found: FaceSet, own: Coverage, other: FaceSet | None, lacks: Sequence[Lack]
) -> dict[str, Any]:
    return {
        "format": "vfxswap-faces-report",
        "version": 1,
        "persona": found.persona.id,
        "consent": consent_id(found.persona),
        "crop_size": found.header.settings.crop_size,
        "faces": len(found.faces),
        "kept": len(found.kept),
        "rejected": {reason: len(faces) for reason, faces in found.rejected().items()},
        "rest": {name: round(value, 4) for name, value in own.rest.items()},
        "bins": [
            {"bin": cell.words, "faces": len(faces), "example": faces[0].file}
            for cell, faces in sorted(own.bins.items())
        ],
        "against": None if other is None else other.persona.id,
        "lacking": [
            {"what": lack.words, "faces": len(lack.faces), "example": lack.faces[0].file}
            for lack in lacks
        ],
    }


def _page(
    found: FaceSet,
    own: Coverage,
    album: Album,
    theirs: tuple[FaceSet, Coverage, Album] | None,
    lacks: Sequence[Lack],
    sheets: Sequence[str],
    picture: Pixels,
) -> str:
    kept, persona = len(found.kept), found.persona.id
    few = kept < _FEW
    verdict = f"{kept} faces: few to train on" if few else f"{kept} faces"
    blurs = sorted(face.blur for face in found.kept if face.blur is not None)
    rows = [
        ("kept", f"{kept} of {len(found.faces)}"),
        ("shots", str(len(found.header.shots))),
        ("bins", str(len(own.bins))),
        ("crop", f"{found.header.settings.crop_size} px"),
        ("blur, middle", f"{blurs[len(blurs) // 2]:.2f} %" if blurs else "unknown"),
        ("consent", consent_id(found.persona)),
    ]
    drawn = f'<img src="{jpeg_uri(picture)}" alt="coverage" style="max-width:100%">'
    sections = [
        f'<span class="verdict {"bad" if few else "good"}">{verdict}</span>'
        f"<h1>Faces of {escaped(persona)}</h1>",
        cards(rows),
        section("Coverage", drawn + _notes()),
        "" if theirs is None else _lacking(persona, theirs, lacks),
        section("Left out", _rejected(found, album)),
        section("Faces by bin", _bins(own, album)),
        section("Shots", _shots(found)),
        section("Filters", _filters(found)),
        section("Sheets", " · ".join(f'<a href="{escaped(n)}">{escaped(n)}</a>' for n in sheets)),
        f"<p>Made by vfxswap {escaped(found.header.made_by)}. The same for programs is in "
        "<code>report.json</code>.</p>",
    ]
    return page(f"Faces of {persona}: {kept}", sections)


def _notes() -> str:
    return (
        "<small>Sides are the picture's. Expressions are told from the landmarks, against this "
        "persona's own face at rest; gaze and slight smiles are beyond them. Light is where most "
        "of it comes from. Pictures are in sRGB, highlights rolled off.</small>"
    )


def _lacking(persona: str, theirs: tuple[FaceSet, Coverage, Album], lacks: Sequence[Lack]) -> str:
    other, _, album = theirs
    title = f"What {persona} lacks and {other.persona.id} has"
    if not lacks:
        return section(title, "<p>Nothing: every bin of the other has a face here.</p>")
    shown = "".join(
        f'<figure><img src="{picture}" alt=""><figcaption>{escaped(lack.words)}: '
        f"{len(lack.faces)}</figcaption></figure>"
        for lack in lacks[:_MOST_LACKS]
        if (picture := _uri(album, lack.faces[0])) is not None
    )
    words = "".join(
        f"<li>no face with {escaped(lack.words)}; {escaped(other.persona.id)} has "
        f"{len(lack.faces)}</li>"
        for lack in lacks[:_MOST_LACKS]
    )
    rest = len(lacks) - _MOST_LACKS
    more = f"<p>And {rest} more bins, in report.json.</p>" if rest > 0 else ""
    return section(title, f"<ul>{words}</ul>{more}<div class='film'>{shown}</div>")


def _rejected(found: FaceSet, album: Album) -> str:
    rejected = found.rejected()
    if not rejected:
        return "<p>Nothing.</p>"
    rows = [(str(len(faces)), reason, REASONS[reason]) for reason, faces in rejected.items()]
    films = ""
    for reason, faces in rejected.items():
        some = _spread(faces, _MOST_IN_FILM)
        film = _film(some, album, [_and_why(face) for face in some])
        summary = f"<summary>{escaped(reason)}: {len(faces)}</summary>"
        films += f"<details>{summary}<div class='film'>{film}</div></details>"
    return table(("faces", "reason", ""), rows) + films


def _bins(own: Coverage, album: Album) -> str:
    ordered: list[tuple[Bin, list[SetFace]]] = sorted(
        own.bins.items(), key=lambda each: (-len(each[1]), each[0])
    )
    shown = "".join(
        f"<details><summary>{escaped(cell.words)}: {len(faces)}</summary><div class='film'>"
        + _film(faces[:_MOST_IN_BIN], album, [_where(face) for face in faces[:_MOST_IN_BIN]])
        + "</div></details>"
        for cell, faces in ordered[:_MOST_BINS]
    )
    rest = len(ordered) - _MOST_BINS
    return shown + (f"<p>And {rest} smaller bins, in report.json.</p>" if rest > 0 else "")


def _film(faces: Iterable[SetFace], album: Album, captions: Iterable[str]) -> str:
    return "".join(
        f'<figure><img src="{picture}" alt="" loading="lazy"><figcaption>{escaped(caption)}'
        "</figcaption></figure>"
        for face, caption in zip(faces, captions, strict=True)
        if (picture := _uri(album, face)) is not None
    )


def _uri(album: Album, face: SetFace) -> str | None:
    picture = album.picture(face)
    return None if picture is None else jpeg_uri(picture)


def _shots(found: FaceSet) -> str:
    rows = []
    for name, shot in found.header.shots.items():
        faces = [face for face in found.faces if face.shot == name]
        kept = sum(face.kept for face in faces)
        ids = ", ".join(map(str, shot.faces))
        rows.append((name, f"{kept} of {len(faces)}", f"face {ids}", shot.plate))
    return table(("shot", "kept", "in the tracks", "plate"), rows)


def _filters(found: FaceSet) -> str:
    rows = [
        (name.replace("_", "-"), str(getattr(found.header.settings, name)), info.description or "")
        for name, info in type(found.header.settings).model_fields.items()
    ]
    return table(("setting", "value", ""), rows)


def _where(face: SetFace) -> str:
    return face.name


def _and_why(face: SetFace) -> str:
    """Where a face is, and the number that left it out."""
    values: dict[Reason, str] = {
        "unsure": f"score {face.score:.2f}",
        "broken": f"{100 * face.broken:.2g} % broken",
        "outside": f"{100 * face.outside:.0f} % outside",
        "size": f"{face.resolution:.2f} px a pixel",
        "occluded": f"{100 * face.occlusion:.0f} % covered",
        "blurred": "blur unknown" if face.blur is None else f"blur {face.blur:.2f} %",
        "person": f"cosine {face.likeness or 0:.2f}",
        "duplicate": f"like {Path(face.like).stem}",
    }
    return f"{face.name} {values.get(face.reason, '')}"


def _spread(faces: Sequence[SetFace], most: int) -> list[SetFace]:
    """At most so many faces, evenly over all."""
    if len(faces) <= most:
        return list(faces)
    return [faces[i * len(faces) // most] for i in range(most)]
