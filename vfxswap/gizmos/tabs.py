"""The tabs of a group: an effect's settings, what renders them, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vfxswap.gizmos.knobs import (
    BOOL,
    ENUMERATION,
    FILE,
    INT,
    LINK,
    PYTHON,
    STRING,
    TAB,
    TEXT,
    Lines,
    grouped,
    setting_knob,
    user_knob,
)
from vfxswap.gizmos.nk import expression, quoted

PROXIES = ("1", "2", "4", "8")

CONSENT = (
    "Write a likeness only with the informed consent of both: the person it belongs to and the\n"
    "performer on the plate. No minors, nothing sexual, no deception.\n"
    "Without valid consent for the show the engine refuses."
)
PATENTS = (
    "Some methods follow published patent applications: see Patents in the README.\n"
    "Commercial users should take advice."
)


def effect_tab(effect: Mapping[str, Any]) -> Lines:
    """What the effect does, a knob for each setting, and whether its result is shown."""
    title = effect["name"].replace("_", " ").capitalize()
    lines = user_knob(TAB, "vfx_effect_tab", label=title)
    lines += user_knob(TEXT, "vfx_help", label="", text=effect["help"], flags="+STARTLINE")
    for word, settings in grouped(effect["settings"]):
        lines += _folded(word) if word else []
        for setting in settings:
            lines += _setting_knobs(setting, effect["pictures"])
        lines += user_knob(TAB, f"vfx_{word}_group_end", label="", flags="n -1") if word else []
    lines += user_knob(TEXT, "vfx_divider", label="", flags="+STARTLINE")
    return lines + user_knob(
        BOOL,
        "vfx_use",
        label="use result",
        tip="On: the rendered result. Off: the plate. Render turns it on.",
        flags="+STARTLINE",
        value="false",
    )


def _folded(word: str) -> Lines:
    """The head of a group of knobs, closed."""
    return user_knob(TAB, f"vfx_{word}_group", label=word, flags="n 1", value="0")


def _setting_knobs(setting: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]) -> Lines:
    """The knob of a setting, and what goes with one that names a picture or holds numbers by
    name."""
    name = setting["name"]
    picture = next((picture for picture in pictures if picture["setting"] == name), None)
    if picture is not None:
        more = " Or connect the input of this name."
        setting = {**setting, "help": setting["help"] + more}
    lines = setting_knob(setting)
    if setting.get("keyframed_entries"):
        lines += _button(
            f"{name}_entries",
            "as knobs",
            "Makes a knob of each line, on a tab of its own: those can be animated. They count "
            "instead of the lines.",
            f"entry_knobs(nuke.thisNode(), {name!r})",
            flags="-STARTLINE",
        )
    if picture is not None and picture["card"]:
        lines += user_knob(
            FILE,
            f"vfx_{name}_card",
            label=f"{name.replace('_', ' ')} card",
            tip=f"For input {name}: card (NAME.card.toml) of who is on it. Empty takes the one "
            "beside the file that the input is read from.",
            value='""',
        )
    return lines


def render_tab(effect: Mapping[str, Any], version: str) -> Lines:
    """Files, frames and the buttons, whose status is the last line."""
    hidden = "+INVISIBLE"
    name = effect["name"]
    return [
        *user_knob(TAB, "vfx_render_tab", label="Render"),
        *user_knob(STRING, "vfx_effect", flags=hidden, value=quoted(name)),
        *user_knob(STRING, "vfx_describe_version", flags=hidden, value=quoted(version)),
        *user_knob(
            FILE,
            "vfx_cache",
            label="cache folder",
            tip="Folder for the plate that the engine is given and for its results. Empty: Render "
            "fills in vfxswap/ and the name of this node, beside the script.",
            value='""',
        ),
        *user_knob(
            INT,
            "vfx_version",
            label="take",
            tip="Each take has a folder of its own: raise it to keep the result you have.",
            value="1",
        ),
        *user_knob(
            INT,
            "vfx_first",
            label="frames",
            tip="First frame.",
            value=expression("root.first_frame"),
        ),
        *user_knob(
            INT,
            "vfx_last",
            label="to",
            tip="Last frame.",
            flags="-STARTLINE",
            value=expression("root.last_frame"),
        ),
        *user_knob(
            ENUMERATION,
            "vfx_proxy",
            label="proxy 1/",
            tip="Work at 1, 1/2, 1/4 or 1/8 of the size, for a quick look. Each has results of "
            "its own; a proxy is shown in blocks, at full size.",
            options=PROXIES,
            value="1",
        ),
        *user_knob(
            STRING,
            "vfx_space",
            label="file space",
            tip="Colour space of the files between Nuke and the engine, a name of the OCIO config. "
            "scene_linear takes the script's working space as it is, without any conversion.",
            value="scene_linear",
        ),
        *user_knob(
            LINK,
            "vfx_plate_type",
            label="plate as",
            tip="Type of the plate's file. 32 bit float keeps every bit outside the matte; "
            "16 bit half does so for a plate that comes straight from a half file.",
            text="VfxPlateWrite.datatype",
        ),
        *user_knob(
            STRING,
            "vfx_show",
            label="show",
            tip="Show that consent is asked for. Empty takes $VFXSWAP_SHOW.",
            value='""',
        ),
        *user_knob(
            INT,
            "vfx_seed",
            label="seed",
            tip="Seed of all that is random: another one, another draw.",
            value="0",
        ),
        *user_knob(BOOL, "vfx_writing", flags=hidden, value="false"),
        *user_knob(TEXT, "vfx_render_divider", label="", flags="+STARTLINE"),
        *_button(
            "render",
            "Render",
            "Write the inputs, run the engine, read the result.",
            "render(nuke.thisNode())",
            flags="+STARTLINE",
        ),
        *_button(
            "render_frame",
            "This frame",
            "The current frame alone, at the proxy chosen.",
            "render_frame(nuke.thisNode())",
        ),
        *_button(
            "background",
            "In background",
            "As Render; Nuke stays free.",
            "render_background(nuke.thisNode())",
        ),
        *_button(
            "cancel",
            "Cancel",
            "Ends after the frame in hand; finished frames stay.",
            "cancel(nuke.thisNode())",
        ),
        *user_knob(
            TEXT,
            "vfx_status",
            label="status",
            tip="What the engine is doing.",
            text="not rendered",
            flags="+STARTLINE",
        ),
    ]


def _button(knob: str, label: str, tip: str, call: str, *, flags: str = "-STARTLINE") -> Lines:
    """A button that tells, once and without raising, where the plug-in is not installed."""
    code = (
        "try:\n"
        f"    import vfxswap_nuke; vfxswap_nuke.{call}\n"
        "except ImportError as error:\n"
        "    nuke.message('The vfxswap plug-in is not installed here (%s). '\n"
        "                 'A result that was rendered before still plays.' % error)"
    )
    return user_knob(PYTHON, f"vfx_{knob}", label=label, tip=tip, text=code, flags=flags)


def about_tab(effect: Mapping[str, Any], version: str) -> Lines:
    """Inputs and layers, consent and patents."""
    layers = "\n".join(
        f"{layer['name']}  ({' '.join(layer['channels'])}): {layer['help']}"
        + (" Premultiplied." if layer.get("premultiplied") else "")
        for layer in effect["layers"]
    )
    inputs = "\n".join(
        [
            "plate: What the effect works on.",
            *(f"{matte['role']} (alpha): {matte['help']}" for matte in effect["mattes"]),
            *(
                f"{picture['setting']} (on the first frame): {picture['help']}"
                for picture in effect["pictures"]
            ),
        ]
    )
    return [
        *user_knob(TAB, "vfx_about_tab", label="About"),
        *user_knob(TEXT, "vfx_inputs", label="inputs", text=inputs, flags="+STARTLINE"),
        *user_knob(TEXT, "vfx_layers", label="layers", text=layers, flags="+STARTLINE"),
        *user_knob(TEXT, "vfx_consent", label="consent", text=CONSENT, flags="+STARTLINE"),
        *user_knob(TEXT, "vfx_patents", label="patents", text=PATENTS, flags="+STARTLINE"),
        *user_knob(
            TEXT,
            "vfx_about",
            label="vfxswap",
            text=f"{version}, Apache-2.0. This group was generated; every knob is a setting of "
            "the engine.",
            flags="+STARTLINE",
        ),
    ]
