"""Tiles of a model: the same function to rounding, or a refusal that says which block it is."""

import itertools
import subprocess
import sys

import pytest
import torch

from opdsl.compiler import check
from opdsl.diagnostics import OpError
from opdsl.ir.receptive_field import one_grid, reach
from opdsl.lower.module import lower
from opdsl.lower.tiles.tiling import Tiled
from opdsl.lower.tiles.windows import cut_window, paste_window, windows

LOCAL = """
edition 2026

model Local {{
  domain D = grid({axes}, {boundary}min = 31)
  input a : D -> R^2
  input nu : R^1
  output u : D -> R^3

  h = concat(a, coords(D), static(D, fields = [height])) |> linear(out = 4) |> modulate(nu)
  k = gelu(conv(h, out = 5, kernel = 3)) |> norm(kind = layer)
  m = k + difference_conv(k, kernel = 5, width = 1/16) + skip(k, kind = soft)
  u = disco_conv(m, radius = {radius}, shape = (2, 1)) |> linear(out = 3)
}}
"""
AXES = ("x: 0..1", "y: -1..2", "z: 0..2")
SIZES = {1: (57,), 2: (41, 58), 3: (31, 33, 32)}
BATCH = {1: 2, 2: 2, 3: 1}


def made(tmp_path, text):
    (tmp_path / "m.op").write_text(text)
    torch.manual_seed(7)
    return lower(check(tmp_path / "m.op").sound()).double().eval()


def local(tmp_path, dims, boundary):
    said = "boundary = periodic, " if boundary == "periodic" else ""
    axes, radius = ", ".join(AXES[:dims]), {1: 0.05, 2: 0.11, 3: 0.11}[dims]
    module = made(tmp_path, LOCAL.format(axes=axes, boundary=said, radius=radius))
    size = SIZES[dims]
    given = {
        "a": torch.randn(BATCH[dims], 2, *size, dtype=torch.float64),
        "nu": torch.randn(BATCH[dims], 1, dtype=torch.float64),
        "height": torch.randn(*size, dtype=torch.float64),
    }
    return module, given


@pytest.mark.parametrize("boundary", ["periodic", "none"])
@pytest.mark.parametrize(
    ("dims", "tile"), [(1, 5), (1, 7), (1, 1), (2, 7), (2, 16), (2, {"y": 11}), (3, 16)]
)
def test_a_local_model_in_tiles_is_the_same_function(tmp_path, dims, tile, boundary):
    module, given = local(tmp_path, dims, boundary)
    tiled = Tiled(module, tile).eval()
    with torch.no_grad():
        torch.testing.assert_close(tiled(**given), module(**given), rtol=0, atol=1e-12)
    assert tiled.parts  # it has run on tiles


def test_the_reach_is_that_of_the_derivative(tmp_path):
    module, given = local(tmp_path, 1, "none")
    given["a"].requires_grad_()
    module(**given)[0, :, 28].sum().backward()
    seen = given["a"].grad[0].abs().sum(0).nonzero().flatten()
    domain = one_grid(module.graph)
    (points,) = reach(module.graph, domain, (57,)).points
    assert points == 1 + 2 + 2  # conv, difference_conv, disco_conv: floor(0.05 * 56)
    assert (int(seen.min()), int(seen.max())) == (28 - points, 28 + points)


def test_too_little_around_a_tile_is_another_function(tmp_path, monkeypatch):
    module, given = local(tmp_path, 1, "none")
    monkeypatch.setattr("opdsl.blocks.local.conv.Conv.receptive_field", lambda *_: (0,))
    with torch.no_grad():
        assert (Tiled(module, 7)(**given) - module(**given)).abs().max() > 1e-6


def test_tiles_share_the_weights_of_the_model(tmp_path):
    module, given = local(tmp_path, 1, "periodic")
    tiled = Tiled(module, 9)
    with torch.no_grad():
        before = tiled(**given)
        next(module.parameters()).mul_(2)
        torch.testing.assert_close(tiled(**given), module(**given), rtol=0, atol=1e-12)
        assert (tiled(**given) - before).abs().max() > 1e-6
    assert set(tiled.state_dict()) == {f"module.{k}" for k in module.state_dict()}


def test_several_outputs_and_one_without_a_grid(tmp_path):
    text = """
    edition 2026

    model Two {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 8)
      input a : D -> R^1
      input nu : R^2
      output u : D -> R^2
      output p : R^1
      output w : D -> R^1

      u = conv(a, out = 2)
      p = linear(nu, out = 1)
      w = broadcast(p, to = D) + conv(u, out = 1, kernel = 5)
    }
    """
    module = made(tmp_path, text)
    given = {
        "a": torch.randn(3, 1, 20, 13, dtype=torch.float64),
        "nu": torch.randn(3, 2, dtype=torch.float64),
    }
    with torch.no_grad():
        torch.testing.assert_close(Tiled(module, 6)(**given), module(**given), rtol=0, atol=1e-12)


def test_a_product_of_domains_is_cut_along_both(tmp_path):
    text = """
    edition 2026

    model Product {
      domain X = grid(x: 0..1, boundary = periodic, min = 8)
      domain T = interval(t: 0..3, min = 8)
      input a : X * T -> R^1
      output u : X * T -> R^1

      u = difference_conv(concat(a, coords(X * T)), out = 1, width = 1/8)
    }
    """
    module = made(tmp_path, text)
    a = torch.randn(1, 1, 33, 20, dtype=torch.float64)
    with torch.no_grad():
        whole = module(a)
        for tile in (6, {"t": 4}, {"x": 10}):
            torch.testing.assert_close(Tiled(module, tile)(a=a), whole, rtol=0, atol=1e-12)


PEAK = """
import resource, sys, torch
from pathlib import Path
from opdsl.compiler import check
from opdsl.lower.tiles import Tiled
from opdsl.lower.module import lower

module = lower(check(Path(sys.argv[1])).sound()).eval()
a = torch.zeros(1, 1, 1024, 1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    (Tiled(module, 128) if sys.argv[2] == "tiled" else module)(a=a)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_tiles_take_a_small_part_of_the_memory(tmp_path):
    rule = "conv(gelu(conv(gelu(linear(a, out = 32)), out = 32)), out = 1)"
    (tmp_path / "m.op").write_text(GLOBAL.format(rule=rule))

    def peak(how):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "m.op"), how]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own text
        return int(done.stdout)

    assert 4 * peak("tiled") < peak("whole")


# --------------------------------------------------------------------------------------- refusals

GLOBAL = """
edition 2026

model Global {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
  input a : D -> R^1
  output u : D -> R^1

  u = {rule}
}}
"""


@pytest.mark.parametrize(
    ("rule", "block"),
    [
        ("spectral_conv(a, modes = 4)", "spectral_conv"),
        ("conv(a, out = 1) |> norm()", "norm"),
        ("a |> linear(out = 4) |> attention(heads = 2) |> linear(out = 1)", "attention"),
        ("modulate(a, integrate(a))", "integrate"),
    ],
)
def test_a_block_that_looks_at_the_whole_grid_is_named(tmp_path, rule, block):
    module = made(tmp_path, GLOBAL.format(rule=rule))
    a = torch.randn(1, 1, 24, 24, dtype=torch.float64)
    with pytest.raises(OpError, match=rf"`{block}` \(`.*`\) may look at the whole grid") as caught:
        Tiled(module, 8)(a=a)
    assert caught.value.diagnostics[0].code == "OP0652"


def test_tiles_as_large_as_the_grid_are_the_model(tmp_path):
    module = made(tmp_path, GLOBAL.format(rule="spectral_conv(a, modes = 4)"))
    a = torch.randn(1, 1, 24, 24, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(Tiled(module, 24)(a=a), module(a), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("tile", "said"), [({"q": 8}, "not `q`"), (0, "1 point or more"), ({"x": -3}, "not -3")]
)
def test_a_tile_that_makes_no_sense_is_refused(tmp_path, tile, said):
    module = made(tmp_path, GLOBAL.format(rule="conv(a, out = 1)"))
    with pytest.raises(OpError, match=said):
        Tiled(module, tile)


def test_two_grids_have_no_tiles(tmp_path):
    module = made(tmp_path, GLOBAL.format(rule="resample(resample(a, to = D/2), to = D)"))
    said = "goes from `D` to `D/2`, and tiles are cut from one grid"
    with pytest.raises(OpError, match=said) as caught:
        Tiled(module, 8)
    assert "`D/2`" in caught.value.diagnostics[0].notes[0]


# ---------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [1, 9, 20])
@pytest.mark.parametrize("part", [1, 6, 30])
@pytest.mark.parametrize("reach", [0, 3])
def test_windows_keep_each_point_once_and_see_around_it(n, part, reach, periodic):
    found = windows(n, part, reach, periodic=periodic)
    assert [i for w in found for i in range(w.first, w.last)] == list(range(n))
    assert len({w.width for w in found}) == 1
    for w in found:
        if w.width < n:
            left, right = w.first - w.start, w.start + w.width - w.last
            assert left >= (reach if periodic else min(reach, w.first))
            assert right >= (reach if periodic else min(reach, n - w.last))


def test_windows_cut_and_pasted_are_the_whole():
    x = torch.arange(2.0 * 3 * 11 * 13).reshape(2, 3, 11, 13)
    rows, columns = windows(11, 4, 1, periodic=True), windows(13, 5, 2, periodic=False)
    found = torch.full_like(x, torch.nan)
    for some in itertools.product(rows, columns):
        paste_window(found, cut_window(x, some), some)
    torch.testing.assert_close(found, x, rtol=0, atol=0)
