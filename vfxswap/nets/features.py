"""Feature transfer: a style-based generator with an encoder, and the features in its activations.

Sources: US 2022/0374625 A1 (see the README on patents) for σ, A and U; Karras et al. 2020
("Analyzing and improving the image quality of StyleGAN") for convolutions whose input channels
are scaled by coefficients, over a learned 4×4 constant. The coefficients σ of all modulated
convolutions are the code itself: there is no mapping network, and the encoder writes them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.nets.feature_math import POSE_LAYERS
from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.settings import Settings

BASE_PX = 4
"""Side of the constant that generating starts from."""
_EPSILON = 1e-8


class FeatureSettings(Settings):
    """Shape of a feature network and the names of its features; stored in its model card."""

    crop_size: int = Field(default=64, ge=16, description="Side of the crops, a power of two.")
    width: int = Field(default=32, ge=2, description="Generator's channels at the crop's size.")
    widest: int = Field(
        default=192, ge=2, description="Most channels: they double with each halving up to this."
    )
    widest_encoder: int = Field(
        default=128, ge=2, description="Most channels of the encoder, likewise."
    )
    code: int = Field(default=224, ge=2, description="Numbers that the encoder gives for a crop.")
    pose_code: int = Field(
        default=16,
        ge=1,
        description="Numbers that the coefficients of the pose's layers are made of: few, so that "
        "those layers hold the coarse layout alone.",
    )
    clusters: int = Field(default=24, ge=2, description="Clusters of activations.")
    cluster_layer: int = Field(
        default=-1, description="Modulated convolution whose activations are clustered."
    )
    features: tuple[str, ...] = Field(
        default=(), description="Names of the features; cluster-1 … when empty."
    )
    assignment: tuple[int, ...] = Field(
        default=(), description="For each cluster the feature that it belongs to, from 0."
    )
    lasting: int = Field(
        default=0,
        ge=0,
        description="Directions of σ that last of one performer from picture to picture; 0 before "
        "they are fitted.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.crop_size & (self.crop_size - 1):
            raise ValueError(f"crop_size {self.crop_size} is no power of two")
        if not -self.layer_count <= self.cluster_layer < self.layer_count:
            raise ValueError(f"cluster_layer {self.cluster_layer} of {self.layer_count} layers")
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features {', '.join(self.features)} are not unique")
        if bool(self.features) != bool(self.assignment):
            raise ValueError("features and assignment go together")
        if self.features and len(self.assignment) != self.clusters:
            raise ValueError(f"assignment of {len(self.assignment)} clusters, not {self.clusters}")
        if any(not 0 <= k < len(self.features) for k in self.assignment):
            raise ValueError(f"assignment {self.assignment} to {len(self.features)} features")
        return self

    @property
    def layer_count(self) -> int:
        """Modulated convolutions: one at each size and one before each doubling."""
        return 2 * self.doublings + 1

    @property
    def doublings(self) -> int:
        return (self.crop_size // BASE_PX).bit_length() - 1

    def channels(self, size: int) -> int:
        """The generator's channels where the picture is `size` pixels wide."""
        return min(self.widest, self.width * (self.crop_size // size))


class Generated(NamedTuple):
    """What σ gives: `picture` [B, 3, S, S], normalised like the crops, and `activations`, for
    each modulated convolution its input before σ scales it, [B, C_l, h_l, w_l], coarse to fine
    (channel c of layer l is what coefficient c of `layers[l]` scales)."""

    picture: Tensor
    activations: tuple[Tensor, ...]


class ModulatedConv(nn.Module):
    """A 3×3 convolution whose input channels are scaled by coefficients [B, in] and whose output
    is scaled back to unit variance (Karras et al. 2020, equations 1–3), then LeakyReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        weight = torch.randn(channels_out, channels_in, 3, 3) / math.sqrt(channels_in * 9)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        # Scaling activations instead of weights is the same and needs no weights a crop.
        energy = coefficients.square() @ self.weight.square().sum((2, 3)).T
        scale = (energy + _EPSILON).rsqrt()[..., None, None]
        y = F.conv2d(x * coefficients[..., None, None], self.weight, padding=1)
        return math.sqrt(2.0) * leaky(y * scale + self.bias[:, None, None])


class FeatureNet(nn.Module):
    """Aligned crops to coefficients σ and back, and the feature that each place belongs to.

    Crops are [B, 3, S, S] in net space, aligned by `align.crop.crop_matrix` and normalised by
    `ops.normalise` under the matte of `align.crop.outline` (other objects: under their own
    matte): about 0…1 with the object's mean at 0.5, not clamped, as the comb sees them. Pictures
    that are generated lie in the same space and are not clamped either; what is not the object
    (the background) is 0.5 there.

    σ [B, C] are the coefficients of all modulated convolutions, coarse to fine: `layers`. Those
    of the first `POSE_LAYERS` are made of `pose_code` numbers.

    A feature is a set of clusters of activations (spherical k-means on activations that are
    standardised by `cluster_mean`, `cluster_std`; `cluster_centres` are unit vectors). Names and
    sets are settings; `fit_clusters` puts in the buffers.

    What lasts of σ in another light, pose and acting is a few directions of it (`lasting`), which
    `fit_lasting` puts in; the source knows no such thing.
    """

    settings_type: ClassVar[type[Settings]] = FeatureSettings
    cluster_mean: Tensor
    cluster_std: Tensor
    cluster_centres: Tensor
    lasting_mean: Tensor
    lasting_read: Tensor
    lasting_write: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        sizes = [BASE_PX << k for k in range(settings.doublings + 1)]
        widths = [settings.channels(size) for size in sizes]
        self.constant = nn.Parameter(torch.randn(1, widths[0], BASE_PX, BASE_PX))
        self.plain = nn.ModuleList(ModulatedConv(w, w) for w in widths)
        self.growing = nn.ModuleList(ModulatedConv(a, b) for a, b in pairwise(widths))
        self.to_rgb = nn.ModuleList(conv(w, 3, 1, gain=0.2) for w in widths[1:])
        inputs = [w for w in widths for _ in range(2)][:-1]
        ends = torch.tensor([0, *inputs]).cumsum(0).tolist()
        self.layers: tuple[slice, ...] = tuple(slice(a, b) for a, b in pairwise(ends))
        """Which part of σ belongs to which modulated convolution, coarse to fine."""
        self.coefficients: int = ends[-1]
        """Numbers in σ."""
        self.encoder = Encoder(settings, self.layers)
        channels = inputs[settings.cluster_layer]
        self.register_buffer("cluster_mean", torch.zeros(channels))
        self.register_buffer("cluster_std", torch.ones(channels))
        centres = F.normalize(torch.randn(settings.clusters, channels), dim=1)
        self.register_buffer("cluster_centres", centres)
        self.coarse: int = self.layers[POSE_LAYERS - 1].stop
        """Numbers in σ that belong to the pose's layers, its first."""
        self._hold_lasting(settings.lasting)

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        size = self.settings.crop_size
        return Needs(size_px=size, channels=3, multiple_of=size, half=False)

    @property
    def size(self) -> int:
        """Side of the square crops in pixels."""
        return self.settings.crop_size

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the K features, in the order of `memberships`."""
        named = self.settings.features
        return named or tuple(f"cluster-{k + 1}" for k in range(self.settings.clusters))

    def encode(self, crops: Tensor) -> Tensor:
        """σ [B, C] of crops [B, 3, S, S], each layer's of root mean square 1. Raises ValueError
        for crops of another size."""
        if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, self.size, self.size):
            wanted = f"[B, 3, {self.size}, {self.size}]"
            raise ValueError(f"crops of shape {tuple(crops.shape)}, wanted {wanted}")
        sigma: Tensor = self.encoder(crops)
        # What a layer makes does not depend on the size of its coefficients, so nothing would hold
        # it: it grew to 1e5 in 15,000 steps, and differed from picture to picture.
        parts = [sigma[:, layer] for layer in self.layers]
        sizes = [part.square().mean(1, keepdim=True) for part in parts]
        return torch.cat([p * (s + _EPSILON).rsqrt() for p, s in zip(parts, sizes)], 1)

    def generate(self, sigma: Tensor) -> Generated:
        """The picture of σ [B, C], and all activations on the way. Raises ValueError for another
        number of coefficients."""
        if sigma.ndim != 2 or sigma.shape[1] != self.coefficients:
            wanted = f"[B, {self.coefficients}]"
            raise ValueError(f"coefficients of shape {tuple(sigma.shape)}, wanted {wanted}")
        parts = iter([sigma[:, layer] for layer in self.layers])
        x = self.constant.expand(len(sigma), -1, -1, -1)
        activations = [x]
        x = self.plain[0](x, next(parts))
        picture = x.new_zeros(len(sigma), 3, BASE_PX, BASE_PX)
        for grow, plain, to_rgb in zip(self.growing, self.plain[1:], self.to_rgb):
            activations.append(x)
            # Doubling behind the convolution costs a quarter of doubling before it.
            x = doubled(grow(x, next(parts)))
            activations.append(x)
            x = plain(x, next(parts))
            picture = doubled(picture) + to_rgb(x)
        return Generated(picture + 0.5, tuple(activations))

    def forward(self, crops: Tensor) -> Tensor:
        """`generate(encode(crops)).picture`: reconstructions [B, 3, S, S]."""
        return self.generate(self.encode(crops)).picture

    def clusters(self, activations: tuple[Tensor, ...]) -> Tensor:
        """The number of the cluster at each place, [B, h, w] int64, at the size of the clustered
        layer, out of what `generate` gave."""
        z = self.standardised(activations)
        return torch.einsum("bchw,kc->bkhw", F.normalize(z, dim=1), self.cluster_centres).argmax(1)

    def memberships(self, activations: tuple[Tensor, ...]) -> Tensor:
        """U [B, K, h, w] float32: 1 for the one feature that a place belongs to, else 0; as many
        as `feature_names`, at the size of the clustered layer."""
        found = self.clusters(activations)
        if self.settings.assignment:
            found = torch.tensor(self.settings.assignment, device=found.device)[found]
        return F.one_hot(found, len(self.feature_names)).movedim(-1, 1).float()

    def standardised(self, activations: tuple[Tensor, ...]) -> Tensor:
        """Activations [B, C_l, h, w] of the clustered layer about their mean over the sample, by
        their standard deviation: what k-means sees."""
        a = activations[self.settings.cluster_layer].float()
        return (a - self.cluster_mean[:, None, None]) / self.cluster_std[:, None, None]

    def named(self, features: tuple[str, ...], assignment: tuple[int, ...]) -> None:
        """Names the features and says which one each cluster belongs to. Raises ValueError as
        the settings do."""
        values = {**self.settings.model_dump(), "features": features, "assignment": assignment}
        self.settings = FeatureSettings(**values)

    def lasting(self, sigma: Tensor) -> Tensor:
        """σ [B, C] as far as it lasts from one picture of a performer to the next, about the mean:
        the best linear guess at the performer's mean over light, pose and acting; float32, 0 in
        the pose's layers. Raises ValueError for a network without fitted directions."""
        if not self.settings.lasting:
            raise ValueError("no lasting directions are fitted")
        away = sigma[:, self.coarse :].float() - self.lasting_mean
        guess = (away @ self.lasting_read.T) @ self.lasting_write.T
        return F.pad(guess, (self.coarse, 0))

    def put_lasting(self, mean: Tensor, read: Tensor, write: Tensor) -> None:
        """Stores the lasting directions: with the D coefficients behind the pose's layers, `mean`
        [D], and `write` [D, r] @ `read` [r, D] makes what lasts out of their differences from it.
        Raises ValueError for shapes that do not fit."""
        count, rest = len(read), self.coefficients - self.coarse
        shapes = [tuple(each.shape) for each in (mean, read, write)]
        if shapes != [(rest,), (count, rest), (rest, count)]:
            raise ValueError(f"lasting directions of shapes {shapes} for {rest} coefficients")
        self.settings = FeatureSettings(**{**self.settings.model_dump(), "lasting": count})
        self._hold_lasting(count)
        with torch.no_grad():
            self.lasting_mean.copy_(mean)
            self.lasting_read.copy_(read)
            self.lasting_write.copy_(write)

    def _hold_lasting(self, count: int) -> None:
        rest, like = self.coefficients - self.coarse, self.cluster_mean
        for name, shape in (("mean", (rest,)), ("read", (count, rest)), ("write", (rest, count))):
            # A network that was never fitted has no such tensors, as older files have none.
            buffer = like.new_zeros(shape) if count else None
            self.register_buffer(f"lasting_{name}", buffer)


class Encoder(nn.Module):
    """Crops to σ: halvings by strided convolutions, then a code, then one linear map for the
    coefficients of the pose's layers, through a few numbers, and one for the rest."""

    def __init__(self, settings: FeatureSettings, layers: tuple[slice, ...]) -> None:
        super().__init__()
        sizes = [settings.crop_size >> k for k in range(settings.doublings + 1)]
        widths = [min(settings.widest_encoder, settings.channels(size)) for size in sizes]
        self.from_rgb = conv(3, widths[0], 3)
        self.halvings = nn.ModuleList(_halving(a, b) for a, b in pairwise(widths))
        self.mixing = nn.ModuleList(conv(w, w, 3) for w in widths[2:])
        self.code = nn.Linear(widths[-1] * BASE_PX**2, settings.code)
        coarse = layers[POSE_LAYERS - 1].stop
        self.pose = nn.Linear(settings.code, settings.pose_code)
        self.of_pose = nn.Linear(settings.pose_code, coarse)
        self.rest = nn.Linear(settings.code, layers[-1].stop - coarse)
        for layer in (self.of_pose, self.rest):
            nn.init.normal_(layer.weight, std=0.5 / math.sqrt(layer.in_features))
            nn.init.ones_(layer.bias)

    def forward(self, crops: Tensor) -> Tensor:
        h = leaky(self.from_rgb(crops - 0.5))
        h = leaky(self.halvings[0](h))
        for halving, mix in zip(self.halvings[1:], self.mixing):
            h = leaky(halving(h))
            h = h + leaky(mix(h))
        code = leaky(self.code(h.flatten(1)))
        return torch.cat([self.of_pose(self.pose(code)), self.rest(code)], 1)


def _halving(channels_in: int, channels_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1)
    nn.init.kaiming_normal_(layer.weight, 0.2)
    nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer
