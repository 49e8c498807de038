"""A studio's own landmark network, as ONNX, made a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vfxswap.errors import ModelError
from vfxswap.io.weights import StoredModel, list_models, load_net, save_model
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.nets.onnx_landmarks import OnnxLandmarks, OnnxLandmarkSettings
from vfxswap.persona import ModelCard
from vfxswap.settings import validated

MAX_BYTES = 1 << 30


def import_landmarks(
    file: Path,
    folder: Path,
    *,
    settings: dict[str, Any],
    licence: str,
    training_data: str,
    training_licence: str,
) -> StoredModel:
    """Writes the model `folder` (named by it) from an ONNX file: see `nets.onnx_landmarks` for
    what the network must be like and for `settings`.

    It is run on a crop before anything is written. Raises ModelError: no such file, too large,
    onnxruntime missing, refused or given other points than the settings say; JobError for wrong
    settings.
    """
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ModelError("ONNX file is too large", got=size, wanted=MAX_BYTES, file=file)
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"ONNX file cannot be read: {error.strerror}", file=file) from None
    own = _own_net()
    content = {**settings, "file_bytes": len(data), "own": own.settings.model_dump()}
    chosen = validated(OnnxLandmarkSettings, content, error_type=ModelError)
    net = OnnxLandmarks(chosen)
    net.own.load_state_dict(own.state_dict())
    net.file.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    net.eval()
    with torch.inference_mode():
        found = net(torch.rand(2, 3, net.SIZE, net.SIZE))
    if not bool(torch.isfinite(found.points).all()):
        raise ModelError("the ONNX network gives points that are not finite", file=file)
    card = ModelCard(
        name=folder.name,
        effect="landmarks",
        description=f"Landmarks by {file.name}; faces are found by {LandmarkNet.__name__}.",
        network="onnx_landmarks",
        network_settings=chosen.model_dump(mode="json"),
        crop_size=net.SIZE,
        licence=licence,
        synthetic=False,
        training_data=training_data,
        training_licence=training_licence,
        recipe=f"vfxswap models import-landmarks {file.name}",
    )
    return save_model(folder, card, net.state_dict(), half=False)


def _own_net() -> LandmarkNet:
    for stored in list_models(broken=[]):
        if stored.card.network == "landmark":
            net = load_net(stored.card, stored.folder, device="cpu")
            assert isinstance(net, LandmarkNet)
            return net
    raise ModelError("no landmark model of our own is installed")
