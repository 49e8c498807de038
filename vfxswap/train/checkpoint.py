"""Checkpoints of a training: safetensors and JSON, whole or not there, checked before the older
one goes. Nothing is pickled.

A checkpoint is a folder `checkpoint-<iteration>` with `tensors.safetensors` (module and
optimiser) and `state.json` (iteration, settings, the tensors' hash). It is written under a
hidden name and renamed, so a killed process leaves the older one in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vfxswap.errors import JobError, ModelError, OutputError

PREFIX = "checkpoint-"
MODULE, OPTIMISER = "module.", "optimiser."


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    iteration: int,
    settings: Mapping[str, Any],
) -> Path:
    """Writes `folder/checkpoint-<iteration>` and removes the older ones once it reads back.

    `settings` are JSON values; a resume asks for the same ones. Raises JobError when a weight is
    not finite (the older checkpoint stays) and OutputError when it cannot be written.
    """
    tensors = _tensors(module, optimiser)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise JobError(f"{name} is not finite at iteration {iteration}", file=folder)
    final = folder / f"{PREFIX}{iteration:09d}"
    partial = folder / f".{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(tensors, partial / "tensors.safetensors")
        state = {
            "iteration": iteration,
            "settings": dict(settings),
            "sha256": _sha256(partial / "tensors.safetensors"),
        }
        (partial / "state.json").write_text(json.dumps(state, indent=1, sort_keys=True))
        for name in ("tensors.safetensors", "state.json"):
            with (partial / name).open("rb") as file:
                os.fsync(file.fileno())
        _read(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except (OSError, SafetensorError, ModelError) as error:
        # The older checkpoint stays; what was begun must not fill the disk.
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"the checkpoint cannot be written: {error}", file=folder) from error
    for older in _checkpoints(folder):
        if older != final:
            shutil.rmtree(older, ignore_errors=True)
    return final


def load_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Fills module and optimiser from the newest checkpoint; the iterations done, 0 without one.

    A damaged checkpoint is passed over for an older one. Raises JobError when it was made with
    other `settings` (it names them) or for another network, ModelError when all are damaged.
    """
    found = _newest(folder)
    if found is None:
        return 0
    path, state, tensors = found
    if settings is not None and state["settings"] != dict(settings):
        raise JobError(
            "the checkpoint was made with other settings",
            file=path,
            got=_differing(state["settings"], settings),
            wanted=_differing(settings, state["settings"]),
        )
    _fill(module, optimiser, tensors, path)
    return int(state["iteration"])


def newest_iteration(folder: Path) -> int:
    """The iteration that `load_checkpoint` would give, 0 without one; ModelError as there."""
    return 0 if (found := _newest(folder)) is None else int(found[1]["iteration"])


def _newest(folder: Path) -> tuple[Path, dict[str, Any], dict[str, Tensor]] | None:
    """The newest whole checkpoint; None without any, ModelError when all are damaged."""
    damage: ModelError | None = None
    for path in reversed(_checkpoints(folder)):
        try:
            return path, *_read(path)
        except ModelError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        state = json.loads((path / "state.json").read_text())
        wanted = state["sha256"]
        got = _sha256(path / "tensors.safetensors")
        if got != wanted:
            raise ModelError("the checkpoint is damaged", file=path, got=got, wanted=wanted)
        return state, load_file(path / "tensors.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"the checkpoint cannot be read: {error}", file=path) from error


def _differing(these: Mapping[str, Any], those: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in these.items() if k not in those or those[k] != v}


def _tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    # A tied parameter appears under each of its names in the module's state; one suffices.
    tensors = {
        MODULE + name: value.detach().cpu().contiguous()
        for name, value in _unique_state(module).items()
    }
    for index, per_parameter in optimiser.state_dict()["state"].items():
        for name, value in per_parameter.items():
            tensors[f"{OPTIMISER}{index}.{name}"] = torch.as_tensor(value).cpu().contiguous()
    return tensors


def _unique_state(module: nn.Module) -> dict[str, Tensor]:
    seen: set[tuple[int, torch.Size, tuple[int, ...]]] = set()
    state = {}
    for name, value in module.state_dict().items():
        key = (value.data_ptr(), value.shape, value.stride())
        if key not in seen or value.numel() == 0:
            seen.add(key)
            state[name] = value
    return state


def _fill(
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    tensors: Mapping[str, Tensor],
    path: Path,
) -> None:
    wanted = _unique_state(module)
    got = {k.removeprefix(MODULE): v for k, v in tensors.items() if k.startswith(MODULE)}
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in got.items()}:
        raise JobError("the checkpoint is of another network", file=path)
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(got[name])
    if optimiser is None:
        return
    learned = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(OPTIMISER):
            index, name = key.removeprefix(OPTIMISER).split(".", 1)
            like = learned[int(index)]
            if value.shape == like.shape:
                # Fused steps walk memory: the moments must lie as the weights do (channels last).
                value = torch.empty_like(like, dtype=value.dtype, device="cpu").copy_(value)
            state.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
