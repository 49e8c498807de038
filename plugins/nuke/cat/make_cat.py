"""Makes a .cat file for Nuke's Inference node of a style. Imports `nuke`. Not run in a Nuke.

    vfxswap export nuke-style style-starter --style ink_wash -o ink_wash.pt
    NukeX -t make_cat.py ink_wash.pt ink_wash.cat

CatFileCreator wants NukeX. Its guide asks for scripts made by the torch that the Nuke carries: 1.6
for Nuke 13, 1.12 for 14 and 15; whether those read one made by a newer torch was not tried.
"""

from __future__ import annotations

import os
import sys

import nuke

CHANNELS = "rgba.red, rgba.green, rgba.blue"


def make_cat(script: str, cat: str) -> None:
    """Creates the node, fills it in and presses its button."""
    # In a terminal createNode is not there.
    creator = nuke.nodes.CatFileCreator()
    values = {
        "torchScriptFile": os.path.abspath(script).replace(os.sep, "/"),
        "catFile": os.path.abspath(cat).replace(os.sep, "/"),
        "channelsIn": CHANNELS,
        "channelsOut": CHANNELS,
        "modelId": os.path.splitext(os.path.basename(script))[0],
        "outputScale": 1,
    }
    for name, value in values.items():
        creator[name].setValue(value)
    button = creator["createCatFile"]
    assert isinstance(button, nuke.Script_Knob)
    button.execute()


if __name__ == "__main__":
    make_cat(*sys.argv[1:3])
