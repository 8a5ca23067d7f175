"""Whole models with compiled kernels and without them, in float32, against float64."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from opdsl.lower.fuse import fusions
from opdsl.lower.module import lower
from opdsl.nn.kernels import fourier_layer
from opdsl.nn.kernels.native.library import library
from opdsl.nn.spectral.half_waves.conv import BasisConv
from tests.programs import graph

pytestmark = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no C++ compiler here"
)

# relative, of float32 against float64, by the norm of all numbers together; the way back is as long
# again, and the gradient of the input is a sum of many terms that cancel
TOLERANCE = {"forward": 1e-6, "input": 2e-6, "weights": 2e-6}

TEXT = """edition 2026

from std.fourier import FNOBlock, FourierLayer
from std.pointwise import Lift, Project

model M {{
  domain D = grid({axes}, boundary = periodic, min = {least})
  input a : D -> R^1
  output u : D -> R^1

  {body}
}}
"""
FNO = """u = a |> Lift(out = {width}) |> repeat 4 as i {{
    FNOBlock(modes = {modes}, act = if i < 3 then gelu else identity{more})
  }} |> Project(out = 1)"""
UNO = """e0 = a |> Lift(out = 16)
  e1 = spectral_conv(e0, modes = 6, out = 32, to = D / 2) |> apply(gelu) |> FourierLayer(modes = 6)
  d0 = spectral_conv(e1, modes = 6, out = 16, to = D) |> apply(gelu)
  u = concat(d0, e0) |> FourierLayer(out = 16, modes = 6) |> Project(out = 1)"""
SFNO = """edition 2026

from std.pointwise import Lift, Project
from std.sphere import SFNOBlock

model M {{
  domain D = sphere(lat, lon, sampling = {sampling}, min = (32, 64))
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = 32) |> repeat 4 as i {{
    SFNOBlock(lmax = 15, {more}act = if i < 3 then gelu else identity)
  }} |> Project(out = 1)
}}
"""
HALF_WAVES = """edition 2026

from std.pointwise import Lift, Project
from std.spectral import SpectralBlock, SpectralLayer

model M {{
  domain D = grid({axes}, boundary = {boundary}, sampling = {sampling}, min = {least})
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = {width}) |> repeat 4 as i {{
    {block}(modes = {modes}, act = if i < 3 then gelu else identity{more})
  }} |> Project(out = 1)
}}
"""
AXES = "x: 0..1", "x: 0..1, y: 0..1", "x: 0..1, y: 0..1, z: 0..1"


def fno(dimensions: int, width: int, modes: int, more: str = "") -> str:
    body = FNO.format(width=width, modes=modes, more=more)
    return TEXT.format(axes=AXES[dimensions - 1], least=2 * modes + 1, body=body)


def half_waves(
    dimensions: int,
    modes: int,
    boundary: str = "dirichlet",
    sampling: str = "both",
    more: str = "",
    block: str = "SpectralBlock",
) -> str:
    return HALF_WAVES.format(
        axes=AXES[dimensions - 1],
        boundary=boundary,
        sampling=sampling,
        least=2 * modes + 1,
        width=32,
        modes=modes,
        more=more,
        block=block,
    )


# as large as the plan asks for, 2^17 numbers in a function, so that it decides by itself
MODELS = {  # program, batch, grid, subgraphs
    "FNO 1-D": (fno(1, 32, 16), 4, (1024,), 6),
    "FNO 2-D": (fno(2, 32, 8), 2, (64, 48), 6),
    "FNO 3-D": (fno(3, 32, 4), 1, (16, 18, 16), 6),
    "TFNO 2-D": (fno(2, 32, 8, ", factor = tucker, rank = 0.1"), 2, (64, 48), 6),
    "SFNO": (SFNO.format(sampling="equiangular", more="numbers = complex, "), 2, (32, 64), 6),
    "SFNO, real": (SFNO.format(sampling="gauss_legendre", more="orders = 9, "), 2, (33, 65), 6),
    "half-waves 1-D": (half_waves(1, 24), 4, (1025,), 6),
    "half-waves 2-D": (half_waves(2, 12), 2, (65, 48), 6),
    "half-waves 3-D": (half_waves(3, 5), 1, (16, 18, 17), 6),
    "cell centres": (half_waves(2, 11, sampling="centres"), 2, (63, 48), 6),
    "one term": (half_waves(2, 17, "neumann", "centres"), 2, (64, 49), 6),
    "quarter-waves": (half_waves(2, 9, "(dirichlet..neumann, none)"), 2, (64, 49), 6),
    "interior points": (half_waves(1, 20, sampling="interior"), 5, (1023,), 6),
    "sines": (half_waves(2, 16, more=", basis = sine"), 2, (64, 49), 6),
    "factorised": (half_waves(2, 12, more=", factor = tucker, rank = 0.1"), 2, (64, 49), 6),
    "layers alone": (half_waves(2, 12, block="SpectralLayer"), 2, (65, 48), 6),
    "UNO 2-D": (TEXT.format(axes=AXES[1], least=26, body=UNO), 4, (64, 64), 4),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    library.cache_clear()


def built(name: str):
    """The model with moderate weights, and an input."""
    text, batch, grid, _ = MODELS[name]
    torch.manual_seed(0)
    made = lower(graph(text))
    return made, torch.randn(batch, 1, *grid)


def without_kernels(monkeypatch) -> None:
    monkeypatch.setenv("OPDSL_NATIVE", "0")
    library.cache_clear()
    assert not fourier_layer.kernels_available()


def results(made, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The result, the gradient of the input, and that of the weights, in float64."""
    x = x.clone().requires_grad_()
    made.zero_grad()
    y = made(x)
    y.square().mean().backward()
    slopes = [p.grad.flatten() for p in made.parameters()]
    found = {"forward": y, "input": x.grad, "weights": torch.cat(slopes)}
    return {k: v.detach().double() for k, v in found.items()}


def off(found, exact) -> dict[str, float]:
    return {k: float((found[k] - v).norm() / v.norm()) for k, v in exact.items()}


@pytest.mark.parametrize("name", MODELS)
def test_the_plan_runs_these_models_as_fused(name):
    made, x = built(name)
    made(x)
    assert len(made.latest.fused) == MODELS[name][3]


# torch does the same for all half-waves, and for each number of axes
BY_TORCH = {"FNO 2-D", "SFNO", "half-waves 2-D", "UNO 2-D"}


def with_kernels_and_without():
    for name in MODELS:
        yield pytest.param(name, True, id=f"{name}-compiled")
        marks = [] if name in BY_TORCH else pytest.mark.slow
        yield pytest.param(name, False, id=f"{name}-OPDSL_NATIVE=0", marks=marks)


@pytest.mark.parametrize(("name", "kernels"), list(with_kernels_and_without()))
def test_models_are_right_to_rounding_with_kernels_and_without(name, kernels, monkeypatch):
    made, x = built(name)
    exact = results(deepcopy(made).double(), x.double())
    if not kernels:
        without_kernels(monkeypatch)
    errors = off(results(made, x), exact)
    assert all(errors[k] <= most for k, most in TOLERANCE.items()), errors


@pytest.mark.parametrize("name", ["half-waves 2-D", "one term", "factorised"])
def test_fewer_active_functions_are_right_too(name):
    made, x = built(name)
    for module in made.modules():
        if isinstance(module, BasisConv):
            module.limit((7, 4))
    exact = results(deepcopy(made).double(), x.double())
    errors = off(results(made, x), exact)
    assert len(made.latest.fused) == MODELS[name][3]
    assert all(errors[k] <= most for k, most in TOLERANCE.items()), errors


def test_exponentials_beside_half_waves_are_not_fused():
    model = graph(half_waves(2, 6, "(periodic, dirichlet)", "centres"))
    assert {x.kind for x in fusions(model)} == {"network"}
    made = lower(model)
    x = torch.randn(2, 1, 64, 49)
    exact = results(deepcopy(made).double(), x.double())
    errors = off(results(made, x), exact)
    assert all(errors[k] <= most for k, most in TOLERANCE.items()), errors


@pytest.mark.parametrize(
    "name", ["FNO 2-D", "TFNO 2-D", "SFNO", "SFNO, real", "half-waves 2-D", "factorised"]
)
def test_gradients_are_laid_out_as_their_weights(name):
    # processes that train together warn of others, and copy them
    made, x = built(name)
    made(x).sum().backward()
    for p in made.parameters():
        assert p.grad.stride() == p.stride()


def trained(made, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What four steps change: AdamW, gradients of two halves added up and clipped; in float64."""
    before = torch.nn.utils.parameters_to_vector(made.parameters()).detach().clone()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        for a, b in zip(x.chunk(2), y.chunk(2), strict=True):
            (functional.mse_loss(made(a), b) / 2).backward()
        norm = torch.nn.utils.clip_grad_norm_(made.parameters(), 5e-3)
        assert norm > 5e-3
        optimizer.step()
    return (torch.nn.utils.parameters_to_vector(made.parameters()).detach() - before).double()


SLOW = [pytest.param(x, marks=pytest.mark.slow) for x in ("TFNO 2-D", "UNO 2-D")]


@pytest.mark.parametrize("name", ["FNO 2-D", "SFNO", "half-waves 2-D", *SLOW])
def test_steps_of_adamw_with_clipped_and_added_gradients_are_those_of_float64(name):
    made, x = built(name)
    x, y = torch.cat((x, -x)), torch.randn(2 * len(x), 1, *x.shape[2:])
    plain, exact = deepcopy(made), deepcopy(made).double()
    plain.fuse = False
    there = trained(exact, x.double(), y.double())
    whole, pieces = trained(made, x, y), trained(plain, x, y)
    assert made.latest.fused
    # weights of float32 take a step of a hundredth of them to about 1e-5 of the step
    assert (whole - there).norm() <= 2e-5 * there.norm()
    assert (whole - pieces).norm() <= 5e-6 * there.norm()


# --- two processes -----------------------------------------------------------------------------


def half(rank: int, folder: str) -> None:
    """One of two processes: its half of the samples; writes the gradients that both agreed on."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/met", rank=rank, world_size=2
    )
    made, x = built("FNO 2-D")
    x, y = both_halves(x)
    whole = torch.nn.parallel.DistributedDataParallel(made)
    functional.mse_loss(whole(x.chunk(2)[rank]), y.chunk(2)[rank]).backward()
    assert made.latest.fused
    torch.save([p.grad for p in made.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def both_halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Twice as many samples, and what they should become."""
    random = torch.Generator().manual_seed(5)
    x = torch.cat((x, torch.randn(x.shape, generator=random)))
    return x, torch.randn(x.shape, generator=random)


@pytest.mark.slow  # two processes import torch
def test_two_processes_agree_on_the_gradients_of_one(tmp_path):
    torch.multiprocessing.spawn(half, (str(tmp_path),), nprocs=2)
    made, x = built("FNO 2-D")
    x, y = both_halves(x)
    functional.mse_loss(made(x), y).backward()
    a, b = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    norm = torch.cat([p.grad.flatten() for p in made.parameters()]).norm()
    worst = max(
        float((p - q.grad).norm() / norm) for p, q in zip(a, made.parameters(), strict=True)
    )
    assert worst <= 1e-6
