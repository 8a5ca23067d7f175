"""What a fingerprint sees of a program, and what it does not."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opdsl.compiler import load
from opdsl.ir.fingerprint import fingerprint, meant
from opdsl.syntax.printer import format_text
from tests.conformance.test_blocks import CASES, on_one_axis
from tests.property.well_typed import program

SEEDS = st.integers(0, 10_000)
BODY = """
  p = a |> linear(out = 8) |> spectral_conv(modes = 4, rank = 0.5, factor = cp) |> gelu()
  q = p |> repeat 2 shared { residual { linear(out = 8) |> tanh() } }
  r = p |> spectral_conv(modes = 3, out = 8) |> norm(kind = group, groups = 2)
  w = concat(sub(q, r), q * r) |> linear(out = 3)
  u = w + static(D, fields = [mask, b, c])
"""


def text(body=BODY, domain="grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)", a="D -> R^3"):
    return (
        f"edition 2026\nmodel M {{\n  domain D = {domain}\n  input a : {a}\n"
        f"  output u : D -> R^3\n{body}}}\n"
    )


def of(body=BODY, **more):
    return fingerprint(load(text(body, **more)))


# --------------------------------------------------------------- what does not count


def shuffled(source, draw):
    """The statements of the model in another order; each is on one line."""
    head, _, rest = source.partition("{\n")
    lines = rest.rstrip().removesuffix("}").rstrip().splitlines()
    inputs = [x for x in lines if x.strip().startswith("input")]  # whose order counts
    others = draw(st.permutations([x for x in lines if x not in inputs]))
    at = draw(st.integers(0, len(others)))
    return f"{head}{{\n" + "\n".join([*others[:at], *inputs, *others[at:]]) + "\n}\n"


def renamed(source):
    """Every binding `n3` of a random program is called otherwise."""
    return re.sub(r"\bn(\d+)\b", r"other_\1_name", source)


@settings(max_examples=16, deadline=None)
@given(SEEDS, st.data())
def test_order_names_comments_and_layout_do_not_count(seed, data):
    source = program(seed).text()
    first = fingerprint(load(source))
    assert fingerprint(load(shuffled(source, data.draw))) == first
    assert fingerprint(load(renamed(source))) == first
    assert fingerprint(load(format_text(source, "x"))) == first
    assert fingerprint(load(source.replace("\n", "  # a comment\n"))) == first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modes = 4,", "modes = (4, 4),"),
        ("modes = 3, out = 8", "modes = 3"),
        ("modes = 3, out = 8", "modes = (3, 3), out = 8, to = D"),
        ("modes = 3, out = 8", "modes = 3, layout = symmetric, bias = true"),
        ("gelu()", "apply(gelu)"),
        ("sub(q, r)", "q - r"),
        ("sub(q, r), q * r", "q - r, r * q"),
        ("w + static(D, fields = [mask, b, c])", "static(D, fields = [mask, b, c]) + w"),
        ("repeat 2 shared", "repeat 1 + 1 as i shared"),
        ("linear(out = 3)\n", "scale(1.0) |> linear(out = 3)\n"),
    ],
    ids=lambda x: x.strip(),
)
def test_other_spellings_of_one_thing_do_not_count(one, other):
    assert one in BODY
    if "scale" in other:  # a node that is a node
        assert of(BODY.replace(one, other)) != of()
    else:
        assert of(BODY.replace(one, other)) == of()


@pytest.mark.parametrize("pair", [("1", "1.0"), ("2 * 3", "6"), ("1 / 2", "0.5")])
def test_a_number_is_what_it_is_worth(pair):
    assert of(f"u = scale(a, {pair[0]})\n") == of(f"u = scale(a, factor = {pair[1]})\n")


def test_channels_count_by_their_numbers():
    named = of("u = a[vx] |> linear(out = 3)\n", a="D -> R^{p, vx, vy}")
    assert named == of("u = a[1] |> linear(out = 3)\n")
    assert named != of("u = a[2] |> linear(out = 3)\n")


def test_promises_do_not_count():
    assert of(domain="grid(x: 0..1, y: 0..1, boundary = periodic, min = 64, max = 128)") == of()


def test_a_repeat_is_what_it_repeats():
    long = "u = linear(linear(linear(a, out = 3), out = 3), out = 3)\n"
    assert of("u = a |> repeat 3 { linear(out = 3) }\n") == of(long)


# ----------------------------------------------------------------------- what counts

CHANGES = [
    ("|> gelu()", ""),
    ("gelu()", "silu()"),
    ("modes = 4", "modes = 5"),
    ("modes = 4", "modes = (4, 5)"),
    ("rank = 0.5", "rank = 0.25"),
    ("factor = cp", "factor = tucker"),
    ("rank = 0.5, factor = cp", "separable = true"),
    ("rank = 0.5, factor = cp", "layout = neuralop"),
    ("modes = 3", "modes = 3, bias = false"),
    (" shared", ""),
    ("repeat 2", "repeat 3"),
    ("residual { linear(out = 8) |> tanh() }", "linear(out = 8) |> tanh()"),
    ("sub(q, r)", "sub(r, q)"),
    ("q * r", "q * q"),
    ("concat(sub(q, r), q * r)", "concat(q * r, sub(q, r))"),
    ("groups = 2", "groups = 4"),
    ("kind = group, groups = 2", "kind = layer"),
    ("[mask, b, c]", "[b, mask, c]"),
    ("linear(out = 8)", "linear(out = 16) |> linear(out = 8)"),
    ("u = w + ", "u = w - "),
]


@pytest.mark.parametrize(("one", "other"), CHANGES, ids=lambda x: x.strip() or "nothing")
def test_what_changes_weights_or_function_counts(one, other):
    assert one in BODY
    assert of(BODY.replace(one, other, 1)) != of()


def test_no_two_changes_are_the_same():
    found = {of(BODY.replace(one, other, 1)) for one, other in CHANGES}
    assert len(found) == len(CHANGES)


@pytest.mark.parametrize(
    "domain",
    [
        "grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 33)",
        "grid(x: 0..1, y: 0..2, boundary = periodic, min = 33)",
        "grid(x: 0..1, boundary = periodic, min = 33)",
        "grid(x: 0..1, y: 0..1, boundary = periodic, fixed = 33)",
    ],
)
def test_the_ends_boundary_and_size_of_a_domain_count(domain):
    assert of(domain=domain) != of()


def test_where_a_sphere_has_its_latitudes_counts():
    body = "u = linear(a, out = 3)\n"
    one, two = (f"sphere(lat, lon, sampling = {x})" for x in ("lobatto", "equiangular"))
    assert of(body, domain=one) != of(body, domain=two)


def test_the_measure_and_the_period_of_points_count_where_they_are_not_the_usual_ones():
    body, said = "u = linear(a, out = 3)\n", ("", ", measure = voronoi", ", period = (1, none)")
    found = {of(body, domain=f"points(2{x})") for x in (*said, ", period = (none, 1)")}
    assert len(found) == 4
    assert of(body, domain="points(2, measure = uniform)") == of(body, domain="points(2)")
    assert of(body, domain="mesh(2, measure = given)") == of(body, domain="mesh(2)")


def test_complex_functions_are_not_real_ones():
    real = text("u = a + a\n")
    assert fingerprint(load(real)) != fingerprint(load(real.replace("R^3", "C^3")))


def test_the_modes_of_a_spectrum_count():
    body = "  u = ifft(k)\n  k = fft(a, modes = {}) |> linear(out = 3)\n"
    assert of(body.format(4)) == of(body.format("(4, 4)"))
    assert of(body.format(4)) != of(body.format(5))


def test_feedback_counts():
    assert of(f"{BODY}  feedback u -> a\n") != of()


def test_the_name_of_the_fed_output_does_not_count():
    source = text(f"{BODY}  feedback u -> a\n")
    other = re.sub(r"\bu\b", "result", source)
    assert fingerprint(load(source)) == fingerprint(load(other))


@settings(max_examples=16, deadline=None)
@given(SEEDS)
def test_one_layer_more_is_another_function(seed):
    made = program(seed)
    source = made.text()
    last = source.rstrip().removesuffix("}")
    changed = re.sub(r"output u : D -> R\^2", "output t : D -> R^2", f"{last}  t = sin(u)\n}}\n")
    assert fingerprint(load(source)) != fingerprint(load(changed))


# ----------------------------------------------- words that mean the same in every block


def needs(block, case):
    return [(x.domain, x.axis, x.points) for x in block.bounds(*case.spaces)]


@pytest.mark.parametrize("case", on_one_axis(CASES), ids=str)
def test_a_parameter_means_what_the_fingerprint_takes_it_for(case):
    from opdsl.ir.graph import Node
    from tests.hand_built import SOURCE

    names = tuple(f"a{i}" for i in range(len(case.spaces)))
    span = SOURCE.span(0, 1)
    node = Node(path="k", block=case.block, inputs=names, space=case.result, spans=(span,))
    said = type(case.block)(**meant(node, case.spaces))
    assert said.infer(*case.spaces) == case.result
    assert said.cost(*case.spaces) == case.block.cost(*case.spaces)
    assert needs(said, case) == needs(case.block, case)
    shapes = [
        {k: x.shape for k, x in y.lower(*case.spaces).state_dict().items()}
        for y in (said, case.block)
    ]
    assert shapes[0] == shapes[1]


AROUND = "u = gno(a, to = D, radius = 0.1, kernel = [4]{})\n"


def test_a_period_of_points_means_that_distances_go_around_it():
    torus = "points(2, period = (1.0, none))"
    default, on, off = (
        of(AROUND.format(x), domain=torus) for x in ("", ", wrap = true", ", wrap = false")
    )
    assert default == on != off


def test_without_a_period_nothing_goes_around():
    default, off = (of(AROUND.format(x), domain="points(2)") for x in ("", ", wrap = false"))
    assert default == off
