"""A lowered module beyond ordinary calls: nothing in the batch, meta tensors, copies, gradients."""

import copy
import io
import pickle

import pytest
import torch

import opdsl
from opdsl import OpError, Packed
from opdsl.lower.plan.timings import Timings

GRID = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Grid {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^2
  output u : D -> R^1

  u = a |> Lift(out = 8) |> repeat 2 { FourierLayer(modes = 4) } |> Project(out = 1)
}
"""
SPHERE = """edition 2026

from std.pointwise import Lift, Project
from std.sphere import SFNOBlock

model Sphere {
  domain S = sphere(lat, lon, sampling = equiangular, min = (8, 16))
  input a : S -> R^2
  output u : S -> R^3

  u = concat(a, coords(S)) |> Lift(out = 4) |> SFNOBlock(lmax = 3) |> Project(out = 3)
}
"""
POINTS = """edition 2026

from std.pointwise import Lift, Project

model Points {
  domain P = points(2GEOMETRY)
  input a : P -> R^2
  output u : P -> R^1

  h = concat(a, coords(P)) |> Lift(out = 5) |> gno(to = P, radius = 0.6, kernel = [6])
  u = concat(h, a) |> Project(out = 1, hidden = 8)
}
"""
TWO = """edition 2026

model Two {
  domain D = grid(x: 0..1, boundary = periodic, min = 9)
  input a : D -> R^2
  output u : D -> R^1
  output c : D -> C^3

  u = a |> spectral_conv(out = 1, modes = 3)
  c = complex(linear(a, out = 3), linear(a, out = 3))
}
"""
CASES = {
    "grid": (GRID, {"a": (2, 2, 16, 12)}),
    "sphere": (SPHERE, {"a": (2, 2, 8, 16)}),
    "shared points": (POINTS.replace("GEOMETRY", ""), {"a": (2, 2, 20), "P": (20, 2)}),
    "own points": (
        POINTS.replace("GEOMETRY", ", geometry = per_sample"),
        {"a": (2, 2, 20), "P": (2, 20, 2)},
    ),
    "two outputs": (TWO, {"a": (2, 2, 12)}),
}


@pytest.fixture(params=CASES)
def case(request):
    text, shapes = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    given = {k: torch.rand(x, generator=generator) for k, x in shapes.items()}
    return opdsl.compile(text), given


def every(result):
    return result if isinstance(result, dict) else {"u": result}


def nothing_of(given):
    """The same call without samples."""
    shared = given.get("P") is not None and given["P"].ndim == 2
    return {k: x if k == "P" and shared else x[:0] for k, x in given.items()}


def test_an_empty_batch_has_empty_outputs(case):
    module, given = case
    whole, none = every(module(**given)), every(module(**nothing_of(given)))
    for name, x in none.items():
        assert x.shape == (0, *whole[name].shape[1:])
        assert x.dtype == whole[name].dtype
        assert x.requires_grad
    with torch.no_grad():
        assert not any(x.requires_grad for x in every(module(**nothing_of(given))).values())


def test_an_empty_batch_has_a_gradient(case):
    module, given = case
    sum(x.abs().sum() for x in every(module(**nothing_of(given))).values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in module.parameters())


def test_an_empty_batch_is_checked_as_any_other(case):
    module, given = case
    none = nothing_of(given)
    with pytest.raises(OpError, match="OP0902"):
        module(**none | {"a": none["a"][:, :1]})


def test_a_rollout_of_an_empty_batch_is_empty():
    module = opdsl.compile(
        GRID.replace("R^2", "R^1").replace("\n\n  u = a", "\n  feedback u -> a\n\n  u = a")
    )
    assert module.rollout(3, torch.zeros(0, 1, 16, 12)).shape == (0, 3, 1, 16, 12)


def test_the_meta_device_gives_shapes(case):
    module, given = case
    whole = every(module(**given))
    found = every(copy.deepcopy(module).to("meta")(**{k: x.to("meta") for k, x in given.items()}))
    for name, x in found.items():
        assert x.is_meta
        assert (x.shape, x.dtype) == (whole[name].shape, whole[name].dtype)


def test_packed_functions_on_the_meta_device_stay_packed():
    module = opdsl.compile(CASES["own points"][0]).to("meta")
    a = Packed(torch.empty(1, 2, 9, device="meta"), (4, 5))
    found = module(a, P=[torch.empty(n, 2, device="meta") for n in a.sizes])
    assert found.values.shape == (1, 1, 9)
    assert found.sizes == (4, 5)


def test_inputs_and_weights_are_on_one_device_also_if_it_is_meta(case):
    module, given = case
    with pytest.raises(OpError, match="OP0905"):
        module.to("meta")(**given)


WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),  # noqa: S301  our own
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_module_is_copied_after_its_first_call(case, way):
    module, given = case
    wanted = every(module(**given))
    copied = WAYS[way](module)
    assert copied.graph == module.graph
    assert all(torch.equal(x, wanted[k]) for k, x in every(copied(**given)).items())
    assert all(torch.equal(x, wanted[k]) for k, x in every(module(**given)).items())


def test_a_module_is_saved_by_torch_after_its_first_call(case):
    module, given = case
    wanted = every(module(**given))
    held = io.BytesIO()
    torch.save(module, held)
    again = torch.load(io.BytesIO(held.getvalue()), weights_only=False)
    assert all(torch.equal(x, wanted[k]) for k, x in every(again(**given)).items())
    with pytest.raises(pickle.UnpicklingError):  # the rule for files of strangers
        torch.load(io.BytesIO(held.getvalue()), weights_only=True)


def test_a_module_that_measures_its_kernels_can_be_copied(tmp_path):
    module = opdsl.compile(GRID)
    module.autotune(Timings(tmp_path))
    a = torch.rand(1, 2, 16, 12)
    wanted = module(a)
    for way in WAYS.values():
        assert torch.allclose(way(module)(a), wanted, rtol=1e-5)


def test_a_copy_shares_nothing_with_the_module(case):
    module, given = case
    wanted = every(module(**given))
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for p in copied.parameters():
            p.zero_()
    assert all(torch.equal(x, wanted[k]) for k, x in every(module(**given)).items())


@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_gradients_with_respect_to_inputs_are_those_in_double_precision(case, frozen):
    module, given = case
    exact = copy.deepcopy(module).double()
    module.requires_grad_(not frozen)
    found = gradients(module, given)
    wanted = gradients(exact, {k: x.double() for k, x in given.items()})
    for name, x in found.items():
        assert torch.allclose(x.double(), wanted[name], rtol=1e-3, atol=1e-5), name


def test_gradients_of_gradients_are_those_in_double_precision(case):
    module, given = case
    found = gradients(module, given, twice=True)
    exact = copy.deepcopy(module).double()
    wanted = gradients(exact, {k: x.double() for k, x in given.items()}, twice=True)
    for name, x in found.items():
        assert torch.allclose(x.double(), wanted[name], rtol=1e-3, atol=1e-4), name


def test_gradients_in_double_precision_are_differences(case):
    """The oracle of the tests above; points too may move."""
    module, given = case
    module.double()
    given = {k: x.double() for k, x in given.items()}
    found = gradients(module, given)
    generator = torch.Generator().manual_seed(1)
    for name, x in given.items():
        way = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        with torch.no_grad():
            ahead, behind = (value(module(**given | {name: x + h * way})) for h in (1e-6, -1e-6))
        assert float((found[name] * way).sum()) == pytest.approx(
            float(ahead - behind) / 2e-6, rel=1e-5
        )


def value(result):
    return sum(
        (y.real * torch.linspace(-1, 1, y.numel(), dtype=y.real.dtype).reshape(y.shape)).sum()
        + y.abs().square().sum()
        for y in every(result).values()
    )


def gradients(module, given, *, twice=False):
    given = {k: x.clone().requires_grad_() for k, x in given.items()}
    found = torch.autograd.grad(value(module(**given)), list(given.values()), create_graph=twice)
    if twice:
        squares = sum(x.square().sum() for x in found)
        found = torch.autograd.grad(squares, list(given.values()))
    return dict(zip(given, found, strict=True))
