"""What each effect gives and takes beside the plate: layers, input mattes by role, and stills.

Hosts generate sockets and layers from these tables, so they load no network.
"""

from __future__ import annotations

from dataclasses import dataclass

from vfxswap.image import Layer, LayerKind, Pixels

RGB = ("red", "green", "blue")
RGBA = (*RGB, "alpha")


@dataclass(frozen=True)
class LayerSpec:
    """A layer that an effect gives on every frame; see `image.Layer`.

    Hosts that split a layer into single channels name these by `help`, where it is as many words
    or phrases between commas.
    """

    name: str
    channels: tuple[str, ...]
    kind: LayerKind
    help: str
    premultiplied: bool | None = None

    def of(self, pixels: Pixels) -> Layer:
        """The layer with its `pixels` [H, W, C]."""
        return Layer(self.name, self.channels, pixels, self.kind, self.premultiplied)


@dataclass(frozen=True)
class MatteSpec:
    """An input matte that an effect understands."""

    role: str
    help: str


@dataclass(frozen=True)
class PictureSpec:
    """A still that a setting names; hosts may make an input of it. `card`: who is on it is told by
    a card beside its file, as ref.card.toml beside ref.exr."""

    setting: str
    help: str
    card: bool = False


SWAP_FACE = LayerSpec("swap_face", RGBA, "color", "The unmerged face in plate position.", True)
SWAP_MATTE = LayerSpec("swap_matte", RGBA, "matte", "Swap, skin, occluder, hair.")
SWAP_CONF = LayerSpec("swap_conf", ("red",), "matte", "How sure the landmarks are.")
SWAP_ID = LayerSpec("swap_id", ("red",), "data", "Face id in the tracks + 1; 0 for none.")
SWAP_UV = LayerSpec("swap_uv", ("red", "green"), "data", "ST map into the aligned crop.")

STYLE_IMAGE = LayerSpec("style_image", RGBA, "color", "The unmerged styled picture.", True)
STYLE_MATTE = LayerSpec(
    "style_matte", RGBA, "matte", "Where the style is, then the shares of styles A, B and C."
)

MOSAIC_IMAGE = LayerSpec("mosaic_image", RGBA, "color", "The unmerged mosaic.", True)
MOSAIC_MATTE = LayerSpec("mosaic_matte", RGBA, "matte", "Mosaic, area, patch edges, holdout.")
MOSAIC_ID = LayerSpec(
    "mosaic_id", RGBA, "data", "Random colour of each patch; in alpha its id + 1, 0 for none."
)
MOSAIC_UV = LayerSpec("mosaic_uv", ("red", "green"), "data", "ST map into each patch; -1 outside.")

FEATURE_FACE = LayerSpec("feature_face", RGBA, "color", "The unmerged changed features.", True)
FEATURE_MATTE = LayerSpec("feature_matte", RGBA, "matte", "Feature, region, occluder, hair.")
FEATURE_UV = LayerSpec("feature_uv", ("red", "green"), "data", "ST map into the aligned crop.")

GUIDED_FACE = LayerSpec("guided_face", RGBA, "color", "The unmerged changed face.", True)
GUIDED_FRAMES = LayerSpec("guided_frames", RGBA, "color", "Frames of glasses alone.", True)
GUIDED_MATTE = LayerSpec("guided_matte", RGBA, "matte", "Changed, lenses, frames, light.")
GUIDED_DISPLACEMENT = LayerSpec(
    "guided_displacement",
    ("red", "green"),
    "data",
    "Plate pixels to the right and down to what lenses show; 0 elsewhere.",
)
GUIDED_GAIN = LayerSpec(
    "guided_gain", RGB, "data", "What light, tint and shadow multiply the plate by; 1 elsewhere."
)

LAYERS: dict[str, tuple[LayerSpec, ...]] = {
    "swap": (SWAP_FACE, SWAP_MATTE, SWAP_CONF, SWAP_ID, SWAP_UV),
    "style": (STYLE_IMAGE, STYLE_MATTE),
    "mosaic": (MOSAIC_IMAGE, MOSAIC_MATTE, MOSAIC_ID, MOSAIC_UV),
    "guided": (GUIDED_FACE, GUIDED_FRAMES, GUIDED_MATTE, GUIDED_DISPLACEMENT, GUIDED_GAIN),
    "features": (FEATURE_FACE, FEATURE_MATTE, FEATURE_UV),
}
"""By effect, in the order in which they are written."""

HOLDOUT = MatteSpec("holdout", "Stays in front of the result.")
GARBAGE = MatteSpec("garbage", "The effect is thrown away here.")

STYLE_AREAS = tuple(
    MatteSpec(f"style_{letter}", f"Where the style of setting style_{letter} is.")
    for letter in "abc"
)

MOSAIC_AREA = MatteSpec("area", "Where the mosaic is; without it, everywhere.")
MOSAIC_THEME = MatteSpec("theme", "Chooses themes from dark to bright, for theme_by = matte.")
MOSAIC_SHAPE = MatteSpec("shape", "Alpha of a patch, stretched to each, for shape = picture.")
MOSAIC_DEPTH = MatteSpec("depth", "Bright is near, for order = back.")
MOSAIC_DISPARITY = MatteSpec("disparity", "Shift of further views, in shares of disparity_px.")
MOSAIC_DRIFTS = (
    MatteSpec("drift_x", "Vectors for motion = vectors: white drift_x_px, 0.5 still, black back."),
    MatteSpec("drift_y", "The same downwards, in shares of drift_y_px."),
)

GUIDED_AREA = MatteSpec("area", "Where the change is, instead of setting area.")
GUIDED_LENSES = MatteSpec("lenses", "Where lenses are, for glasses that are worn already.")

MATTES: dict[str, tuple[MatteSpec, ...]] = {
    "swap": (HOLDOUT, GARBAGE),
    "style": (HOLDOUT, GARBAGE, *STYLE_AREAS),
    "mosaic": (
        MOSAIC_AREA,
        HOLDOUT,
        GARBAGE,
        MOSAIC_THEME,
        MOSAIC_SHAPE,
        MOSAIC_DEPTH,
        MOSAIC_DISPARITY,
        *MOSAIC_DRIFTS,
    ),
    "guided": (GUIDED_AREA, HOLDOUT, GARBAGE, GUIDED_LENSES),
    "features": (HOLDOUT, GARBAGE),
}
"""By effect; the first is a host's main matte input."""

PICTURES: dict[str, tuple[PictureSpec, ...]] = {
    "guided": (
        PictureSpec("frames_picture", "Frames of glasses from the front, with alpha."),
        PictureSpec("clean_plate", "What is behind the performer, of the plate's size."),
    ),
    "features": (PictureSpec("reference", "The face that features are taken from.", card=True),),
}
"""By effect."""

PREPARED_MATTES: dict[str, tuple[str, ...]] = {"mosaic": tuple(m.role for m in MOSAIC_DRIFTS)}
"""By effect: roles that it looks at while it prepares a shot; others are read frame by frame."""
