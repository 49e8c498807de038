"""The toolbar and the menu. Imports `nuke`; the panel and the engine are loaded when asked for."""

from __future__ import annotations

import os

import nuke

_PANEL = "com.vfxswap.panel"
_PREFIX, _REWIRED = "vfx_", "inputChange"
_WIDGET = "__import__('vfxswap_nuke.panel', fromlist=['Panel']).Panel"


def install(root: str) -> None:
    """Adds the nodes to the toolbar, and the panel and the engine's commands to the menu bar.

    `root` is the folder of init.py and menu.py.
    """
    icon = os.path.join(root, "icons", "vfxswap.png").replace(os.sep, "/")
    toolbar = nuke.menu("Nodes").addMenu("vfxswap", icon=icon)
    for name in node_names():
        toolbar.addCommand(name[3:], f"nuke.createNode({name!r})", icon=icon)
    menu = nuke.menu("Nuke").addMenu("vfxswap")
    _add_panel(menu)
    menu.addCommand("Check the engine", check_engine)
    menu.addCommand("Restart the engine", restart_engine)
    nuke.addOnScriptLoad(follow_background_renders)
    nuke.addKnobChanged(tell_of_changes, nodeClass="Group")


def node_names() -> list[str]:
    """The nodes that lie on Nuke's plug-in path, as in VfxSwap."""
    found = set()
    for folder in nuke.pluginPath():
        if os.path.isdir(folder):
            found |= {
                entry[: -len(".gizmo")]
                for entry in os.listdir(folder)
                if entry.startswith("Vfx") and entry.endswith(".gizmo")
            }
    return sorted(found)


def check_engine() -> None:
    """Says which engine is used, or what is wrong with it."""
    from vfxswap_nuke import host
    from vfxswap_nuke.engine_client import EngineError, find_engine
    from vfxswap_nuke.errors import NodeError
    from vfxswap_nuke.settings import load_settings

    try:
        settings = load_settings()
        engine = host.engine(settings)
        hello = engine.start()
        models = engine.models()
        host.complain(
            f"vfxswap {hello['version']}, {find_engine(settings.engine)}\n"
            f"device {hello['device']}, effects {', '.join(hello['effects'])}\n"
            f"{len(models)} models: {', '.join(row['name'] for row in models)}"
        )
    except (NodeError, EngineError) as error:
        host.complain(str(error))


def restart_engine() -> None:
    """Ends the engine; the next render starts a new one."""
    from vfxswap_nuke import host

    host.restart_engine()


def follow_background_renders() -> None:
    """Finds the renders that went on while the script was closed."""
    from vfxswap_nuke import actions, node

    for ours in node.our_nodes():
        actions.attach_background(ours)


def tell_of_changes() -> None:
    """Says on the node's status line that what it shows was made otherwise. Called by Nuke for
    every knob of every group that changes."""
    name = nuke.thisKnob().name()
    if not (name.startswith(_PREFIX) or name == _REWIRED):
        return
    from vfxswap_nuke import node

    changed = nuke.thisNode()
    if node.is_ours(changed) and (name == _REWIRED or node.decides_pixels(name)):
        node.tell_change(changed)


def _add_panel(menu: nuke.Menu) -> None:
    from nukescripts import panels  # type: ignore[import-not-found]

    # The widget is named, not imported: Qt and the panel load when it is opened.
    panel = panels.registerWidgetAsPanel(_WIDGET, "vfxswap", _PANEL, True)
    menu.addCommand("Panel", panel.addToPane)
