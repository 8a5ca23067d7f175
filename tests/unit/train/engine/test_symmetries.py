"""Symmetries of batches: exact maps of sampled functions, drawn alike in every sitting of a run."""

from collections import Counter

import pytest
import torch
from torch import nn

from opdsl.compiler import check
from opdsl.diagnostics import Source
from opdsl.sampling import positions
from opdsl.train.config.schema import Normalise, Optimizer
from opdsl.train.config.symmetries import ChannelSource, GridMap, Symmetry
from opdsl.train.engine.fit import fit
from opdsl.train.engine.forward.symmetries import (
    RandomSymmetries,
    choices,
    random_words,
    transformed,
)
from opdsl.train.engine.loader import DeviceLoader, FieldUnits
from opdsl.train.engine.order import permutation
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.rollout import Rollout
from opdsl.train.run.listener import SilentListener
from opdsl.workflow.programs.symmetries import compiled_symmetries
from tests.unit.train.toy_problem import Cloud, quick

WORDS = ["reflect(x)", "reflect(y)", "swap(x, y)", "rotate(x, y)", "shift(x)"]
VECTOR_WORDS = [
    "reflect(x, odd = [vx])",
    "reflect(y, odd = [vy])",
    "swap(x, y, pairs = [(vx, vy)])",
    "rotate(x, y, vectors = [(vx, vy)])",
    "shift(y)",
]


def symmetries(texts, options="boundary = periodic", outputs="R^1"):
    text = f"""edition 2026
model M {{
  domain D = grid(x: 0..1, y: 0..1, {options})
  input a : D -> R^1
  output u : D -> {outputs}
  u = a |> linear(out = {2 if "," in outputs else 1})
}}"""
    return compiled_symmetries(check(Source("m.op", text)).sound(), texts)


def functions(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------ against mathematics


def frequencies(n):
    k = torch.fft.fftfreq(n, dtype=torch.float64) * n
    k[n // 2] = 0 if n % 2 == 0 else k[n // 2]  # the Nyquist mode has no derivative
    return k


def inverse_laplacian(f):
    kx, ky = (torch.fft.fftfreq(n, dtype=torch.float64) * n for n in f.shape[-2:])
    symbol = (kx[:, None] ** 2 + ky[None] ** 2).clamp_min(1)
    return torch.fft.ifft2(torch.fft.fft2(f) / symbol).real


def gradient(f):
    kx, ky = (frequencies(n) for n in f.shape[-2:])
    spectrum = torch.fft.fft2(f)
    parts = [torch.fft.ifft2(1j * k * spectrum).real for k in (kx[:, None], ky[None])]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("index", range(len(WORDS)))
def test_solving_a_periodic_poisson_equation_is_equivariant(index, n):
    (symmetry,) = symmetries([WORDS[index]])
    f = functions(3, 1, n, n)
    for power in range(choices(symmetry, {"a": f, "u": f})):
        moved = transformed(symmetry, {"a": f, "u": inverse_laplacian(f)}, power)
        torch.testing.assert_close(moved["u"], inverse_laplacian(moved["a"]), rtol=0, atol=1e-14)
    assert not torch.equal(transformed(symmetry, {"a": f, "u": f})["a"], f)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("text", VECTOR_WORDS)
def test_the_gradient_is_transformed_as_a_vector(text, n):
    (symmetry,) = symmetries([text], outputs="R^{vx, vy}")
    f = functions(3, 1, n, n)
    for power in range(choices(symmetry, {"a": f, "u": f})):
        moved = transformed(symmetry, {"a": f, "u": gradient(f)}, power)
        torch.testing.assert_close(moved["u"], gradient(moved["a"]), rtol=0, atol=1e-13)


def test_the_gradient_is_no_pair_of_scalars():
    f = functions(1, 1, 8, 8)
    for text in WORDS[:4]:
        (symmetry,) = symmetries([text], outputs="R^{vx, vy}")
        moved = transformed(symmetry, {"a": f, "u": gradient(f)})
        assert (moved["u"] - gradient(moved["a"])).abs().max() > 0.1


def sampled(function, sampling, n):
    x = torch.tensor(positions(sampling, n), dtype=torch.float64)
    return function(x[:, None], x[None])[None, None]


def skew(x, y):
    """A function of period 1 without any symmetry."""
    return (2 * torch.pi * (x + 0.1)).sin() + (2 * torch.pi * (x - 2 * y + 0.05)).cos() * 0.7


@pytest.mark.parametrize(
    "options",
    [
        "boundary = periodic",
        "boundary = periodic, sampling = upper",
        "boundary = periodic, sampling = centres",
        "boundary = none",
        "boundary = none, sampling = interior",
        "boundary = none, sampling = centres",
    ],
)
@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("reflect(x)", lambda x, y: skew(1 - x, y)),
        ("reflect(y)", lambda x, y: skew(x, 1 - y)),
        ("swap(x, y)", lambda x, y: skew(y, x)),
        ("rotate(x, y)", lambda x, y: skew(y, 1 - x)),
    ],
)
def test_samples_are_those_of_the_transformed_function(options, n, text, image):
    words = options.split("sampling = ")
    default = "lower" if "periodic" in options else "both"
    sampling = words[1] if len(words) > 1 else default
    (symmetry,) = symmetries([text], options)
    moved = transformed(symmetry, {"u": sampled(skew, sampling, n)})["u"]
    torch.testing.assert_close(moved, sampled(image, sampling, n), rtol=0, atol=1e-13)


def test_a_quarter_turn_rotates_the_vectors_of_a_vortex_and_of_a_source():
    """Both fields are equal to their own images under a turn about the centre."""
    (symmetry,) = symmetries(
        ["rotate(x, y, vectors = [(vx, vy)])"], "boundary = none", outputs="R^{vx, vy}"
    )
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    x, y = x[:, None].expand(5, 5), x[None].expand(5, 5)
    for v in (torch.stack([-y, x])[None], torch.stack([x, y])[None]):
        assert torch.equal(transformed(symmetry, {"u": v})["u"], v)
    uniform = torch.stack([torch.ones(5, 5), torch.zeros(5, 5)])[None]
    turned = transformed(symmetry, {"u": uniform})["u"]
    assert torch.equal(turned, torch.stack([torch.zeros(5, 5), torch.ones(5, 5)])[None])


# ------------------------------------------------------------------------------ group properties


@pytest.mark.parametrize("text", VECTOR_WORDS)
def test_the_order_is_the_least_power_that_changes_nothing(text):
    (symmetry,) = symmetries([text], outputs="R^{vx, vy}")
    fields = {"a": functions(2, 1, 6, 6), "u": functions(2, 2, 6, 6, seed=1)}
    order = choices(symmetry, fields)
    for power in range(1, order):
        assert not torch.equal(transformed(symmetry, fields, power)["u"], fields["u"])
    for name, x in transformed(symmetry, fields, order).items():
        assert torch.equal(x, fields[name])


def test_two_quarter_turns_are_two_reflections_and_one_is_a_swap_behind_a_reflection():
    texts = ["reflect(x, odd = [vx])", "reflect(y, odd = [vy])", *VECTOR_WORDS[2:4]]
    x, y, swap, turn = symmetries(texts, outputs="R^{vx, vy}")
    fields = {"a": functions(2, 1, 6, 6), "u": functions(2, 2, 6, 6, seed=1)}
    half, both = transformed(turn, fields, 2), transformed(x, transformed(y, fields))
    quarter, composed = transformed(turn, fields), transformed(swap, transformed(y, fields))
    for name in fields:
        assert torch.equal(half[name], both[name])
        assert torch.equal(quarter[name], composed[name])


@pytest.mark.parametrize("text", WORDS)
def test_values_are_moved_and_never_rounded(text):
    (symmetry,) = symmetries([text])
    x = functions(2, 1, 6, 6).float()
    moved = transformed(symmetry, {"u": x})["u"]
    assert moved.is_contiguous()
    assert torch.equal(moved.flatten(1).sort().values, x.flatten(1).sort().values)


def test_steps_in_time_are_transformed_alike():
    (symmetry,) = symmetries(["rotate(x, y, vectors = [(vx, vy)])"], outputs="R^{vx, vy}")
    v = functions(3, 4, 2, 6, 6)
    moved = transformed(symmetry, {"u": v})["u"]
    for i in range(4):
        assert torch.equal(moved[:, i], transformed(symmetry, {"u": v[:, i]})["u"])


def test_functions_of_different_resolution_are_shifted_by_one_length():
    symmetry = Symmetry("shift(x)", None, {"a": GridMap(1, shifted=0), "u": GridMap(1, shifted=0)})
    fields = {"a": torch.arange(12.0).reshape(1, 1, 12), "u": torch.arange(8.0).reshape(1, 1, 8)}
    assert choices(symmetry, fields) == 4
    moved = transformed(symmetry, fields, 1)
    assert moved["a"][0, 0, 3] == 0
    assert moved["u"][0, 0, 2] == 0


# ------------------------------------------------------------------------------ random elements


def test_every_element_of_the_group_is_drawn_equally_often():
    random = RandomSymmetries(symmetries(WORDS[:3]), seed=4)
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    counts = Counter(
        tuple(random.transform({"u": x}, step)["u"].flatten().tolist()) for step in range(1600)
    )
    assert len(counts) == 8
    assert all(abs(n - 200) < 5 * 200**0.5 for n in counts.values())


def test_all_shifts_and_turns_are_drawn():
    random = RandomSymmetries(symmetries(["shift(x)", "rotate(x, y)"]), seed=0)
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    images = {
        tuple(random.transform({"u": x}, step)["u"].flatten().tolist()) for step in range(400)
    }
    assert len(images) == 20


def test_draws_depend_on_seed_and_step_alone():
    assert random_words(3, 5, 2) == random_words(3, 5, 2)
    assert len({tuple(random_words(s, k, 2)) for s in range(4) for k in range(4)}) == 16
    state = torch.get_rng_state()
    random_words(0, 0, 3)
    assert torch.equal(state, torch.get_rng_state())


def test_draws_are_independent_of_the_order_of_samples():
    import numpy as np

    words = random_words(3, 5, 8)
    order = np.random.Philox(key=np.array([3, 5], dtype=np.uint64)).random_raw(4096)
    assert not set(words) & {int(x) for x in order}
    assert permutation(3, 5, 4).tolist() == np.argsort(order[:4], kind="stable").tolist()


# ------------------------------------------------------------------------------------- training


class Spy(nn.Module):
    """A linear model with dropout that keeps the inputs it is called with in training."""

    def __init__(self):
        super().__init__()
        self.layer, self.dropout, self.seen = nn.Linear(1, 1), nn.Dropout(0.1), []

    def forward(self, a):
        if self.training:
            self.seen.append(a.detach().clone())
        return self.dropout(self.layer(a[..., None])[..., 0])


SQUARE = symmetries(WORDS[:3])
PERIODIC = {"u": (True, True)}


def square(size=12, seed=1):
    a = functions(size, 1, 4, 4, seed=seed).float()
    return Cloud({"a": a}, {"u": 2 * a + 1}, resolution=(4, 4))


def learn(run, settings=None, symmetries=SQUARE, **more):
    torch.manual_seed(7)
    module, settings = Spy(), settings or quick(normalise=Normalise(inputs="none", outputs="none"))
    data, valid = square(), square(seed=2)
    out = fit(
        module,
        data,
        valid,
        settings,
        run,
        periodic=PERIODIC,
        meta={"arch": "spy"},
        symmetries=symmetries,
        **more,
    )
    return module, out


class Stop(SilentListener):
    def step(self, epoch, step, loss):
        if (epoch, step) == (2, 1):
            raise RuntimeError("the plug was pulled")


def test_a_batch_is_transformed_in_each_step_of_training(tmp_path):
    module, out = learn(tmp_path / "run")
    plain, _ = learn(tmp_path / "plain", symmetries=())
    assert len(module.seen) == len(plain.seen) == out.steps
    random = RandomSymmetries(SQUARE, 0)
    for step, (x, y) in enumerate(zip(module.seen, plain.seen, strict=True)):
        assert torch.equal(x, random.transform({"a": y}, step)["a"])
    assert any(not torch.equal(x, y) for x, y in zip(module.seen, plain.seen, strict=True))


def test_a_run_without_symmetries_stays_as_it_was(tmp_path):
    one, first = learn(tmp_path / "one", symmetries=())
    torch.manual_seed(7)
    other = Spy()
    settings = quick(normalise=Normalise(inputs="none", outputs="none"))
    second = fit(
        other,
        square(),
        square(seed=2),
        settings,
        tmp_path / "two",
        periodic=PERIODIC,
        meta={"arch": "spy"},
    )
    assert torch.equal(one.layer.weight, other.layer.weight)
    assert first.best == second.best


def test_a_resumed_run_draws_the_same_elements(tmp_path):
    whole, _ = learn(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="plug"):
        learn(tmp_path / "cut", listener=Stop())
    resumed, _ = learn(tmp_path / "cut", resume=True)
    assert 0 < len(resumed.seen) < len(whole.seen)
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert torch.equal(resumed.layer.bias, whole.layer.bias)
    for x, y in zip(resumed.seen, whole.seen[-len(resumed.seen) :], strict=True):
        assert torch.equal(x, y)


def test_a_rollout_is_transformed_as_a_whole(tmp_path):
    a = functions(6, 1, 4, 4).float()
    truth = torch.stack([a + 1, a + 2], 1)
    data = Cloud({"a": a}, {"u": truth}, resolution=(4, 4))

    class AddOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, a):
            return a + 1 + self.shift

    module = AddOne()
    none = Normalise(inputs="none", outputs="none")
    settings = quick(epochs=2, normalise=none, optimizer=Optimizer(lr=1e-9))
    out = fit(
        module,
        data,
        None,
        settings,
        tmp_path / "run",
        periodic=PERIODIC,
        meta={"arch": "add"},
        symmetries=SQUARE,
        loop=Rollout((("u", "a"),), {"a": 2}),
    )
    # the model is exact: its loss stays zero only if input and truth move alike at every step
    assert all(row["train_loss"] < 1e-6 for row in out.history)


def test_components_in_two_functions_are_exchanged_before_units_are_divided_out():
    channels = {"p": (ChannelSource("q", 0),), "q": (ChannelSource("p", 0),)}
    maps = {"p": GridMap(1, ((0, 0),)), "q": GridMap(1, ((0, 0),))}
    symmetry = Symmetry("reflect(x, pairs = [(p, q)])", 2, maps, channels)
    p, q = functions(2, 1, 5).float(), functions(2, 1, 5, seed=1).float()
    data = Cloud({"p": p, "q": q}, {"u": p}, resolution=(5,))
    policy = policy_of("fp32", torch.device("cpu"))
    loader = DeviceLoader.of(data, policy, units=FieldUnits({"p": 2.0, "q": 8.0}))
    batch = loader.take(torch.arange(2), lambda fields: transformed(symmetry, fields))
    assert torch.equal(batch.inputs["p"], q.flip(-1) / 2)
    assert torch.equal(batch.inputs["q"], p.flip(-1) / 8)
    assert torch.equal(batch.truth["u"], p)
