"""`spectral_conv(basis = ...)`: words, bounds, refusals, weights and fingerprints."""

import pytest
import torch

import opdsl
from opdsl.compiler import check, with_places
from opdsl.ir.expansion import expansion
from opdsl.ir.fingerprint import fingerprint
from opdsl.sampling import positions
from tests.programs import only

PROGRAM = """edition 2026

model M {{
  domain D = grid({axes}, min = 33)
  input v : D -> R^3
  output w : D -> R^5

  w = spectral_conv(v, modes = {modes}, out = 5, {call})
}}
"""
SQUARE = "x: 0..1, y: 0..1, boundary = {}"


def program(boundary: str, call: str, modes: object = 8, axes: str = SQUARE) -> str:
    return PROGRAM.format(axes=axes.format(boundary), call=call, modes=modes)


def codes(text: str) -> list[str]:
    return [x.code for x in check(text).diagnostics]


@pytest.mark.parametrize(
    ("boundary", "same"),
    [
        ("periodic", "fourier"),
        ("neumann", "cosine"),
        ("dirichlet", "sine_cosine"),
        ("none", "sine_cosine"),
        ("(periodic, neumann)", "(fourier, cosine)"),
        ("(dirichlet..neumann, periodic)", "(sine_cosine, fourier)"),
    ],
)
def test_auto_means_the_basis_of_the_boundary(boundary: str, same: str) -> None:
    auto, explicit = (program(boundary, f"basis = {x}") for x in ("auto", same))
    assert codes(auto) == []
    assert fingerprint(check(auto).sound()) == fingerprint(check(explicit).sound())
    if same != "fourier":
        plain = check(program(boundary, "bias = true")).sound()
        assert fingerprint(plain) != fingerprint(check(auto).sound())


def test_the_default_is_the_fourier_layer_of_old_programs() -> None:
    plain, fourier = (program("periodic", x) for x in ("bias = true", "basis = fourier"))
    assert fingerprint(check(plain).sound()) == fingerprint(check(fourier).sound())
    assert codes(program("dirichlet", "basis = fourier")) == ["OP0411"]
    assert codes(program("dirichlet", "basis = (fourier, auto)")) == ["OP0411"]


@pytest.mark.parametrize(
    ("boundary", "call", "code"),
    [
        ("periodic", "basis = sine", "OP0323"),
        ("(periodic, dirichlet)", "basis = sine_cosine", "OP0323"),
        ("neumann", "basis = sine", "OP0323"),
        ("dirichlet..neumann", "basis = quarter_cosine", "OP0323"),
        ("dirichlet, sampling = lower", "basis = cosine", "OP0322"),
        ("neumann, sampling = interior", "basis = auto", "OP0322"),
        ("dirichlet", "basis = (sine, sine, sine)", "OP0208"),
        ("dirichlet", "basis = auto, layout = neuralop", "OP0208"),
        ("dirichlet", "basis = cosines", "OP0208"),
    ],
)
def test_refusals(boundary: str, call: str, code: str) -> None:
    assert codes(program(boundary, call)) == [code]


def test_zero_half_waves_are_refused() -> None:
    assert codes(program("dirichlet", "basis = auto", modes=0)) == ["OP0208"]
    assert codes(program("(dirichlet, periodic)", "basis = auto", modes="(4, 0)")) == []


@pytest.mark.parametrize(
    ("sampling", "modes", "fits"),
    [("both", 31, True), ("both", 32, False), ("centres", 33, True), ("centres", 34, False)],
)
def test_modes_that_the_promised_points_carry(sampling: str, modes: int, *, fits: bool) -> None:
    text = program(f"dirichlet, sampling = {sampling}", "basis = auto", modes)
    problems = check(text).diagnostics
    assert len(problems) == (0 if fits else 1)
    if not fits:
        assert any(f"modes = {modes - 1}" in str(x) for x in problems[0].helps)


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "(dirichlet..neumann, periodic)"])
def test_the_cost_is_that_of_the_module(boundary: str) -> None:
    graph = check(program(boundary, "basis = auto")).sound()
    module = opdsl.compile(program(boundary, "basis = auto"))
    (node,) = graph.nodes
    numbers = sum(p.numel() for p in module.parameters())
    assert node.block.cost(*graph.arguments(node)).params == numbers
    v = torch.randn(2, 3, 33, 40)
    assert module(v).shape == (2, 5, 33, 40)


@pytest.mark.parametrize(
    ("boundary", "fits"),
    [("(dirichlet, periodic)", "(4, 3)"), ("(periodic, dirichlet)", "(3, 4)")],
)
def test_the_number_of_modes_that_the_help_names_fits(boundary: str, fits: str) -> None:
    text = """edition 2026

model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = {}, min = 17)
  input v : D -> R^3
  output w : D / 2 -> R^3

  w = spectral_conv(v, modes = {}, to = D / 2, basis = auto)
}}
"""
    (problem,) = check(text.format(boundary, "(4, 4)")).diagnostics
    assert problem.code == "OP0309"
    assert any(f"modes = {fits}" in str(x) for x in problem.helps)
    assert check(text.format(boundary, fits)).diagnostics == ()


@pytest.mark.parametrize("sampling", ["lower", "upper", "centres"])
@pytest.mark.parametrize("boundary", ["periodic", "(periodic, neumann)"])
def test_the_result_on_another_grid_is_one_function(boundary: str, sampling: str) -> None:
    samplings = sampling if boundary == "periodic" else f"({sampling}, both)"
    text = f"""edition 2026

model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = {boundary}, sampling = {samplings}, min = 24)
  input v : D -> R^1
  output w : D/2 -> R^1

  w = spectral_conv(v, modes = 3, to = D/2, basis = auto)
}}
"""
    module = opdsl.compile(text).double()
    axis = check(text).sound().domains[0].axes[0]

    def wave(n: int) -> torch.Tensor:
        t = torch.tensor(positions(axis.points, n), dtype=torch.float64)
        return torch.cos(2 * torch.pi * (t - 0.1))[:, None].expand(n, n)

    same = text.replace("D/2", "D").replace("to = D, ", "")
    plain = opdsl.compile(same).double()
    plain.load_state_dict(module.state_dict())
    coarse = module(wave(48)[None, None])
    assert coarse.shape[-1] == 24
    torch.testing.assert_close(coarse, plain(wave(24)[None, None]), atol=1e-12, rtol=0)


def test_coefficients_count_from_the_lower_end() -> None:
    text = """edition 2026

model M {
  domain D = grid(x: 0..1, boundary = periodic, sampling = centres, min = 33)
  input v : D -> R^1
  output w : D -> R^1

  w = fft(v, modes = 3) |> ifft(to = D)
}
"""
    assert codes(text) == ["OP0322"]


# --- parameters of the type `bases` ---------------------------------------------------------------

LAYERS = """
edition 2026

from std.spectral import SpectralBlock, SpectralLayer

model M {{
  param basis : bases = auto
  domain D = grid(x: 0..1, y: 0..1, boundary = (periodic, dirichlet), min = 16)
  input v : D -> R^3
  output w : D -> R^3

  w = v |> {layer}(modes = 4, basis = basis)
}}
"""


@pytest.mark.parametrize("layer", ["SpectralLayer", "SpectralBlock"])
@pytest.mark.parametrize(
    ("word", "terms"),
    [
        ("auto", (("fourier", "sine"), ("fourier", "cosine"))),
        (("fourier", "sine"), (("fourier", "sine"),)),
        (("auto", "cosine"), (("fourier", "cosine"),)),
    ],
)
def test_layers_take_a_basis_for_each_axis(layer, word, terms):
    graph = check(LAYERS.format(layer=layer), arguments=with_places({"basis": word})).sound()
    node = next(x for x in graph.nodes if x.keyword == "spectral_conv")
    found = expansion(node.block.basis, node.block.modes, *graph.arguments(node))
    assert found is not None
    assert found.terms == terms


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sines", "a basis, one for all axes or one for each"),
        ("(auto, 3)", "a basis, one for all axes or one for each"),
        ("gelu", "a basis, one for all axes or one for each"),
    ],
)
def test_other_values_are_no_bases(word, said):
    text = LAYERS.format(layer="SpectralLayer").replace("basis = basis", f"basis = {word}")
    assert said in str(only(text))
