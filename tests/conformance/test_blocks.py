"""Every block of the catalogue x its samples x 1 to 3 axes x the precisions of a run."""

from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch.func import functional_call

from opdsl import blocks
from opdsl.ir.axes import Axis
from opdsl.ir.block import Block
from opdsl.ir.spaces import VECTOR, Domain, Space
from opdsl.ir.steps import Extend
from opdsl.nn.points.geometry import Geometries, Geometry, as_geometries

BATCH = 2
SIZES = {1: (12,), 2: (8, 7), 3: (6, 7, 8)}
NUMBERED = {"pull"}  # whose last input is numbers of points
PRECISIONS = {"float32": 1e-5, "bfloat16 autocast": 0.05, "float64": 1e-12}


def grid(sizes: tuple[int, ...], *, periodic: bool = False) -> Domain:
    """A grid that is periodic along x, and along all axes if asked for; its resolution is fixed."""
    axes = tuple(
        Axis(name=name, boundary="periodic" if periodic or name == "x" else "none", fixed=n, hi=2.0)
        for name, n in zip("xyz", sizes, strict=False)
    )
    return Domain(name="D", axes=axes)


POINTS = Domain(kind="points", name="P", ambient=2, axes=(Axis(name="points", fixed=9),))
QUERIES = POINTS.model_copy(update={"name": "Q", "axes": (Axis(name="points", fixed=5),)})
SPHERE = Domain(
    kind="sphere",
    name="S",
    sampling="gauss_legendre",
    axes=(Axis(name="lat", fixed=6), Axis(name="lon", fixed=11, boundary="periodic")),
)
ELSEWHERE = {"P": (9,), "Q": (5,), "S": (6, 11)}


def named(D: Domain) -> dict[str, Domain]:
    """The domains that samples speak of; K are the lowest modes of D."""
    step = Extend(name="E", numerator=1, denominator=4)
    made = {"": VECTOR, "D": D, "D/2": D.coarsened(2), "E": D.extended(step)}
    more = {"P": POINTS, "Q": QUERIES, "S": SPHERE, "S/2": SPHERE.coarsened(2)}
    walls = tuple(
        a.model_copy(update={"boundary": ("dirichlet", "neumann") if i == 0 else "dirichlet"})
        for i, a in enumerate(D.axes)
    )
    box = Domain(name="I", axes=walls)
    more |= {"I": box, "I/2": box.coarsened(2)}
    made |= {
        name: D.extended(Extend(name=name, numerator=1, denominator=2, kind=kind))
        for name, kind in (("L", "legendre"), ("G", "gram"))
    }
    return made | more | {"K": D.spectrum((2,) * D.dims)}


def space_of(text: int | str, domains: dict[str, Domain]) -> Space:
    """`3` on the grid D, or a space as a program writes it."""
    if isinstance(text, int):
        return Space(domain=domains["D"], channels=text)
    domain, _, power = text.rpartition(" -> ")
    field, _, channels = power.partition("^")
    return Space(domain=domains[domain], channels=int(channels), field=field)


@dataclass(frozen=True)
class Case:
    """A block with parameters and inputs on a grid."""

    keyword: str
    index: int
    sizes: tuple[int, ...]
    periodic: bool = False

    @cached_property
    def domains(self) -> dict[str, Domain]:
        return named(grid(self.sizes, periodic=self.periodic))

    @cached_property
    def block(self) -> Block:
        cls = blocks.find(self.keyword)
        fields = {k: v for k, v in cls.samples[self.index].items() if k != "inputs"}
        return cls(**{k: self._resolved(cls, k, v) for k, v in fields.items()})

    def _resolved(self, cls, key, value):
        is_domain = "Domain" in str(cls.model_fields[key].annotation)
        return self.domains[value] if is_domain else value

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        inputs = blocks.find(self.keyword).samples[self.index]["inputs"]
        return tuple(space_of(x, self.domains) for x in inputs)

    @cached_property
    def result(self) -> Space:
        return self.block.infer(*self.spaces)

    def points(self, space: Space) -> tuple[int, ...]:
        return space.domain.at(self.roots)

    @property
    def roots(self) -> dict[str, tuple[int, ...]]:
        return ELSEWHERE | {"D": self.sizes, "I": self.sizes}

    @property
    def on_the_grid(self) -> bool:
        """Whether it speaks of real functions on D and of vectors only."""
        spaces = (*self.spaces, self.result)
        domains = all(x.domain.kind in {"grid", "vector"} for x in spaces)
        return domains and not any(x.complex for x in spaces) and not self.asks

    @property
    def asks(self):
        return self.block.side_inputs(*self.spaces)

    def atoms(self) -> dict[str, int]:
        domains = [d for d in self.domains.values() if d.modes is None]
        return {d.atom(i): n for d in domains for i, n in enumerate(d.at(self.roots))}

    def module(self, seed: int = 0) -> torch.nn.Module:
        """The lowered block, its weights other than one and zero."""
        torch.manual_seed(seed)
        module = self.block.lower(*self.spaces)
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.1 * torch.randn_like(p))
        return module

    def inputs(self, dtype: torch.dtype = torch.float32, *, grad: bool = False):
        torch.manual_seed(1)
        if self.keyword in NUMBERED:
            f, n = (
                torch.rand(BATCH, *self.points(s), s.channels, dtype=dtype) for s in self.spaces
            )
            return [f.requires_grad_(grad), (n * f[0, ..., 0].numel()).floor().requires_grad_(grad)]
        return [
            torch.randn(
                BATCH,
                *self.points(s),
                s.channels,
                dtype=dtype.to_complex() if s.complex else dtype,
                requires_grad=grad,
            )
            for s in self.spaces
        ]

    def asked(self, dtype: torch.dtype = torch.float32) -> tuple[object, ...]:
        """Points in the unit square, or values of a field."""
        torch.manual_seed(3)
        return tuple(
            self._asked(x).to(dtype) if x.what == "field" else self._place(x, dtype)
            for x in self.asks
        )

    def _asked(self, ask) -> torch.Tensor:
        channels = ask.domain.ambient if ask.what == "coordinates" else 1
        return torch.rand((1, *ask.domain.at(self.roots), channels), dtype=torch.float64)

    def _place(self, ask, dtype: torch.dtype) -> Geometries:
        points = self._asked(ask).to(dtype)[0]
        ring = torch.arange(len(points))
        return as_geometries(Geometry(points, edges=torch.stack((ring, ring.roll(1)), 1)))

    def keywords(
        self, kernel: str | None = None, dtype: torch.dtype = torch.float32
    ) -> dict[str, object]:
        """What the block says its module takes besides the inputs."""
        size = {"size": self.points(self.result)} if self.block.sized else {}
        size |= {"asked": self.asked(dtype)} if self.asks else {}
        return size | ({"kernel": kernel or self.block.kernels[0]} if self.block.kernels else {})

    def run(self, module, xs, kernel: str | None = None, dtype=torch.float32):
        """The result; `dtype` matters where there is no input to follow."""
        torch.manual_seed(2)  # dropout draws the same numbers each time
        like = {} if xs else {"like": torch.empty(0, dtype=dtype)}
        return module(*xs, **self.keywords(kernel, xs[0].dtype.to_real() if xs else dtype), **like)

    def __str__(self) -> str:
        return f"{self.keyword}-{self.index}-{len(self.sizes)}d"


SAMPLES = [(k, i) for k in blocks.names() for i in range(len(blocks.find(k).samples))]


def varies(keyword: str, index: int) -> bool:
    """Whether a sample has a space on D: others are equal, whatever the axes of D are."""
    case = Case(keyword, index, SIZES[1])
    fields = (getattr(case.block, x) for x in type(case.block).model_fields)
    domains = [x.domain for x in (*case.spaces, case.result, *case.asks)]
    domains += [x for x in fields if isinstance(x, Domain)]
    return any(x.kind not in {"points", "sphere", "vector"} for x in domains)


CASES = [Case(k, i, SIZES[n]) for k, i in SAMPLES for n in SIZES if n == 1 or varies(k, i)]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def on_one_axis(cases: list[Case]):
    """All cases, those on two and three axes as slow: where the number of axes hardly matters."""
    return [pytest.param(x, marks=[] if len(x.sizes) == 1 else pytest.mark.slow) for x in cases]


def test_every_block_has_samples():
    assert {k for k in blocks.names() if not blocks.find(k).samples} == set()


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


@each_case
def test_the_result_is_of_the_inferred_space_and_near_float64(case):
    module, xs = case.module(), case.inputs()
    exact = case.run(case.module().double(), [doubled(x) for x in xs], dtype=torch.float64)
    found = {"float64": exact, "float32": case.run(module, xs)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found["bfloat16 autocast"] = case.run(module, xs)
    allowed = {"float64": [torch.float64], "float32": [torch.float32]}
    batch = BATCH if case.spaces else 1
    for precision, most in PRECISIONS.items():
        y = found[precision]
        assert y.dtype.to_real() in allowed.get(precision, [torch.float32, torch.bfloat16])
        assert y.is_complex() == case.result.complex
        assert y.shape == (batch, *case.points(case.result), case.result.channels)
        assert (doubled(y) - exact).norm() <= most * exact.norm(), precision


@each_case
def test_the_cost_counts_parameters_and_bytes(case):
    cost, module = case.block.cost(*case.spaces), case.module()
    assert sum(p.numel() for p in module.parameters()) == cost.params
    y = case.run(module, case.inputs())
    assert cost.bytes.at(case.atoms()) == y[0].numel() * 4 * case.result.width
    assert cost.flops.at(case.atoms()) >= 0


def differentiable():
    """Cases with an input or a weight; three axes are slow."""
    for x in (c for c in CASES if c.spaces or c.module().state_dict()):
        yield pytest.param(x, marks=pytest.mark.slow if len(x.sizes) == 3 else [])


@pytest.mark.parametrize("case", list(differentiable()), ids=str)
def test_gradients_are_those_of_finite_differences(case):
    module, xs = case.module().double(), case.inputs(torch.float64, grad=True)
    names = [n for n, _ in module.named_parameters()]
    weights = [p.detach().requires_grad_() for p in module.parameters()]

    def run(*tensors):
        torch.manual_seed(2)
        given = dict(zip(names, tensors[len(xs) :], strict=True))
        like = {} if xs else {"like": torch.empty(0, dtype=torch.float64)}
        named = case.keywords(None, torch.float64) | like
        return functional_call(module, given, tuple(tensors[: len(xs)]), named)

    assert torch.autograd.gradcheck(run, (*xs, *weights), fast_mode=True)


@pytest.mark.parametrize("case", on_one_axis(CASES), ids=str)
def test_saved_weights_give_the_same_result_elsewhere(case):
    first, second, xs = case.module(), case.module(seed=9), case.inputs()
    first.load_state_dict(second.state_dict(), strict=True)
    assert torch.equal(case.run(first, xs), case.run(second, xs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", [c for c in CASES if c.block.kernels], ids=str)
def test_all_kernels_compute_the_same_forward_and_backward(case, dtype):
    module, xs = case.module().to(dtype), case.inputs(dtype, grad=True)
    results = []
    for kernel in case.block.kernels:
        y = case.run(module, xs, kernel)
        leaves = [*xs, *module.parameters()]
        results.append([y, *torch.autograd.grad(y.abs().square().sum(), leaves)])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert (a - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("case", [c for c in CASES if c.block.kernels], ids=str)
def test_the_planner_learns_what_each_kernel_does(case):
    sizes = (*map(case.points, case.spaces), case.points(case.result))
    for kernel in case.block.kernels:
        work = case.block.work(kernel, sizes, *case.spaces)
        assert min(work.gemm, work.fft, work.moved) >= 0
        assert work.gemm + work.fft > 0


# --- refinement


def smooth(case: Case) -> list[torch.Tensor]:
    """Inputs that are the same low waves at every resolution of a periodic grid."""
    made = []
    for number, space in enumerate(case.spaces):
        channel = torch.arange(space.channels) + 3 * number
        if space.domain.kind == "vector":
            made.append((0.3 * channel).double().expand(BATCH, -1))
            continue
        lines = [torch.arange(n, dtype=torch.float64) / n for n in case.points(space)]
        phase = sum(torch.meshgrid(*lines, indexing="ij"))[None, ..., None] * 2 * torch.pi
        made.append(
            (torch.cos(phase + channel) + 0.3 * channel).expand(BATCH, *phase.shape[1:-1], -1)
        )
    return made


def refinement_gap(keyword: str, index: int, dims: int) -> float:
    """How far the results at n and 2n points differ where both have points, relatively."""
    coarse, fine = (Case(keyword, index, (n,) * dims, periodic=True) for n in (16, 32))
    weights = coarse.module().double().eval()
    with torch.no_grad():
        every_other = (slice(None), *[slice(None, None, 2)] * len(fine.points(fine.result)))
        v = fine.run(weights, smooth(fine), dtype=torch.float64)[every_other]
        u = coarse.run(weights, smooth(coarse), dtype=torch.float64)
    return ((u - v).norm() / u.norm()).item()


def grid_only(keyword: str, index: int) -> bool:
    return Case(keyword, index, (16,), periodic=True).on_the_grid


def converges(keyword: str, index: int) -> bool:
    case = Case(keyword, index, (16,), periodic=True)
    if not case.on_the_grid:
        return False
    return not case.block.diverges(*case.spaces) and not case.block.fixed_resolution(*case.spaces)


def closed(keyword: str, index: int) -> bool:
    """Whether all grids are periodic; with two ends, grids of n and 2 n points share no points."""
    case = Case(keyword, index, (16,), periodic=True)
    return all(x.domain.name != "I" for x in (*case.spaces, case.result))


# a normalisation at each point makes waves that no grid resolves to the last digit
TOLERANCE = {("attention", 1): 1e-4}
PINNED = {"position", "flatten"}  # at another resolution its module does not run at all
# quadrature of hats and differences: of some order, which their own tests measure
OF_AN_ORDER = {"difference_conv", "disco_conv"}
# zeros around a function that is not zero: no smooth function, so nothing is to be compared
JUMPS = {"crop", "pad"}


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(
    ("keyword", "index"),
    [s for s in SAMPLES if converges(*s) and closed(*s) and s[0] not in JUMPS | OF_AN_ORDER],
)
def test_the_same_weights_are_the_same_operator_at_twice_the_points(keyword, index, dims):
    assert refinement_gap(keyword, index, dims) < TOLERANCE.get((keyword, index), 1e-12)


@pytest.mark.parametrize(
    ("keyword", "index"),
    [
        s
        for s in SAMPLES
        if not converges(*s) and s[0] not in PINNED and grid_only(*s) and closed(*s)
    ],
)
def test_a_block_that_says_it_diverges_does(keyword, index):
    assert refinement_gap(keyword, index, 2) > 1e-3
