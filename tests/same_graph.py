"""Whether two graphs are one up to the names of their nodes."""

from opdsl.ir.graph import Graph


def assert_same(a: Graph, b: Graph) -> None:
    """Equal inputs, outputs and domains; nodes that correspond to each other one to one."""
    assert [(x.name, x.space) for x in a.inputs] == [(x.name, x.space) for x in b.inputs]
    assert [(x.name, x.space) for x in a.outputs] == [(x.name, x.space) for x in b.outputs]
    assert {x.name: x for x in a.domains}.items() <= {x.name: x for x in b.domains}.items()
    assert [(x.output, x.input) for x in a.feedback] == [(x.output, x.input) for x in b.feedback]
    assert len(a.nodes) == len(b.nodes)
    there = _correspondence(a, b)
    back = {y: x for x, y in there.items()}
    assert len(back) == len(there)
    for path, other in there.items():
        if path in a.by_path:
            _assert_node(a.by_path[path], b.by_path[other], there)


def _assert_node(one, two, there):
    assert (one.block, one.space) == (two.block, two.space)
    assert tuple(there[x] for x in one.inputs) == two.inputs
    assert there.get(one.shares or "", None) == two.shares


def _correspondence(a, b):
    """From each path in `a` to that in `b`, as the outputs reach them; the rest in order."""
    there = {x.name: y.name for x, y in zip(a.inputs, b.inputs, strict=True)}
    stack = [(x.source, y.source) for x, y in zip(a.outputs, b.outputs, strict=True)]
    while stack:
        x, y = stack.pop()
        if x in there:
            assert there[x] == y
        else:
            there[x] = y
            stack += zip(a.by_path[x].inputs, b.by_path[y].inputs, strict=True)
    return there
