"""What is drawn: folding, closing, labels."""

import pytest

from opdsl import blocks
from opdsl.compiler import load
from opdsl.ir.block import Block
from opdsl.ir.spaces import Space
from opdsl.render.fold import DrawingBox, Frame, folded_drawing
from tests.hand_built import Apply, Writer, fno, residual, square, uno


def titles(children):
    return [x.title for x in children]


def test_equal_layers_are_drawn_once_with_their_number():
    assert titles(folded_drawing(fno(last="gelu"), 1).children)[3] == "FourierLayer ×4"


def test_a_last_layer_without_activation_is_drawn_on_its_own():
    drawn = folded_drawing(fno()).children
    assert titles(drawn)[3:5] == ["FourierLayer ×3", "FourierLayer"]
    assert titles(drawn[3].children) == ["spectral_conv", "linear", "+", "gelu"]
    assert titles(drawn[4].children) == ["spectral_conv", "linear", "+"]


def test_a_repeat_of_one_is_not_numbered():
    assert titles(folded_drawing(fno(depth=1)).children)[3] == "FourierLayer"


def test_a_folded_repeat_has_no_arrow_back():
    arrows = folded_drawing(residual()).arrows
    assert not [x for x in arrows if x.tail.startswith("u.repeat") and x.head.endswith("norm")]


def test_every_arrow_joins_drawn_boxes():
    def keys(item):
        yield item.key
        for child in getattr(item, "children", ()):
            yield from keys(child)

    for graph in (fno(), uno(), residual()):
        for depth in (None, 0, 1, 2):
            drawn = folded_drawing(graph, depth)
            known = {k for x in (*drawn.inputs, *drawn.children, *drawn.outputs) for k in keys(x)}
            assert {y for x in drawn.arrows for y in (x.tail, x.head)} <= known


def test_a_last_layer_with_another_activation_is_drawn_on_its_own():
    assert titles(folded_drawing(fno(last="relu")).children)[3:5] == [
        "FourierLayer ×3",
        "FourierLayer",
    ]


PREVIOUS, OWN, SIDE = (
    "u.repeat.0.residual.add",
    "u.repeat.1.residual.fourier_layer.w.apply",
    "nu",
)


@pytest.mark.parametrize("inputs", [(OWN, "a"), (PREVIOUS, SIDE), (OWN, OWN)])
def test_iterations_that_read_elsewhere_differ(inputs):
    graph = residual(depth=2)
    assert titles(folded_drawing(graph).children).count("residual ×2") == 1
    nodes = tuple(
        x.model_copy(update={"inputs": inputs}) if x.path.endswith("1.residual.add_2") else x
        for x in graph.nodes
    )
    drawn = folded_drawing(graph.model_copy(update={"nodes": nodes}))
    assert titles(drawn.children).count("residual") == 2


@pytest.mark.parametrize(("depth", "kind"), [(0, DrawingBox), (1, Frame)])
def test_depth_closes_what_is_nested_deeper(depth, kind):
    assert {type(x) for x in folded_drawing(residual(), depth).children} == {kind}


def test_a_residual_at_depth_one_holds_a_closed_layer():
    frame = folded_drawing(residual(), 1).children[1]
    assert [x.title for x in frame.children if x.closed] == ["FourierLayer"]


def test_a_large_model_is_drawn_with_closed_layers():
    assert all(isinstance(x, DrawingBox) for x in folded_drawing(uno()).children)


def test_a_closed_layer_tells_the_parameters_of_its_integral():
    layer = next(x for x in folded_drawing(uno()).children if x.title == "FourierLayer")
    assert layer.details == ("modes = 16×16", "out = 64", "to = D/2")


def test_a_space_is_written_where_it_is_new():
    said = {(x.tail, x.head): x.label for x in folded_drawing(uno()).arrows}
    assert said["e1.fourier_layer", "e2.fourier_layer"] == "D/2 → R⁶⁴"
    assert said["e2.fourier_layer", "m.repeat.0.fourier_layer"] == "D/4 → R¹²⁸"
    assert said["m.repeat.0.fourier_layer", "d1.fourier_layer"] == ""


NESTED = """
edition 2026

model Nested {
  domain D = grid(x: 0..1, boundary = periodic, min = 33)
  input a : D -> R^4
  output u : D -> R^4

  u = a |> repeat 3 { repeat 2 { spectral_conv(modes = 3) |> gelu() } |> residual { norm() } }
}
"""


def test_a_repeat_in_a_repeat_is_folded_in_both():
    outer = folded_drawing(load(NESTED)).children[0]
    assert outer.title == "repeat ×3"
    assert titles(outer.children) == ["repeat ×2", "residual"]
    assert titles(outer.children[0].children) == ["spectral_conv", "gelu"]


def test_nothing_is_drawn_of_a_model_that_passes_its_input_on():
    text = NESTED.partition("  u = a")[0] + "  u = a\n}\n"
    drawn = folded_drawing(load(text))
    assert drawn.children == ()
    assert [(x.tail, x.head) for x in drawn.arrows] == [("in/a", "out/u")]


class Theirs(Apply):
    """A block of another package."""

    drawn_as = "integral"
    label = Block.label


def test_a_block_of_another_package_says_itself_how_it_is_drawn():
    p = Writer(a=Space(domain=square(), channels=2))
    for path, block in (("v", Theirs(act="gelu")), ("w", Apply(act="gelu"))):
        p.node(path, block, "a")
    drawn = folded_drawing(p.graph("Two", {"v": "v", "w": "w"}), depth=3).children
    assert [(x.title, x.kind) for x in drawn] == [("theirs", "integral"), ("gelu", "pointwise")]


@pytest.mark.parametrize("keyword", ["attention", "slice_attention", "gno", "multipole_gno"])
def test_what_sums_over_all_points_is_drawn_as_an_integral(keyword):
    assert blocks.find(keyword).drawn_as == "integral"
