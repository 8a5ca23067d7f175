"""The block `codomain_attention`: closed forms, symmetry and refinement."""

import math

import pytest
import torch

from opdsl.blocks.attention.codomain_attention import CodomainAttention as Attend
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space
from opdsl.nn.layers.codomain_attention import CodomainAttention

GRIDS = {1: (9,), 2: (5, 6), 3: (3, 4, 5), 4: (2, 3, 2, 3)}


def functions(dims: int, variables: int, channels: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(2, *GRIDS[dims], variables * channels, dtype=torch.float64)


def attend(variables: int, dims: int, heads: int = 1, temperature: float = 1.0):
    return CodomainAttention(variables, heads, temperature, (True,) * dims)


def by_loops(q, k, v, variables: int, heads: int, temperature: float) -> torch.Tensor:
    """The formula, one pair of variables at a time."""
    split = [x.reshape(*x.shape[:-1], variables, heads, -1) for x in (q, k, v)]
    w = torch.zeros_like(split[2])
    for h in range(heads):
        a, b, c = (x[..., h, :] for x in split)
        for i in range(variables):
            scores = [
                (a[..., i, :] * b[..., j, :]).sum(-1).flatten(1).mean(1) for j in range(variables)
            ]
            shares = torch.softmax(torch.stack(scores) / (math.sqrt(a.shape[-1]) * temperature), 0)
            for j in range(variables):
                share = shares[j].reshape(-1, *(1,) * (v.ndim - 1))
                w[..., i, h, :] += share * c[..., j, :]
    return w.reshape(v.shape)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("dims", GRIDS)
def test_it_is_the_formula(dims, heads):
    q, k, v = (functions(dims, 3, c, seed) for seed, c in enumerate((4, 4, 2)))
    w = attend(3, dims, heads, 0.3)(q, k, v)
    torch.testing.assert_close(w, by_loops(q, k, v, 3, heads, 0.3))


@pytest.mark.parametrize("dims", GRIDS)
def test_exchanged_variables_come_out_exchanged(dims):
    layer, order = attend(3, dims, 2), torch.tensor([2, 0, 1])
    channels = (4 * order[:, None] + torch.arange(4)).flatten()
    q, k, v = (functions(dims, 3, 4, seed) for seed in range(3))
    w = layer(q, k, v)
    torch.testing.assert_close(
        layer(q[..., channels], k[..., channels], v[..., channels]), w[..., channels]
    )


def test_a_variable_alone_keeps_its_values():
    q, k, v = (functions(2, 1, 4, seed) for seed in range(3))
    torch.testing.assert_close(attend(1, 2)(q, k, v), v)


def test_constant_functions_have_a_closed_form():
    """q_i = k_i = i: softmax over j of i j, whatever the grid."""
    numbers = torch.arange(3.0, dtype=torch.float64)
    q = numbers.expand(1, 4, 7, 3)
    v = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).expand(1, 8, 5, 3)
    w = attend(3, 2)(q, q, v)
    shares = torch.softmax(numbers[:, None] * numbers, -1)
    torch.testing.assert_close(w, (v @ shares.T))


def test_the_square_of_a_wave_has_the_mean_one_half():
    """q_1 = sin x, q_2 = 0: <q_1, q_1> = 1/2 on 0 .. 2 pi, on a ring and with both ends."""
    share = torch.softmax(torch.tensor([0.5, 0.0], dtype=torch.float64), 0)
    for n, closed in ((12, True), (13, False)):
        x = torch.arange(n, dtype=torch.float64) * (2 * math.pi / 12)
        q = torch.stack((x.sin(), 0 * x), -1)[None]
        v = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, n, 2)
        w = CodomainAttention(2, 1, 1.0, (closed,))(q, q, v)
        torch.testing.assert_close(w[0, 0], torch.stack((share[0], w.new_tensor(0.5))))


def test_the_mean_between_two_ends_converges_with_the_square_of_the_spacing():
    def shares(n: int) -> torch.Tensor:
        x = torch.linspace(0, 1, n, dtype=torch.float64)
        q = torch.stack((x, x.exp()), -1)[None]
        v = torch.eye(2, dtype=torch.float64)[0].expand(1, 1, 2)
        return CodomainAttention(2, 1, 0.1, (False,))(q, q, v)

    e = math.e
    gram = torch.tensor([[1 / 3, 1.0], [1.0, (e * e - 1) / 2]], dtype=torch.float64)
    exact = torch.softmax(gram / 0.1, -1)[:, 0]
    errors = [(shares(n)[0, 0] - exact).norm() for n in (17, 33)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_on_the_sphere_the_mean_is_over_its_area():
    """<z, z> = 1/3 for the height z of the points of the unit sphere."""
    from opdsl.nn.sphere.sampling import UnitVectors

    points = UnitVectors("gauss_legendre")(size=(8, 16), like=torch.empty(0, dtype=torch.float64))
    z = points[..., 2:]
    q = torch.cat((z, 0 * z), -1)
    v = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, 1, 2)
    w = CodomainAttention(2, 1, 1.0, (True, True), "gauss_legendre")(q, q, v)
    share = torch.softmax(torch.tensor([1 / 3, 0.0], dtype=torch.float64), 0)[0]
    assert w[0, 0, 0].item() == pytest.approx(share.item(), abs=1e-12)


def test_a_small_temperature_chooses_one():
    q, k, v = (functions(1, 3, 4, seed) for seed in range(3))
    w = attend(3, 1, temperature=1e-4)(q, k, v)
    a, b, c = (x.unflatten(-1, (3, 4)) for x in (q, k, v))
    best = torch.einsum("bxic,bxjc->bij", a, b).argmax(-1)
    chosen = torch.stack([c[i][:, best[i]] for i in range(2)])
    torch.testing.assert_close(w, chosen.flatten(-2))


D = Domain(name="D", axes=(Axis(name="x"),))


@pytest.mark.parametrize(
    ("spaces", "fields", "code"),
    [
        ((4, 6, 4), {"variables": 2}, "OP0303"),
        ((4, 4, 3), {"variables": 2}, "OP0303"),
        ((4, 4, 4), {"variables": 2, "heads": 3}, "OP0208"),
    ],
)
def test_what_does_not_fit_is_refused(spaces, fields, code):
    with pytest.raises(Refusal) as met:
        Attend(**fields).infer(*(Space(domain=D, channels=c) for c in spaces))
    assert met.value.code == code


def test_q_and_k_on_two_grids_are_refused():
    q, k = Space(domain=D, channels=4), Space(domain=D.coarsened(2), channels=4)
    with pytest.raises(Refusal) as met:
        Attend(variables=2).infer(q, k, q)
    assert met.value.code == "OP0304"


def test_the_fault_of_neuraloperator_is_a_temperature_that_falls_with_the_grid():
    q, k, v = (functions(2, 3, 4, seed) for seed in range(3))
    points = math.prod(GRIDS[2])
    theirs = CodomainAttention(3, 2, 5.0, (True, True), adds=True)(q, k, v)
    torch.testing.assert_close(theirs, attend(3, 2, 2, 5.0 / math.sqrt(points))(q, k, v))
