import copy
import gc
import warnings
import weakref

import pytest
import torch
from torch import nn

import opdsl
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.module import lower
from tests.hand_built import Writer
from tests.operators import Bend, Dense, Drop, Join, Place, Wave, fourier, line, plane

AWKWARD = (
    *("forward", "apply", "train", "type", "double", "training", "_modules"),
    *("graph", "calls", "latest", "force_kernel"),
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def awkward():
    """A chain of layers whose names are those of attributes of a module, at two depths."""
    p = Writer(a=Space(domain=line(), channels=2))
    v = "a"
    for name in AWKWARD:
        v = p.node(name, Dense(out=2), v)
        v = p.node(f"below.{name}", Dense(out=2), v)
    return p.graph("Awkward", {"u": v})


def chain(*blocks, channels=2, domain=None):
    p = Writer(a=Space(domain=domain or line(), channels=channels))
    v = "a"
    for i, block in enumerate(blocks):
        v = p.node(f"n{i}", block, v)
    return p.graph("Chain", {"u": v})


def test_a_dense_layer_is_the_matrix_product_on_the_channel_axis():
    module = lower(chain(Dense(out=3)))
    x = torch.randn(4, 2, 11)
    w, b = (module.state_dict()[f"n0.{name}"] for name in ("weight", "bias"))
    expected = torch.einsum("oc,bcx->box", w, x) + b[:, None]
    torch.testing.assert_close(module(x), expected)


def test_keys_of_the_weights_are_path_and_parameter():
    keys = list(lower(fourier()).state_dict())
    assert "u.repeat.0.fourier_layer.k.weight" in keys
    assert keys[:2] == ["u.lift.weight", "u.lift.bias"]
    assert keys[-2:] == ["u.project.weight", "u.project.bias"]


def test_awkward_names_are_keys_like_any_other():
    keys = set(lower(awkward()).state_dict())
    paths = {*AWKWARD, *(f"below.{x}" for x in AWKWARD)}
    assert keys == {f"{path}.{name}" for path in paths for name in ("weight", "bias")}


def test_awkward_names_survive_every_motion_of_a_module():
    module, x = lower(awkward()), torch.randn(3, 2, 9)
    expected = module(x)
    other = lower(awkward())
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(x), expected)
    torch.testing.assert_close(copy.deepcopy(module)(x), expected)
    torch.testing.assert_close(module.double()(x.double()).float(), expected)
    assert module.eval().training is False
    assert all(not y.training for y in module.modules())
    assert module.to("cpu").float()(x).dtype == torch.float32
    assert len(list(module.parameters())) == 4 * len(AWKWARD)


def test_apply_still_visits_every_module():
    met = []
    lower(awkward()).apply(met.append)
    assert sum(isinstance(x, nn.Linear) for x in met) == 2 * len(AWKWARD)


def test_a_copy_has_weights_of_its_own():
    module = lower(fourier())
    other = copy.deepcopy(module)
    x = torch.randn(1, 1, 9, 9)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert other(x).abs().max() == 0
    assert module(x).abs().max() > 0


@pytest.mark.parametrize(
    "order", [("w", "w.linear", "w.linear.act"), ("w.linear.act", "w.linear", "w")]
)
def test_a_node_may_have_nodes_below_its_own_path(order):
    p = Writer(a=Space(domain=line(), channels=2))
    v = "a"
    for path in order:
        v = p.node(path, Dense(out=2), v)
    module = lower(p.graph("Nested", {"u": v}))
    assert set(module.state_dict()) == {f"{x}.{y}" for x in order for y in ("weight", "bias")}
    other = lower(module.graph)
    other.load_state_dict(module.state_dict())
    x = torch.randn(2, 2, 9)
    torch.testing.assert_close(other(x), module(x))


def test_a_node_that_no_output_needs_has_no_weights():
    p = Writer(a=Space(domain=line(), channels=2))
    v = p.node("used", Dense(out=2), "a")
    p.node("unused", Dense(out=2), "a")
    keys = lower(p.graph("Dead", {"u": v})).state_dict()
    assert set(keys) == {"used.weight", "used.bias"}


def test_several_outputs_are_a_dict_by_name():
    p = Writer(a=Space(domain=line(), channels=2))
    u, v = p.node("u", Dense(out=1), "a"), p.node("v", Dense(out=3), "a")
    found = lower(p.graph("Two", {"p": v, "q": u, "same": "a"}))(x := torch.randn(2, 2, 9))
    assert {name: y.shape[1] for name, y in found.items()} == {"p": 3, "q": 1, "same": 2}
    torch.testing.assert_close(found["same"], x)


def test_inputs_go_by_place_and_by_name():
    p = Writer(a=Space(domain=line(), channels=1), f=Space(domain=line(), channels=2))
    module = lower(p.graph("Joined", {"u": p.node("u", Join(), "f", "a")}))
    a, f = torch.randn(3, 1, 9), torch.randn(3, 2, 9)
    expected = torch.cat((f, a), 1)
    for found in (module(a, f), module(f=f, a=a), module(a, f=f)):
        torch.testing.assert_close(found, expected)


def test_coordinates_take_format_and_size_from_the_input_and_batch_by_broadcasting():
    d = plane()
    p = Writer(a=Space(domain=d, channels=1))
    module = lower(p.graph("Where", {"u": p.node("u", Join(), "a", p.node("c", Place(domain=d)))}))
    found = module(torch.zeros(3, 1, 10, 20, dtype=torch.float64))
    assert found.dtype == torch.float64
    expected = torch.arange(20, dtype=torch.float64) / 20
    torch.testing.assert_close(found[2, 2, 4], expected)


def test_an_output_that_depends_on_no_input_has_the_batch_of_the_call():
    d = line()
    p = Writer(a=Space(domain=d, channels=1))
    graph = p.graph("Where", {"u": p.node("l", Dense(out=4), p.node("c", Place(domain=d)))})
    found = lower(graph)(torch.zeros(5, 1, 9))
    assert found.shape == (5, 4, 9)
    torch.testing.assert_close(found[0], found[4])


def test_a_latent_domain_has_the_size_that_the_program_gives():
    latent = Domain(name="L", axes=(Axis(name="x", size=12), Axis(name="y", fixed=14)))
    graph = chain(Wave(modes=(2, 2), out=1, to=latent), domain=plane(), channels=1)
    graph = graph.model_copy(update={"domains": (*graph.domains, latent)})
    assert lower(graph)(torch.randn(1, 1, 9, 9)).shape == (1, 1, 12, 14)


def test_a_coarser_domain_is_counted_from_the_input():
    d = plane()
    graph = chain(Wave(modes=(2, 2), out=1, to=d.coarsened(2)), domain=d, channels=1)
    assert lower(graph)(torch.randn(1, 1, 21, 16)).shape == (1, 1, 10, 8)


def test_an_input_on_a_coarser_domain_tells_the_finer_one():
    d = line(9)
    p = Writer(a=Space(domain=d.coarsened(2), channels=1))
    module = lower(p.graph("Up", {"u": p.node("u", Wave(modes=(2,), out=1, to=d), "a")}))
    assert module(torch.randn(1, 1, 8)).shape == (1, 1, 16)


def test_the_same_weights_give_the_same_function_at_every_resolution():
    module = lower(fourier()).double()
    fine = torch.stack(torch.meshgrid(*[torch.arange(24.0) / 24] * 2, indexing="ij")).double()
    a = (2 * torch.pi * fine[0]).sin() * (2 * torch.pi * fine[1]).cos()
    # coordinates jump at the border of the period, so the layers are compared without them
    module = lower(chain(Wave(modes=(3, 3), out=2), Dense(out=1), domain=plane(), channels=1))
    module = module.double()
    high = module(a[None, None])
    low = module(a[None, None, ::2, ::2].contiguous())
    torch.testing.assert_close(high[..., ::2, ::2], low)


def test_every_kernel_computes_the_same():
    module = lower(fourier()).double()
    x = torch.randn(2, 1, 15, 12, dtype=torch.float64)
    found = []
    for kernel in ("fft", "dft"):
        module.force_kernel = kernel
        found.append(module(x))
    torch.testing.assert_close(*found)


def test_a_forced_kernel_is_the_one_that_runs(monkeypatch):
    from opdsl.nn.spectral import conv as numerics

    used = []
    for name, kernel in list(numerics.KERNELS.items()):
        monkeypatch.setitem(
            numerics.KERNELS, name, lambda *x, n=name, k=kernel: (used.append(n), k(*x))[1]
        )
    module = lower(fourier())
    for kernel in ("fft", "dft"):
        module.force_kernel = kernel
        module(torch.zeros(1, 1, 9, 9))
    assert used == ["fft", "fft", "dft", "dft"]


def test_a_plan_is_made_once_for_each_resolution(monkeypatch):
    from opdsl.lower import module as lowering

    asked = []
    original = lowering.plan_kernels
    monkeypatch.setattr(lowering, "plan_kernels", lambda *x: (asked.append(x[1]), original(*x))[1])
    module = lower(fourier())
    for n in (9, 12, 9, 12):
        module(torch.zeros(1, 1, n, n))
    assert [x["D"] for x in asked] == [(9, 9), (12, 12)]


def test_the_latest_plan_is_that_of_the_latest_call():
    module = lower(fourier())
    for n in (9, 12, 9):
        module(torch.zeros(1, 1, n, n))
        assert module.latest is not None
        assert module.latest.roots == {"D": (n, n)}


def test_few_resolutions_are_remembered():
    from opdsl.lower.module import CACHED_CALLS

    module = lower(chain(Dense(out=1)))
    for n in range(9, 9 + 3 * CACHED_CALLS):
        module(torch.zeros(1, 2, n))
    assert len(module.calls) == CACHED_CALLS


def test_a_model_moved_to_another_format_is_checked_anew():
    module = lower(chain(Dense(out=1)))
    module(torch.zeros(1, 2, 9))
    with pytest.raises(Exception, match="OP0905"):
        module.double()(torch.zeros(1, 2, 9))


def test_the_output_is_contiguous_channels_first():
    assert lower(fourier())(torch.zeros(2, 1, 9, 9)).is_contiguous()


def test_dropout_acts_while_training_only():
    module, x = lower(chain(Drop())), torch.ones(1, 2, 64)
    assert (module(x) == 0).any()
    torch.testing.assert_close(module.eval()(x), x)


def test_weights_may_be_given_from_outside():
    module, x = lower(fourier()), torch.randn(1, 1, 9, 9)
    zeros = {k: torch.zeros_like(w) for k, w in module.named_parameters()}
    assert torch.func.functional_call(module, zeros, (x,)).abs().max() == 0


def test_every_weight_gets_a_gradient():
    module = lower(fourier())
    module(torch.randn(2, 1, 9, 9)).square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in module.parameters())


class Watch(nn.Module):
    """Adds one, and counts how many of its results are alive when it is called."""

    def __init__(self, alive, most):
        super().__init__()
        self.alive, self.most = alive, most

    def forward(self, x):
        gc.collect()
        self.most.append(sum(y() is not None for y in self.alive))
        y = x + 1
        self.alive.append(weakref.ref(y))
        return y


def test_an_intermediate_is_freed_after_its_last_use(monkeypatch):
    alive, most = [], []
    monkeypatch.setattr(Bend, "lower", lambda *_: Watch(alive, most))
    module = lower(chain(*[Bend()] * 8))
    with torch.no_grad():
        module(torch.zeros(1, 2, 9))
    assert max(most) == 1


def test_nothing_is_kept_after_a_call(monkeypatch):
    alive = []
    monkeypatch.setattr(Bend, "lower", lambda *_: Watch(alive, []))
    module = lower(chain(*[Bend()] * 3))
    with torch.no_grad():
        module(torch.zeros(1, 2, 9))
    assert all(x() is None for x in alive)


def test_autocast_computes_in_bfloat16_and_stays_near():
    module, x = lower(fourier()), torch.randn(2, 1, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), module(x), rtol=0.05, atol=0.05)


def test_an_exported_model_runs_at_other_batches_and_resolutions():
    module = lower(fourier())
    auto = torch.export.Dim.AUTO
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        program = torch.export.export(
            module, (torch.randn(3, 1, 16, 12),), dynamic_shapes=(({0: auto, 2: auto, 3: auto},),)
        )
    x = torch.randn(5, 1, 20, 18)
    torch.testing.assert_close(program.module()(x), module(x))


def traced(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.zeros(2, 1, 16, 12),))
    # with the graphs inside of it: a section without autocast is one
    return program.graph_module.print_readable(print_output=False)


def test_a_traced_model_uses_the_kernels_of_the_latest_call():
    module = lower(fourier())
    assert "aten.fft_rfft" in traced(module)
    module.latest = module.plan({"D": (16, 12)})
    assert module.latest.kernel("u.repeat.0.fourier_layer.k") == "dft"
    assert "aten.fft_rfft" not in traced(module)


def test_a_compiled_model_is_one_graph():
    module, x = lower(fourier()), torch.randn(2, 1, 12, 12)
    expected = module(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch._dynamo.reset()
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected)


def test_limited_modes_pass_no_higher_frequency():
    module = opdsl.compile("""
edition 2026

model One {
  domain D = grid(x: 0..1, boundary = periodic, min = 17)
  input v : D -> R^1
  output w : D -> R^1

  w = spectral_conv(v, modes = 8, bias = false)
}
""")
    x = torch.arange(32) / 32
    wave = torch.sin(2 * torch.pi * 5 * x).reshape(1, 1, -1)
    assert module(wave).norm() > 0.1
    module.limit_modes(4)
    assert module(wave).norm() < 1e-5
    module.limit_modes(None)
    assert module(wave).norm() > 0.1


def test_coordinates_are_real_beside_a_complex_function():
    module = opdsl.compile("""
edition 2026

model Wave {
  domain D = grid(x: 0..1, boundary = periodic, min = 4)
  input v : D -> C^1
  output w : D -> C^2

  w = concat(v, complex(coords(D)))
}
""")
    v = torch.randn(2, 1, 8, dtype=torch.complex64)
    w = module(v)
    torch.testing.assert_close(w[:, :1], v)
    torch.testing.assert_close(w[0, 1], torch.arange(8) / 8 + 0j)
