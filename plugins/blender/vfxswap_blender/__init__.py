# SPDX-License-Identifier: GPL-3.0-or-later
"""VFXSwap in Blender's compositor: effects of an installed vfxswap engine as nodes.

Importing the package imports no bpy, so that what needs none can be used without it.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is switched on."""
    import bpy

    from . import handlers, operators, preferences, props, session, ui

    bpy.utils.register_class(preferences.VFXSwapPreferences)
    props.register(session.known())
    for cls in (*operators.CLASSES, *ui.CLASSES):
        bpy.utils.register_class(cls)
    ui.register()
    handlers.register()


def unregister() -> None:
    """Called by Blender when the extension is switched off, and at its end."""
    import bpy

    from . import handlers, operators, preferences, props, ui

    handlers.unregister()
    ui.unregister()
    for cls in reversed((*operators.CLASSES, *ui.CLASSES)):
        bpy.utils.unregister_class(cls)
    props.unregister()
    bpy.utils.unregister_class(preferences.VFXSwapPreferences)
