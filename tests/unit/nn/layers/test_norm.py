"""Each normalisation against torch's layer of that name on the transposed tensor."""

import pytest
import torch
from torch import nn

from opdsl.nn import NORMS, Norm

GRIDS = {1: (9,), 2: (5, 6), 3: (3, 4, 5)}
BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def first(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`layer` of channels-first tensors on a channels-last one."""
    return layer(x.movedim(-1, 1)).movedim(1, -1)


def trained(ours: nn.Module, theirs: nn.Module) -> None:
    """The same weights, other than one and zero."""
    with torch.no_grad():
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.normal_()
            b.copy_(a)


def sample(dims: int, channels: int = 6) -> torch.Tensor:
    torch.manual_seed(dims)
    return 3 + 2 * torch.randn(2, *GRIDS[dims], channels, dtype=torch.float64)


@pytest.mark.parametrize("dims", GRIDS)
def test_instance_is_torchs(dims):
    x = sample(dims)
    torch.testing.assert_close(Norm("instance", 6)(x), first(INSTANCE[dims](6), x))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("dims", GRIDS)
def test_group_is_torchs(dims, groups):
    x = sample(dims)
    ours, theirs = Norm("group", 6, groups).double(), nn.GroupNorm(groups, 6).double()
    trained(ours, theirs)
    torch.testing.assert_close(ours(x), first(theirs, x))


@pytest.mark.parametrize("dims", GRIDS)
def test_layer_is_torchs(dims):
    x = sample(dims)
    ours, theirs = Norm("layer", 6).double(), nn.LayerNorm(6).double()
    trained(ours, theirs)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("dims", GRIDS)
def test_batch_is_torchs_in_training_and_in_evaluation(dims):
    x = sample(dims)
    ours, theirs = Norm("batch", 6).double(), BATCH[dims](6).double()
    trained(ours, theirs)
    torch.testing.assert_close(ours(x), first(theirs, x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), first(theirs.eval(), x))


@pytest.mark.parametrize("kind", NORMS)
def test_statistics_are_computed_in_float32_under_autocast(kind):
    """Mean 1000, spread 1: in bfloat16, whose step there is 8, nothing would be left."""
    norm = Norm(kind, 6)
    torch.manual_seed(0)
    x = 1000 + torch.randn(4, 8, 8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x)
    torch.testing.assert_close(y, norm(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", NORMS)
def test_a_narrow_input_is_rounded_once_at_the_end(kind):
    norm, x = Norm(kind, 6), sample(2).bfloat16()
    with torch.no_grad():
        for p in norm.parameters():
            p.normal_()
    assert torch.equal(norm(x), norm(x.float()).bfloat16())


@pytest.mark.parametrize("kind", NORMS)
def test_gradients_are_those_of_finite_differences(kind):
    norm = Norm(kind, 4, 2).double()
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,), fast_mode=True)


def test_channels_that_do_not_split_into_groups_are_refused():
    with pytest.raises(ValueError, match="6 channels do not split into 4 groups"):
        Norm("group", 6, 4)
