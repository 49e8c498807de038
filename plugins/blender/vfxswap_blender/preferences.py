# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where the engine and the cache are."""

from __future__ import annotations

import os
import sys
from typing import Any

import bpy

DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
"""To suggest; a machine may have more."""


class VFXSwapPreferences(bpy.types.AddonPreferences):
    """Where the engine and the cache are."""

    bl_idname = __package__

    __annotations__ = {
        "engine": bpy.props.StringProperty(
            name="Engine",
            description="The vfxswap executable, or the folder of the environment that it is "
            "installed in; empty takes $VFXSWAP_ENGINE, then the PATH",
            subtype="FILE_PATH",
        ),
        "device": bpy.props.StringProperty(
            name="Device",
            description="Where networks run: auto (the fastest that the engine finds), cpu (alike "
            "on every machine of a farm), cuda, cuda:1 … (NVIDIA), mps (Apple)",
            default="auto",
            search=lambda owner, context, text: [d for d in DEVICES if text.lower() in d],
            search_options={"SUGGESTION"},
        ),
        "cache": bpy.props.StringProperty(
            name="Cache",
            description="Folder of results; // is the folder of the .blend file. Before a file is "
            "saved its results lie in the user's cache folder",
            subtype="DIR_PATH",
            default="//vfxswap_cache",
        ),
        "limit_gb": bpy.props.FloatProperty(
            name="Cache limit",
            description="Gigabytes that results may take in a cache folder; the longest unused go "
            "first, those that a node shows stay",
            default=50.0,
            min=0.1,
            soft_max=1000.0,
        ),
        "result": bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"}),
    }

    def draw(self, context: Any) -> None:
        """The panel in Blender's preferences."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "engine")
        layout.prop(self, "device")
        layout.prop(self, "cache")
        layout.prop(self, "limit_gb")
        row = layout.row(align=True)
        row.operator("vfxswap.test_engine")
        row.operator("vfxswap.update_nodes")
        layout.operator("vfxswap.remove_unused")
        for line in self.result.splitlines():
            layout.label(text=line)


def preferences() -> Any:
    """The extension's preferences."""
    return bpy.context.preferences.addons[__package__].preferences


def cache_folder() -> str:
    """The folder of results, absolute."""
    named = str(preferences().cache)
    if named and (not named.startswith("//") or bpy.data.filepath):
        return os.path.abspath(str(bpy.path.abspath(named)))
    return os.path.join(_user_cache(), "vfxswap", "blender")


def limit_bytes() -> int:
    """What the cache may take."""
    return int(preferences().limit_gb * 1e9)


def _user_cache() -> str:
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
