import sys
import textwrap
from importlib import import_module

import pytest
import torch

from opdsl.compiler import load
from opdsl.export import emit_python
from opdsl.export.sources import SourceCollection
from opdsl.lower.module import lower

FIRST = """
    import math

    Size = tuple[int, ...]
    FACTOR = 2


    def scale(x, FACTOR=FACTOR):
        # a parameter that hides a constant
        return FACTOR * x


    class Layer:
        FACTOR = 10

        def run(self, x):
            return scale(x) + self.FACTOR + FACTOR + math.floor(0.5)
"""
SECOND = """
    import math as m

    from twins import first
    from twins.first import scale as doubled

    Size = tuple[int, ...]
    FACTOR = 3


    def scale(x: Size):
        second_FACTOR = 1000
        return sum(FACTOR * y for y in x) + m.floor(1.5) + second_FACTOR - 1000


    def hidden(x):
        return [scale for scale in x] + [scale(x)]


    class Layer(first.Layer):
        scale: int = 4
        width: Size

        def run(self, x):
            scale_ = [f"{FACTOR}{scale((1,))}" for FACTOR in (5,)]
            return super().run(x), first.scale(x=x), doubled(x), scale((x, x)), scale_, hidden([x])


    class Grown(Layer):
        def again(self):
            return Grown, Layer(), f"{FACTOR:>{FACTOR}}"
"""


@pytest.fixture
def twins(tmp_path, monkeypatch):
    """Two modules that define `Size`, `FACTOR`, `scale` and `Layer`, and of course differ."""
    (tmp_path / "twins").mkdir()
    for name, text in (("__init__", '"""Twins."""'), ("first", FIRST), ("second", SECOND)):
        (tmp_path / "twins" / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("twins.first"), import_module("twins.second")
    for name in ("twins", "twins.first", "twins.second"):
        del sys.modules[name]


def executed(sources):
    text = "\n".join([*sources.imports(), *sources.texts()])
    space = {"__name__": "emitted"}
    exec(compile(text, "emitted.py", "exec"), space)  # noqa: S102  the text is ours, and the test's matter
    return text, space


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_definitions_of_one_name_run_beside_each_other(twins, order):
    sources = SourceCollection()
    for i in order:
        sources.add(twins[i].Layer)
    sources.add(twins[1].Grown)
    _, space = executed(sources)
    for module in twins:
        own = space[sources.name(module.Layer)]
        assert own().run(7) == module.Layer().run(7)
    grown, expected = space["Grown"]().again(), twins[1].Grown().again()
    assert grown[0] is space["Grown"]
    assert grown[2] == expected[2] == "  3"


def test_the_second_of_one_name_is_called_after_its_module(twins):
    sources = SourceCollection()
    sources.add(twins[0].scale)
    sources.add(twins[1].scale)
    assert sources.name(twins[0].scale) == "scale"
    assert sources.name(twins[1].scale) == "second_scale"


def test_a_new_name_is_not_one_that_is_a_local_variable(twins):
    sources = SourceCollection()
    sources.add(twins[0].scale)
    sources.add(twins[1].scale)
    text, _ = executed(sources)
    assert "(second_FACTOR * y" not in text
    assert "twins_second_FACTOR = 3" in text


def test_equal_definitions_stand_once(twins):
    sources = SourceCollection()
    sources.add(twins[0].Layer)
    sources.add(twins[1].Layer)
    text, _ = executed(sources)
    assert text.count("Size = tuple[int, ...]") == 1
    assert text.count("import math") == 1


def test_comments_stay(twins):
    sources = SourceCollection()
    sources.add(twins[0].scale)
    assert "# a parameter that hides a constant" in executed(sources)[0]


def test_reserved_names_are_left_free(twins):
    sources = SourceCollection({"scale"})
    sources.add(twins[0].scale)
    assert sources.name(twins[0].scale) == "first_scale"


TWO_CONVOLUTIONS = """\
edition 2026

model Both {
    domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
    domain S = sphere(lat, lon, sampling = equiangular, min = (9, 16))
    input a : D -> R^1
    input b : S -> R^1
    output u : D -> R^2
    output v : S -> R^2

    u = a |> disco_conv(out = 2, radius = 0.2)
    v = b |> disco_conv(out = 2, radius = 0.5)
}
"""


def test_a_program_that_needs_two_classes_of_one_name_is_emitted():
    graph = load(TWO_CONVOLUTIONS)
    module = lower(graph)
    kinds = {type(x.module) for x in module.steps}
    assert len(kinds) == 2
    assert {x.__name__ for x in kinds} == {"DiscoConv"}
    space = {"__name__": "emitted"}
    exec(emit_python(graph), space)  # noqa: S102  the file that a user would import
    other = space["Both"]()
    other.load_state_dict(module.state_dict())
    inputs = torch.randn(2, 1, 18, 16), torch.randn(2, 1, 9, 16)
    expected, found = module(*inputs), other(*inputs)
    for name in ("u", "v"):
        torch.testing.assert_close(found[name], expected[name])
