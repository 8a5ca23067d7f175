"""Every check ends: programs that ask for too much get one diagnostic that says where."""

import pytest

from opdsl.compiler import check, check_each
from opdsl.diagnostics import OpError, Source
from opdsl.elaborate import elaborate
from opdsl.elaborate.bind.settings import settings, train_block
from opdsl.elaborate.evaluate import budget, limits
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.syntax.parser import parse
from tests.corpus import PROGRAMS
from tests.programs import model, only

SOUND = "output u : D -> R^2\nu = gelu(a)"


def body(text, **more):
    return model(f"output u : D -> R^2\n{text}", **more)


def chain(count, form, first="1"):
    """Constants c0 to c`count`, each from the one before it."""
    rest = [f"const c{i + 1} = {form.format(f'c{i}')}" for i in range(count)]
    return "\n".join([f"const c0 = {first}", *rest])


def block(number, stage):
    return (
        f"block B{number} {{\n  domain D : any\n  dim c\n  input v : D -> R^c\n"
        f"  output w : D -> R^c\n  w = v |> {stage}\n}}"
    )


def tower(height, stage):
    """Blocks B0 to B`height`, each of which calls the one before it as `stage` says."""
    first = block(0, "gelu()")
    return "\n".join([first, *(block(i + 1, stage.format(f"B{i}()")) for i in range(height))])


def steps(text):
    """What the evaluation of a program costs."""
    spent = Budget()
    elaborate(parse(Source("p.op", text))[0], budget=spent)
    return spent.steps


HOSTILE = {
    "squares": body("u = a |> linear(out = c39)", before=chain(39, "{0} * {0}", "10")),
    "a literal": body(f"u = scale(a, {'9' * 300})"),
    "an integer times a float": body(f"u = scale(a, {'9' * 400} * 1.5)"),
    "float overflow": body("u = scale(a, 1e308 * 10)"),
    "not a number": body("u = scale(a, 1e308 * 10 - 1e308 * 10)"),
    "modes that overflow": body("u = spectral_conv(a, out = 2, modes = (1e308 * 10, 4) / 2)"),
    "doubled tuples": body("u = gelu(a)", before=chain(40, "({0}, {0})", "(1, 2)")),
    "very many channels": body("u = a[0..1000000000]"),
    "still more channels": body("u = a[0..1e300]"),
    "coarser and coarser": body(
        "domain E = D / 1000000000000000000000000000000 / 1000000000000000000000000000000\nu = a"
    ),
    "repeats": body("u = a |> " + "repeat 10000 { " * 5 + "repeat 0 { gelu() }" + " }" * 5),
    "many nodes": body("u = a |> repeat 200 { repeat 200 { gelu() } }"),
    "blocks that call blocks twice": body(
        "u = a |> B25()", before=tower(25, "{0} |> {0}").replace("gelu()", "B()") + block("", "w")
    ).replace("w = v |> w", "w = v"),
    "such blocks, never called": model(SOUND, before=tower(25, "{0} |> {0}")),
    "blocks inside each other": body("u = a |> B60()", before=tower(60, "{0}")),
    "blocks inside each other, never called": model(SOUND, before=tower(60, "{0}")),
    "constants backwards": body(
        "u = a", before="\n".join(reversed(chain(300, "{0} + 1").splitlines()))
    ),
    "statements backwards": body(
        "u = v500\n"
        + "\n".join(f"v{i + 1} = gelu(v{i})" for i in reversed(range(500)))
        + "\nv0 = gelu(a)"
    ),
    "domains from domains": body(
        "domain D0 = D\n"
        + "\n".join(f"domain D{i + 1} = extend(D{i}, fraction = 0.5)" for i in range(100))
        + "\ninput b : D100 -> R^1\nu = a"
    ),
    "powers of an open size": model(
        SOUND,
        before="block P {\n  domain D : any\n  dim c\n  input v : D -> R^c\n  output w : D -> R^c\n"
        "  param p0 : int = c + 1\n"
        + "\n".join(f"  param p{i + 1} : int = p{i} * p{i}" for i in range(25))
        + "\n  w = v |> linear(out = p25) |> linear(out = c)\n}",
    ),
    "roundings of an open size": model(
        SOUND,
        before="block P {\n  domain D : any\n  dim c\n  input v : D -> R^c\n  output w : D -> R^c\n"
        "  param p0 : int = c + 1\n"
        + "\n".join(f"  param p{i + 1} : int = int((p{i} + int(p{i} / 3)) / 7)" for i in range(25))
        + "\n  w = v |> linear(out = p25 + 1) |> linear(out = c)\n}",
    ),
}


@pytest.fixture
def small(monkeypatch):
    """A budget of fewer steps, so that what exceeds it ends sooner."""
    monkeypatch.setattr(budget, "STEPS", 20_000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_program_that_asks_for_too_much_gets_one_diagnostic_with_a_place(name):
    found = check(HOSTILE[name]).errors
    assert [x.code for x in found] == ["OP0212"], [x.message for x in found]
    assert found[0].primary is not None


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["repeats", "blocks that call blocks twice"])
def test_the_steps_end_with_the_budget(name):
    assert steps(HOSTILE[name]) <= budget.STEPS + limits.LEAVES


@pytest.mark.usefixtures("small")
def test_the_place_of_the_most_steps_is_named():
    text = body(
        "v = a |> repeat 2 { gelu() }\n"
        "u = v |> repeat 10000 { repeat 10000 { repeat 0 { gelu() } } }"
    )
    found = only(text)
    assert found.primary.span.text == "repeat 10000"
    assert found.primary.span.start == text.rindex("repeat 10000")


@pytest.mark.usefixtures("small")
def test_steps_inside_of_the_library_are_spent_by_the_users_line():
    text = body(
        "u = a |> repeat 500 { repeat 20 { FNOBlock(modes = 4) } }",
        before="from std.fourier import FNOBlock",
    ).replace("FNOBlock, FourierLayer", "FourierLayer")
    (found,) = check(text).errors
    assert found.code == "OP0212"
    assert not found.primary.span.source.library


def test_a_constant_is_evaluated_once():
    # without that, each would cost twice as much as the one before it
    text = body("u = a |> linear(out = c100 - c100 + 2)", before=chain(100, "({0} + {0}) / 2"))
    assert not check(text).errors
    assert steps(text) < 1000


def test_a_long_chain_of_constants_in_order_is_not_deep():
    assert not check(
        body("u = a |> linear(out = c2000 - 1999)", before=chain(2000, "{0} + 1"))
    ).errors


def test_a_constant_means_the_same_wherever_it_is_used():
    """A name in it is one of its own file, not of the block that uses it."""
    text = body("param k : int = 3\nu = a |> linear(out = twice)", before="const twice = 2 * k")
    assert only(text).code == "OP0201"


def test_constants_that_need_each_other_are_a_circle():
    found = only(body("u = a |> linear(out = p)", before="const p = q + 1\nconst q = p"))
    assert found.code == "OP0211"
    assert [x.text for x in found.labels] == ["`p` needs `q`", "`q` needs `p`"]


def test_a_constant_may_not_need_itself():
    assert only(body("u = gelu(a)", before="const p = p + 1")).code == "OP0211"


def test_rounding_to_a_trillion_digits_is_refused_at_once():
    text = body("u = a |> linear(out = round(5, -1000000000000))")
    assert only(text).code == "OP0209"


def test_a_program_of_two_thousand_statements_is_far_below_the_budget():
    lines = [f"v{i + 1} = v{i} |> linear(out = 2 * 3 - 4) |> gelu()" for i in range(2000)]
    text = body("\n".join(["v0 = gelu(a)", *lines, "u = v2000"]))
    assert 4 * steps(text) < budget.STEPS


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_no_program_of_the_house_takes_a_tenth_of_the_budget(path):
    spent = Budget()
    file, _ = parse(Source(str(path), path.read_text("utf-8")))
    elaborate(file, folder=path.parent, budget=spent)
    assert 10 * spent.steps < budget.STEPS


NESTED = {
    "residuals": "u = a |> " + "residual { " * 60 + "gelu()" + " }" * 60,
    "repeats": "u = a |> " + "repeat 1 { " * 60 + "gelu()" + " }" * 60,
    "arguments": "u = " + "gelu(" * 60 + "a" + ")" * 60,
    "brackets": "u = a |> linear(out = " + "(" * 60 + "2" + ")" * 60 + ")",
    "signs": "u = a |> scale(" + "- " * 120 + "2)",
    "sums": "u = " + "a + " * 120 + "a",
    "conditions": "u = a |> linear(out = " + "if true then 2 else " * 120 + "2)",
    "negations": "u = a |> linear(out = if " + "not " * 120 + "true then 2 else 2)",
    "tuples": "const t = " + "(" * 60 + "1, 2" + "), 2" * 59 + ")",
}


@pytest.mark.parametrize("name", NESTED)
def test_what_the_parser_allows_is_evaluated_below_a_deep_stack(name):
    """A notebook or a server has called us from 150 frames deep."""
    text = NESTED[name]
    program = model(SOUND, before=text) if text.startswith("const") else body(text)
    assert not below(150, lambda: check(program)).errors


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", HOSTILE)
def test_the_budget_ends_before_the_stack_does(name):
    assert [x.code for x in below(150, lambda: check(HOSTILE[name])).errors] == ["OP0212"]


def below(frames, run):
    return run() if frames == 0 else below(frames - 1, run)


@pytest.mark.usefixtures("small")
def test_the_models_of_a_file_share_one_budget():
    text = "edition 2026\n" + "\n".join(
        f"model M{i} {{\n  domain D = grid(x: 0..1, min = 9)\n  input a : D -> R^1\n"
        f"  output u : D -> R^1\n  u = a |> repeat 9000 {{ repeat 9000 {{ gelu() }} }}\n}}"
        for i in range(20)
    )
    found = [y.code for x in check_each(Source("p.op", text)) for y in x.errors]
    assert found == ["OP0212"]


@pytest.mark.parametrize(
    "value", ["9" * 50, " * ".join(["9" * 4000] * 3), "1e308 * 10", "9" * 4000 + " / 7.0"]
)
def test_a_setting_is_bounded_too(value):
    file, _ = parse(Source("p.op", model(SOUND) + f"\ntrain M {{ batch = {value} }}"))
    with pytest.raises(OpError) as caught:
        settings(train_block(file, "M"))
    assert [x.code for x in caught.value.diagnostics] == ["OP0212"]
