"""Plate space, working space, display and net space. The only user of OpenColorIO.

Net space is an invertible log curve over the scene-linear working space; it needs no config.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import ColorError
from vfxswap.image import Image, Pixels

if TYPE_CHECKING:
    import torch

DEFAULT_CONFIG: Final = "cg-config-v2.2.0_aces-v1.3_ocio-v2.4"
DISPLAY_SPACE: Final = "sRGB Encoded Rec.709 (sRGB)"

_D65, _ACES_WHITE = (0.3127, 0.329), (0.32168, 0.33767)
_CHROMATICITIES: Final[Mapping[str, tuple[float, ...]]] = {
    "ACES2065-1": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, *_ACES_WHITE),
    "ACEScg": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, *_ACES_WHITE),
    "Linear Rec.709 (sRGB)": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, *_D65),
    "Linear P3-D65": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
    "Linear Rec.2020": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    "Linear AdobeRGB": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65),
}
"""Red, green, blue and white x, y of the linear spaces that EXR headers name by primaries."""
_OLD_NAMES: Final[Mapping[str, str]] = {
    "srgb": DISPLAY_SPACE,
    "linear": "Linear Rec.709 (sRGB)",
    "rec709": "Gamma 2.4 Encoded Rec.709",
}
"""What OpenImageIO called spaces before the configs had common names."""
_ASSUMED: Final = "assumed"
_BRIGHTEST: Final = 65504.0

_CUT = 0.0078125
_CUT_NET = 0.155251141552511
_SLOPE = 10.5402377416545
_OFFSET = 0.0729055341958355
_STOPS = 17.52
_BLACK_STOPS = 9.72

Values = TypeVar("Values", NDArray[Any], "torch.Tensor")
"""Array or tensor of any shape; half precision is computed and returned as float32."""


def to_net(linear: Values) -> Values:
    """Scene-linear working values to net space, value by value, any shape.

    ACEScct (AMPAS S-2016-001, section 4.4): 17.52 stops over 0…1 above 2^-7, below that its
    straight toe, which runs through 0 and on for every negative value, so nothing is clamped.
    Mid grey 0.18 is 0.414, 1.0 is 0.555, 65504 is 1.468. Monotone; inf and nan stay (float32
    below -3e37 overflows to -inf). In float32 `from_net` gives the value back to within 4e-6 of
    itself over the range of halves (1e-5 beyond), near black to within 2e-8.
    """
    if isinstance(linear, np.ndarray):
        x: NDArray[Any] = linear.astype(np.float32) if linear.dtype == np.float16 else linear
        with np.errstate(over="ignore", invalid="ignore"):
            toe = np.minimum(x, _CUT) * _SLOPE + _OFFSET
            log = (np.log2(np.maximum(x, _CUT)) + _BLACK_STOPS) / _STOPS
            curve: NDArray[Any] = np.where(x <= _CUT, toe, log)
            return curve
    t = linear.float() if linear.element_size() == 2 else linear
    toe_t = t.clamp(max=_CUT) * _SLOPE + _OFFSET
    log_t = (t.clamp(min=_CUT).log2() + _BLACK_STOPS) / _STOPS
    return log_t.where(t > _CUT, toe_t)


def from_net(net: Values) -> Values:
    """Net space to scene-linear working values: the inverse of `to_net`, any shape, unclamped.

    Values above 7.86 overflow to inf in float32.
    """
    if isinstance(net, np.ndarray):
        y: NDArray[Any] = net.astype(np.float32) if net.dtype == np.float16 else net
        with np.errstate(over="ignore", invalid="ignore"):
            toe = (np.minimum(y, _CUT_NET) - _OFFSET) / _SLOPE
            log = np.exp2(np.maximum(y, _CUT_NET) * _STOPS - _BLACK_STOPS)
            curve: NDArray[Any] = np.where(y <= _CUT_NET, toe, log)
            return curve
    t = net.float() if net.element_size() == 2 else net
    toe_t = (t.clamp(max=_CUT_NET) - _OFFSET) / _SLOPE
    log_t = (t.clamp(min=_CUT_NET) * _STOPS - _BLACK_STOPS).exp2()
    return log_t.where(t > _CUT_NET, toe_t)


class Resolution(NamedTuple):
    """A plate's colour space and why it was taken; the reason is for the log and the metadata."""

    space: str
    reason: str

    @property
    def assumed(self) -> bool:
        """Whether nobody said so: neither the job, nor the file, nor a file rule of its own."""
        return self.reason.startswith(_ASSUMED)


class ColorManager:
    """Conversions of one OCIO config: `config` (a path or `ocio://` name), else $OCIO, else the
    built-in ACES CG config. `working` is the space of its scene_linear role.

    Raises ColorError when the config cannot be read or has no scene_linear role.
    """

    def __init__(self, config: str | PathLike[str] | None = None) -> None:
        import PyOpenColorIO as ocio  # noqa: N813

        self._ocio: Any = ocio
        self.source = os.fspath(config) if config else os.environ.get("OCIO") or DEFAULT_CONFIG
        try:
            self._builtin: Any = ocio.Config.CreateFromBuiltinConfig(DEFAULT_CONFIG)
            built_in = self.source.removeprefix("ocio://") == DEFAULT_CONFIG
            self._config: Any = (
                self._builtin if built_in else ocio.Config.CreateFromFile(self.source)
            )
        except (ocio.Exception, ocio.ExceptionMissingFile) as error:
            raise ColorError("not an OCIO config", got=str(error), file=self.source) from error
        role = self._config.getColorSpace("scene_linear")
        if role is None:
            raise ColorError("config has no scene_linear role", file=self.source)
        self.working: str = role.getName()
        self._processors: dict[tuple[str, str], Any] = {}
        self._display: Any = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what the config says, wherever its file lies; files that it names (LUTs) are
        not looked into."""
        return hashlib.sha256(self._config.serialize().encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """All colour spaces of the config."""
        return tuple(self._config.getColorSpaceNames())

    def canonical(self, name: str) -> str:
        """The config's own name for a space, alias or role. Raises ColorError with near names."""
        space = self._config.getColorSpace(name)
        if space is None:
            pool = {n.lower(): n for n in (*self.names, *self._roles())}
            near = [pool[n] for n in get_close_matches(name.lower(), pool, 3, 0.4)]
            raise ColorError(
                "unknown colour space",
                got=repr(name),
                wanted=" or ".join(near) if near else f"one of {', '.join(self.names[:8])} …",
                file=self.source,
            )
        return str(space.getName())

    def resolve(
        self, image: Image, path: str | PathLike[str], override: str | None = None
    ) -> Resolution:
        """The plate's colour space: the job's word, else the file's own (name, ACES container
        flag, chromaticities), else a file rule of the config, else the config's default rule,
        which is then `assumed` and the reason says so.

        Raises ColorError when the job's word is unknown to the config.
        """
        if override:
            return Resolution(self.canonical(override), "stated by the job")
        metadata, unknown = image.part.metadata, ""
        if image.color_space:
            if named := self._known(image.color_space):
                return Resolution(named, f"the file says {image.color_space}")
            unknown = f"; the file says {image.color_space}, which the config does not know"
        if metadata.get("acesImageContainerFlag") == 1 and (named := self._known("ACES2065-1")):
            return Resolution(named, "the file is an ACES container")
        chromaticities = metadata.get("chromaticities")
        if isinstance(chromaticities, tuple) and len(chromaticities) == 8:
            for name, primaries in _CHROMATICITIES.items():
                if np.allclose(chromaticities, primaries, rtol=0, atol=6e-4):
                    if named := self._known(name):
                        return Resolution(named, f"the file's chromaticities are those of {name}")
                    unknown = f"; the config has nothing for the file's primaries, {name}"
                    break
            else:
                unknown = "; the file's chromaticities are of no known space"
        name, rule = self._config.getColorSpaceFromFilepath(os.fspath(path))
        if not self._config.filepathOnlyMatchesDefaultRule(os.fspath(path)):
            title = self._config.getFileRules().getName(rule)
            return Resolution(self.canonical(name), f"file rule {title} of the config{unknown}")
        return Resolution(
            self.canonical(name), f"{_ASSUMED} by the config's default file rule{unknown}"
        )

    def to_working(self, rgb: Pixels, space: str) -> Pixels:
        """[H, W, 3] float32 of `space` in the working space; a new array, nothing clamped.

        Linear spaces keep negative, huge and inf values (a matrix mixes channels: an inf or nan
        in one makes the pixel's others inf or nan too). Raises ColorError.
        """
        return self._convert(rgb, space, self.working)

    def from_working(self, rgb: Pixels, space: str) -> Pixels:
        """[H, W, 3] float32 of the working space in `space`; the way back of `to_working`."""
        return self._convert(rgb, self.working, space)

    def matrix_to(self, space: str) -> NDArray[np.float64]:
        """[3, 3] that takes a working pixel (a column) to the linear `space`, which the config or
        the built-in one knows. Raises ColorError."""
        if named := self._known(space):
            processor = self._config.getProcessor(self.working, named)
        else:
            processor = self._by_interchange(space)
        columns = self._apply(self._on_cpu(processor), np.eye(3, dtype=np.float32)[None])[0]
        return np.asarray(columns.T, np.float64)

    def to_display(self, rgb: Pixels) -> Pixels:
        """[H, W, 3] working pixels as plain sRGB of Rec.709 primaries, 0…1, clipped; nan is 0,
        inf a large number.

        No tone mapping: for contact sheets and metrics, not for judging a grade.
        """
        if self._display is None:
            self._display = self._display_processor()
        finite = np.nan_to_num(rgb, nan=0.0, posinf=_BRIGHTEST, neginf=-_BRIGHTEST)
        shown = self._apply(self._display, finite.clip(-_BRIGHTEST, _BRIGHTEST))
        return shown.clip(0.0, 1.0)

    def _roles(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._config.getRoles())

    def _known(self, name: str) -> str | None:
        """The config's name for a space that it, or the built-in config, knows by any alias."""
        if not name.isprintable():  # a plate's word may hold what is no text
            return None
        if self._config.getColorSpace(name) is not None:
            return self.canonical(name)
        standard = self._builtin.getColorSpace(_OLD_NAMES.get(name.lower(), name))
        if standard is not None:
            for alias in (standard.getName(), *standard.getAliases()):
                if self._config.getColorSpace(alias) is not None:
                    return self.canonical(alias)
        return None

    def _convert(self, rgb: Pixels, source: str, target: str) -> Pixels:
        pair = self.canonical(source), self.canonical(target)
        if pair not in self._processors:
            try:
                processor = self._config.getProcessor(*pair)
            except self._ocio.Exception as error:
                raise ColorError(
                    f"{pair[0]} cannot be converted to {pair[1]}", got=str(error), file=self.source
                ) from error
            self._processors[pair] = self._on_cpu(processor)
        return self._apply(self._processors[pair], rgb)

    def _on_cpu(self, processor: Any) -> Any:
        return processor.getOptimizedCPUProcessor(self._ocio.OPTIMIZATION_LOSSLESS)

    def _display_processor(self) -> Any:
        if named := self._known(DISPLAY_SPACE):
            return self._on_cpu(self._config.getProcessor(self.working, named))
        return self._on_cpu(self._by_interchange(DISPLAY_SPACE))

    def _by_interchange(self, space: str) -> Any:
        """From the working space to one that only the built-in config has."""
        try:
            return self._ocio.Config.GetProcessorFromConfigs(
                self._config, self.working, self._builtin, space
            )
        except self._ocio.Exception as error:
            alias = "srgb_tx" if space == DISPLAY_SPACE else space
            raise ColorError(
                f"config has neither {space} nor an interchange role",
                got=str(error),
                wanted=f"a space with the alias {alias}, or the role aces_interchange for "
                f"{self.working}",
                file=self.source,
            ) from error

    @staticmethod
    def _apply(processor: Any, rgb: Pixels) -> Pixels:
        pixels = np.array(rgb, dtype=np.float32, order="C", copy=True)
        if not processor.isNoOp() and pixels.size:
            processor.applyRGB(pixels)
            lost = np.isnan(rgb)
            if lost.any():  # curves make a number of nan, which would hide a broken pixel
                pixels[lost] = np.nan
        return pixels
