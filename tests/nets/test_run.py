"""The fast path against the plain comb."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap.errors import VfxSwapError
from vfxswap.nets.comb import Comb, CombSettings, crop_px
from vfxswap.nets.run import FastComb, LowMemoryWarning, accelerated, half_type

LEVEL = 4


@pytest.fixture(scope="module")
def comb() -> Comb:
    torch.manual_seed(0)
    personas = ("amber", "basalt")
    return Comb(CombSettings(personas=personas, level=LEVEL, width=1 / 8)).eval()


def crops(count: int = 3) -> Tensor:
    noise = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, size=crop_px(LEVEL), mode="bicubic")


@pytest.mark.parametrize("persona", ["amber", "basalt"])
def test_single_precision_equals_the_plain_comb(comb: Comb, persona: str) -> None:
    fast = FastComb(comb, precision="single").swap(crops(), persona)
    assert (fast - comb.swap(crops(), persona)).abs().max() < 1e-5


@pytest.mark.parametrize("level", [0, 1, 2])
def test_small_combs_run_too(level: int) -> None:
    small = Comb(CombSettings(personas=("amber",), level=level, width=1 / 32))
    x = torch.rand(2, 3, crop_px(level), crop_px(level))
    fast = FastComb(small, precision="single").swap(x, "amber")
    assert (fast - small.swap(x, "amber")).abs().max() < 1e-5


def test_half_precision_stays_near_the_plain_comb(comb: Comb) -> None:
    plain, fast = comb.swap(crops(), "amber"), FastComb(comb).swap(crops(), "amber")
    assert fast.dtype == torch.float32
    assert (fast - plain).square().mean().sqrt() < 0.03 * plain.std()


def test_company_in_a_batch_does_not_change_a_crop(comb: Comb) -> None:
    fast = FastComb(comb)
    together = fast.swap(crops(), "amber")
    assert torch.equal(fast.swap(crops()[1:2], "amber")[0], together[1])
    fast.batch = 4
    padded = fast.swap(crops(), "amber")
    assert torch.equal(fast.swap(crops()[1:], "amber"), padded[1:])


def test_layouts_of_the_input_do_not_matter(comb: Comb) -> None:
    fast = FastComb(comb)
    strided = crops().contiguous(memory_format=torch.channels_last)
    assert torch.equal(fast.swap(strided, "amber"), fast.swap(crops(), "amber"))


def test_the_plain_comb_is_left_as_it_was(comb: Comb) -> None:
    before = {name: tensor.clone() for name, tensor in comb.state_dict().items()}
    threads = torch.get_num_threads()
    FastComb(comb).swap(crops(), "amber")
    after = comb.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_only_combs_are_accelerated(comb: Comb) -> None:
    other = nn.Linear(2, 2)
    assert accelerated(other) is other
    assert isinstance(accelerated(comb), FastComb)


def test_half_type_is_a_type_the_device_has() -> None:
    assert half_type(torch.device("cuda")) is torch.float16
    assert half_type(torch.device("cpu")) in (torch.bfloat16, torch.float32)


class Cramped(FastComb):
    """Memory for batches of `room` crops."""

    room = 1

    def _swap_batch(self, x: Tensor, persona: str) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._swap_batch(x, persona)


def test_out_of_memory_goes_on_in_smaller_batches_and_says_so(comb: Comb) -> None:
    cramped = Cramped(comb)
    cramped.batch = 4
    with pytest.warns(LowMemoryWarning, match="batches of"):
        faces = cramped.swap(crops(), "amber")
    assert cramped.batch == 1
    assert torch.equal(faces, FastComb(comb).swap(crops(), "amber"))


def test_a_crop_that_never_fits_is_an_error_that_may_be_tried_again(comb: Comb) -> None:
    cramped = Cramped(comb)
    cramped.room = 0
    with pytest.raises(VfxSwapError, match="one crop of 64 pixels") as caught:
        cramped.swap(crops(), "amber")
    assert caught.value.exit_code == 1


def test_wrong_crops_and_unknown_personas_are_refused(comb: Comb) -> None:
    fast = FastComb(comb)
    with pytest.raises(ValueError, match="wanted"):
        fast.swap(crops()[..., :32], "amber")
    with pytest.raises(KeyError):
        fast.swap(crops(), "nobody")


@pytest.mark.gpu
def test_gpu_and_cpu_agree(comb: Comb) -> None:
    plain = comb.swap(crops(), "amber")
    on_gpu = FastComb(comb.cuda())
    faces = on_gpu.swap(crops().cuda(), "amber").cpu()
    comb.cpu()
    assert (faces - plain).square().mean().sqrt() < 0.02 * plain.std()
