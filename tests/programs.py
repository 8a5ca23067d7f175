"""Programs for tests: a model around a body, and what the compiler says of it."""

from opdsl.compiler import CheckResult, check

HEAD = """edition 2026

from std.fourier import FNOBlock, FourierLayer
from std.pointwise import ChannelMLP, Lift, Project

"""


def model(body: str, *, before: str = "", domain: str = "x: 0..1, y: 0..1, min = 65") -> str:
    """A model with the domain D, the input a : D -> R^2 and the statements of `body`."""
    lines = "\n".join(f"  {x}" for x in body.strip().splitlines())
    opening = f"{before}\nmodel M {{\n  domain D = grid({domain})\n  input a : D -> R^2\n"
    return f"{HEAD}{opening}{lines}\n}}\n"


# every test imports the same blocks, and most stand on grids with ends
QUIET = {"OP0405": "allow", "OP0411": "allow"}


def codes(text: str) -> list[str]:
    """The codes of all diagnostics, in order."""
    return [x.code for x in check(text, levels=QUIET).diagnostics]


def only(text: str):
    """The one diagnostic of a program."""
    found = check(text, levels=QUIET).diagnostics
    assert len(found) == 1, [x.message for x in found]
    return found[0]


def graph(text: str):
    """The graph of a program without faults or warnings."""
    checked: CheckResult = check(text, levels=QUIET)
    assert not checked.diagnostics, [x.message for x in checked.diagnostics]
    return checked.graph
