"""Well-typed programs: what the checker, the summary and the module say is what was worked out."""

import os
import random

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.compiler import check
from opdsl.ir.certificate import certify
from opdsl.lower.module import lower
from opdsl.summary import summarise
from tests.property.well_typed import Program, program

FEW = range(40)
MANY = range(int(os.environ.get("OPDSL_PROGRAMS", "2000")))


def sound(made: Program):
    """The graph; any error is a fault of the checker."""
    checked = check(made.text())
    assert not checked.errors, (made.text(), [x.message for x in checked.errors])
    return checked.graph


def tensors(made: Program, n: int):
    """Inputs where D has n points on each axis; D/2 has half as many."""
    torch.manual_seed(0)
    shapes = ((2, *(n,) * made.axes), (3, *(n // 2,) * made.axes), (2,))
    return [torch.randn(2, *x, dtype=torch.float64) for x in shapes]


def agrees(made: Program) -> None:
    """Space, parameters and bound are as predicted; every weight is alive at the minimum."""
    graph = sound(made)
    assert summarise(graph).params == made.params
    needed = [x.needed for x in certify(graph).promises if x.domain.name == "D"]
    assert max(needed) <= made.least
    torch.manual_seed(0)
    module = lower(graph).double()
    with torch.no_grad():  # some weights begin at zero, and hide others behind them
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    assert sum(x.numel() for x in module.parameters()) == made.params
    for n in (made.least, made.least + 3):
        y = module(*tensors(made, n))
        assert y.shape == (2, 2, *(n,) * made.axes)
    module(*tensors(made, made.least)).square().sum().backward()
    dead = [k for k, x in module.named_parameters() if not x.grad.abs().sum() > 0]
    assert not dead, (made.text(), dead)
    with pytest.raises(OpError) as caught:
        module(*tensors(made, made.least - 1))
    assert caught.value.diagnostics[0].code == "OP0903"


@pytest.mark.parametrize("seed", FEW)
def test_a_well_typed_program_means_what_was_worked_out(seed):
    agrees(program(seed))


@pytest.mark.slow
def test_two_thousand_well_typed_programs_mean_what_was_worked_out():
    from tests.unit.export.test_flat_programs import assert_round_trip

    for seed in MANY:
        agrees(program(seed))
        assert_round_trip(sound(program(seed)))
    print(f"{len(MANY)} well-typed programs: no fault")  # noqa: T201  the figure of the campaign


# --- one rule broken: exactly that code

WRONG = {
    "OP0201": ("bad = lineer(a, out = 2)",),
    "OP0203": ("a = gelu(s)",),
    "OP0204": ("output q : D -> R^1",),
    "OP0205": ("bad = linear(a)",),
    "OP0206": ("bad = gelu(a, a)",),
    "OP0207": ("bad = linear(a, uot = 2)",),
    "OP0208": ("bad = linear(a, out = 0)",),
    "OP0209": ("bad = 3 |> gelu()",),
    "OP0301": ("bad = s |> spectral_conv(modes = 1)",),
    "OP0302": ("bad = linear(a + worse, out = 2)", "worse = gelu(bad)"),
    "OP0303": ("bad = a + linear(a, out = 7)",),
    "OP0304": ("bad = concat(a, b)",),
    "OP0305": ("bad : D -> R^9 = gelu(a)",),
    "OP0306": ("bad = a |> repeat 2 shared { linear(out = 9) }",),
    "OP0307": ("bad = a |> position()",),
    "OP0308": ("bad = a |> spectral_conv(modes = (1, 1, 1))",),
    "OP0309": ("bad = a |> spectral_conv(modes = 999)",),
    "OP0310": ("domain L = grid(x: 0..1)", "bad = coords(L)"),
    "OP0311": (
        "domain P = points(2, fixed = 4, geometry = per_sample)",
        "input f : P -> R^1",
        "bad = f |> flatten()",
    ),
    "OP0312": ("input z : D -> C^2", "bad = a + z"),
    "OP0313": ("bad = b |> pad(to = E)",),
    "OP0320": ("require 1 > 2",),
    "OP0321": ("domain L = grid(x: 0..1, boundary = periodic..none)",),
    "OP0322": ("domain L = grid(x: 0..1, boundary = periodic, sampling = both)",),
    "OP0323": (
        "domain L = grid(x: 0..1, boundary = periodic, min = 9)",
        "input f : L -> R^1",
        "bad = f |> spectral_conv(modes = 2, basis = sine)",
    ),
    "OP0324": (
        "domain L = grid(x: 0..1, boundary = dirichlet, min = 9)",
        "input f : L -> R^1",
        "output bad : L -> R^1, ends = dirichlet",
        "bad = f |> linear(out = 1)",
    ),
}


def broken(made: Program, code: str, rng: random.Random) -> str:
    """The program with the statements of a wrong one among its own."""
    lines = list(made.lines)
    for line in WRONG[code]:
        lines.insert(rng.randrange(len(lines) + 1), line)
    return Program(made.domains, tuple(lines), made.axes, made.least, made.params).text()


@pytest.mark.parametrize("code", WRONG)
def test_one_broken_rule_gives_exactly_its_code(code):
    rng = random.Random(code)  # noqa: S311  not for secrets
    for _ in range(5):
        text = broken(program(rng.randrange(10**6)), code, rng)
        assert [x.code for x in check(text).errors] == [code], text


def test_every_rule_of_the_spaces_is_broken_here():
    from opdsl.diagnostics import CODES

    assert {x for x in CODES if x.startswith("OP03")} == {x for x in WRONG if x.startswith("OP03")}


def test_the_python_entry_point_takes_such_programs():
    made = program(1)
    y = opdsl.compile(made.text())(*[x.float() for x in tensors(made, made.least)])
    assert y.shape[1] == 2
