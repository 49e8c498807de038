"""Plate space, working space, display and net space. The only user of OpenColorIO.

Net space is an invertible log curve over the scene-linear working space; it needs no config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

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
