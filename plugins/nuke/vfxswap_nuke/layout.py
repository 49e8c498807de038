"""The files of a node: what Nuke writes for the engine, and what the engine writes for Nuke.

gizmos/README.md states the same; the groups build these paths themselves, as expressions of their
knobs. Paths have forward slashes, `%V` for the view and `%04d` for the frame.
"""

from __future__ import annotations

import os
import re

from vfxswap_nuke.errors import NodeError

PLATE_WRITE = "VfxPlateWrite"
MATTE_WRITE, PICTURE_WRITE = "VfxMatteWrite_", "VfxPictureWrite_"
CARD_SUFFIX = ".card.toml"
RESULT_READ = "VfxResultRead"


class Layout:
    """The files of one take of a node.

    `folder` is the take's, inside `cache`; with `per_view` each view has files of its own.
    """

    def __init__(self, cache: str, folder: str, *, per_view: bool) -> None:
        self.cache = cache
        self.folder = folder
        self.per_view = per_view

    @property
    def plate(self) -> str:
        """Pattern of the plate."""
        return self._sequence("plate")

    def picture(self, setting: str) -> str:
        """The still of a setting that names a picture."""
        return f"{self.folder}/{setting}.exr"

    def matte(self, role: str) -> str:
        """Pattern of the matte of a role."""
        return self._sequence(role)

    def result(self, proxy: int) -> str:
        """Pattern of the result at 1/proxy of the size."""
        return self._sequence(_result(proxy))

    def tracks(self, proxy: int) -> str:
        """Where the engine keeps the tracks of the shot: beside its output."""
        return f"{self.folder}/{_result(proxy)}.tracks.json"

    def look_tracks(self, mark: str) -> str:
        """Tracks of a single frame whose plate has this hash."""
        return f"{self.folder}/look.{mark[:16]}.tracks.json"

    def job(self, proxy: int) -> str:
        """The job file of a background or farm render."""
        return f"{self.folder}/job_proxy{proxy}.json"

    def index(self, proxy: int) -> str:
        """What the frames of a result were made from."""
        return f"{self.folder}/{_result(proxy)}.keys.json"

    @property
    def inputs_index(self) -> str:
        """What the files that Nuke wrote hold."""
        return f"{self.folder}/inputs.keys.json"

    def background(self, proxy: int) -> str:
        """Folder of a background run."""
        return f"{self.folder}/background_proxy{proxy}"

    @property
    def store(self) -> str:
        """Folder of results by what they were made from, shared by all takes."""
        return f"{self.cache}/store"

    def _sequence(self, name: str) -> str:
        view = ".%V" if self.per_view else ""
        return f"{self.folder}/{name}{view}.%04d.exr"


def _result(proxy: int) -> str:
    return f"result_proxy{proxy}"


def card_of(picture: str) -> str:
    """Where the engine looks for the card of who is on a picture: beside it. A card has none."""
    return picture if picture.endswith(CARD_SUFFIX) else os.path.splitext(picture)[0] + CARD_SUFFIX


def posix(path: str) -> str:
    """A path as Nuke and the engine both read it on every system."""
    return path.replace("\\", "/") if os.sep == "\\" else path


def file_of(pattern: str, frame: int, view: str) -> str:
    """The file of a frame and view."""
    return pattern.replace("%V", view).replace("%04d", f"{frame:04d}")


def default_cache(script: str, node: str) -> str:
    """Where a node's files go unless it says: beside the script, by the name of the group.

    Raises NodeError for a script that was never saved.
    """
    folder = os.path.dirname(script)
    if not os.path.isabs(folder):
        raise NodeError("save the script first, or name a cache folder on the node")
    return "{}/vfxswap/{}".format(posix(folder), re.sub(r"[^A-Za-z0-9_-]+", "_", node))
