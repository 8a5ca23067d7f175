"""The commands as tests call them: in this process, or as processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import opdsl
from opdsl.cli import app

ROOT = Path(opdsl.__file__).parents[1]  # the package may stand in a bare checkout
DARCY = ROOT / "specs" / "fno_darcy.op"

TINY = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Tiny "small enough for a test" {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^{coefficient}
  output u : D -> R^{pressure}

  param width : int = 6 # channels
  param modes : modes = (3, 3)

  u = concat(a, coords(D)) |> Lift(out = width) |> FourierLayer(modes = modes) |> Project(out = 1)
}
"""

TRAIN = """
train Tiny {
  data darcy { path = "d.h5" resolution = 9 coordinates = "ignore" }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 3 }
  batch = 5
  device = cpu
  eval { resolutions = [9, 17] }
}
"""


def run(*arguments, stdin=None):
    """A command in this process: exit_code, stdout, stderr."""
    result = CliRunner().invoke(app, [str(x) for x in arguments], input=stdin, prog_name="opdsl")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*arguments, stdin=None):
    """The stdout of a command that succeeds."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr + result.stdout
    return result.stdout


def data(*arguments):
    """The JSON of a command that succeeds."""
    return json.loads(good(*arguments))


def environment(**more):
    """What a process of ours needs to find the package, and whatever else is asked for."""
    clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "CLICOLOR_FORCE"}}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def start(*arguments, cwd=None, group=False, **more):
    """The command as a process, its streams in pipes; in a process group of its own if asked."""
    command = [sys.executable, "-m", "opdsl", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(  # noqa: S603  our own program
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=cwd,
        env=environment(**more),
        start_new_session=group,
    )


def process(*arguments, cwd=None, stdin=None, **more):
    """The command as a process, to its end: returncode, stdout, stderr."""
    child = start(*arguments, cwd=cwd, **more)
    out, err = child.communicate(stdin, timeout=120)
    return subprocess.CompletedProcess(arguments, child.returncode, out, err)
