"""Training of mosaic networks: E and Dec on the domain, G and D a theme each.

Source: US 2019/0171908 A1, Eq. 34–36 and paragraphs 124–142. One iteration draws patches x of the
domain (random size and position) and, theme by theme, patches y of the theme:

- Eq. 34, `‖x − Dec(E(x))‖₂`, for E and Dec;
- Eq. 35, `−c·D(G(z)) + w·‖z − E(G(z))‖₂`, for G, and for E in its first training. The code
  distance is the root mean square over elements by the spread of z, so that E cannot win by
  shrinking its codes; of the gradient through G, E takes a tenth;
- Eq. 36, `D(G(z)) − D(y)`, for D. Its value, and for G its negative, goes through a softplus,
  pair by pair, which levels off once a difference is won (relativistic pairing, Huang et al. 2024;
  `pairing = "linear"` is the equation as it stands).
  D is regularised by zero-centred gradient penalties on real and on made patches (R1 and R2,
  Mescheder et al. 2018), taken every few iterations and weighted up accordingly.

Beyond the source: E and Dec are trained alone at first, and every G begins as a copy of Dec, so
that it has the structure from the start and learns the theme; a running mean of G's weights is
what is kept. G is also drawn towards the patch of a pool of the theme that is nearest to x in
colour and structure, which shows it early what of the theme suits what of the plate. The stacked
variant (paragraph 142) adds a level of 64 pixels to G and D, faded in, with E frozen. With
`damage` the domain is the theme degraded (Table 2), and as pairs are then known, the difference
from the undamaged patch may count as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap.errors import JobError
from vfxswap.nets.mosaic import (
    CODE_PX,
    GrowingCritic,
    GrowingGenerator,
    MosaicCritic,
    MosaicEncoder,
    MosaicEncoderSettings,
    MosaicGenerator,
    MosaicGeneratorSettings,
)
from vfxswap.train.checkpoint import load_checkpoint, newest_iteration, save_checkpoint
from vfxswap.train.mosaic_degrade import damaged
from vfxswap.train.mosaic_faces import FaceLosses
from vfxswap.train.mosaic_losses import (
    as_seen,
    code_distance,
    counted,
    distance,
    made_by,
    sameness,
    scores_of,
    slope_penalty,
)
from vfxswap.train.mosaic_pictures import PictureSet, Pool, relit
from vfxswap.train.mosaic_training import MosaicTraining, Stage

_DOMAIN, _THEME, _DAMAGE, _POOL, _FREE = 1, 2, 3, 4, 5


class MosaicTrainer:
    """Networks on their way, one optimiser, and the iteration that is reached.

    What an iteration does depends on seed, settings, pictures and its number alone, so a resumed
    training equals an unbroken one (same device, thread count and versions).
    """

    def __init__(
        self,
        training: MosaicTraining,
        domain: PictureSet,
        themes: Mapping[str, PictureSet],
        *,
        encoder: MosaicEncoder | None = None,
        begin: Mapping[str, MosaicGenerator] | None = None,
        device: str = "cpu",
    ) -> None:
        """A trained `encoder` stays frozen; `begin` holds the generators, all of one shape, that
        the themes then begin as.

        Raises JobError for settings that do not go with a frozen encoder, ModelError for losses of
        faces whose models are not there.
        """
        self.training, self.domain, self.themes = training, domain, dict(themes)
        self.device = torch.device(device)
        if (encoder is None) != (begin is None):
            raise ValueError("an encoder and a generator to begin with come together")
        self._given = (encoder, begin)
        self.frozen = encoder is not None
        if self.frozen and training.code_iterations:
            raise JobError("a frozen encoder is not trained", wanted="code_iterations = 0")
        large = any(net.size > CODE_PX for net in (begin or {}).values())
        if large and training.large_iterations:
            raise JobError("themes begin at 64 pixels", wanted="large_iterations = 0")
        self.iteration = 0
        self.losses: dict[str, float] = {}
        self._pools: dict[str, Pool] = {}
        self._faces = FaceLosses.load(training.faces, device) if training.faces.any else None
        self.nets = nn.ModuleDict()
        self._build("codes")
        if training.stage_at(0)[0] != "codes":
            self._enter(training.stage_at(0)[0])

    @property
    def encoder(self) -> MosaicEncoder:
        net = self.nets["encoder"]
        assert isinstance(net, MosaicEncoder)
        return net

    def generator(self, theme: str, *, mean: bool = True) -> MosaicGenerator:
        """A theme's generator as it is kept: the running mean, or the one that learns."""
        net = self.nets["mean" if mean else "generators"].get_submodule(theme)
        assert isinstance(net, MosaicGenerator)
        return net

    def step(self) -> None:
        """One iteration. Raises JobError when a loss is not finite; nothing is changed then."""
        stage, alpha = self.training.stage_at(self.iteration)
        if stage != self.stage:
            self._enter(stage)
        rate = self.training.rate_at(self.iteration)
        for group, highest in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * highest
        x, clean = self._domain_patches()
        if stage == "codes":
            loss = self._code_loss(x)
            self._update(loss, self.nets)
        else:
            self._learn_themes(x, clean, alpha)
        self.iteration += 1

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint; see `checkpoint.save_checkpoint`."""
        return save_checkpoint(
            folder, self.nets, self.optimiser, iteration=self.iteration, settings=self._identity()
        )

    def resume(self, folder: Path) -> bool:
        """Goes on from the newest checkpoint in `folder`; False when there is none."""
        reached = newest_iteration(folder)
        if reached == 0:
            return False
        self._build("codes")
        wanted = self.training.stage_at(reached - 1)[0]
        for stage in ("small", "large"):
            if self.stage != wanted:
                self._enter(stage)
        self.iteration = load_checkpoint(
            folder, self.nets, self.optimiser, settings=self._identity()
        )
        return True

    @torch.no_grad()
    def preview(self, count: int = 8) -> Tensor:
        """[3, rows, columns] as the networks write: patches of the domain, decoded, then by each
        theme, with a real patch of it at the left of its row."""
        size = self.size
        rng = np.random.default_rng([self.training.seed, 99])
        x = self.domain.patches(count, size=CODE_PX, rng=rng).to(self.device)
        z = self.encoder(x)
        rows = [_row(x, x[:1], size), _row(self.nets["decoder"](z), x[:1], size)]
        for theme, pictures in self.themes.items():
            real = pictures.patches(1, size=size, rng=rng).to(self.device)
            if self.stage != "codes":
                free = self.free_elements(count, rng)
                made = made_by(self.generator(theme), z, free, 1.0)
                rows.append(_row(made, real, size))
        return torch.cat(rows, 1).cpu()

    @property
    def size(self) -> int:
        """Side of the generators' patches now."""
        if self.stage == "codes":
            return CODE_PX
        return next(self.generator(theme).size for theme in self.themes)

    def _build(self, stage: Stage) -> None:
        self.stage: Stage = stage
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            shape = MosaicEncoderSettings(code=self.training.code)
            encoder = self._given[0] or MosaicEncoder(shape)
            shape_of_decoder = MosaicGeneratorSettings(
                code=encoder.settings.code, free=self.training.free
            )
            decoder = MosaicGenerator(shape_of_decoder)
            self.nets = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        encoder.requires_grad_(not self.frozen)
        decoder.requires_grad_(not self.frozen)
        self._placed()

    def _enter(self, stage: Stage) -> None:
        """Networks of the next stage; the optimiser begins anew."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed + 1 + (stage == "large"))
            if stage == "small":
                decoder = self.nets["decoder"]
                assert isinstance(decoder, MosaicGenerator)
                begin = self._given[1] or dict.fromkeys(self.themes, decoder)
                made = {t: MosaicGenerator(begin[t].settings) for t in self.themes}
                for theme, net in made.items():
                    net.load_state_dict(begin[theme].state_dict())
                critics: dict[str, nn.Module] = {
                    t: MosaicCritic(net.size) for t, net in made.items()
                }
                self._add_themes(dict(made), critics)
            else:
                grown: dict[str, nn.Module] = {}
                critics = {}
                for theme in self.themes:
                    small = self.generator(theme)
                    large = GrowingGenerator(small.settings)
                    large.begin(small)
                    critic = GrowingCritic()
                    critic.begin(self.nets["critics"].get_submodule(theme))
                    grown[theme], critics[theme] = large, critic
                self._add_themes(grown, critics)
                self.encoder.requires_grad_(False)
                self.nets["decoder"].requires_grad_(False)
        self.stage = stage
        self._placed()

    def _add_themes(
        self, generators: Mapping[str, nn.Module], critics: Mapping[str, nn.Module]
    ) -> None:
        mean = {}
        for theme, net in generators.items():
            mean[theme] = type(net)(net.settings)
            mean[theme].load_state_dict(net.state_dict())
            mean[theme].requires_grad_(False)
        self.nets["generators"] = nn.ModuleDict(generators)
        self.nets["mean"] = nn.ModuleDict(mean)
        self.nets["critics"] = nn.ModuleDict(critics)

    def _placed(self) -> None:
        self.nets.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        t = self.training
        codes = t.code_learning_rate if self.stage == "codes" else t.joint_learning_rate
        groups = [
            {"params": list(self.encoder.parameters()), "lr": codes},
            {"params": list(self.nets["decoder"].parameters()), "lr": codes},
        ]
        for kind in ("generators", "critics"):
            if kind in self.nets:
                parameters = list(self.nets[kind].parameters())
                groups.append({"params": parameters, "lr": t.learning_rate})
        self.optimiser = torch.optim.Adam(groups, betas=(0.0, 0.99))
        self._rates = [group["lr"] for group in self.optimiser.param_groups]
        for parameter in self.nets.parameters():
            parameter.grad = None

    def _identity(self) -> dict[str, object]:
        return {"training": self.training.model_dump(mode="json"), "themes": list(self.themes)}

    def _rng(self, *which: int) -> np.random.Generator:
        return np.random.default_rng([self.training.seed, self.iteration, *which])

    def _pool(self, name: str, pictures: PictureSet) -> Pool:
        """The patches of a theme, or of the domain (""), that are drawn from now."""
        t, age = self.training, self.iteration // self.training.pool_every
        held = self._pools.get(name)
        if held is None or held.age != age:
            rng = np.random.default_rng([t.seed, age, _POOL, *name.encode()])
            count = t.pool if name else 2 * t.pool
            held = Pool(pictures, count, rng=rng, age=age, device=self.device)
            self._pools[name] = held
        return held

    def _domain_patches(self) -> tuple[Tensor, Tensor]:
        """What E sees, and the same undamaged at the size that G writes."""
        t = self.training
        clean = self._pool("", self.domain).patches(
            t.batch,
            size=self.size,
            rng=self._rng(_DOMAIN),
            exposure=1.5 * t.exposure,
            tint=t.tint,
            mirror=True,
        )
        seen = damaged(clean, t.damage, self._rng(_DAMAGE))
        return as_seen(seen), clean

    def _code_loss(self, x: Tensor) -> Tensor:
        """Eq. 34."""
        with self._autocast():
            decoded = self.nets["decoder"](self.encoder(x))
        loss = distance(decoded.float(), x)
        self.losses["codes"] = loss.item()
        return loss

    def _learn_themes(self, x: Tensor, clean: Tensor, alpha: float) -> None:
        """One step of all critics, then one of all that generates."""
        both = not self.frozen and self.stage == "small"
        if self.training.free and self.training.variety_weight:  # two patches of every code
            x, clean = (torch.cat([p[: len(p) // 2]] * 2) for p in (x, clean))
        free = self.free_elements(len(x), self._rng(_FREE))
        with self._autocast():
            z = self.encoder(x) if both else self.encoder(x).detach()
            # E follows Dec first: of what comes back through the generators it takes a tenth.
            given = 0.1 * z + 0.9 * z.detach()
            made = {
                theme: made_by(self.generator(theme, mean=False), given, free, alpha)
                for theme in self.themes
            }
        real = {t: self._theme_patches(t, k, alpha) for k, t in enumerate(self.themes)}
        if self.training.critic_weight:
            critics = self.nets["critics"]
            critics.requires_grad_(True)
            losses = [self._critic_loss(t, made[t].detach(), real[t], alpha) for t in self.themes]
            self._update(torch.stack(losses).sum(), critics)
            critics.requires_grad_(False)
        losses = [self._theme_loss(t, x, made[t], real[t], clean, alpha) for t in self.themes]
        loss = torch.stack(losses).sum()
        if both:
            loss = loss + self.training.joint_weight * self._code_loss(x)
        self._update(loss, self.nets)
        for theme in self.themes:
            self._follow(theme)

    def free_elements(self, count: int, rng: np.random.Generator) -> Tensor:
        """Random elements [count, free], uniform about 0 with a variance of 1, as the effect
        draws them."""
        drawn = rng.uniform(-1, 1, (count, self.training.free)) * 3**0.5
        return torch.from_numpy(drawn.astype(np.float32)).to(self.device)

    def _theme_patches(self, theme: str, number: int, alpha: float) -> Tensor:
        t, rng = self.training, self._rng(_THEME, number)
        y = self._pool(theme, self.themes[theme]).patches(
            t.batch, size=self.size, rng=rng, exposure=t.exposure, tint=t.tint
        )
        if t.relight:
            light = self._pool("", self.domain).patches(
                t.batch, size=self.size, rng=rng, mirror=True
            )
            strength = t.relight * torch.from_numpy(rng.random((t.batch, 1, 1, 1))).to(y)
            y = relit(y, light, strength)
        if self.stage == "large" and alpha < 1:
            y = torch.lerp(F.interpolate(F.avg_pool2d(y, 2), scale_factor=2), y, alpha)
        return y

    def _critic_loss(self, theme: str, made: Tensor, real: Tensor, alpha: float) -> Tensor:
        """Eq. 36, and every few iterations the penalties."""
        t, critic = self.training, self.nets["critics"].get_submodule(theme)
        with self._autocast():
            fake = scores_of(critic, made.to(real), alpha)
            true = scores_of(critic, real, alpha)
        difference = (fake - true).float()
        self.losses[f"{theme} critic"] = difference.mean().item()
        loss = counted(difference, t)
        if self.iteration % t.penalty_every == 0:
            slope = slope_penalty(lambda p: scores_of(critic, p, alpha), made.float(), real)
            self.losses[f"{theme} penalty"] = slope.item()
            weight = t.penalty * t.penalty_every * (self.size / CODE_PX) ** 2
            loss = loss + weight * slope
        return loss

    def _theme_loss(
        self, theme: str, x: Tensor, made: Tensor, real: Tensor, clean: Tensor, alpha: float
    ) -> Tensor:
        """Eq. 35."""
        t = self.training
        loss = torch.zeros((), device=self.device)
        if t.critic_weight:
            critic = self.nets["critics"].get_submodule(theme)
            with self._autocast():
                fake = scores_of(critic, made, alpha)
                with torch.no_grad():
                    true = scores_of(critic, real, alpha)
            loss = loss + t.critic_weight * counted((true - fake).float(), t)
        if t.code_weight:
            with self._autocast():
                code = code_distance(self.encoder, made, x, afar_px=t.afar_px)
            self.losses[f"{theme} code"] = code.item()
            loss = loss + t.code_weight_at(self.iteration) * code
        if t.free and t.variety_weight:
            same = sameness(made, real)
            self.losses[f"{theme} sameness"] = same.item()
            loss = loss + t.variety_weight * same
        if self._faces is not None:
            face = self._faces(made, clean)
            self.losses[f"{theme} face"] = face.item()
            loss = loss + face
        if t.match_weight:
            near = self._pool(theme, self.themes[theme]).nearest(clean)
            loss = loss + t.match_weight * (made.float() - near).abs().mean()
        if t.pair_weight:
            loss = loss + t.pair_weight * (made.float() - clean).abs().mean()
        return loss

    def _update(self, loss: Tensor, nets: nn.Module) -> None:
        if not bool(torch.isfinite(loss)):
            raise JobError(f"a loss is not finite at iteration {self.iteration}", got=loss.item())
        self.optimiser.zero_grad(set_to_none=True)
        inputs = [p for p in nets.parameters() if p.requires_grad]
        torch.autograd.backward(loss, inputs=inputs)
        self.optimiser.step()

    def _follow(self, theme: str) -> None:
        learning = self.generator(theme, mean=False).state_dict()
        for name, value in self.generator(theme).state_dict().items():
            value.lerp_(learning[name], 1 - self.training.mean_decay)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.half)


def _row(patches: Tensor, first: Tensor, size: int) -> Tensor:
    tiles = [F.interpolate(p[None].float(), size=size)[0] for p in (first[0], *patches)]
    return torch.cat(tiles, 2)
