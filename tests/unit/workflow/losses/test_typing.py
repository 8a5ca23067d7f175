"""Types of expressions of losses: what is accepted, and the one diagnostic of each mistake."""

import pytest

from opdsl.compiler import check
from opdsl.diagnostics import OpError, Source
from opdsl.syntax.parser import parse
from opdsl.train.config.schema import Eval, Settings
from opdsl.train.losses.expressions.nodes import Channels, Leaf, NumberNode, Ramp
from opdsl.workflow.losses.terms import check_loss, typed_losses

PROGRAM = """edition 2026

const NU = 0.01

equation darcy(a, u, f = 1) = -div(a * grad(u)) - f
equation twice(u) = 2 * mse(u)

model M {
  domain D = grid(x: 0..1, y: 0..2, boundary = dirichlet, min = 9)
  domain T = grid(t: 0..1, x: 0..1, boundary = periodic, min = 9)
  domain S = sphere(lat, lon, sampling = equiangular)
  domain Q = points(2)
  domain C = grid(x: 0..1, boundary = neumann, sampling = centres, min = 9)
  domain P = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  param gain : float = 3.0
  input a : D -> R^1
  input k : R^2
  input b : T -> R^1
  input s : S -> R^1
  input q : Q -> R^1
  input c : C -> R^1
  input g : P -> R^1
  output u : D -> R^1
  output v : D -> R^{vx, vy}
  output w : T -> R^1
  output z : S -> R^1
  output p : Q -> R^1
  output e : C -> R^1
  output r : P -> R^1

  u = linear(a, out = 1)
  v = linear(a, out = 2) |> mul(broadcast(k, to = D))
  w = linear(b, out = 1)
  z = linear(s, out = 1)
  p = linear(q, out = 1)
  e = linear(c, out = 1)
  r = linear(g, out = 1)
}
"""


def terms(loss):
    return check_loss(PROGRAM, loss)


def fault(loss):
    with pytest.raises(OpError) as info:
        terms(loss)
    (diagnostic,) = info.value.diagnostics
    return diagnostic


@pytest.mark.parametrize(
    "loss",
    [
        "rel_l2(u)",
        "rel_l2(u) + 0.1 * rel_h1(u)",
        "rel_l2(u) + 0.01 * mse(-div(a * grad(u)) - 1) + boundary(u, value = 0)",
        "mse(darcy(a, u)) + mse(darcy(a, u, 2)) + mse(darcy(a, u = u, f = NU))",
        "twice(u) / 4 - 0.5 * rmse(u)",
        "ramp(0, 1, epochs = 10) * mse(u) + 2 * ramp(1, 0, epochs = 3, start = 4) * mae(u)",
        "lp(v.vx, p = 3) + rel_lp(v[1], p = 1)",
        "mse(v.vx, truth(u)) + mse(sum(v * grad(u)), NU * gain)",
        "mse(u - sin(3 * x) * y)",
        "mse(dt(w) + d(w, x) - NU * d(w, x, x))",
        "mse(laplace(z) + grad(z)[0]) + h1_spectral(z)",
        "mse(k[0] * u) + mse(mean(u), 1) + mse(integrate(v))",
        "vrmse(v, per = function) + nrmse(u, per = channel)",
        "mse(u, units = normalised) + huber(v.vy, delta = 0.1, units = normalised)",
        "bands(z, low = 1, high = 3) + rel_bands(z)",
        "bands(u, low = 1, high = 3) + rel_bands(u, high = 4)",
        "boundary(u, axis = x, side = lower) + boundary(d(u, x), value = 0) + brmse(u)",
        "crps([u, v], truth(u)) + crps(u, deviation = v.vx) + crps([u, v], u, fair = true)",
        "h_div(v) + rel_h_div(v) + h1_spectral(u) + rel_h1_spectral(w)",
        "mse(curl(v)) + mse(div([u, u])) + mse(diffusion(a, u, order = 2))",
        "mse(laplace(u, order = 6)) + mse(grad(u, order = spectral).x)",
        "mse(velocity(r)) + mse(abs(-u) / exp(sqrt(1 + u * u)))",
        "l2(p) + rel_l2(q, p)",
    ],
)
def test_an_expression_is_accepted(loss):
    assert terms(loss)


@pytest.mark.parametrize(
    ("loss", "code", "message"),
    [
        ("rel_l2(y0)", "OP0700", "`y0` is no output and no input of `M`"),
        ("rel_l2(v.vz)", "OP0700", "`v` has no channel `vz`"),
        ("rel_l2(v[2])", "OP0700", "`v` has no channel 2"),
        ("mse(truth(a))", "OP0700", "`a` is no output, so that it has no truth"),
        ("mse(mse)", "OP0700", "`mse` is called with functions"),
        ("rel_l3(u)", "OP0701", "a loss has no function `rel_l3`"),
        ("mse(burgers(a, u))", "OP0701", "a loss has no function `burgers`"),
        ("lp(u)", "OP0702", "`lp` needs its option `p`"),
        ("mse(u, delta = 1)", "OP0702", "`mse` has no option `delta`"),
        ("mse(u, a, a)", "OP0702", "`mse` takes one function or two, not 3"),
        ("quantile(u, q = 1.5)", "OP0702", "expected a number between 0 and 1"),
        ("mse(u) / 0", "OP0702", "a loss is divided by a number other than 0"),
        ("ramp(0, 1) * mse(u)", "OP0702", "`ramp` does not say how long it takes"),
        ("rel_l2(a)", "OP0702", "`rel_l2` divides by the size of what it compares with"),
        ("mse(darcy(a))", "OP0702", "`darcy` misses its argument `u`"),
        ("mse(a, units = normalised)", "OP0702", "only the error of an output"),
        ("mse(laplace(u, order = 3))", "OP0702", "finite differences have the order"),
        ("bands(u, low = 3, high = 2)", "OP0702", "the band is empty"),
        ("crps(u, v)", "OP0702", "`crps` of 1 channel"),
        ("mse(d(u, z))", "OP0703", "`z` is no axis of `D`"),
        ("mse(dt(u))", "OP0703", "`u` has no axis of time and no steps in time"),
        ("mse(grad(p))", "OP0703", "`p` has no derivatives: its points are also those"),
        ("mse(grad(k))", "OP0703", "`k` has no derivatives: it is one vector"),
        ("mse(mean(k))", "OP0703", "`k` is one vector for each sample"),
        ("mse(velocity(u))", "OP0703", "`velocity` needs a periodic plane or a sphere"),
        ("crps(u, deviation = 0)", "OP0702", "a deviation is above 0"),
        ("mse(u^2)", "OP0101", "`^` is not a sign of expressions"),
        ("mse(velocity(q))", "OP0703", "`q` has no derivatives"),
        ("rel_h1(p)", "OP0704", "`rel_h1` of `p`, a function on `Q`, which is no regular grid"),
        ("rel_h1(z)", "OP0704", "`rel_h1` of `z`, a function on `S`"),
        ("bands(p)", "OP0704", "`bands` of `p`"),
        ("boundary(w, value = 0)", "OP0704", "has no points at an end of an axis"),
        ("boundary(e, value = 0)", "OP0704", "has no points at an end of an axis"),
        ("mse(u - w)", "OP0705", "functions on `D` and on `T`"),
        ("mse([u, v] - v)", "OP0705", "functions with 3 and 2 channels"),
        ("mse(div(u))", "OP0705", "`div` of 1 channel on 2 axes"),
        ("u", "OP0604", ""),
        ("(u + 1)", "OP0706", "the loss is no sum of errors"),
        ("mse(u) * mse(u)", "OP0706", "`*` between an error and an error"),
        ("mse(u) + 1", "OP0706", "`+` between an error and a number"),
        ("mse(u + mse(u))", "OP0706", "`+` between a function on D with 1 channel and an error"),
        ("mse(u / 0)", "OP0702", "a division by zero"),
        ("mse(a)", "OP0706", "`mse(a)` depends on no output"),
        ("mse(u) + 0.1 * mse(a * x, k[0])", "OP0706", "`mse(a * x, k[0])` depends on no output"),
        ("mse(2)", "OP0706", "a number where a function is needed"),
        ("mse(u |> gelu())", "OP0706", "this has no meaning in a loss"),
    ],
)
def test_a_mistake_is_one_diagnostic(loss, code, message):
    if code == "OP0604":  # a word that is no loss is refused by the settings
        with pytest.raises(ValueError, match="there is no `u`"):
            terms(loss)
        return
    found = fault(loss)
    assert (found.code, message in found.message) == (code, True), found.message


def test_a_metric_has_constant_weights():
    source = Source("<text>", PROGRAM)
    graph, file = check(source).sound(), parse(source)[0]
    settings = Settings(eval=Eval(metrics=["ramp(0, 1, epochs = 2) * mse(u)"]))
    with pytest.raises(OpError, match="a metric has constant weights"):
        typed_losses(graph, settings, file)


def test_weights_and_ramps_are_products():
    (first, second) = terms("-2 * mse(u) / 4 + 3 * (ramp(0, 1, epochs = 10) * mae(u))")
    assert (first.text, first.weight, first.ramps) == ("mse(u)", -0.5, ())
    assert (second.text, second.weight, second.ramps) == ("mae(u)", 3.0, (Ramp(0.0, 1.0, 10.0),))
    assert [second.weight_at(e) for e in (0, 2.5, 10, 20)] == [0.0, 0.75, 3.0, 3.0]


def test_an_output_alone_is_compared_with_its_truth_and_a_residual_with_zero():
    first, second, third = (x.error for x in terms("mse(v.vy) + mse(v + 1) + mse(v, a)"))
    assert first.target == Channels(Leaf("truth", "v"), 1, 1)
    assert second.target is None
    assert third.target == Leaf("input", "a")


def test_the_name_of_an_error_means_all_outputs():
    found = terms("mse")
    assert [x.text for x in found] == [f"mse({k})" for k in "uvwzper"]
    assert [x.weight for x in found] == [1 / 7] * 7


def test_equal_terms_get_different_texts():
    assert [x.text for x in terms("mse(u) + mse(u)")] == ["mse(u)", "mse(u) #2"]


def test_the_term_of_an_equation_is_called_by_the_call():
    assert [x.text for x in terms("twice(u) + mse(darcy(a, u))")] == [
        "twice(u)",
        "mse(darcy(a, u))",
    ]


def test_constants_are_computed():
    (term,) = terms("mse(u, 2 * NU * gain - 1)")
    assert term.error.target == NumberNode(pytest.approx(2 * 0.01 * 3.0 - 1))


def test_masks_of_the_outputs_in_an_error_apply():
    by_text = {
        x.text: x.error.masked_by for x in terms("mse(u, v) + mse(a - mean(u)) + mse(mean(u))")
    }
    assert by_text == {"mse(u, v)": ("u", "v"), "mse(a - mean(u))": ("u",), "mse(mean(u))": ()}


def test_an_equation_that_calls_itself_is_refused():
    program = PROGRAM.replace("equation twice(u) = 2 * mse(u)", "equation twice(u) = twice(u)")
    with pytest.raises(OpError) as info:
        check_loss(program, "twice(u)")
    assert [x.code for x in info.value.diagnostics] == ["OP0708"]


def test_an_error_inside_an_equation_of_the_library_is_blamed_on_the_call():
    own = "equation darcy(a, u, f = 1) = -div(a * grad(u)) - f\n"
    program = PROGRAM.replace(own, "from std.physics import darcy\n")
    with pytest.raises(OpError) as info:
        check_loss(program, "mse(darcy(a, w))")
    label = info.value.diagnostics[0].labels[0]
    assert label.span.text == "darcy(a, w)"
