"""The example programs on points, run as a user runs them."""

from pathlib import Path

import pytest
import torch

import opdsl
from opdsl import OpError

GINO = Path(__file__).parents[1] / "data" / "language" / "gino.op"
LATENT = 33


def small_gino():
    """The program as it stands, narrow and with a radius that 8^3 points on a lattice fill."""
    torch.manual_seed(0)
    return opdsl.compile(GINO, latent=LATENT, width=4, radius=0.3)


def lattice(n: int) -> torch.Tensor:
    line = torch.linspace(-1, 1, n)
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)


def inputs(points: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    sdf = torch.randn(batch, 1, LATENT, LATENT, LATENT, generator=g)
    return sdf, torch.randn(batch, 3, points, generator=g)


def test_gino_takes_any_number_of_points():
    model = small_gino()
    for n, queries in ((8, 20), (9, 31)):
        p = lattice(n)
        sdf, f = inputs(len(p))
        found = model(sdf, f, P=p, Q=p[:queries] * 0.9)
        assert found.shape == (1, 1, queries)
    found.square().sum().backward()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


def test_gino_takes_points_of_each_sample():
    model, p = small_gino(), lattice(8)
    sdf, f = inputs(len(p), batch=2)
    points, queries = torch.stack((p, p.flip(0))), torch.stack((p[:10] * 0.9, p[-10:] * 0.8))
    with torch.no_grad():
        whole = model(sdf, f, P=points, Q=queries)
        for b in range(2):
            one = model(sdf[b : b + 1], f[b : b + 1], P=points[b], Q=queries[b])
            torch.testing.assert_close(whole[b : b + 1], one, rtol=1e-4, atol=1e-6)


def test_gino_on_a_surface_far_from_its_latent_grid_is_an_error_that_says_what_helps():
    turn = torch.linspace(0, 6, 200)
    p = torch.stack((turn / 6, turn.sin(), turn.cos()), 1) * 0.9
    with pytest.raises(OpError) as caught:
        small_gino()(*inputs(200), P=p, Q=p[:50])
    found = caught.value.diagnostics[0]
    assert found.code == "OP0908"
    assert any("empty = nearest" in x.text for x in found.helps)
    text = GINO.read_text("utf-8").replace("to = L,", "to = L, empty = nearest,")
    near = opdsl.compile(text, latent=LATENT, width=4, radius=0.3)
    with torch.no_grad():
        assert near(*inputs(200), P=p, Q=p[:50]).shape == (1, 1, 50)
