"""Members of every kind are found by name, and another package adds one of each in one file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opdsl.checks import CHECKS, WARNINGS
from opdsl.data.generate import GENERATORS
from opdsl.data.io.formats import FORMATS
from opdsl.registry import Registry
from opdsl.train.losses import LOSSES
from opdsl.train.optimizers import OPTIMIZERS

ROOT = Path(__file__).parents[2]
DESCRIBED = {"losses": LOSSES, "optimizers": OPTIMIZERS, "formats": FORMATS, "data": GENERATORS}

THEIRS = """
from opdsl.data.generate import GeneratedFile, Generator
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format
from opdsl.diagnostics import Diagnostic
from opdsl.train.losses import Loss
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.optimizers import OptimizerEntry


def loss(pred, true, weights, axes):
    return rel_l2(pred, true, weights).square()


def read(file, options):
    import torch

    rows = [[float(y) for y in x.split(",")] for x in file.path.read_text().splitlines()[1:]]
    values = {"a": torch.tensor(rows)[:, None]}
    return FileFields("theirs", values, {"a": "input"}, ("x",), "periodic")


def check(graph):
    yield Diagnostic("OP0412", f"`{graph.name}` is looked at", severity="warning")


def build(parameters, settings):
    from torch.optim import RMSprop

    return RMSprop(parameters, lr=settings.lr, momentum=settings.momentum)


def generate(*, out, seed, progress):
    out.write_text(f"# theirs {seed}")
    return GeneratedFile(out, 1, {}, 0.0, {}, "of theirs", ("nothing",))


LOSS = Loss("Squares.", loss)
OPTIMIZER = OptimizerEntry("RMSprop.", build, uses=("momentum",))
FORMAT = Format("their text", "Theirs.", lambda x: x.head.startswith(b"# theirs"), read)
GENERATOR = Generator("Their problem.", ".txt", generate, ())
"""

POINTS = """
[opdsl.losses]
squared = theirs:LOSS
[opdsl.optimizers]
rmsprop = theirs:OPTIMIZER
[opdsl.formats]
text = theirs:FORMAT
[opdsl.generators]
their_problem = theirs:GENERATOR
[opdsl.checks]
look = theirs:check
"""

USE = """
import sys
from pathlib import Path

from opdsl import compiler
before = "theirs" in sys.modules
from opdsl.data import open_dataset
from opdsl.diagnostics import OpError
from opdsl.setting import Setting
from opdsl.train.config.settings import resolve

def refused(*path_value):
    *path, value = path_value
    try:
        resolve([Setting(tuple(path), value, "test")])
    except OpError as error:
        return " | ".join(x.text for x in error.diagnostics[0].helps)

say = Setting
told = resolve([say(("loss",), "squared", "t"), say(("optimizer",), "rmsprop", "t")]).settings
print(before, told.loss, told.optimizer.kind)
print(resolve([say(("optimizer",), "rmsprop", "t"), say(("optimizer", "momentum"), 0.5, "t")])
      .settings.optimizer.momentum)
print(refused("loss", "squarred"))
Path("a.txt").write_text("# theirs\\n1,2,3\\n4,5,6\\n")
print(open_dataset("a.txt").values["a"].tolist())
Path("b.txt").write_text("what")
try:
    open_dataset("b.txt")
except OpError as error:
    print([x.text for x in error.diagnostics[0].helps][-1])
print([x.message for x in compiler.check(Path(sys.argv[1])).diagnostics])
from opdsl.cli import app
app(["data", "generate", "their-problem", "-o", "c.txt"], prog_name="opdsl")
"""


@pytest.mark.parametrize("kind", DESCRIBED)
def test_every_member_has_a_page(kind):
    for member in DESCRIBED[kind]:
        assert member.description.strip()
        assert not member.description.startswith(" ")


def test_members_are_the_modules_of_a_folder():
    assert LOSSES.names() == ("h1", "h1_spectral", "l2")
    assert OPTIMIZERS.names() == ("adam", "adamw", "lbfgs", "muon", "sgd")
    assert FORMATS.names() == ("mesh", "npz", "points", "pt", "well")
    assert GENERATORS.names() == (
        "advection",
        "allen_cahn",
        "burgers",
        "burgers_periodic",
        "darcy",
        "fisher",
        "fitzhugh_nagumo",
        "navier_stokes",
        "poisson",
        "poisson_shapes",
        "reaction_diffusion",
        "rpb",
        "shallow_water",
        "shear_layer",
        "surface",
        "transport",
        "wave",
    )
    assert CHECKS.names() == ("hidden_pin", "latent_size", "too_many_modes", "unmet_ends")
    assert len(WARNINGS.names()) == len(list(WARNINGS)) == 6


@pytest.mark.parametrize("name", ["nobody", "problems", "_x", "os.path", ""])
def test_what_is_no_module_is_no_member(name):
    assert GENERATORS.find(name) is None


def test_another_package_adds_one_of_each(tmp_path):
    (tmp_path / "theirs.py").write_text(THEIRS)
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", USE, str(ROOT / "specs" / "fno_darcy.op")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))},
        check=False,
    )
    assert done.stdout.splitlines() == [
        "False squared rmsprop",
        "0.5",
        (
            "did you mean `squared`? | it takes one of h1, h1_spectral, l2, squared "
            "or an expression such as `rel_l2(u) + 0.1 * rel_h1(u)`"
        ),
        "[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]",
        "their text",
        "['`DarcyFNO` is looked at']",
        "c.txt: 1 samples of theirs in 0.0 s",
        "checked: nothing",
    ], done.stderr


def test_a_member_of_ours_wins_over_that_of_another_package(monkeypatch):
    from opdsl import registry

    class Theirs:
        name = "l2"

        def load(self):
            raise AssertionError

    monkeypatch.setattr(registry, "_entry_points", lambda _: (Theirs(),))
    monkeypatch.setattr(registry, "declared", lambda _: True)
    assert LOSSES.find("l2") is not None
    assert LOSSES.known() == ("h1", "h1_spectral", "l2")
    assert len(list(Registry("opdsl.train.losses", "LOSS", "opdsl.losses"))) == 3
