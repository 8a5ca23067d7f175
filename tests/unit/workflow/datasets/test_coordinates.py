"""Coordinates of files against the domains of programs: every kind of difference, with its cure.

The points of the files are made here by NumPy, from linspace and closed forms.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import opdsl
from opdsl.data.bind.coordinates import AxisCoordinates, coordinate_difference
from opdsl.data.bind.samples import Fields
from opdsl.diagnostics import OpError
from opdsl.workflow.datasets.coordinates.comparison import compare_with_domains

MODEL = """edition 2026

model M {{
  {domains}
  input a : {on} -> R^1
  output u : {on} -> R^1

  u = a |> linear(out = 1)
}}
"""


def graph_of(domains, on="D"):
    return opdsl.load(MODEL.format(domains=domains, on=on))


def fields_of(axes, boundary=None, unit="", **more):
    """A data set on these axes, stored as files store coordinates: in float32."""
    shape = tuple(len(x) for x in axes.values())
    values = torch.arange(float(np.prod(shape))).reshape(1, 1, *shape)
    boundary = boundary or {}
    coordinates = {
        k: AxisCoordinates(
            np.float32(x).astype(np.float64), boundary.get(k, (None, None)), unit, **more
        )
        for k, x in axes.items()
    }
    roles = {"a": "input", "u": "output"}
    return data_set(dict.fromkeys(roles, values), tuple(axes), shape, coordinates)


def data_set(values, axes, shape, coordinates):
    roles = {"a": "input", "u": "output"}
    return Fields("set", values, roles, axes, shape, (), "file", "", coordinates=coordinates)


def compared(domains, fields, on="D", check="check"):
    graph = graph_of(domains, on)
    return compare_with_domains((*graph.inputs, *graph.outputs), fields, check)


def faults(domains, fields, on="D"):
    with pytest.raises(OpError) as caught:
        compared(domains, fields, on)
    return caught.value.diagnostics


def fault(domains, fields, on="D"):
    (one,) = faults(domains, fields, on)
    return one


def texts(diagnostic):
    return [x.text for x in diagnostic.helps]


def declared(diagnostic):
    """The domain that a message says to write."""
    (text,) = [x for x in texts(diagnostic) if x.startswith("declare what the file has")]
    return text.removeprefix("declare what the file has: `").removesuffix("`")


def agrees(domains, fields, on="D"):
    same, warnings = compared(domains, fields, on)
    assert same is fields
    assert warnings == ()


# ---------------------------------------------------------------------------------- what agrees


@pytest.mark.parametrize("n", [2, 33, 1024, 1025, 8192, 65536])
@pytest.mark.parametrize("hi", [1, 6.283185307179586, 200])
def test_float32_coordinates_agree_at_every_resolution(n, hi):
    agrees(f"domain D = grid(x: 0..{hi})", fields_of({"x": np.linspace(0, hi, n)}))
    periodic = np.linspace(0, hi, n, endpoint=False)
    agrees(f"domain D = grid(x: 0..{hi}, boundary = periodic)", fields_of({"x": periodic}))


@pytest.mark.parametrize(
    ("word", "points"),
    [
        ("both", np.linspace(1, 3, 9)),
        ("lower", np.linspace(1, 3, 9)[:-1]),
        ("upper", np.linspace(1, 3, 9)[1:]),
        ("interior", np.linspace(1, 3, 9)[1:-1]),
        ("centres", (np.linspace(1, 3, 9)[1:] + np.linspace(1, 3, 9)[:-1]) / 2),
    ],
)
def test_each_sampling_has_its_points(word, points):
    for other in ("both", "lower", "upper", "interior", "centres"):
        program = f"domain D = grid(x: 1..3, sampling = {other})"
        if word == other:
            agrees(program, fields_of({"x": points}))
        else:
            found = fault(program, fields_of({"x": points}))
            assert found.code == "OP0657"
            agrees(declared(found), fields_of({"x": points}))
            assert "x: 1..3" in declared(found)


def test_a_shift_of_a_thousandth_of_the_spacing_is_seen_and_of_a_hundred_thousandth_is_not():
    points = np.linspace(0, 1, 1025)
    agrees("domain D = grid(x)", fields_of({"x": points + 1e-5 / 1024}))
    assert fault("domain D = grid(x)", fields_of({"x": points + 1e-3 / 1024})).code == "OP0657"


def test_a_file_without_coordinates_agrees_with_every_domain():
    fields = fields_of({"x": np.linspace(0, 7, 9)})
    bare = data_set(fields.values, ("x",), (9,), {})
    agrees("domain D = grid(x: 0..1, boundary = periodic)", bare)


def test_one_point_and_domains_without_two_ends_are_not_compared():
    agrees("domain D = grid(x)", fields_of({"x": [0.3]}))
    agrees("domain D = points(2)", fields_of({"x": np.linspace(0, 5, 4)}))


# ----------------------------------------------------------------------------------- what differs


def test_other_ends_are_named_with_both_values_and_the_domain_to_write():
    axes = {"x": np.linspace(0, 200, 33), "y": np.linspace(0, 1, 17)}
    found = fault("domain D = grid(x: 0..1, y: 0..1, min = 9)", fields_of(axes))
    assert found.code == "OP0657"
    assert found.notes == ("the file: x = 0 .. 200; the program: x: 0..1",)
    assert declared(found) == "domain D = grid(x: 0..200, y: 0..1, min = 9)"
    assert 'coordinates = "ignore"' in texts(found)[-1]


def test_points_at_both_ends_of_a_periodic_axis_lack_the_period():
    program = "domain D = grid(x: 0..1, boundary = periodic)"
    found = fault(program, fields_of({"x": np.linspace(0, 1, 33)}))
    assert "the file: x = 0 .. 1; the program: x: 0..1, boundary = periodic" in found.notes[0]
    assert "its 33 points are 0 .. 0.969697" in found.notes[0]
    assert declared(found) == "domain D = grid(x: 0..1.03125, boundary = periodic)"


def test_points_in_unequal_steps_are_named_with_the_steps():
    found = fault("domain D = grid(x: 0..1)", fields_of({"x": np.linspace(0, 1, 11) ** 3}))
    assert found.notes == (
        "the file: x = 0 .. 1, unequal steps of 0.001 to 0.271; the program: x: 0..1",
    )
    assert "interpolate" in texts(found)[0]
    assert not any("declare" in x for x in texts(found))


@pytest.mark.parametrize(
    ("points", "word", "cure"),
    [
        (np.linspace(1, 0, 9), "descending", "reverse"),
        ([0, 0.5, 0.25, 1], "neither ascending nor descending", "sort"),
        ([0, np.nan, 1], "not finite", "repair"),
        ([0.5, 0.5, 0.5], "neither ascending nor descending", "sort"),
    ],
)
def test_what_no_grid_has_is_named(points, word, cure):
    found = fault("domain D = grid(x: 0..1)", fields_of({"x": points}))
    assert word in found.notes[0]
    assert cure in texts(found)[0]


def test_coordinates_of_each_sample_are_no_grid():
    found = fault("domain D = grid(x)", fields_of({"x": np.linspace(0, 1, 9)}, varying=True))
    assert "others in other samples" in found.notes[0]


def test_fewer_coordinates_than_points_are_named_with_both_numbers():
    fields = fields_of({"x": np.linspace(0, 1, 9)})
    found = fault("domain D = grid(x)", data_set(fields.values, ("x",), (8,), fields.coordinates))
    both = "the file: x has 9 coordinates; the program: there are values on 8 points"
    assert found.notes == (both,)


def test_exchanged_axes_are_known_by_their_names():
    axes = {"y": np.linspace(0, 2, 9), "x": np.linspace(0, 1, 5)}
    found = fault("domain D = grid(x: 0..1, y: 0..2)", fields_of(axes))
    assert found.notes == ("the file: the axes are y, x; the program: the axes are x, y",)
    assert declared(found) == "domain D = grid(y: 0..2, x: 0..1)"
    agrees(declared(found), fields_of(axes))
    found = fault("domain D = grid(x: 0..1, y: 0..3)", fields_of(axes))
    assert declared(found) == "domain D = grid(y: 0..2, x: 0..1)"


def test_axes_of_other_names_are_compared_in_their_order():
    agrees("domain D = grid(s: 0..1, r: 0..2)", fields_of({"x": [0, 0.5, 1], "y": [0, 1, 2]}))


def test_the_factors_of_a_product_are_compared_each():
    domains = "domain X = grid(x: 0..1, boundary = periodic)\n  domain T = interval(t: 0..2)"
    times = np.linspace(0, 2, 5)
    agrees(domains, fields_of({"x": [0, 0.25, 0.5, 0.75], "t": times}), "X * T")
    found = fault(domains, fields_of({"x": [0, 0.25, 0.5, 0.75], "t": times / 2}), "X * T")
    assert found.message.endswith("`T`")
    assert declared(found) == "domain T = interval(t: 0..1)"
    found = fault(domains, fields_of({"t": times, "x": [0, 0.25, 0.5, 0.75]}), "X * T")
    assert found.notes == ("the file: the axes are t, x; the program: the axes are x, t",)


NUMBERS = st.floats(-1000, 1000, allow_nan=False).map(lambda x: round(x, 3))


@given(
    st.integers(3, 200),
    NUMBERS,
    st.floats(0.01, 500),
    st.sampled_from(["both", "lower", "upper", "interior", "centres"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_the_message_says_to_write_agrees_with_the_file(n, lo, length, word, periodic):
    places = {
        "both": np.linspace(0, 1, n),
        "lower": np.arange(n) / n,
        "upper": np.arange(1, n + 1) / n,
        "interior": np.arange(1, n + 1) / (n + 1),
        "centres": (np.arange(n) + 0.5) / n,
    }[word]
    boundary = {"x": ("periodic", "periodic")} if periodic else {}
    fields = fields_of({"x": lo + length * places}, boundary)
    try:
        compared("domain D = grid(x: 0..1)", fields)
    except OpError as error:
        (found,) = error.diagnostics
        agrees(declared(found), fields)


# ---------------------------------------------------------------------------- boundary conditions


WALLS = {"x": ("wall", "wall")}
RING = {"x": ("periodic", "periodic")}
LINE = np.linspace(0, 1, 9)


@pytest.mark.parametrize(
    ("program", "boundary", "points"),
    [
        ("none", WALLS, LINE),
        ("dirichlet", WALLS, LINE),
        ("neumann..dirichlet", {"x": ("open", "wall")}, LINE),
        ("periodic", RING, LINE[:-1]),
        ("none", RING, LINE),
        ("dirichlet..none", {"x": ("wall", None)}, LINE),
        ("periodic", {"x": (None, None)}, LINE[:-1]),
    ],
)
def test_boundary_conditions_that_can_be_agree(program, boundary, points):
    agrees(f"domain D = grid(x, boundary = {program})", fields_of({"x": points}, boundary))


def test_walls_declared_periodic_are_refused_with_both_words():
    program = "domain D = grid(x: 0..1, boundary = periodic)"
    points, ends = faults(program, fields_of({"x": LINE}, WALLS))
    assert points.code == "OP0657"
    assert ends.code == "OP0658"
    assert ends.notes == ("the file: boundary of x = wall; the program: boundary of x = periodic",)
    assert "dirichlet" in texts(ends)[0]
    assert declared(points) == "domain D = grid(x: 0..1)"
    alone = fault(program, fields_of({"x": LINE[:-1]}, {"x": (None, "open")}))
    assert alone.code == "OP0658"
    assert "boundary of x = unknown..open" in alone.notes[0]


@pytest.mark.parametrize("word", ["dirichlet", "neumann", "none..dirichlet"])
def test_a_ring_declared_with_conditions_is_refused(word):
    program = f"domain D = grid(x: 0..1, boundary = {word}, sampling = lower)"
    found = fault(program, fields_of({"x": LINE[:-1]}, RING))
    assert found.code == "OP0658"
    assert f"the file: boundary of x = periodic; the program: boundary of x = {word}" in found.notes
    assert declared(found) == "domain D = grid(x: 0..1, boundary = periodic)"


# ------------------------------------------------------------------------- overrides, other files


def test_the_override_takes_the_values_as_they_are():
    fields = fields_of({"x": np.linspace(0, 200, 9)})
    assert compared("domain D = grid(x)", fields, check="ignore") == (fields, ())


def test_a_warning_names_both_values_too():
    fields = fields_of({"x": np.linspace(0, 200, 9)})
    same, (warning,) = compared("domain D = grid(x)", fields, check="warn")
    assert same is fields
    assert warning.severity == "warning"
    assert warning.notes[0] == "the file: x = 0 .. 200; the program: x: 0..1"
    assert "earlier version" in warning.notes[1]


def test_two_files_agree_within_rounding_and_differ_in_words():
    a, b = (fields_of({"x": np.linspace(0, hi, 9)}).coordinates for hi in (1, 1 + 1e-8))
    assert coordinate_difference(a, b) is None
    longer = fields_of({"x": np.linspace(0, 2, 9)}).coordinates
    assert coordinate_difference(a, longer) == ("x = 0 .. 1 (9 points)", "x = 0 .. 2 (9 points)")
    assert coordinate_difference(a, {}) == ("x = 0 .. 1 (9 points)", "no coordinates of `x`")
    bent = fields_of({"x": np.linspace(0, 1, 9) ** 2}).coordinates
    assert coordinate_difference(a, bent) == ("x[4] = 0.5", "x[4] = 0.25")
    walls = fields_of({"x": LINE}, WALLS).coordinates
    assert "wall" in coordinate_difference(a, walls)[1]
