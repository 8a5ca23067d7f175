"""`opdsl new`: a program to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result, say
from opdsl.cli.files import SUFFIX, write
from opdsl.diagnostics import fault

STARTER = """\
# A Fourier neural operator to begin with. Check it with `opdsl check {file}`.
edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model {model} "one line that says which function this is" {{
  # Where the functions live. `min` promises: at least so many points on each axis.
  domain D = grid(x: 0..1, y: 0..1, boundary = none, min = 33)
  # Fourier layers take a domain for a ring: they work on a longer one that closes to it.
  domain E = extend(D, fraction = 0.25)

  # What goes in and what comes out: functions from D to so many channels.
  input a : D -> R^1
  output u : D -> R^1

  # What `--set model.width=64` can change.
  param width : int = 32
  param depth : int = 4
  param modes : modes = 12 # keeps |k| <= 12 on each axis, which needs 25 points

  u = concat(a, coords(D))
    |> Lift(out = width)
    |> pad(to = E)
    |> repeat depth {{ FourierLayer(modes = modes) }}
    |> crop(to = D)
    |> Project(out = 1)
}}

# How to train it: `opdsl train {file}`. Options and `--config run.yaml` go before this.
train {model} {{
  # Data to try: opdsl data generate darcy --resolution 33 --samples 500 --seed 0 --out {data}
  data darcy {{ path = "{data}" }}
  loss = l2
  optimizer adamw {{ lr = 2e-3 weight_decay = 1e-4 }}
  schedule cosine {{ epochs = 50 }}
  batch = 20
}}
"""


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name of the model, or the path of its file.",
            show_default=False,
        ),
    ],
) -> None:
    """Write a commented program to begin with.

    Example: opdsl new burgers
    """
    path = Path(name if name.endswith(SUFFIX) else f"{name}{SUFFIX}")
    text = starter(path)
    if path.exists():
        message = "there is such a file already, and it stays as it is"
        raise fault("OP0625", message, helps=("choose another name",), file=str(path))
    write(path, text.encode())
    result(str(path))
    say(f"next: opdsl check {path}; opdsl render {path} -o {path.stem}.svg; opdsl train {path}")


def starter(path: Path) -> str:
    """Return the program for a file of that name, in the one layout.

    Raises:
        UsageError: the name of the file does not begin with a letter.
    """
    from opdsl.workflow.texts import format_text

    words = re.findall(r"[A-Za-z0-9]+", path.stem)
    model = "".join(x[:1].upper() + x[1:] for x in words)
    if not model[:1].isalpha():
        raise UsageError(f"`{path.stem}`: the name of a model begins with a letter")
    stem = re.sub(r'["\\\\\n]', "_", path.stem)
    text = STARTER.format(file=f"{stem}{SUFFIX}", model=model, data=f"{stem}.h5")
    return format_text(text, str(path))
