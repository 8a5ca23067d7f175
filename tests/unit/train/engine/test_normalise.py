"""Statistics of channels, points and samples: closed forms, float64 NumPy, and one pass."""

import numpy as np
import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.nn.points.packed import Packed
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import positions
from opdsl.train.config.schema import Checkpoint, Normalise, Optimizer
from opdsl.train.config.transforms import read_maps
from opdsl.train.engine.fit import fit
from opdsl.train.engine.loader import FieldUnits
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.evaluate import apply, evaluate
from opdsl.train.scaling.axis_rules import PointRule
from opdsl.train.scaling.moments import Moments
from opdsl.train.scaling.normalise import Normaliser
from opdsl.train.scaling.scales import sample_statistics
from opdsl.train.scaling.statistics import NormaliserFit, SampleChunk, sample_chunks
from tests.unit.train.toy_problem import Cloud, cloud, quick

CPU = torch.device("cpu")
NODES, RING = PointRule("both"), PointRule("lower", periodic=True)


def field(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(a, u):
    return Cloud({"a": a}, {"u": u})


# ------------------------------------------------------------------------------------ one pass


def test_moments_of_hard_data_are_those_of_numpy_in_float64():
    x = (1e4 + 1e-2 * field(1000, 2, 50).double()).numpy()
    parts = [Moments.of(torch.from_numpy(y)) for y in np.array_split(x, 17)]
    found = sum(parts[1:], parts[0])
    np.testing.assert_allclose(found.mean, x.mean((0, 2)), rtol=1e-14)
    np.testing.assert_allclose(found.std, x.std((0, 2)), rtol=1e-10)


def test_weighted_moments_are_those_of_numpy_and_ignore_points_of_weight_zero():
    x, w = field(90, 3, 20).double(), torch.rand(90, 1, 20, dtype=torch.float64)
    w[:, :, 4] = 0
    x[:, :, 4] = torch.nan
    parts = [Moments.of(x[i : i + 32], w[i : i + 32]) for i in range(0, 90, 32)]
    found = sum(parts[1:], parts[0])
    kept, v = np.delete(x.numpy(), 4, 2), np.delete(w.numpy(), 4, 2)
    mean = np.average(kept, axis=(0, 2), weights=np.broadcast_to(v, kept.shape))
    square = np.average(
        (kept - mean[:, None]) ** 2, axis=(0, 2), weights=np.broadcast_to(v, kept.shape)
    )
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, square**0.5, rtol=1e-12)


def test_moments_of_points_pool_to_those_of_channels():
    x = field(70, 2, 6, 5).double()
    parts = [Moments.of(y, points=True) for y in x.split(32)]
    found = sum(parts[1:], parts[0]).pooled()
    torch.testing.assert_close(found.mean, x.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.std, x.std((0, 2, 3), unbiased=False), rtol=1e-12, atol=0)


def test_a_normaliser_reads_each_chunk_once_and_in_order():
    data, seen = cloud(150), []

    def chunks():
        for chunk in sample_chunks(data):
            seen.append((chunk.start, len(chunk.inputs["a"])))
            yield chunk

    ins, _ = NormaliserFit(Normalise()).add_all(chunks()).scales()
    assert seen == [(0, 64), (64, 64), (128, 22)]
    a = data.inputs["a"].double()
    torch.testing.assert_close(ins["a"].mean, a.mean((0, 2)).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(ins["a"].std, a.std((0, 2), unbiased=False).float())


def test_without_statistics_one_chunk_is_enough():
    none = Normalise(inputs="none", outputs="none")
    fitted = NormaliserFit(none)
    assert fitted.idle
    one = SampleChunk({"a": torch.full((1, 2, 3), torch.inf)}, {"u": field(1, 1, 3)}, {}, 0)
    ins, _ = fitted.add_all([one]).scales()
    assert ins["a"].std.tolist() == [1, 1]


# ------------------------------------------------------------------------------------ each point


def unit_gaussian(x):
    """Mean and deviation as `UnitGaussianNormalizer(dim=[0])` of neuraloperator has them."""
    return x.mean(0), x.std(0)  # torch divides by n - 1


def test_statistics_of_points_are_those_of_neuraloperator():
    a, u = 3 + 2 * field(40, 2, 6, 5), field(40, 1, 6, 5, seed=1)
    found = Normaliser.fit(pair(a, u), Normalise(inputs="point", outputs="point"))
    mean, std = unit_gaussian(a.double())
    scale = found.scales["in_a"]
    torch.testing.assert_close(scale.mean.double(), mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(scale.std.double() * (40 / 39) ** 0.5, std, rtol=1e-6, atol=0)
    y = found.encode({"a": a})["a"]
    torch.testing.assert_close(y.mean(0), torch.zeros(2, 6, 5), atol=1e-6, rtol=0)
    z = found.decode({"u": (u - found.scales["out_u"].mean) / found.scales["out_u"].std})["u"]
    torch.testing.assert_close(z, u, rtol=1e-5, atol=1e-6)


def test_an_output_is_exact_at_points_where_all_samples_agree():
    u = field(30, 1, 9)
    u[:, :, 0], u[:, :, 8] = 0.0, 2.5
    found = Normaliser.fit(pair(u, u), Normalise(inputs="point", outputs="point"))
    z = found.decode({"u": 100 * field(4, 1, 9, seed=3)})["u"]
    assert z[:, 0, 0].tolist() == [0.0] * 4
    assert z[:, 0, 8].tolist() == [2.5] * 4
    # an input may differ there later: it is divided by the deviation of its channel
    inner = u[:, :, 1:8].double().var((0, 2), unbiased=False) * 7 / 9
    other = found.encode({"a": torch.ones(1, 1, 9)})["a"]
    assert other.isfinite().all()
    assert other[0, 0, 0] == pytest.approx(1 / float(found.scales["in_a"].std[0, 0]), rel=1e-6)
    assert found.scales["in_a"].std[0, 0] > 0.5 * float(inner.sqrt())
    assert (found.deviation("u", z) > 0).all()


@pytest.mark.parametrize("word", ["both", "lower", "upper", "interior", "centres"])
@pytest.mark.parametrize("n", [5, 8, 13, 21])
def test_statistics_of_points_are_interpolated_linearly(word, n):
    # a linear function of the place is exact inside the outermost points of the trained grid
    x = torch.tensor(positions(word, 9), dtype=torch.float64)
    a = (2 + 3 * x)[None, None] * torch.tensor([1.0, -1.0, 3.0])[:, None, None]
    rules = {"a": (PointRule(word),)}
    found = Normaliser.fit(pair(a, a), Normalise(inputs="point"), rules=rules).scales["in_a"]
    fine = torch.tensor(positions(word, n), dtype=torch.float64).clamp(x[0], x[-1])
    got = found.back(torch.zeros(1, 1, n))[0, 0]
    torch.testing.assert_close(got.double(), 2 + 3 * fine, rtol=1e-6, atol=0)


def test_the_trained_grid_has_its_statistics_to_the_bit_and_a_ring_closes():
    a = field(20, 2, 7, 10)
    rules = {"a": (NODES, RING)}
    scale = Normaliser.fit(pair(a, a), Normalise(inputs="point"), rules=rules).scales["in_a"]
    for rule, axis, n in ((NODES, 1, 7), (RING, 2, 10)):
        assert torch.equal(rule.interpolated(scale.mean, axis, n), scale.mean)
    fine = RING.interpolated(scale.mean, 2, 20)
    torch.testing.assert_close(fine[..., 19], (scale.mean[..., 9] + scale.mean[..., 0]) / 2)


@pytest.mark.parametrize("word", ["gauss_legendre", "lobatto", "equiangular", "centres"])
def test_statistics_on_latitudes_follow_the_angle(word):
    rule = PointRule(word, latitudes=True)
    angle = latitudes(12, word)[0].clamp(-1, 1).acos()
    assert torch.equal(rule.interpolated(angle[None], 1, 12)[0], angle)
    other = latitudes(31, word)[0].clamp(-1, 1).acos().clamp(angle[0], angle[-1])
    torch.testing.assert_close(rule.interpolated(angle[None], 1, 31)[0], other)


def test_points_that_samples_do_not_share_have_no_statistics():
    packed = Packed.of([field(1, 4), field(1, 6)])
    with pytest.raises(OpError) as caught:
        Normaliser.fit(pair(packed, packed), Normalise(inputs="point"))
    assert caught.value.diagnostics[0].code == "OP0670"
    shared = Normaliser.fit(pair(field(5, 1, 8), field(5, 1, 8)), Normalise(inputs="point"))
    with pytest.raises(OpError) as caught:
        shared.encode({"a": field(1, 1, 9)})
    assert caught.value.diagnostics[0].code == "OP0670"


# ----------------------------------------------------------------------------------- each sample


def test_each_sample_is_normalised_by_its_own_mean_and_deviation():
    a = field(70, 2, 9) * torch.logspace(-3, 3, 70)[:, None, None] + 50
    rules = {"a": (NODES,)}
    found = Normaliser.fit(pair(a, a), Normalise(inputs="sample"), rules=rules)
    w = np.array([0.5, *[1.0] * 7, 0.5])  # the trapezoidal rule
    x = a.double().numpy()
    mean = np.average(x, axis=2, weights=w)[..., None]
    std = np.average((x - mean) ** 2, axis=2, weights=w)[..., None] ** 0.5
    found = found.encode({"a": a})["a"].numpy()
    np.testing.assert_allclose(found, (x - mean) / std, rtol=2e-2, atol=5e-4)
    big = slice(35, None)
    np.testing.assert_allclose(found[big], ((x - mean) / std)[big], rtol=1e-4, atol=1e-4)


def test_axes_of_equal_cells_and_others_are_weighted_together():
    sphere = (PointRule("gauss_legendre", latitudes=True), RING)
    for rules, w in (
        (sphere, latitudes(6, "gauss_legendre")[1].numpy()),
        ((NODES, RING), np.array([0.5, 1, 1, 1, 1, 0.5])),
    ):
        a = field(9, 1, 6, 10)
        kinds = Normalise(inputs="sample")
        scale = Normaliser.fit(pair(a, a), kinds, rules={"a": rules}).scales["in_a"]
        both = np.broadcast_to(w[:, None], (6, 10))
        expected = [np.average(x, weights=both) for x in a[:, 0].double().numpy()]
        np.testing.assert_allclose(scale.statistics(a)[0][:, 0], expected, atol=1e-5)


def test_statistics_of_samples_converge_with_the_resolution():
    rules = {"a": (NODES,)}
    means = []
    for n in (17, 33, 65):
        x = torch.linspace(0, 1, n)
        a = (x**2)[None, None]
        data = pair(torch.cat([a, 2 * a]), torch.cat([a, a]))
        scale = Normaliser.fit(data, Normalise(inputs="sample"), rules=rules).scales["in_a"]
        means.append(float(scale.statistics(a)[0]) - 1 / 3)
    assert means[0] / means[1] == pytest.approx(4, rel=1e-2)  # order 2, not 1
    assert means[1] / means[2] == pytest.approx(4, rel=5e-2)


@pytest.mark.parametrize(
    "rules",
    [
        (PointRule("centres", latitudes=True), PointRule("lower", periodic=True)),
        (PointRule("both"), PointRule("lower", periodic=True)),
        (PointRule("lower", periodic=True), PointRule("both")),
    ],
    ids=["sphere", "first axis", "last axis"],
)
def test_statistics_of_samples_where_the_points_of_one_axis_count_alike(rules):
    x = torch.randn(3, 2, 6, 10, dtype=torch.float64)
    mean, std = sample_statistics(x, rules, None)
    rows = [r.weights(n, x) for r, n in zip(rules, (6, 10), strict=True)]
    w = torch.ones(6, 10) if rows[0] is None else rows[0][:, None].expand(6, 10)
    w = w if rows[1] is None else w * rows[1]
    w = w / w.sum()
    want = (x * w).sum((2, 3))
    assert torch.allclose(mean, want)
    assert torch.allclose(std**2, ((x - want[..., None, None]) ** 2 * w).sum((2, 3)))


def test_constant_and_zero_samples_stay_finite_with_a_gradient():
    a = field(12, 1, 8)
    found = Normaliser.fit(pair(a, a), Normalise(inputs="sample", outputs="sample(a)"))
    flat = torch.full((2, 1, 8), 0.1)
    flat[1] = 0
    flat.requires_grad_()
    y = found.encode({"a": flat})["a"]
    assert torch.equal(y, torch.zeros_like(y))
    z = found.decode({"u": torch.ones(2, 1, 8)}, {"a": flat})["u"]
    (y.sum() + z.sum()).backward()
    assert z.isfinite().all()
    assert flat.grad.isfinite().all()


def test_an_output_takes_the_statistics_of_its_sample():
    a = field(40, 1, 16) * torch.linspace(1, 1000, 40)[:, None, None]
    u = 5 * a.roll(1, 2)
    found = Normaliser.fit(pair(a, u), Normalise(inputs="sample", outputs="sample(a)"))
    m, s = a.double().mean(2, keepdim=True), a.double().std(2, unbiased=False, keepdim=True)
    residual = (u - m) / s
    scale = found.scales["out_u"]
    assert float(scale.mean) == pytest.approx(float(residual.mean()), rel=1e-4)
    assert float(scale.std) == pytest.approx(float(residual.std(unbiased=False)), rel=1e-4)
    y = ((residual - residual.mean()) / residual.std(unbiased=False)).float()
    torch.testing.assert_close(found.decode({"u": y}, {"a": a})["u"], u, rtol=1e-3, atol=1e-3)


def test_samples_on_points_of_their_own_have_statistics_of_their_own():
    parts = [field(1, 5) * 3 + 1, field(1, 9, seed=2) * 7]
    packed = Packed.of(parts)
    found = Normaliser.fit(pair(packed, packed), Normalise(inputs="sample", outputs="sample(a)"))
    for x, y in zip(parts, found.encode({"a": packed})["a"].parts, strict=True):
        torch.testing.assert_close(y, (x - x.mean()) / x.std(unbiased=False))
    back = found.decode({"u": Packed.of([torch.zeros(1, 5), torch.zeros(1, 9)])}, {"a": packed})
    for x, y in zip(parts, back["u"].parts, strict=True):
        torch.testing.assert_close(y, x.mean().expand(1, len(x[0])), rtol=1e-5, atol=1e-5)


def test_a_vector_has_no_points_and_keeps_the_statistics_of_its_channels():
    data = Cloud({"a": field(9, 1, 8), "nu": 5 + field(9, 2)}, {"u": field(9, 1, 8)})
    kinds = Normalise(inputs="sample")
    found = Normaliser.fit(data, kinds).encode(data.inputs)["nu"]
    torch.testing.assert_close(found.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, unbiased=False), torch.ones(2))


# --------------------------------------------------------------------------------- steps in time


class Keep(nn.Module):
    """The output is the newest step of the input, in normalised values."""

    def forward(self, u):
        return {"v": u[:, -1:]}


LOOP = Rollout((("v", "u"),), {"u": 1})


@pytest.mark.parametrize("inputs", ["sample", "channel"])
def test_steps_in_time_take_the_statistics_of_the_step_before(inputs):
    # v grows by 3 in each step, u is a window over two steps
    first = field(6, 2, 8) + 10
    v = torch.stack([first[:, 1:] * 3.0**i for i in range(1, 4)], 1)
    data = Cloud({"u": first}, {"v": v})
    found = Normaliser.fit(data, Normalise(inputs=inputs, outputs="sample(u)"), LOOP)
    scale = found.scales["out_v"]
    # (3 x - m) / s over x with mean m and deviation s of each sample: mean 2 m / s, deviation
    m, s = v[:, 0].double().mean(2) / 3, v[:, 0].double().std(2, unbiased=False) / 3
    assert float(scale.mean) == pytest.approx(float((2 * m / s).mean()), rel=1e-4)
    if inputs == "sample":
        out = apply(Keep(), found, {"u": first}, policy_of("fp32", CPU), LOOP, 3)["v"]
        assert out.shape == (6, 3, 1, 8)
        x = first[:, 1:].double()
        for i in range(3):
            mu, sd = x.mean(2, keepdim=True), x.std(2, unbiased=False, keepdim=True)
            x = ((x - mu) / sd * float(scale.std) + float(scale.mean)) * sd + mu
            torch.testing.assert_close(out[:, i].double(), x, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------- checkpoints, units

KINDS = [
    {"inputs": "point", "outputs": "point"},
    {"inputs": "sample", "outputs": "sample(a)"},
    {"inputs": "channel", "outputs": "sample(a)"},
    {"inputs": "point", "outputs": "channel"},
]


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(2, 1, 3, padding=1)

    def forward(self, a):
        return torch.tanh(self.layer(a))


def learn(run, scale, kinds, maps=None):
    torch.manual_seed(3)
    module = Line()
    data, test = (
        Cloud(
            {"a": x.inputs["a"] * scale},
            {"u": x.outputs["u"].expand(-1, 1, -1) * scale},
        )
        for x in (cloud(), cloud(seed=2))
    )
    settings = quick(
        4,
        normalise=Normalise(**kinds),
        optimizer=Optimizer(kind="sgd", lr=0.05, weight_decay=0.0),
        checkpoint=Checkpoint(every=1),
        transforms=maps or {},
    )
    if kinds["outputs"] == "sample(a)":  # one channel for both: the first of `a` has to do
        data, test = (
            Cloud({"a": x.inputs["a"], "b": x.outputs["u"] * 0.5}, x.outputs) for x in (data, test)
        )
        module.forward = lambda a, b: torch.tanh(module.layer(a)) + b
        settings = settings.model_copy(
            update={"normalise": Normalise(**kinds | {"outputs": "sample(b)"})}
        )
    more = {
        "periodic": {"u": (True,)},
        "meta": {},
        "rules": {"a": (RING,), "u": (RING,), "b": (RING,)},
    }
    return module, fit(module, data, test, settings, run, **more), test


@pytest.mark.parametrize("kinds", KINDS)
def test_runs_in_units_of_a_power_of_two_are_equal_to_the_bit(tmp_path, kinds):
    plain, expected, _ = learn(tmp_path / "a", 1.0, kinds)
    for i, scale in enumerate((2.0**60, 2.0**-60)):
        other, found, _ = learn(tmp_path / str(i), scale, kinds)
        assert all(torch.equal(other.state_dict()[k], x) for k, x in plain.state_dict().items())
        for a, b in zip(expected.history, found.history, strict=True):
            assert a["train_loss"] == b["train_loss"]
            assert a["valid"]["rel_l2"] == b["valid"]["rel_l2"]


@pytest.mark.parametrize("maps", [{}, {"a": "asinh(3)"}, {"u": "asinh(0.1)"}])
@pytest.mark.parametrize("kinds", KINDS)
def test_values_in_other_units_are_normalised_alike(kinds, maps):
    a, u = 5 + 3 * field(40, 1, 8), 200 * field(40, 1, 8, seed=1)
    maps = {k: read_maps([v]) for k, v in maps.items()}
    plain = Normaliser.fit(pair(a, u), Normalise(**kinds), maps=maps)
    other = plain.in_units(FieldUnits({"a": 8.0}, {"u": 0.25}))
    y = plain.encode({"a": a})["a"]
    torch.testing.assert_close(other.encode({"a": a / 8})["a"], y, rtol=1e-5, atol=1e-5)
    expected = plain.decode({"u": y}, {"a": a})["u"]
    found = other.decode({"u": y}, {"a": a / 8})["u"]
    torch.testing.assert_close(found, expected / 0.25, rtol=1e-4, atol=1e-3)
    like = torch.zeros(1, 1, 8)
    widths = [x.deviation("u", like) for x in (other, plain)]
    torch.testing.assert_close(widths[0], widths[1] / 0.25, rtol=1e-5, atol=0)


@pytest.mark.parametrize("maps", [{}, {"a": ["clip(-1, 1)", "asinh(0.5)"], "u": ["asinh"]}])
@pytest.mark.parametrize("kinds", KINDS)
def test_a_checkpoint_gives_the_normaliser_back(tmp_path, kinds, maps):
    module, out, test = learn(tmp_path, 1.0, kinds, maps)
    found = Normaliser.from_state(dict(out.normaliser.state_dict()))
    assert out.normaliser.state_dict().keys() == found.state_dict().keys()
    expected = evaluate(module, out.normaliser, test, device="cpu")
    assert evaluate(module, found, test, device="cpu").rel_l2 == expected.rel_l2


def test_a_state_of_an_earlier_version_is_one_of_channels():
    state = {
        "scales.in_a.mean": torch.tensor([1.0, 2.0]),
        "scales.in_a.std": torch.tensor([2.0, 4.0]),
        "scales.out_u.mean": torch.tensor([3.0]),
        "scales.out_u.std": torch.tensor([0.5]),
    }
    found = Normaliser.from_state(state)
    assert found.encode({"a": torch.tensor([[[3.0], [2.0]]])})["a"].flatten().tolist() == [1, 0]
    assert found.decode(torch.tensor([[[2.0]]]))["u"].item() == 4
    assert found.state_dict().keys() == state.keys()


# ------------------------------------------------------------------------------------------ maps


@pytest.mark.parametrize("text", ["log", "log1p", "asinh(0.01)", "asinh"])
@pytest.mark.parametrize("kinds", [{}, {"inputs": "point", "outputs": "point"}])
def test_maps_come_before_the_statistics_and_are_undone(text, kinds):
    a = torch.exp(2 * field(50, 1, 7))
    forward = {
        "log": np.log,
        "log1p": np.log1p,
        "asinh": np.arcsinh,
        "asinh(0.01)": lambda x: np.arcsinh(x / 0.01),
    }[text]
    maps = dict.fromkeys(("a", "u"), read_maps([text]))
    found = Normaliser.fit(pair(a, a), Normalise(**kinds), maps=maps)
    y = forward(a.double().numpy())
    over = 0 if kinds else (0, 2)
    expected = (y - y.mean(over, keepdims=True)) / y.std(over, keepdims=True)
    z = found.encode({"a": a})["a"]
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.decode({"u": z})["u"], a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("power", [2.0**60, 2.0**-60])
def test_maps_take_physical_values_in_every_unit(power):
    a = torch.exp(2 * field(50, 1, 7)) * power
    maps = dict.fromkeys(("a", "u"), read_maps(["log"]))
    found = Normaliser.fit(pair(a, a), Normalise(), maps=maps)
    units = found.units()
    assert 1e-2 < float((a / units.inputs["a"]).abs().median()) < 1e2
    other = found.in_units(units)
    z = other.encode({"a": a / units.inputs["a"]})["a"]
    torch.testing.assert_close(z, found.encode({"a": a})["a"])
    back = other.decode({"u": z})["u"]
    torch.testing.assert_close(back, a / units.outputs["u"], rtol=1e-4, atol=0)


def test_a_value_without_a_logarithm_is_named_with_its_sample():
    a = torch.ones(100, 1, 4)
    a[77, 0, 2] = -0.25
    with pytest.raises(OpError) as caught:
        Normaliser.fit(pair(a, a), Normalise(), maps={"a": read_maps(["log"])})
    (found,) = caught.value.diagnostics
    assert found.code == "OP0671"
    assert "`a` is -0.25 in sample 77" in found.message
    clipped = {"a": read_maps(["clip(0.5, inf)", "log"])}
    scale = Normaliser.fit(pair(a, a), Normalise(), maps=clipped).scales["in_a"]
    assert float(scale.mean) == pytest.approx(np.log(0.5) / 400, rel=1e-5)


def test_a_prediction_refuses_values_without_a_logarithm():
    a = torch.ones(3, 1, 4)
    found = Normaliser.fit(pair(a, a), Normalise(), maps={"a": read_maps(["log1p"])})
    with torch.no_grad(), pytest.raises(OpError, match="takes values above -1 only"):
        found.encode({"a": a - 3})


def test_a_run_with_maps_learns_in_physical_units(tmp_path):
    maps = {"a": ["asinh"], "u": ["asinh(2)"]}
    module, out, test = learn(tmp_path, 1.0, KINDS[0], maps)
    with torch.no_grad():
        pred = apply(module.eval(), out.normaliser, test.inputs, policy_of("fp32", CPU))["u"]
    error = (pred - test.outputs["u"]).flatten(1).norm(dim=1) / test.outputs["u"].flatten(1).norm(
        dim=1
    )
    assert out.history[-1]["valid"]["rel_l2"] == pytest.approx(float(error.mean()), rel=1e-5)
    assert out.history[-1]["train_loss"] < out.history[0]["train_loss"]


# ------------------------------------------------------------------------------------ streamed


class Streamed:
    """A set that is read in pieces, and remembers which."""

    name, fingerprint, resolution, workers = "s", "f", (8,), 0

    def __init__(self, data):
        self.data, self.seen = data, []

    def __len__(self):
        return len(self.data)

    @property
    def head(self):
        return Cloud(
            *({k: x[:1] for k, x in y.items()} for y in (self.data.inputs, self.data.outputs))
        )

    def read(self, rows):
        self.seen.append(rows)
        rows = list(rows)
        return Cloud(
            *({k: x[rows] for k, x in y.items()} for y in (self.data.inputs, self.data.outputs))
        )


@pytest.mark.parametrize("kinds", KINDS)
def test_a_streamed_set_is_read_once_and_has_equal_statistics(kinds):
    a, u = field(150, 1, 8), field(150, 1, 8, seed=1)
    streamed = Streamed(pair(a, u))
    found = Normaliser.fit(streamed, Normalise(**kinds)).state_dict()
    assert streamed.seen == [range(64), range(64, 128), range(128, 150)]
    expected = Normaliser.fit(pair(a, u), Normalise(**kinds)).state_dict()
    assert all(torch.equal(found[k], x) for k, x in expected.items())


def test_large_samples_are_read_in_smaller_pieces():
    x = torch.zeros(1, 1, 1 << 21).expand(9, -1, -1)  # 8 MiB each, input and output
    streamed = Streamed(pair(x, x))
    assert [len(c.inputs["a"]) for c in sample_chunks(streamed)] == [2, 2, 2, 2, 1]
