import random

import pytest

from opdsl.blocks.domain.coords import Coords
from opdsl.blocks.domain.pad import Pad
from opdsl.blocks.pointwise.add import Add
from opdsl.blocks.pointwise.apply import Apply
from opdsl.blocks.pointwise.linear import Linear
from opdsl.blocks.pointwise.sub import Sub
from opdsl.blocks.spectral.resample import Resample
from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend
from tests.hand_built import SOURCE, Writer


def grid(name="D", axis="x", **more):
    return Domain(name=name, axes=(Axis(name=axis, **more),))


def layer(domain=None, names=("k", "s", "w", "u"), order=(0, 1, 2, 3), modes=4, act="gelu"):
    """u = linear(act(spectral_conv(a) + linear(a))); `order` is that of the statements."""
    domain = domain or grid()
    a = Space(domain=domain, channels=3)
    k, s, w, u = names
    parts = [
        (k, SpectralConv(modes=modes, out=3), ("a",)),
        (s, Linear(out=3), ("a",)),
        (w, Add(), (k, s)),
        (u, Apply(kind=act), (w,)),
    ]
    p = Writer(a=a)
    for i in order:
        p.node(parts[i][0], parts[i][1], *parts[i][2])
    return p.graph("Layer", {"v": u})


def test_a_fingerprint_is_a_sha256():
    assert len(bytes.fromhex(fingerprint(layer()))) == 32


@pytest.mark.parametrize(
    "other",
    [
        layer(names=("a1", "b", "c.repeat.0", "d")),
        layer(order=(1, 0, 2, 3)),
        layer(domain=grid("Omega")),
        layer(domain=grid(axis="t")),
        layer(domain=grid(min=33)),
        layer(domain=grid(min=32, multiple_of=4, max=512)),
        layer().model_copy(update={"name": "Other", "doc": "a comment"}),
        layer().model_copy(update={"params": {"width": 3}}),
    ],
    ids=["nodes", "order", "domain", "axis", "min", "multiple", "name", "parameter"],
)
def test_names_order_comments_and_promises_do_not_count(other):
    assert fingerprint(other) == fingerprint(layer())


@pytest.mark.parametrize(
    "other",
    [
        layer(modes=5),
        layer(act="tanh"),
        layer(domain=grid(boundary="periodic")),
        layer(domain=grid(lo=-1.0)),
        layer(domain=grid(hi=2.0)),
        layer(domain=grid(fixed=64)),
        layer(domain=grid(size=64)),
    ],
    ids=["modes", "act", "boundary", "lo", "hi", "fixed", "size"],
)
def test_what_changes_weights_or_function_counts(other):
    assert fingerprint(other) != fingerprint(layer())


def joined(same):
    """u = l(a) + l(a), with one layer used twice or two layers."""
    p = Writer(a=Space(domain=grid(), channels=2))
    one = p.node("l", Linear(out=2), "a")
    two = one if same else p.node("m", Linear(out=2), "a")
    return p.graph("Joined", {"u": p.node("u", Add(), one, two)})


def test_one_layer_used_twice_is_not_two_layers():
    assert fingerprint(joined(same=True)) != fingerprint(joined(same=False))


def test_a_node_that_no_output_needs_does_not_count():
    p = Writer(a=Space(domain=grid(), channels=2))
    p.node("dead", Linear(out=7), "a")
    u = p.node("u", Linear(out=2), "a")
    q = Writer(a=Space(domain=grid(), channels=2))
    assert fingerprint(p.graph("M", {"u": u})) == fingerprint(
        q.graph("M", {"u": q.node("u", Linear(out=2), "a")})
    )


def two_inputs(first, second, wires):
    p = Writer(
        **{first: Space(domain=grid(), channels=1), second: Space(domain=grid(), channels=1)}
    )
    return p.graph("M", {"u": p.node("u", Sub(), *wires)})


def test_inputs_count_by_place_not_by_name():
    assert fingerprint(two_inputs("a", "b", ("a", "b"))) == fingerprint(
        two_inputs("b", "a", ("b", "a"))
    )
    assert fingerprint(two_inputs("a", "b", ("a", "b"))) != fingerprint(
        two_inputs("b", "a", ("a", "b"))
    )


def two_outputs(**outputs):
    p = Writer(a=Space(domain=grid(), channels=1))
    p.node("s", Linear(out=1), "a")
    p.node("t", Linear(out=1), "s")
    return p.graph("M", outputs)


def test_several_outputs_count_by_name_not_by_order():
    first = fingerprint(two_outputs(u="s", v="t"))
    assert first == fingerprint(two_outputs(v="t", u="s"))
    assert first != fingerprint(two_outputs(u="t", v="s"))


def test_the_name_of_a_single_output_does_not_count():
    assert fingerprint(two_outputs(u="t")) == fingerprint(two_outputs(pressure="t"))


def test_two_declarations_are_not_one_even_if_they_are_alike():
    def model(other):
        p = Writer(a=Space(domain=grid(), channels=1), b=Space(domain=grid(other), channels=1))
        return p.graph(
            "M", {"u": p.node("u", Linear(out=1), "a"), "v": p.node("v", Linear(out=1), "b")}
        )

    assert fingerprint(model("D")) != fingerprint(model("E"))
    assert fingerprint(model("E")) == fingerprint(model("Omega"))


def test_domains_inside_of_parameters_count_as_they_are_reached():
    def model(name, factor):
        d = grid(name, boundary="periodic")
        p = Writer(a=Space(domain=d, channels=1))
        v = p.node("v", Resample(to=d.coarsened(factor)), "a")
        return p.graph("M", {"u": p.node("w", Resample(to=d), v)})

    assert fingerprint(model("D", 2)) == fingerprint(model("E", 2))
    assert fingerprint(model("D", 2)) != fingerprint(model("D", 3))


@pytest.mark.parametrize(
    ("more", "equal"),
    [
        ({"name": "F"}, True),
        ({"numerator": 2, "denominator": 4}, False),
        ({"numerator": 2}, False),
        ({"sides": "both"}, False),
        ({"rounding": "nearest"}, False),
        ({"rounding": "up"}, True),
    ],
)
def test_an_extension_counts_by_what_it_adds(more, equal):
    def model(**given):
        step = Extend(**({"name": "E", "numerator": 1, "denominator": 4} | given))
        p = Writer(a=Space(domain=grid(), channels=1))
        v = p.node("v", Pad(to=grid().extended(step)), "a")
        return p.graph("M", {"u": v})

    assert (fingerprint(model(**more)) == fingerprint(model())) is equal


def test_wiring_counts():
    def model(*wires):
        p = Writer(a=Space(domain=grid(), channels=2))
        p.node("s", Linear(out=2), "a")
        p.node("t", Linear(out=2), "s")
        return p.graph("M", {"u": p.node("u", Sub(), *wires)})

    found = {
        fingerprint(model(*wires)) for wires in (("s", "t"), ("t", "s"), ("a", "t"), ("t", "t"))
    }
    assert len(found) == 4


def test_an_output_that_is_an_input_counts():
    p = Writer(a=Space(domain=grid(), channels=2), b=Space(domain=grid(), channels=2))
    assert fingerprint(p.graph("M", {"u": "a"})) != fingerprint(p.graph("M", {"u": "b"}))


def test_a_model_without_inputs_on_a_node_has_a_fingerprint():
    p = Writer(a=Space(domain=grid(), channels=2))
    p.node("c", Coords(domain=grid()))
    assert fingerprint(p.graph("M", {"u": "c"})) != fingerprint(p.graph("M", {"u": "a"}))


def test_a_graph_deeper_than_pythons_stack_has_a_fingerprint():
    space = Space(domain=grid(), channels=1)
    span = SOURCE.span(0, 1)
    nodes = tuple(
        Node(
            path=f"n{i}",
            block=Apply(kind="gelu"),
            inputs=(f"n{i - 1}" if i else "a",),
            space=space,
            spans=(span,),
        )
        for i in range(3000)
    )
    graph = Graph(
        name="Deep",
        edition=2026,
        params={},
        domains=(space.domain,),
        inputs=(Port(name="a", space=space),),
        outputs=(Port(name="u", space=space, source="n2999"),),
        nodes=nodes,
    )
    assert len(fingerprint(graph)) == 64


def random_dag(seed, rename):
    """A dag of sums, its statements in a random order and its nodes named by `rename`."""
    draw = random.Random(seed)  # noqa: S311  a test's choices, no secret
    wires = [(draw.randrange(-1, i), draw.randrange(-1, i)) for i in range(12)]
    name = lambda i: "a" if i < 0 else rename(i)  # noqa: E731  one word for a wire's end
    return wires, name


@pytest.mark.parametrize("seed", range(20))
def test_any_topological_order_and_any_names_give_one_fingerprint(seed):
    def model(rename, shuffle):
        wires, name = random_dag(seed, rename)
        p, todo = Writer(a=Space(domain=grid(), channels=1)), list(range(len(wires)))
        while todo:
            ready = [i for i in todo if all(j < 0 or j not in todo for j in wires[i])]
            i = shuffle.choice(ready)
            todo.remove(i)
            p.node(name(i), Add(), *(name(j) for j in wires[i]))
        return p.graph("M", {"u": name(len(wires) - 1)})

    first = model(lambda i: f"n{i}", random.Random(1))  # noqa: S311  a test's choices
    second = model(lambda i: f"x.{97 - i}", random.Random(2))  # noqa: S311  a test's choices
    assert fingerprint(first) == fingerprint(second)
