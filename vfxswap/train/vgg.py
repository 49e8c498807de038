"""VGG-16 and VGG-19 weights of the user's own as a classifier model.

The user fetches the weights and answers for their licence; nothing is fetched here. Read are
safetensors, and the zip files that PyTorch has written since 1.6: their pickle is never run. Its
opcodes are walked as data (`pickletools.genops`) for names, shapes and storages, and the numbers
are read from the zip's plain blobs. Older files, one bare pickle stream, are refused.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vfxswap.errors import ModelError
from vfxswap.io.weights import StoredModel, save_model
from vfxswap.nets.perceptual import Perceptual, PerceptualSettings
from vfxswap.persona import ModelCard

_CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)
_FEATURE = re.compile(r"(?:.*\.)?features\.(\d+)\.(weight|bias)$")
_TYPES = {"FloatStorage": np.float32, "HalfStorage": np.float16, "DoubleStorage": np.float64}


def convert(source: Path, out: Path, *, licence: str, command: str) -> StoredModel:
    """Writes the convolutions of a VGG-16 or VGG-19 (torchvision's or timm's names) as a model.

    `licence` is what the user states of the weights. Raises ModelError for a file that cannot be
    read without unpickling, or is no such network.
    """
    tensors = _read(source)
    features: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if (match := _FEATURE.match(name)) is not None and tensor.ndim in (1, 4):
            features.setdefault(int(match[1]), {})[match[2]] = tensor
    found = [pair for _, pair in sorted(features.items()) if set(pair) == {"weight", "bias"}]
    kind = {sum(c): name for name, c in _CONVS.items()}.get(len(found))
    if kind is None or any(pair["weight"].ndim != 4 for pair in found):
        raise ModelError(
            "not a VGG without batch norm",
            got=f"{len(found)} convolutions under features.*",
            wanted="13 (VGG-16) or 16 (VGG-19)",
            file=source,
        )
    settings = PerceptualSettings(widths=_WIDTHS, convs=_CONVS[kind], input="imagenet")
    with torch.random.fork_rng(devices=[]):
        net = Perceptual(settings)
    state = {}
    for name, pair in zip(net.convs, found, strict=True):
        for part, tensor in pair.items():
            wanted = net.state_dict()[f"convs.{name}.{part}"].shape
            if tensor.shape != wanted:
                raise ModelError(
                    f"{part} of convolution {name} has another shape",
                    got=tuple(tensor.shape),
                    wanted=tuple(wanted),
                    file=source,
                )
            state[f"convs.{name}.{part}"] = tensor.float()
    card = ModelCard(
        name=out.name,
        effect="classifier",
        description=f"{kind.upper()} features that judge content and style in style trainings.",
        network="perceptual",
        network_settings=settings.model_dump(mode="json"),
        licence=licence,
        synthetic=False,
        training_data="as stated by where the user got the weights",
        training_licence=licence,
        recipe=command,
    )
    return save_model(out, card, state)


def _read(source: Path) -> Mapping[str, Tensor]:
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                return _zipped(archive, source)
        if source.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            try:
                return load_file(source)
            except SafetensorError as error:
                raise ModelError(f"weights are no safetensors file: {error}", file=source) from None
        with source.open("rb"):
            pass
    except OSError as error:
        raise ModelError(f"weights cannot be read: {error.strerror}", file=source) from None
    raise ModelError(
        "weights are in a form that only unpickling reads, which may run what is in it",
        wanted="safetensors, or a file written by PyTorch 1.6 or later",
        file=source,
    )


def _zipped(archive: zipfile.ZipFile, source: Path) -> dict[str, Tensor]:
    """Tensors of a state dict in PyTorch's zip form."""
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ModelError("zip file is no PyTorch file", file=source)
    root = names[0].removesuffix("data.pkl")
    tensors = {}
    for name, (kind, key, offset, shape, stride) in _described(archive.read(names[0])).items():
        if kind not in _TYPES:
            raise ModelError(f"tensor {name} is of an unknown type", got=kind, file=source)
        try:
            blob = np.frombuffer(archive.read(f"{root}data/{key}"), _TYPES[kind])
        except KeyError:
            raise ModelError(f"tensor {name} has no data", file=source) from None
        except ValueError:
            raise ModelError(f"data of tensor {name} is cut off", file=source) from None
        flat = torch.from_numpy(blob.copy())
        reach = offset + sum((n - 1) * s for n, s in zip(shape, stride)) + 1
        if min((*shape, 1)) < 1 or min((*stride, offset, 0)) < 0 or reach > len(flat):
            raise ModelError(f"tensor {name} reaches beyond its data", file=source)
        tensors[name] = flat.as_strided(shape, stride, offset).clone()
    return tensors


_Description = tuple[str, str, int, tuple[int, ...], tuple[int, ...]]
_MARK = object()


def _described(pickled: bytes) -> dict[str, _Description]:
    """Storage type, key, offset, shape and stride by tensor name, from a pickle walked as data.

    A name pushed before a call of `_rebuild_tensor_v2` is that tensor's. No global is looked up
    and nothing is called: globals are their names, calls are tuples of these and arguments.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    found: dict[str, _Description] = {}

    def popped() -> list[Any]:
        items: list[Any] = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    for opcode, argument, _ in pickletools.genops(pickled):
        match opcode.name:
            case "MARK":
                stack.append(_MARK)
            case "GLOBAL":
                stack.append(str(argument).rpartition(" ")[2])
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE" | "NONE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(popped()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "BINPERSID" | "SETITEM" | "SETITEMS" | "REDUCE" | "BUILD":
                _acted(opcode.name, stack, popped, found)
            case "PROTO" | "STOP" | "FRAME":
                pass
            case other:
                raise ModelError("weights hold more than tensors by name", got=f"opcode {other}")
    return found


def _acted(name: str, stack: list[Any], popped: Any, found: dict[str, _Description]) -> None:
    """Opcodes that join what lies on the stack."""
    if name == "BINPERSID":
        _, kind, key, *_ = stack.pop()
        stack.append((kind, key))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        if called in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            stack.append(arguments)
        elif called == "OrderedDict":
            stack.append(())
        else:
            raise ModelError("weights hold more than tensors by name", got=f"a call of {called}")
    elif name == "BUILD":
        stack.pop()
    else:
        items = popped() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        for key, value in zip(items[::2], items[1::2]):
            if (
                isinstance(value, tuple)
                and value
                and isinstance(value[0], tuple)
                and len(value) < 4
            ):
                value = value[0]  # a parameter around its tensor
            if isinstance(key, str) and isinstance(value, tuple) and len(value) >= 4:
                (kind, blob), offset, shape, stride = value[:4]
                found[key] = (str(kind), str(blob), int(offset), tuple(shape), tuple(stride))
