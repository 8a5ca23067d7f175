"""Spectral blocks and blocks of complex functions: spaces, costs, refusals, formulas."""

import itertools

import pytest
import torch

import opdsl
from opdsl import blocks
from opdsl.compiler import check
from opdsl.export.python import emit_python
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.dims import Poly
from opdsl.ir.ranks import rank_products, whole_products
from opdsl.ir.spaces import VECTOR, Domain, Space
from opdsl.ir.steps import Extend

F64, C128 = torch.float64, torch.complex128
PERIODIC = {"boundary": "periodic", "min": 9}
LINE, D, BOX = (
    Domain(name="D", axes=tuple(Axis(name=x, **PERIODIC) for x in names))
    for names in ("x", "xy", "xyz")
)
E = D.extended(Extend(name="E", numerator=1, denominator=4))
K = D.spectrum((2, 3))


def make(keyword: str, **fields):
    return blocks.find(keyword)(**fields)


def of(channels: int, domain: Domain = D, field: str = "R") -> Space:
    return Space(domain=domain, channels=channels, field=field)


def refusal(block, *x: Space) -> Refusal:
    with pytest.raises(Refusal) as caught:
        block.infer(*x)
    return caught.value


def sample(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=C128, generator=torch.Generator().manual_seed(seed))


# --- costs

FACTORS = [
    ("dense", 1.0),
    ("cp", 0.3),
    ("cp", 3),
    ("tucker", 0.4),
    ("tucker", 2),
    ("tt", 0.2),
    ("tt", 2),
]
LAYOUTS = ["symmetric", "neuralop", "paper"]
ALL = list(itertools.product(FACTORS, LAYOUTS, (LINE, D, BOX), (False, True), ("R", "C")))


@pytest.mark.parametrize(("factor", "layout", "domain", "separable", "field"), ALL)
def test_a_spectral_convolution_counts_every_number(factor, layout, domain, separable, field):
    kind, rank = factor
    x = of(3, domain, field)
    block = make(
        "spectral_conv",
        modes=tuple((3, 2, 4)[: domain.dims]),
        out=3 if separable else 4,
        factor=kind,
        rank=rank,
        layout=layout,
        separable=separable,
        bias=rank != 2,
    )
    cost, module = block.cost(x), block.lower(x)
    assert cost.params == sum(p.numel() for p in module.parameters())
    assert not any(p.is_complex() for p in module.parameters())


@pytest.mark.parametrize(("kind", "rank"), [x for x in FACTORS if x[0] != "dense"])
def test_products_with_factors_are_counted_the_way_they_are_made(kind, rank):
    """In ranks where that is less for 16 samples, which is a matter of the ranks."""
    found = set()
    for channels in (4, 64):
        x = of(channels)
        block = make("spectral_conv", modes=(3, 2), factor=kind, rank=rank)
        module = block.lower(x)
        shape = (channels, channels, 7, 3)
        ranks = (module.weight.rank,) if kind == "cp" else module.weight.ranks
        once, each = rank_products(kind, shape, ranks)
        if not module.in_ranks:
            once, each = whole_products(kind, shape, ranks), 21 * channels**2
        other = block.cost(x).flops - make("spectral_conv", modes=(3, 2)).cost(x).flops
        assert other == 8 * (once + each - 21 * channels**2)
        work = block.work("dft", ((9, 9), (9, 9)), x).gemm
        dense = make("spectral_conv", modes=(3, 2)).work("dft", ((9, 9), (9, 9)), x).gemm
        assert work - dense == 8 * (once / 16 + each - 21 * channels**2)
        found.add(module.in_ranks)
    assert found


def test_few_ranks_are_applied_one_by_one_and_many_are_multiplied_out():
    few, many = (
        make("spectral_conv", modes=8, factor="tucker", rank=r).lower(of(8)).in_ranks
        for r in ((4, 4, 4, 4), (8, 8, 17, 9))
    )
    assert (few, many) == (True, False)


@pytest.mark.parametrize(
    ("kind", "rank", "said"),
    [
        ("dense", 1.0, None),
        ("tucker", 0.5, None),
        ("tucker", 1.0, "a waste"),
        ("cp", 0.9, None),
        ("cp", 1.0, "a waste"),
        ("tt", 0.9, None),
    ],
)
def test_factors_of_more_numbers_than_the_whole_are_called_a_waste(kind, rank, said):
    block = make("spectral_conv", modes=8, factor=kind, rank=rank)
    found = block.wasteful(of(32))
    assert (found is None) == (said is None)
    if said:
        dense, own = 2 * 32 * 32 * 17 * 9, block.cost(of(32)).params - 32
        assert found == f"its factors have {own:,} numbers, a dense weight has {dense:,}"
        assert own >= dense


def test_spectral_blocks_count_their_matrices():
    cost = make("spectral_linear", out=5).cost(of(3, K, "C"))
    assert cost.params == 2 * 5 * 4 * 3 * 5
    assert cost.flops == 8 * 5 * 4 * 3 * 5
    assert cost.bytes == 4 * 2 * 5 * 4 * 5


def test_complex_matrices_have_twice_the_numbers():
    for keyword, fields in (("linear", {"out": 5}), ("skip", {"kind": "linear", "out": 5})):
        block = make(keyword, **fields)
        real, both = block.cost(of(3)), block.cost(of(3, field="C"))
        assert both.params == 2 * real.params
        assert both.params == sum(p.numel() for p in block.lower(of(3, field="C")).parameters())
        assert both.bytes == real.bytes * 2


# --- spaces and bounds


def test_a_convolution_keeps_what_kind_of_numbers_comes_in():
    assert make("spectral_conv", modes=2, out=5).infer(of(3, field="C")) == of(5, field="C")


def test_coefficients_are_complex_and_give_back_what_they_came_from():
    for field in "RC":
        s = make("fft", modes=(2, 3)).infer(of(3, field=field))
        assert (s.channels, s.field, s.domain.halved) == (3, "C", field == "R")
        assert make("ifft").infer(s) == of(3, field=field)
        assert make("ifft", to=D.coarsened(2)).infer(s) == of(3, D.coarsened(2), field)
        assert make("spectral_linear", out=7).infer(s) == s.with_channels(7)
    assert make("fft", modes=(2, 3)).infer(of(3)).domain == K


@pytest.mark.parametrize("keyword", ["real", "imag", "modulus"])
@pytest.mark.parametrize("domain", [D, K, VECTOR])
def test_parts_of_complex_functions_are_real(keyword, domain):
    assert make(keyword).infer(of(3, domain, "C")) == of(3, domain)
    assert make("complex").infer(of(3, domain)) == of(3, domain, "C")


@pytest.mark.parametrize(
    ("layout", "needed", "keeps"),
    [
        ("symmetric", [7, 11], ["|k| <= 3", "|k| <= 5"]),
        ("neuralop", [6, 10], ["-3 <= k <= 2", "0 <= k <= 5"]),
        ("paper", [6, 8], ["-3 <= k <= 2", "0 <= k <= 4"]),
    ],
)
def test_each_layout_has_its_bounds(layout, needed, keeps):
    bounds = make("spectral_conv", modes=(3, 5), layout=layout).bounds(of(2))
    assert [x.points for x in bounds] == needed
    assert [x.keeps for x in bounds] == keeps
    for x, points in zip(bounds, needed, strict=True):
        for fewer in (1, 2, 3):
            cure = x.cure(points - fewer)
            modes = tuple(int(k) for k in cure.removeprefix("modes = (").rstrip(")").split(", "))
            other = make("spectral_conv", modes=modes, layout=layout).bounds(of(2))[x.axis]
            assert points - fewer - 1 <= other.points <= points - fewer


def test_complex_functions_need_points_for_both_signs():
    bounds = make("spectral_conv", modes=3, layout="paper").bounds(of(2, field="C"))
    assert [x.points for x in bounds] == [6, 6]
    assert [x.keeps for x in bounds] == ["-3 <= k <= 2"] * 2


def test_a_spectrum_asks_for_its_points_on_both_sides():
    s = make("fft", modes=(2, 3)).infer(of(1))
    assert [x.points for x in make("fft", modes=(2, 3)).bounds(of(1))] == [5, 7]
    there = make("ifft", to=D.coarsened(2)).bounds(s)
    assert [(x.domain, x.points) for x in there] == [(D.coarsened(2), 5), (D.coarsened(2), 7)]


def test_ranks_wait_for_channels_that_are_open():
    """In a definition that is checked for all sizes a number of channels is a symbol."""
    c = Poly.atom("c")
    block = make("spectral_conv", modes=2, factor="tucker", rank=(8, 8, 5, 3), out=c)
    assert block.infer(of(c)).channels == c
    assert (
        refusal(make("spectral_conv", modes=2, factor="tucker", rank=(8, 8, 5, 3)), of(4)).at
        == "rank"
    )


@pytest.mark.parametrize("rank", [1.0, 1, 3, (2, 3, 4)])
def test_a_rank_stays_what_it_is_in_a_file(rank):
    """1.0 is the whole, 1 is a rank of one."""
    block = make("spectral_conv", modes=2, factor="tt", rank=rank)
    other = type(block).model_validate_json(block.model_dump_json())
    assert (other, type(other.rank)) == (block, type(rank))


# --- refusals


@pytest.mark.parametrize(
    ("fields", "code", "at"),
    [
        ({"rank": 0.5}, "OP0208", "rank"),
        ({"rank": 3}, "OP0208", "rank"),
        ({"factor": "cp", "rank": 0}, "OP0208", "rank"),
        ({"factor": "tt", "rank": (2, 2)}, "OP0208", "rank"),
        ({"factor": "tucker", "rank": 100}, "OP0208", "rank"),
        ({"separable": True, "factor": "tucker", "rank": (2, 2, 2, 2)}, "OP0208", "rank"),
        ({"layout": "paper", "modes": 0}, "OP0208", "modes"),
        ({"layout": "neuralop", "modes": (2, 0)}, "OP0208", "modes"),
        ({"modes": (1, 2, 3)}, "OP0308", "modes"),
        ({"layout": "paper", "modes": (1, 2, 3)}, "OP0308", "modes"),
        ({"separable": True, "out": 5}, "OP0303", "out"),
    ],
)
def test_a_parameter_that_does_not_fit_is_blamed(fields, code, at):
    found = refusal(make("spectral_conv", **{"modes": 2, **fields}), of(4))
    assert (found.code, found.at) == (code, at)


@pytest.mark.parametrize("keyword", ["real", "imag", "modulus"])
def test_a_real_function_has_no_parts(keyword):
    found = refusal(make(keyword), of(3))
    assert (found.code, found.message) == ("OP0312", f"`{keyword}` takes complex functions")


@pytest.mark.parametrize("keyword", ["ifft", "spectral_linear"])
def test_coefficients_are_never_real(keyword):
    assert refusal(make(keyword), of(3, K)).code == "OP0312"


def test_parts_of_different_shape_are_not_put_together():
    assert refusal(make("complex"), of(3), of(2)).code == "OP0303"
    assert refusal(make("complex"), of(3), of(3, E)).code == "OP0304"


def test_modes_are_not_sampled_on_another_declaration():
    other = D.model_copy(update={"name": "G"})
    assert refusal(make("ifft", to=other), of(3, K, "C")).code == "OP0313"


PROGRAM = """edition 2026

from std.fourier import FourierLayer

model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
  input v : D -> R^4
  output w : D -> R^4

  w = v |> {call}
}}
"""


@pytest.mark.parametrize(
    ("call", "message", "blamed"),
    [
        ("spectral_conv(modes = 8, factor = tucker, rank = 0.0)",
         "a rank of 0 is no part of a whole", "0.0"),
        ("spectral_conv(modes = 8, factor = tt, rank = (4, 4))",
         "2 ranks for a weight that has 3", "(4, 4)"),
        ("FourierLayer(modes = 8, factor = cp, rank = 2.0)",
         "a rank of 2 is no part of a whole", "FourierLayer(modes = 8, factor = cp, rank = 2.0)"),
        ("FourierLayer(modes = 8, rank = 0.1)",
         "a dense weight has no rank", "FourierLayer(modes = 8, rank = 0.1)"),
    ],
)  # fmt: skip
def test_a_program_is_told_of_a_rank_where_it_says_it(call, message, blamed):
    (found,) = check(PROGRAM.format(call=call)).diagnostics
    assert (found.code, found.message) == ("OP0208", message)
    assert found.labels[0].span.text == blamed


# --- formulas

TRANSFORMS = """edition 2026

model Three {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 11)
  input v : D -> %s^3
  output one : D / 2 -> %s^2
  output three : D / 2 -> %s^2

  one = spectral_conv(v, modes = (1, 2), out = 2, to = D / 2, bias = false)
  three = fft(v, modes = (1, 2)) |> spectral_linear(out = 2) |> ifft(to = D / 2)
}
"""


@pytest.mark.parametrize("field", ["R", "C"])
@pytest.mark.parametrize("grid", [(11, 12), (16, 31)])
def test_transforms_around_matrices_are_the_convolution_with_these(field, grid):
    model = opdsl.compile(TRANSFORMS % (field, field, field)).double()
    weights = dict(model.named_parameters())
    one, other = (weights[x] for x in weights)
    with torch.no_grad():
        other.copy_(one)
    v = sample(2, 3, *grid)
    found = model(v if field == "C" else v.real.contiguous())
    torch.testing.assert_close(found["three"], found["one"], rtol=0, atol=1e-14)
    assert found["three"].is_complex() == (field == "C")


def test_parts_are_parts():
    v = sample(2, 5, 4, 3)
    for keyword, wanted in (("real", v.real), ("imag", v.imag), ("modulus", v.abs())):
        assert torch.equal(make(keyword).lower(of(3, field="C"))(v), wanted)
    join = make("complex").lower(of(3), of(3))
    assert torch.equal(join(v.real, v.imag), v)
    assert torch.equal(join(v.real), v.real.to(C128))
    assert join(v.real[:1], v.imag).shape == v.shape


def test_the_modulus_of_zero_has_the_derivative_zero():
    v = torch.zeros(1, 4, 1, dtype=C128, requires_grad=True)
    make("modulus").lower(of(1, LINE, "C"))(v).sum().backward()
    assert not v.grad.any()


@pytest.mark.parametrize(("keyword", "fields"), [("linear", {}), ("skip", {"kind": "linear"})])
def test_a_complex_matrix_acts_on_both_parts(keyword, fields):
    torch.manual_seed(0)
    layer = make(keyword, out=2, **fields).lower(of(3, field="C")).double()
    v = sample(2, 5, 4, 3)
    W = torch.view_as_complex(layer.weight)
    b = 0 if layer.bias is None else torch.view_as_complex(layer.bias)
    torch.testing.assert_close(layer(v), torch.einsum("bxyi,oi->bxyo", v, W) + b)


def test_complex_matrices_begin_with_the_spread_of_real_ones():
    torch.manual_seed(0)
    both = make("linear", out=200).lower(of(200, field="C")).weight
    real = make("linear", out=200).lower(of(200)).weight
    assert both.square().sum(-1).mean().item() == pytest.approx(
        real.square().mean().item(), rel=0.02
    )


UNCHANGED = [
    ("add", {}, (D, D)), ("sub", {}, (D, D)), ("concat", {}, (D, D)),
    ("scale", {"factor": -0.5}, (D,)),
    ("pad", {"to": E}, (D,)), ("crop", {"to": D}, (E,)), ("resample", {"to": D.coarsened(2)}, (D,)),
    ("skip", {"kind": "soft"}, (D,)), ("skip", {}, (D,)),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "fields", "domains"), UNCHANGED)
def test_what_has_no_complex_weights_acts_on_each_part(keyword, fields, domains):
    spaces = [of(3, x, "C") for x in domains]
    block = make(keyword, **fields)
    result = block.infer(*spaces)
    layer, roots = block.lower(*spaces), {"D": (12, 10)}
    size = {"size": result.domain.at(roots)} if block.sized else {}
    xs = [sample(2, *x.domain.at(roots), 3, seed=i) for i, x in enumerate(spaces)]
    parts = [layer(*(getattr(x, part) for x in xs), **size) for part in ("real", "imag")]
    torch.testing.assert_close(layer(*xs, **size), torch.complex(*parts), rtol=0, atol=1e-13)
    assert result.complex
    assert layer(*xs, **size).shape == (2, *result.domain.at(roots), result.channels)


def test_complex_functions_are_multiplied_as_numbers():
    u, v = sample(2, 5, 4, 3), sample(2, 5, 4, 3, seed=2)
    assert torch.equal(make("mul").lower(of(3, field="C"), of(3, field="C"))(u, v), u * v)


# --- whole programs

WAVE = """edition 2026

model Wave {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
  domain E = extend(D, fraction = 1/4)
  input a : D -> C^2
  input b : D -> R^2
  output u : D -> C^1
  output r : D -> R^1
  output w : D / 2 -> C^3

  h = concat(a, complex(b))
    |> linear(out = 4)
    |> pad(to = E)
    |> spectral_conv(modes = 8, factor = tucker, rank = 0.3)
    |> crop(to = D)
  g = fft(h, modes = (8, 3)) |> spectral_linear(out = 4) |> linear(out = 4) |> ifft(to = D)
  k = real(g) |> spectral_conv(modes = 3, factor = cp, rank = 0.5, layout = paper)
  l = imag(g) |> spectral_conv(modes = 3, factor = tt, rank = 0.5, layout = neuralop)
  s = modulus(h) |> spectral_conv(modes = 2, separable = true)
  u = (h + g * h - 0.5 * g) |> skip(kind = soft) |> linear(out = 1)
  r = k + l - s |> linear(out = 1)
  w = resample(h, to = D / 2) |> skip(kind = linear, out = 3)
}
"""


@pytest.fixture(scope="module")
def wave():
    torch.manual_seed(0)
    return opdsl.compile(WAVE).double().eval()


def waves(*grid: int):
    return sample(2, 2, *grid), sample(2, 2, *grid, seed=2).real.contiguous()


def test_every_kernel_computes_a_complex_program_alike(wave):
    found = []
    for kernel in ("fft", "dft"):
        wave.force_kernel = kernel
        found.append(wave(*waves(40, 37)))
    wave.force_kernel = None
    for name, x in found[0].items():
        torch.testing.assert_close(found[1][name], x, rtol=0, atol=1e-12)
    assert [found[0][x].dtype for x in "urw"] == [C128, F64, C128]


def test_a_complex_program_as_python_source_computes_the_same(wave):
    namespace = {"__name__": "emitted"}
    exec(compile(emit_python(wave.graph), "emitted.py", "exec"), namespace)  # noqa: S102  our own text
    other = namespace["Wave"]().double().eval()
    other.load_state_dict(wave.state_dict())
    x = waves(36, 33)
    for name, y in wave(*x).items():
        torch.testing.assert_close(other(*x)[name], y, rtol=0, atol=1e-12)


def test_factors_are_found_by_their_names(wave):
    names = set(wave.state_dict())
    assert {"h.spectral_conv.weight.core", "h.spectral_conv.weight.factors.3"} <= names
    assert not any(x.is_complex() for x in wave.state_dict().values())


SMALL_WAVE = """
edition 2026

model Wave {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
  input v : D -> C^2
  output u : D -> C^1
  output r : D -> R^1

  h = v |> spectral_conv(modes = 3, factor = tucker, rank = 0.5)
  u = (h + h * v - 0.5 * v) |> skip(kind = soft) |> linear(out = 1)
  r = real(h) - modulus(v) |> linear(out = 1)
}
"""


def test_a_complex_program_is_one_graph_and_can_be_exported():
    torch.manual_seed(0)
    same_in_one_graph(opdsl.compile(SMALL_WAVE).double().eval(), waves(16, 20)[:1])


@pytest.mark.slow  # torch traces it for long
def test_a_program_of_all_complex_blocks_is_one_graph_and_can_be_exported(wave):
    same_in_one_graph(wave, waves(36, 40))


def same_in_one_graph(module, x):
    wanted = module(*x)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    program = torch.export.export(module, x).module()
    for other in (compiled, program):
        for name, y in other(*x).items():
            torch.testing.assert_close(y, wanted[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("call", [
    f"spectral_conv(v, modes = {10**22}, factor = tucker, rank = 0.5)",
    f"spectral_conv(v, modes = {10**15} * {10**15})",
    f"axis_conv(v, modes = {10**22})",
    f"fft(v, modes = {10**22}) |> ifft(to = D)",
])  # fmt: skip
def test_modes_beyond_all_reason_are_one_diagnostic(call):
    program = f"""
edition 2026

model Huge {{
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input v : D -> R^1
  output w : D -> R^1

  w = {call}
}}
"""
    assert [x.code for x in opdsl.check(program).diagnostics] == ["OP0208"]


def test_degrees_beyond_all_reason_are_one_diagnostic():
    program = f"""
edition 2026

model Huge {{
  domain S = sphere(lat, lon, min = 8)
  input v : S -> R^1
  output w : S -> R^1

  w = spherical_conv(v, lmax = {10**22})
}}
"""
    assert [x.code for x in opdsl.check(program).diagnostics] == ["OP0208"]
