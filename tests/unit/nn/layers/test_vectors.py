"""Vectors, integrals and attention against closed forms and plain numpy."""

import math

import numpy as np
import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.nn.layers.attention import Attention
from opdsl.nn.layers.integral import GridIntegral, SphereIntegral
from opdsl.nn.layers.modulate import Contract, FourierFeatures, Modulate
from opdsl.nn.sphere.sampling import latitudes
from tests.programs import model

ROOT = "tests/data/language"


def line(n: int, *, periodic: bool = False):
    return torch.arange(n, dtype=torch.float64) / (n if periodic else n - 1)


def test_the_integral_of_a_plane_is_exact():
    x, y = torch.meshgrid(2 * line(5), 3 * line(4), indexing="ij")
    found = GridIntegral((2.0, 3.0), (False, False))((1 + x + 2 * y)[None, ..., None])
    assert found.item() == pytest.approx(6 + 6 + 18)


def test_the_integral_over_a_period_is_exact_for_waves():
    x = line(9, periodic=True)
    wave = 2 + torch.cos(2 * torch.pi * 3 * x)
    assert GridIntegral((0.5,), (True,))(wave[None, :, None]).item() == pytest.approx(1.0)


@pytest.mark.parametrize("sampling", ["gauss_legendre", "lobatto", "equiangular", "centres"])
@pytest.mark.parametrize("n", [7, 8])
def test_the_integral_over_a_sphere_is_exact_for_low_powers(sampling, n):
    z, _ = latitudes(n, sampling)
    values = (z**4)[None, :, None, None].expand(1, n, 5, 1)
    assert SphereIntegral(sampling)(values).item() == pytest.approx(4 * math.pi / 5)


def test_latitudes_go_from_north_to_south():
    for sampling in ("gauss_legendre", "lobatto", "equiangular", "centres"):
        z, weights = latitudes(6, sampling)
        assert (z.diff() < 0).all()
        assert weights.sum().item() == pytest.approx(2.0)


def test_a_contraction_is_a_sum_of_products():
    b, t = torch.randn(2, 6), torch.randn(2, 5, 3)
    found = Contract(2)(b, t)
    np.testing.assert_allclose(
        found.numpy(), np.einsum("bji,bxi->bxj", b.reshape(2, 2, 3), t), rtol=1e-5, atol=1e-6
    )


def test_modulation_begins_as_the_identity_and_then_scales_and_shifts():
    m, v, c = Modulate(3, 2), torch.randn(2, 4, 3), torch.randn(2, 2)
    assert torch.equal(m(v, c), v)
    torch.nn.init.normal_(m.scale.weight)
    torch.nn.init.normal_(m.shift.weight)
    g, b = c @ m.scale.weight.T, c @ m.shift.weight.T
    torch.testing.assert_close(m(v, c), v * (1 + g[:, None]) + b[:, None])


def test_fourier_features_are_sines_and_cosines_of_fixed_waves():
    f, v = FourierFeatures(2, 3, 0.5), torch.randn(1, 4, 2)
    phase = v @ f.waves
    torch.testing.assert_close(f(v), torch.cat((phase.sin(), phase.cos()), -1))
    assert not list(f.parameters())
    assert "waves" in f.state_dict()


def by_hand(module: Attention, x: np.ndarray, kind: str) -> np.ndarray:
    """Attention of one sample, head by head, point by point."""
    named = {k: v.detach().numpy() for k, v in module.named_parameters()}
    q, k, v = (x @ named[f"{n}.weight"].T + named[f"{n}.bias"] for n in ("query", "key", "value"))
    n, c = x.shape
    d = c // module.heads
    out = np.zeros((n, c))
    for h in range(module.heads):
        s = slice(h * d, (h + 1) * d)
        if kind == "softmax":
            a = np.exp(q[:, s] @ k[:, s].T / math.sqrt(d))
            out[:, s] = a / a.sum(1, keepdims=True) @ v[:, s]
        elif kind == "linear":
            f, g = (np.where(z > 0, z + 1, np.exp(z)) for z in (q[:, s], k[:, s]))
            a = f @ g.T
            out[:, s] = a / a.sum(1, keepdims=True) @ v[:, s]
        else:
            normed = [
                (z[:, s] - z[:, s].mean(1, keepdims=True))
                / np.sqrt(z[:, s].var(1, keepdims=True) + 1e-5)
                for z in (k, v)
            ]
            out[:, s] = q[:, s] @ normed[0].T @ normed[1] / n
    return out @ named["out.weight"].T + named["out.bias"]


@pytest.mark.parametrize("kind", ["softmax", "galerkin", "linear"])
def test_attention_is_what_the_formula_says(kind):
    torch.manual_seed(0)
    module = Attention(6, 6, 2, kind).double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    np.testing.assert_allclose(
        module(x)[0].detach().numpy(), by_hand(module, x[0].numpy(), kind), rtol=1e-10
    )


@pytest.mark.parametrize("kind", ["softmax", "galerkin", "linear"])
def test_the_order_of_the_points_does_not_matter(kind):
    module, x = Attention(4, 4, 1, kind).double(), torch.randn(2, 7, 4, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


# --- whole programs


def test_a_deeponet_answers_at_any_number_of_queries():
    net = opdsl.compile(f"{ROOT}/deeponet.op", p=8)
    for n in (3, 17):
        y = net(torch.randn(4, 1, 100), Q=torch.rand(4, n, 2))
        assert y.shape == (4, 1, n)
    y.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    shared = torch.rand(5, 2)
    a = torch.randn(2, 1, 100)
    torch.testing.assert_close(net(a, Q=shared), net(a, Q=shared.expand(2, 5, 2)))


def test_a_transformer_goes_from_any_points_to_any_points():
    net = opdsl.compile(f"{ROOT}/transformer.op", width=16, depth=2)
    for n, m in ((9, 4), (20, 31)):
        y = net(torch.randn(2, 3, n), P=torch.rand(2, n, 2), Q=torch.rand(m, 2))
        assert y.shape == (2, 3, m)
    y.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Q": torch.rand(5, 3)}, "OP0907"),
        ({"Q": torch.rand(5, 2).long()}, "OP0905"),
        ({}, "OP0904"),
        ({"Q": torch.rand(5, 2), "X": torch.rand(100, 1)}, "OP0904"),
    ],
)
def test_wrong_coordinates_are_refused(given, code):
    with pytest.raises(OpError) as caught:
        opdsl.compile(f"{ROOT}/deeponet.op", p=8)(torch.randn(4, 1, 100), **given)
    assert caught.value.diagnostics[0].code == code


def test_static_fields_are_given_by_name_at_any_resolution():
    text = model("output u : D -> R^4\nu = concat(a, static(D, fields = [mask, height]))")
    net = opdsl.compile(text)
    a, mask, height = torch.randn(3, 2, 65, 70), torch.rand(65, 70), torch.rand(1, 1, 65, 70)
    u = net(a, mask=mask, height=height)
    torch.testing.assert_close(u[:, 2], mask.expand(3, 65, 70))
    torch.testing.assert_close(u[:, 3], height[0].expand(3, 65, 70))


# --- time


def test_a_rollout_is_a_window_that_moves():
    net = opdsl.compile(f"{ROOT}/ns_autoregressive.op").eval()
    for n in (33, 40):
        w, nu = torch.randn(2, 10, n, n), torch.rand(2, 1)
        with torch.no_grad():
            found = net.rollout(3, w, nu=nu)
            window, by_hand_ = w, []
            for _ in range(3):
                new = net(window, nu)
                by_hand_.append(new)
                window = torch.cat((window[:, 1:], new), 1)
        assert found.shape == (2, 3, 1, n, n)
        torch.testing.assert_close(found, torch.stack(by_hand_, 1))


@pytest.mark.parametrize("steps", [0, 2])
def test_what_cannot_be_rolled_out_says_so(steps):
    loop = "\nfeedback u -> a" if steps == 0 else ""
    net = opdsl.compile(model(f"output u : D -> R^2\nu = gelu(a){loop}"))
    with pytest.raises(OpError) as caught:
        net.rollout(steps, torch.zeros(1, 2, 65, 65))
    assert caught.value.diagnostics[0].code == "OP0904"


def test_shared_iterations_use_one_set_of_weights():
    body = "repeat 3 {} {{ linear(out = 2) |> tanh() }}"
    tied = opdsl.compile(model(f"output u : D -> R^2\nu = a |> {body.format('shared')}"))
    free = opdsl.compile(model(f"output u : D -> R^2\nu = a |> {body.format('')}"))
    assert sum(p.numel() for p in tied.parameters()) == 6
    own = dict(tied.named_parameters())
    with torch.no_grad():
        for name, p in free.named_parameters():
            p.copy_(own[name.replace("repeat.1", "repeat.0").replace("repeat.2", "repeat.0")])
    x = torch.randn(2, 2, 65, 66)
    torch.testing.assert_close(tied(x), free(x))
