"""`vfxswap retrieve`: pictures that are like a query in one feature, or groups of pictures."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, steps
from vfxswap.errors import JobError
from vfxswap.retrieval.ways import Compare

if TYPE_CHECKING:
    import numpy as np

    from vfxswap.retrieval.index import Found
    from vfxswap.retrieval.reader import Reader

ACROSS = 10
"""Faces side by side on a sheet of groups, and most of each that it shows."""


def add_commands(app: typer.Typer) -> None:
    """Adds retrieve."""
    app.command("retrieve")(_retrieve)


def _retrieve(
    pictures: Annotated[
        list[str],
        typer.Argument(
            help="The query, then a folder or a shot (shot.#.exr) to search; with --cluster "
            "only the folder or shot.",
            metavar="[QUERY] FOLDER_OR_SHOT",
            show_default=False,
        ),
    ],
    feature: Annotated[
        str, typer.Option("--feature", help="Feature to compare, pose, or whole for all of them.")
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 20,
    frames: run.Frames = "",
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Group all pictures by the feature, and by attribute.")
    ] = False,
    groups: Annotated[int, typer.Option("--groups", min=2, help="Groups to form.")] = 6,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Contact sheet to write.", metavar="PNG")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    index: Annotated[
        Path | None,
        typer.Option(help="Index that grows; else beside the pictures.", metavar="SAFETENSORS"),
    ] = None,
    model: Annotated[str, typer.Option(help="Model of features; else the starter.")] = "",
    temperature: Annotated[
        float, typer.Option(min=1e-3, help="As for the effect: low keeps to a feature's own.")
    ] = 0.1,
    compare: Annotated[
        Compare | None,
        typer.Option(
            help="What lasts of a performer in any light and acting, or the coefficients "
            "themselves, by layer or as they are; else what the model can do.",
            show_default=False,
        ),
    ] = None,
    ocio: run.OcioConfig = "",
    device: run.Device = "auto",
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Find pictures by one feature of their faces.

    Pictures are looked at once: what was seen is kept in an index, and only new and changed ones
    are looked at again. Those that cannot be read or show no face are skipped and reported.
    """
    if len(pictures) != (1 if cluster else 2):
        wanted = "FOLDER_OR_SHOT" if cluster else "QUERY FOLDER_OR_SHOT"
        raise JobError("pictures to search", got=" ".join(pictures), wanted=wanted)
    from vfxswap.effects.features_settings import STARTER
    from vfxswap.retrieval.index import Index, looked_at
    from vfxswap.retrieval.places import Place, default_index, places_of
    from vfxswap.retrieval.reader import Reader
    from vfxswap.retrieval.search import (
        attributes,
        check_feature,
        distances,
        grouped,
        ranked,
        vectors,
        way_of,
    )
    from vfxswap.retrieval.sheets import check_sheet

    if sheet is not None:
        check_sheet(sheet)
    model = model or STARTER
    places = places_of(pictures[-1], frames=frames)
    reader = Reader.load(model, device=device, ocio=ocio)
    check_feature(reader.net, feature)
    way = way_of(reader.net, feature, compare)
    asked = {"feature": feature, "compare": way.value}
    query = None if cluster else looked_at(Place(Path(pictures[0])), reader)
    if query is not None and not len(query):
        raise JobError("the query shows no face", file=pictures[0])
    kept = Index.open(index or default_index(pictures[-1], model), key=reader.key)
    with run.cancelled_by_signals() as cancel, steps(progress) as tell:
        told = _quiet if json else tell
        found = kept.update(places, reader, progress=told, stop=cancel.is_set)
    for path, why in found.troubles:
        typer.echo(f"vfxswap: {path}: {why}, skipped", err=True)
    if not len(found.faces):
        raise JobError("none of the pictures shows a face", file=pictures[-1])
    if not reader.net.settings.lasting and compare is None:
        typer.echo(f"vfxswap: model {model} knows nothing of what lasts: {way}", err=True)

    if query is not None:
        apart = distances(
            reader.net,
            query.chosen([0]),
            found.faces,
            feature,
            temperature=temperature,
            compare=way,
        )
        order, away = ranked(apart[0])
        _tell_ranking(found, order[:top], away[:top], asked, as_json=json)
        if sheet is not None:
            cells = [("query", Path(pictures[0]), query.points[0])]
            cells += [
                (f"{rank} {found.places[found.pictures[row]].label}",
                 found.places[found.pictures[row]].path, found.faces.points[row])
                for rank, row in enumerate(order[:top].tolist(), 1)
            ]  # fmt: skip
            _write(sheet, cells, reader, columns=min(7, len(cells)))
        return
    values = vectors(reader.net, found.faces, feature, temperature=temperature, compare=way)
    labels = {"groups": grouped(values, groups)}
    if feature in reader.net.feature_names:
        labels["attributes"] = attributes(reader.net, found.faces, feature, groups)
    _tell_groups(found, labels, asked, as_json=json)
    if sheet is not None:
        for kind, label in labels.items():
            file = sheet if kind == "groups" else sheet.with_suffix(f".{kind}.png")
            _write(file, _by_group(found, label), reader, columns=ACROSS)


def _quiet(what: str, done: int, total: int) -> None:
    """Progress would mix with JSON on stdout."""


def _tell_ranking(
    found: Found, order: np.ndarray, distances: np.ndarray, asked: dict[str, str], *, as_json: bool
) -> None:
    rows = [
        {**_face(found, row), "rank": rank, "distance": round(float(distance), 6)}
        for rank, (row, distance) in enumerate(zip(order.tolist(), distances), 1)
    ]
    if as_json:
        _print({**asked, "results": rows, **_about(found)})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("rank", "distance", "face", "picture")
    for row in rows:
        table.add_row(str(row["rank"]), f"{row['distance']:.4f}", str(row["face"]), row["picture"])
    Console().print(table)
    _summary(found)


def _tell_groups(
    found: Found, labels: dict[str, np.ndarray], asked: dict[str, str], *, as_json: bool
) -> None:
    told = {
        kind: [
            [_face(found, row) for row, own in enumerate(label.tolist()) if own == group]
            for group in range(int(label.max()) + 1)
        ]
        for kind, label in labels.items()
    }
    if as_json:
        _print({**asked, **told, **_about(found)})
        return
    for kind, groups in told.items():
        for number, members in enumerate(groups, 1):
            names = ", ".join(Path(member["picture"]).name for member in members[:6])
            more = f" and {len(members) - 6} more" if len(members) > 6 else ""
            typer.echo(f"{kind.removesuffix('s')} {number}: {len(members):>4}  {names}{more}")
    _summary(found)


def _by_group(found: Found, label: np.ndarray) -> list[tuple[str, Path, Any]]:
    """Cells of a sheet whose rows are groups."""
    cells: list[tuple[str, Path, Any]] = []
    for group in range(int(label.max()) + 1):
        rows = [row for row, own in enumerate(label.tolist()) if own == group]
        shown = rows[:ACROSS]
        cells += [
            (f"{group + 1}: {len(rows)}" if k == 0 else found.places[found.pictures[row]].label,
             found.places[found.pictures[row]].path, found.faces.points[row])
            for k, row in enumerate(shown)
        ]  # fmt: skip
        cells += [("", Path(), None)] * (ACROSS - len(shown))
    return cells


def _face(found: Found, row: int) -> dict[str, Any]:
    place = found.places[found.pictures[row]]
    low, high = found.faces.points[row].min(0), found.faces.points[row].max(0)
    return {
        "picture": str(place.path),
        "frame": place.frame,
        "face": found.numbers[row],
        "box": [round(float(value), 1) for value in (*low, *(high - low))],
    }


def _about(found: Found) -> dict[str, Any]:
    return {
        "pictures": len(found.places),
        "faces": len(found.faces),
        "looked_at": found.looked_at,
        "skipped": [{"picture": str(path), "why": why} for path, why in found.troubles],
    }


def _summary(found: Found) -> None:
    skipped = f", {len(found.troubles)} skipped" if found.troubles else ""
    typer.echo(
        f"{len(found.faces)} faces on {len(found.places)} pictures{skipped}; "
        f"{found.looked_at} looked at, the others known",
        err=True,
    )


def _print(content: dict[str, Any]) -> None:
    typer.echo(json_module.dumps(content, indent=2))


def _write(file: Path, cells: list[tuple[str, Path, Any]], reader: Reader, *, columns: int) -> None:
    from vfxswap.retrieval.sheets import write_faces

    write_faces(file, cells, reader, columns=columns)
    typer.echo(str(file), err=True)
