"""Whole graphs: random typed ones and the published specs, lowered, planned, emitted, traced."""

import random
import warnings

import pytest
import torch

from opdsl import Geometry, Packed, blocks, compiler
from opdsl.diagnostics import OpError
from opdsl.export import emit_python
from opdsl.ir.axes import Axis
from opdsl.ir.live import live
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend
from opdsl.lower.module import lower
from opdsl.resources import root
from tests.hand_built import Writer

SEEDS = range(12)
ON_POINTS = {"fno_gno", "gino_car", "otno_car"}
# of random shapes in the plane, see tests/e2e/test_specs_shapes.py
ON_SHAPES = {
    "gno_mollified",
    "gno_poisson",
    "multipole_gno_poisson",
    "operator_transformer",
    "transolver",
}
FILES = sorted(root("specs").glob("*.op"), key=lambda x: x.name)
SPECS = [x for x in FILES if x.stem not in ON_POINTS | ON_SHAPES]
GRIDS = {1: ((11,), (16,)), 2: ((11, 14), (16, 9)), 3: ((9, 10, 11), (12, 9, 9))}
COARSEST = 9  # points on an axis of D, so that D/2 has 4 and keeps |k| <= 1


def block(keyword, **fields):
    return blocks.find(keyword)(**fields)


class Draw:
    """Writes a random graph of every kind of block; each step continues from any earlier node."""

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311  a test's choices, no secret
        self.dims = 1 + seed % 3
        axes = tuple(Axis(name=a, boundary="periodic", min=COARSEST) for a in "xyz"[: self.dims])
        self.d = Domain(name="D", axes=axes)
        step = Extend(
            name="E", numerator=1, denominator=3, sides=self.random.choice(("end", "both"))
        )
        self.e = self.d.extended(step)
        self.p = Writer(a=Space(domain=self.d, channels=2), b=Space(domain=self.d, channels=3))
        self.count = 0

    def graph(self, steps=14):
        for _ in range(steps):
            self.random.choice(self.MOVES)(self)
        names = list(self.p.spaces)
        return self.p.graph("Random", {"u": names[-1], "v": self.random.choice(names)})

    def node(self, keyword, *inputs, **fields):
        self.count += 1
        folder = self.random.choice(("u", "u.repeat.0", "forward", "n1"))
        return self.p.node(f"{folder}.n{self.count}", block(keyword, **fields), *inputs)

    def any(self):
        return self.random.choice(list(self.p.spaces))

    def plain(self):
        keyword, fields = self.random.choice(
            (
                ("linear", {"out": self.random.randint(1, 4)}),
                ("apply", {"kind": self.random.choice(("gelu", "tanh", "sin"))}),
                ("norm", {"kind": self.random.choice(("layer", "instance", "group"))}),
                ("skip", {"kind": self.random.choice(("identity", "soft", "linear"))}),
                ("scale", {"factor": 0.5}),
                ("dropout", {"p": 0.1}),
            )
        )
        self.node(keyword, self.any(), **fields)

    def spectral(self):
        x = self.any()
        domain = self.p.spaces[x].domain
        targets = (None,) if domain == self.e else (None, self.d, self.d.coarsened(2))
        to = self.random.choice(targets)
        self.node("spectral_conv", x, modes=1, out=self.random.randint(1, 3), to=to)

    def resample(self):
        x = self.any()
        if self.p.spaces[x].domain != self.e:
            to = self.random.choice((self.d, self.d.coarsened(2)))
            self.node("resample", x, to=to)

    def extend(self):
        x = self.any()
        if self.p.spaces[x].domain == self.d:
            self.node("pad", x, to=self.e)
        elif self.p.spaces[x].domain == self.e:
            self.node("crop", x, to=self.d)

    def join(self):
        x, y = self.any(), self.any()
        if self.p.spaces[x].domain == self.p.spaces[y].domain:
            same = self.p.spaces[x].channels == self.p.spaces[y].channels
            self.node(self.random.choice(("add", "sub", "mul")) if same else "concat", x, y)

    def place(self):
        self.node("coords", domain=self.random.choice((self.d, self.d.coarsened(2))))

    MOVES = (plain, plain, spectral, spectral, resample, extend, join, join, join, place)


def inputs(graph, grid, batch=2, dtype=torch.float32):
    shapes = [(batch, x.space.channels, *points(x.space.domain, grid)) for x in graph.inputs]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def points(domain, grid):
    """Of each factor, if it is a product, from the resolutions of the declared domains."""
    found = []
    for part in domain.parts:
        found += part.points(grid[: part.dims])
        grid = grid[part.dims :] or grid
    return found


def outputs(found):
    return found if isinstance(found, dict) else {"": found}


def expected_shapes(graph, grid, batch):
    return {x.name: (batch, x.space.channels, *x.space.domain.points(grid)) for x in graph.outputs}


@pytest.fixture(params=SEEDS)
def graph(request):
    torch.manual_seed(request.param)
    return Draw(request.param).graph()


def grids(graph):
    return GRIDS[graph.inputs[0].space.domain.dims]


def test_the_shape_of_every_output_is_the_space_that_was_inferred(graph):
    module = lower(graph)
    for grid in grids(graph):
        found = module(*inputs(graph, grid, batch=3))
        assert {k: tuple(x.shape) for k, x in found.items()} == expected_shapes(graph, grid, 3)


def test_there_are_as_many_weights_as_the_blocks_count(graph):
    counted = sum(x.block.cost(*graph.arguments(x)).params for x in live(graph))
    assert sum(x.numel() for x in lower(graph).parameters()) == counted


def test_every_kernel_gives_the_same_function(graph):
    module = lower(graph).double().eval()
    for grid in grids(graph):
        x, found = inputs(graph, grid, dtype=torch.float64), []
        for kernel in ("fft", "dft", None):
            module.force_kernel = kernel
            found.append(module(*x))
        for other in found[1:]:
            for name, y in found[0].items():
                torch.testing.assert_close(other[name], y, rtol=1e-10, atol=1e-10)


def test_the_emitted_source_computes_the_same(graph):
    namespace = {"__name__": "emitted"}
    exec(compile(emit_python(graph), "emitted.py", "exec"), namespace)  # noqa: S102  our own text
    module, other = lower(graph).double().eval(), namespace["Random"]().double().eval()
    other.load_state_dict(module.state_dict())
    for grid in grids(graph):
        x = inputs(graph, grid, dtype=torch.float64)
        expected, found = module(*x), other(*x)
        for name, y in expected.items():
            torch.testing.assert_close(found[name], y, rtol=1e-10, atol=1e-10)


def test_each_sample_is_computed_for_itself(graph):
    module = lower(graph).double().eval()
    x = inputs(graph, grids(graph)[0], batch=3, dtype=torch.float64)
    whole, one = module(*x), module(*[y[1:2] for y in x])
    for name, y in whole.items():
        torch.testing.assert_close(one[name], y[1:2])


# --- specs ------------------------------------------------------------------------------------


@pytest.fixture(params=SPECS, ids=lambda x: x.stem)
def spec(request):
    torch.manual_seed(0)
    return compiler.load(request.param)


def promised(graph):
    """The two smallest resolutions that a spec promises, of its first domain."""
    axes = graph.inputs[0].space.domain.axes
    least = tuple(x.least for x in axes)
    return least, tuple(
        n if x.pinned else n + x.multiple_of for n, x in zip(least, axes, strict=True)
    )


@pytest.fixture(params=sorted(ON_POINTS))
def spec_on_points(request):
    torch.manual_seed(0)
    return compiler.load(root("specs") / f"{request.param}.op")


def cloud(count):
    """Points in the unit box that stand for equal parts of an area of one."""
    return Geometry(torch.rand(count, 3), weights=torch.full((count,), 1 / count))


def cars(graph, counts):
    """Inputs for samples of so many points, and where these are."""
    places = {x.name: [cloud(n) for n in counts] for x in graph.side_inputs()}
    given = {}
    for port in graph.inputs:
        domain, c = port.space.domain, port.space.channels
        if domain.scattered:
            numbers = port.name == "ind_dec"
            parts = [torch.rand(c, n) * (400 if numbers else 1) for n in counts]
            given[port.name] = Packed.of(x.floor() if numbers else x for x in parts)
        else:
            given[port.name] = torch.rand(len(counts), c, *(x.least for x in domain.axes))
    return given | places


def test_a_spec_on_points_takes_samples_of_different_sizes_at_once(spec_on_points):
    counts = (40, 25)
    module, given = lower(spec_on_points).eval(), cars(spec_on_points, counts)
    with torch.no_grad():
        whole = module(**given)
        for i, (part, n) in enumerate(zip(whole.parts, counts, strict=True)):
            assert part.shape == (1, n)
            assert part.isfinite().all()
            one = {
                k: x[i : i + 1] if isinstance(x, torch.Tensor | list) else x.take([i])
                for k, x in given.items()
            }
            torch.testing.assert_close(module(**one).parts[0], part, rtol=1e-4, atol=1e-5)


def test_a_spec_runs_at_the_smallest_resolutions_that_it_promises(spec):
    module = lower(spec).eval()
    for grid in promised(spec):
        with torch.no_grad():
            found = outputs(module(*inputs(spec, grid, batch=1)))
        assert all(x.isfinite().all() for x in found.values())


@pytest.mark.parametrize("path", FILES, ids=lambda x: x.stem)
def test_a_spec_has_as_many_weights_as_its_blocks_count(path):
    spec = compiler.load(path)
    counted = sum(x.block.cost(*spec.arguments(x)).params for x in live(spec))
    assert sum(x.numel() for x in lower(spec).parameters()) == counted


def test_a_spec_as_python_source_computes_the_same(spec):
    if any(x.space.domain.kind == "product" for x in spec.inputs):
        with pytest.raises(OpError, match="OP0107"):
            emit_python(spec)
        return
    namespace = {"__name__": "emitted"}
    exec(compile(emit_python(spec), "emitted.py", "exec"), namespace)  # noqa: S102  our own text
    module, other = lower(spec).eval(), namespace[spec.name]().eval()
    other.load_state_dict(module.state_dict())
    x = inputs(spec, promised(spec)[1], batch=1)
    with torch.no_grad():
        expected, found = outputs(module(*x)), outputs(other(*x))
    for name, y in expected.items():
        torch.testing.assert_close(found[name], y, rtol=1e-5, atol=1e-5)


# waves, sensors, steps in time, and stencils; `test_compatibility` has a sphere
EXPORTED = {"fno_burgers": {}, "deeponet": {}, "rno_burgers": {}, "local_no": {"depth": 1}}


@pytest.mark.parametrize("name", EXPORTED)
def test_a_spec_can_be_exported_with_a_free_batch(name):
    torch.manual_seed(0)
    exports_with_a_free_batch(compiler.load(root("specs") / f"{name}.op", **EXPORTED[name]))


@pytest.mark.slow  # the exporter of torch takes up to half a minute for each of them
def test_every_spec_can_be_exported_with_a_free_batch(spec):
    exports_with_a_free_batch(spec)


def exports_with_a_free_batch(spec):
    module = lower(spec).eval()
    x = inputs(spec, promised(spec)[0], batch=2)
    dynamic = (tuple({0: torch.export.Dim.AUTO} for _ in x),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        program = torch.export.export(module, tuple(x), dynamic_shapes=dynamic).module()
    y = inputs(spec, promised(spec)[0], batch=3)
    with torch.no_grad():
        expected, found = outputs(module(*y)), outputs(program(*y))
    for name, z in expected.items():
        torch.testing.assert_close(found[name], z, rtol=1e-5, atol=1e-5)
