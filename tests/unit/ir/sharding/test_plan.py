"""Plans of sharding: layouts, the rule of each block, bytes by hand, and refusals."""

import pytest

from opdsl.compiler import load
from opdsl.diagnostics import OpError
from opdsl.ir.sharding.choice import resolve_space
from opdsl.ir.sharding.plan import plan_sharding

GRID = "grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)"


def model(lines, domain=GRID, ports="input v : D -> R^4\n  output w : D -> R^4"):
    return load(f"edition 2026\nmodel M {{\n  domain D = {domain}\n  {ports}\n  {lines}\n}}\n")


def plan(graph, ranks=2, axis="x", size=(12, 10), **more):
    sizes = {x.name: size[: x.dims] for x in graph.domains}
    return plan_sharding(graph, ranks, axis, sizes, **more)


def node(lines, **more):
    """The plan of the one node whose result is the output, along x."""
    graph = model(lines, **{k: more.pop(k) for k in ("domain", "ports") if k in more})
    result = plan(graph, **more)
    return result.nodes[graph.outputs[0].source]


def code(function, *arguments, **named):
    with pytest.raises(OpError) as caught:
        function(*arguments, **named)
    return caught.value.diagnostics[0]


def test_functions_have_types_with_the_axis_and_vectors_none():
    graph = model(
        "w = modulate(v |> linear(out = 4), integrate(v) |> linear(out = 3))",
    )
    result = plan(graph)
    assert result.type_of("v") == "D -> R^4 @ x"
    assert result.type_of(graph.outputs[0].source) == "D -> R^4 @ x"
    vectors = [x for x in graph.nodes if x.space.domain.kind == "vector"]
    assert {x.keyword: result.type_of(x.path) for x in vectors} == {
        "integrate": "R^4",
        "linear": "R^3",
    }
    rules = {x.keyword: result.nodes[x.path].rule.kind for x in graph.nodes if x in vectors}
    assert rules == {"integrate": "reduce", "linear": "replicated"}


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("w = linear(v, out = 4)", "local"),
        ("w = v |> gelu()", "local"),
        ("w = conv(v, out = 4, kernel = 5)", "halo"),
        ("w = difference_conv(v)", "halo"),
        ("w = disco_conv(v, radius = 0.2)", "halo"),
        ("w = norm(v, kind = layer)", "local"),
        ("w = norm(v)", "reduce"),
        ("w = norm(v, kind = batch)", "reduce"),
        ("w = divergence_free(v)", "channels"),
        ("w = slice_attention(v, slices = 3)", "reduce"),
        ("w = attention(v, kind = galerkin)", "reduce"),
        ("w = attention(v)", "gather"),
        ("w = spectral_conv(v, modes = 3)", "spectral"),
        ("w = codomain_attention(v, v, v, variables = 2)", "reduce"),
    ],
)
def test_the_rule_of_a_block(lines, kind):
    assert node(lines).rule.kind == kind


def test_a_halo_is_as_wide_as_the_stencil_and_counts_both_neighbours():
    line = node("w = conv(v, out = 4, kernel = 5)", batch=3, ranks=3)
    assert line.rule.points == 2
    (halo,) = line.exchanges
    # 2 points to each of two neighbours, 10 points of y, 4 channels, 3 samples, 4 bytes
    assert halo.sent == (2 * 2 * 10 * 4 * 3 * 4,) * 3
    assert halo.sent_backward == (0, 0, 0)  # v depends on no weights


def test_ends_of_an_axis_that_does_not_close_exchange_nothing():
    walls = "grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 9)"
    (halo,) = node(
        "w = conv(v, out = 4, kernel = 5, edges = zeros)", domain=walls, ranks=3
    ).exchanges
    one = 2 * 10 * 4 * 4
    assert halo.sent == (one, 2 * one, one)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_partial_sums_send_coefficients_by_hand(dtype):
    line = node("w = spectral_conv(v, modes = 2, out = 6)", ports=WIDER, dtype=dtype, size=(64, 10))
    assert line.rule.strategy == "partial_sums"
    assert line.rule.counts == (5, 3)
    there, back = line.exchanges
    number = 8 if dtype == "float64" else 4  # coefficients are in float32 at least
    # 15 modes in parts of 8 and 7, complex
    assert (there.kind, there.sent) == ("reduce_scatter", (7 * 4 * 2 * number, 8 * 4 * 2 * number))
    assert (back.kind, back.sent) == ("all_gather", (8 * 6 * 2 * number, 7 * 6 * 2 * number))
    assert there.sent_backward == (0, 0)
    assert back.sent_backward == (7 * 6 * 2 * number, 8 * 6 * 2 * number)


WIDER = "input v : D -> R^4\n  output w : D -> R^6"


def test_a_transpose_sends_less_where_most_frequencies_are_kept():
    line = node(
        "w = spectral_conv(v, modes = (4, 2), out = 6)", ports=WIDER, size=(12, 10), ranks=4
    )
    assert line.rule.strategy == "transpose"
    there, back = line.exchanges
    # 3 points of x each; modes 0, 1, 2 of y for three processes, none for the last
    complex_bytes = 8
    assert there.sent == tuple(3 * k * 4 * complex_bytes for k in (2, 2, 2, 3))
    assert back.sent == tuple((12 - 3) * own * 6 * complex_bytes for own in (1, 1, 1, 0))


def test_the_cheaper_strategy_is_chosen_and_changes_with_the_size():
    line = "w = spectral_conv(v, modes = 3)"
    assert node(line, size=(12, 10), ranks=4).rule.strategy == "transpose"
    assert node(line, size=(200, 10), ranks=4).rule.strategy == "partial_sums"


def test_half_waves_have_real_coefficients_of_every_term():
    walls = "grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 9)"
    line = node("w = spectral_conv(v, modes = 4, basis = auto)", domain=walls, size=(64, 10))
    assert line.rule.width == 1
    assert line.rule.terms == 2
    there, _ = line.exchanges
    assert there.sent == (8 * 4 * 2 * 4, 8 * 4 * 2 * 4)


def test_a_norm_sums_two_moments_of_each_channel_or_group():
    assert node("w = norm(v)").rule.numbers == 8
    assert node("w = norm(v, kind = group, groups = 2)").rule.numbers == 4
    batch = node("w = norm(v, kind = batch)", batch=5)
    assert batch.exchanges[0].sent == (8 * 4, 8 * 4)  # once for all samples
    assert node("w = norm(v)", batch=5).exchanges[0].sent == (5 * 8 * 4, 5 * 8 * 4)


def test_padding_moves_the_points_that_other_processes_have():
    graph = load("""edition 2026
model P {
  domain D = grid(x: 0..1, min = 8)
  domain E = extend(D, fraction = 1/2, sides = both)
  input v : D -> R^1
  output w : D -> R^1
  w = v |> pad(to = E) |> crop(to = D)
}
""")
    result = plan(graph, ranks=2, size=(9,))  # E has 12 points: 1 before, 2 behind
    pad, crop = (result.nodes[x.path] for x in graph.nodes)
    assert (pad.rule.kind, pad.rule.before) == ("shift", 1)
    assert (crop.rule.kind, crop.rule.before) == ("shift", -1)
    # D: 0-4 | 5-8; E: 0-5 | 6-11, which are points -1-4 | 5-10 of D
    assert pad.exchanges[0].sent == (0, 0)
    assert crop.exchanges[0].sent == (0, 0)


def test_padding_at_one_end_moves_points_down():
    graph = load("""edition 2026
model P {
  domain D = grid(x: 0..1, min = 8)
  domain E = extend(D, fraction = 1/2)
  input v : D -> R^3
  output w : E -> R^3
  w = v |> pad(to = E)
}
""")
    result = plan(graph, ranks=2, size=(9,))
    # D: 0-4 | 5-8; E: 0-5 | 6-11: point 5 moves from the second process to the first
    assert result.nodes[graph.nodes[0].path].exchanges[0].sent == (0, 1 * 3 * 4)


def test_outputs_are_gathered_without_an_exchange_of_gradients():
    result = plan(model("w = linear(v, out = 4)"), ranks=2, size=(5, 2))
    layout, gather = result.outputs["w"]
    assert layout.axis == 0
    assert gather.kind == "all_gather"
    assert gather.sent == (3 * 2 * 4 * 4, 2 * 2 * 4 * 4)
    assert gather.sent_backward == (0, 0)
    assert result.exchanges == (gather,)
    assert result.sent() == gather.sent


def test_gradients_are_exchanged_where_weights_come_before():
    graph = model("w = v |> linear(out = 4) |> conv(out = 4, kernel = 3)")
    halo, _ = plan(graph).exchanges
    assert halo.sent_backward == halo.sent
    halo, _ = plan(model("w = v |> gelu() |> conv(out = 4, kernel = 3)")).exchanges
    assert halo.sent_backward == (0, 0)


def test_auto_takes_the_axis_with_the_fewest_bytes():
    long = model("w = conv(v, out = 4, kernel = 3)")
    # a halo is one line of the other axis
    assert plan(long, axis="auto", size=(64, 8)).axis.name == "x"
    assert plan(long, axis="auto", size=(8, 64)).axis.name == "y"


def test_auto_leaves_out_axes_that_cannot_be_divided():
    sphere = "sphere(lat, lon, min = (8, 16))"
    graph = model("w = spherical_conv(v, lmax = 3)", domain=sphere)
    result = plan(graph, axis="auto", size=(8, 16))
    assert result.axis.name == "lat"
    assert result.nodes["w"].rule.counts == (4, 4)
    diagnostic = code(plan, graph, axis="lon", size=(8, 16))
    assert diagnostic.code == "OP0820"
    assert "`spherical_conv` can be divided along latitudes only" in diagnostic.message


def test_a_block_without_a_rule_is_named_at_its_place():
    diagnostic = code(plan, model("w = axis_conv(v, modes = 2)"))
    assert diagnostic.code == "OP0820"
    assert "`axis_conv` needs the whole axis `x`" in diagnostic.message
    assert diagnostic.labels[0].span.text == "axis_conv(v, modes = 2)"


def test_points_are_named_as_the_reason():
    graph = load("""edition 2026
model G {
  domain P = points(2)
  domain D = grid(x: 0..1, y: 0..1, size = 8)
  input v : P -> R^4
  output w : D -> R^4
  w = v |> gno(to = D, radius = 0.3)
}
""")
    with pytest.raises(OpError) as caught:
        plan_sharding(graph, 2, "x", {"P": (20,), "D": (8, 8)})
    assert "the points `P`" in caught.value.diagnostics[0].message


def test_fewer_points_than_processes_are_refused_on_the_coarsest_grid():
    graph = model("w = v |> resample(to = D / 4) |> resample(to = D)")
    diagnostic = code(plan, graph, ranks=4)
    assert diagnostic.code == "OP0821"
    assert diagnostic.message == "4 processes cannot divide 3 points of `D/4` along `x`"
    assert plan(graph, ranks=3).ranks == 3


def test_an_unknown_axis_is_answered_with_those_that_there_are():
    graph = load("""edition 2026
model N {
  domain D = grid(north: 0..1, east: 0..1, min = 8)
  input v : D -> R^1
  output w : D -> R^4
  w = linear(v, out = 4)
}
""")
    diagnostic = code(plan, graph, axis="noth")
    assert diagnostic.code == "OP0822"
    assert diagnostic.notes == ("the axes are: north, east",)
    assert "north" in diagnostic.helps[0].text
    assert plan(graph, axis="D.east").axis.name == "east"
    assert code(plan, graph, axis="E.east").code == "OP0822"


@pytest.mark.parametrize(
    ("space", "world", "batch", "expected"),
    [
        (1, 4, 8, (1, "auto")),
        (2, 4, 8, (2, "auto")),
        ({"y": 2}, 4, 8, (2, "y")),
        ({"x": 1, "y": 2}, 4, 8, (2, "y")),
        ("auto", 4, 8, (1, "auto")),
        ("auto", 8, 2, (4, "auto")),
        ("auto", 6, 2, (3, "auto")),
        ("auto", 4, 1, (4, "auto")),
    ],
)
def test_the_setting_space_is_a_number_and_an_axis(space, world, batch, expected):
    assert resolve_space(model("w = linear(v, out = 4)"), space, world, batch) == expected


def test_two_axes_at_once_are_refused():
    diagnostic = code(resolve_space, model("w = linear(v, out = 4)"), {"x": 2, "y": 2}, 4, 8)
    assert diagnostic.code == "OP0822"
    assert "space = 4" in diagnostic.helps[0].text


def test_an_axis_with_one_part_must_be_one_of_the_model():
    diagnostic = code(resolve_space, model("w = linear(v, out = 4)"), {"x": 2, "q": 1}, 2, 8)
    assert diagnostic.code == "OP0822"
    assert "`q`" in diagnostic.message


def test_one_process_exchanges_nothing():
    graph = model("w = v |> spectral_conv(modes = 3) |> norm() |> conv(out = 4, kernel = 3)")
    assert plan(graph, ranks=1).sent() == (0,)
