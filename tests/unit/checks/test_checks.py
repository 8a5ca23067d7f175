"""Rules of the whole graph: modes, pins, latent sizes, unused parts."""

import pytest

from opdsl.ir.certificate import certify
from tests.programs import codes, graph, model, only

FREE = "output u : D -> R^2\n"


@pytest.mark.parametrize(("points", "modes"), [(33, 16), (9, 4), (1, 0)])
def test_2m_plus_1_points_are_enough(points, modes):
    domain = f"x, y, min = {points}"
    body = f"{FREE}u = spectral_conv(a, modes = %d)"
    assert graph(model(body % modes, domain=domain))
    assert only(model(body % (modes + 1), domain=domain)).code == "OP0309"


def test_a_coarser_grid_asks_more_of_the_declared_one():
    body = f"{FREE}u = a |> resample(to = D / 4) |> spectral_conv(modes = 8) |> resample(to = D)"
    assert graph(model(body, domain="x, y, min = 68"))
    fault = only(model(body, domain="x, y, min = 67"))
    assert fault.helps[0].text == "raise the promise: `min = 68`"
    assert "`D/4` has 16 points where `D` has 67" in fault.notes


def test_the_promise_counts_multiples():
    promise = "x, y, min = 20, multiple_of = 16"  # 32 is the first
    body = f"{FREE}u = spectral_conv(a, modes = %d)"
    assert graph(model(body % 15, domain=promise))
    assert only(model(body % 16, domain=promise)).code == "OP0309"


def test_each_axis_is_judged_by_its_own_promise():
    body = f"{FREE}u = spectral_conv(a, modes = (4, 16))"
    assert graph(model(body, domain="x, y, min = (9, 33)"))
    assert codes(model(body, domain="x, y, min = (33, 9)")) == ["OP0309"]


def test_one_call_of_the_user_gets_one_diagnostic():
    body = f"{FREE}u = a |> repeat 6 {{ FourierLayer(modes = 99) }}"
    assert codes(model(body)) == ["OP0309"]


def test_the_library_is_never_the_primary_place():
    fault = only(model(f"{FREE}u = a |> FourierLayer(modes = 99)"))
    assert [x.span.source.library for x in fault.labels] == [False, False, True]


def test_a_pin_needs_a_fixed_domain():
    body = f"{FREE}u = position(a)"
    assert only(model(body)).code == "OP0307"
    certificate = certify(graph(model(body, domain="x, y, fixed = 32")))
    assert not certificate.agnostic
    assert not certificate.convergent


def test_shape_agnostic_is_not_convergent():
    certificate = certify(graph(model(f"{FREE}u = conv(a, out = 2)  # op: allow(not-convergent)")))
    assert certificate.agnostic
    assert not certificate.convergent
    assert certificate.diverging[0][0].path == "u"


def test_a_fourier_layer_is_both():
    certificate = certify(graph(model(f"{FREE}u = FourierLayer(a, modes = 8)")))
    assert certificate.agnostic
    assert certificate.convergent


def test_the_certificate_names_the_tightest_bound():
    body = f"{FREE}h = spectral_conv(a, modes = 3)\nu = spectral_conv(gelu(h), modes = (9, 2))"
    x, y = certify(graph(model(body))).promises
    assert (x.needed, x.cause.node.path) == (19, "u")
    assert (y.needed, y.cause.node.path) == (7, "h")


def test_a_latent_grid_needs_a_size():
    body = "domain L = grid(x, y%s)\noutput w : L -> R^2\nw = coords(L)\n"
    body += f"{FREE}u = gelu(a)"
    assert only(model(body % "")).code == "OP0310"
    assert graph(model(body % ", size = 12"))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("k = gelu(a)", "OP0401"),
        ("input b : D -> R^1", "OP0402"),
        ("param w : int = 3", "OP0403"),
        ("domain E = grid(x)", "OP0404"),
        ("dim n = 3", "OP0404"),
    ],
)
def test_what_reaches_no_output_is_a_warning(statement, code):
    fault = only(model(f"{statement}\n{FREE}u = gelu(a)"))
    assert (fault.code, fault.severity) == (code, "warning")


def test_only_the_end_of_an_unused_chain_is_reported():
    fault = only(model(f"{FREE}h = gelu(a)\nk = tanh(h)\nu = gelu(a)"))
    assert fault.message == "node `k` is never used"


def test_a_requirement_counts_as_a_use():
    assert graph(model(f"param w : int = 3\nrequire w > 2\n{FREE}u = gelu(a)"))


def test_a_grid_that_is_divided_away_is_refused():
    body = f"{FREE}u = a |> resample(to = D / 64) |> resample(to = D)"
    assert graph(model(body, domain="x, y, min = 64"))
    fault = only(model(body, domain="x, y, min = 63"))
    assert fault.message == "too many divisions for the resolution this model promises"


def test_the_innermost_call_of_the_users_own_files_is_key_to_blame():
    block = "block Mine {\n  domain D : grid\n  dim c\n  input v : D -> R^c\n"
    block += "  output w : D -> R^c\n  w = FourierLayer(v, modes = 99)\n}\n"
    fault = only(model(f"{FREE}u = Mine(a)", before=block))
    assert fault.labels[0].span.text == "FourierLayer(v, modes = 99)"
