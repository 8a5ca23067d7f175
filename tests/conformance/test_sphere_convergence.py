"""An SFNO with random weights at 64 latitudes is its own limit to 1e-4, for a spectrum l^-2.

E = ||G(a) - G_64(a)|| / ||G(a)|| at the points of 64 latitudes, where the input has degrees that
these cannot hold, as in `tests/convergence.py`, which measures at 65 and with a narrower model.
"""

import pytest
import torch

from opdsl import resources
from opdsl.compiler import load
from opdsl.lower.module import lower
from opdsl.nn.sphere.harmonics import inverse_sht

SPEC = resources.root("specs") / "sfno_swe.op"
LATITUDES = 64  # 63 gaps between the poles
FINER = 4  # times as many gaps, in which those are nested
DEGREES = 127  # of the input; 64 equiangular latitudes hold 31
SEEDS = 3
GATE = 1e-4


def field(decay: float, latitudes: int, longitudes: int) -> torch.Tensor:
    """Three functions with random coefficients l^-decay, (1, 3, latitudes, longitudes)."""
    noise = torch.randn(1, DEGREES + 1, DEGREES + 1, 3, 2, dtype=torch.float64)
    l = torch.arange(DEGREES + 1, dtype=torch.float64)  # noqa: E741  the degree
    size = l.clamp(min=1)[:, None].pow(-decay) * torch.ones(DEGREES + 1, DEGREES + 1).tril()
    z = torch.view_as_complex(noise) * size[..., None]
    x = inverse_sht(z, (latitudes, longitudes), "equiangular").movedim(-1, 1)
    return x / x.square().mean(dim=(2, 3), keepdim=True).sqrt()


def thin(x: torch.Tensor) -> torch.Tensor:
    """At every point of the coarse grid, both poles among them."""
    return x[..., ::FINER, ::FINER]


def error(decay: float, seeds: int = SEEDS) -> float:
    """E over several sets of weights."""
    gaps = norms = 0.0
    for seed in range(seeds):
        torch.manual_seed(seed)
        net = lower(load(SPEC)).double().eval()
        a = field(decay, FINER * (LATITUDES - 1) + 1, FINER * 2 * LATITUDES)
        with torch.no_grad():
            whole, here = thin(net(a)), net(thin(a))
        assert here.shape[-2:] == (LATITUDES, 2 * LATITUDES)
        gaps += float((here - whole).square().sum())
        norms += float(whole.square().sum())
    return (gaps / norms) ** 0.5


@pytest.mark.slow  # `test_convergence` has a narrower one
def test_an_sfno_at_64_latitudes_is_its_limit_to_one_in_ten_thousand():
    assert error(decay=2.0) <= GATE


@pytest.mark.slow
def test_a_rough_input_does_not_pass():
    """Most of the energy of white noise is where 64 latitudes see something else."""
    assert error(decay=0.0, seeds=1) > GATE
