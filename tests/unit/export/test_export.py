import ast
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from importlib import import_module

import pytest
import torch

import opdsl.nn
from opdsl import files
from opdsl.blocks.domain.concat import Concat
from opdsl.blocks.domain.coords import Coords
from opdsl.blocks.domain.crop import Crop
from opdsl.blocks.domain.pad import Pad
from opdsl.blocks.pointwise.add import Add
from opdsl.blocks.pointwise.apply import Apply
from opdsl.blocks.pointwise.dropout import Dropout
from opdsl.blocks.pointwise.linear import Linear
from opdsl.blocks.pointwise.norm import Norm
from opdsl.blocks.pointwise.skip import Skip
from opdsl.blocks.spectral.resample import Resample
from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.diagnostics import OpError, Source
from opdsl.export import emit_python, load_compiled, save_compiled, to_json
from opdsl.export import folder as compiled
from opdsl.export.sources import SourceCollection
from opdsl.ir.axes import Axis
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend
from opdsl.lower.module import lower
from tests.hand_built import Writer

TEXT = "edition 2026\n\nmodel M {}\n"


def square(boundary="none"):
    axes = tuple(Axis(name=x, boundary=boundary, min=17) for x in "xy")
    return Domain(name="D", axes=axes)


def everything():
    """One node of each kind, two grids, an extension, two inputs, two outputs, awkward names."""
    d = square()
    half, wide = d.coarsened(2), d.extended(Extend(name="E", numerator=1, denominator=4))
    p = Writer(a=Space(domain=d, channels=2), batch=Space(domain=d, channels=1))
    at = p.node("u.coords", Coords(domain=d))
    v = p.node("u.concat", Concat(), "a", at, "batch")
    v = p.node("u.forward", Linear(out=6), v)
    for i, kind in enumerate(("layer", "group", "instance", "batch")):
        v = p.node(f"u.norm.{i}", Norm(kind=kind, groups=2 if kind == "group" else 1), v)
    e = p.node("e.pad", Pad(to=wide), v)
    e = p.node("e.k", SpectralConv(modes=(3, 2)), e)
    e = p.node("e.crop", Crop(to=d), e)
    w = p.node("w.down", SpectralConv(modes=3, out=6, to=half), v)
    w = p.node("w.act", Apply(kind="gelu"), w)
    w = p.node("w.drop", Dropout(p=0.3), w)
    w = p.node("w.up", Resample(to=d), w)
    s = p.node("w.skip", Skip(kind="soft"), v)
    w = p.node("w", Add(), p.node("w.add", Add(), w, s), e)
    return p.graph("Coords", {"u": p.node("lambda", Linear(out=3), w), "where": at}, 'a "doc"\n\\')


def small():
    p = Writer(a=Space(domain=square("periodic"), channels=1))
    v = p.node("u.lift", Linear(out=4), "a")
    v = p.node("u.k", SpectralConv(modes=4), v)
    return p.graph("Small", {"u": p.node("u.project", Linear(out=2), v)}, "a small one")


def executed(text, name):
    namespace = {"__name__": "emitted"}
    exec(compile(text, "emitted.py", "exec"), namespace)  # noqa: S102  the text is ours, and the test's matter
    return namespace[name]()


# --- Python source ----------------------------------------------------------------------------


@pytest.mark.parametrize("points", [(17, 20), (24, 19)])
def test_emitted_source_computes_the_same_from_the_same_weights(points):
    torch.manual_seed(3)
    graph = everything()
    module = lower(graph).eval()
    other = executed(emit_python(graph), "Coords_")
    other.load_state_dict(module.state_dict())
    inputs = torch.randn(3, 2, *points), torch.randn(3, 1, *points)
    expected, found = module(*inputs), other.eval()(*inputs)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)


def test_emitted_source_has_the_keys_of_our_weights():
    graph = everything()
    other = executed(emit_python(graph), "Coords_")
    assert list(other.state_dict()) == list(lower(graph).state_dict())


def test_emitted_source_trains():
    other = executed(emit_python(small()), "Small")
    other(torch.randn(2, 1, 17, 17)).square().sum().backward()
    assert all(x.grad is not None for x in other.parameters())


def test_emitted_source_imports_torch_and_the_standard_library_only():
    tree = ast.parse(emit_python(everything()))
    found = {
        (x.module if isinstance(x, ast.ImportFrom) else x.names[0].name).partition(".")[0]
        for x in ast.walk(tree)
        if isinstance(x, ast.Import | ast.ImportFrom)
    }
    assert "torch" in found
    known = {"__future__", "collections", "contextlib", "functools", "math", "typing"}
    assert found <= {"torch", *known}


def test_a_node_is_one_line_with_its_place_above():
    lines = [x.strip() for x in emit_python(small()).splitlines()]
    at = lines.index("u_k = self.nodes['u.k'](u_lift, size=size_D, kernel='fft')")
    assert lines[at - 1] == "# spectral_conv: D -> R^4, specs/model.op:3:1"
    assert "'u.k': SpectralConv(4, 4, (4, 4), bias=True)," in lines
    assert "'u.lift': nn.Linear(1, 4, bias=True)," in lines


def test_only_what_a_model_uses_is_emitted():
    text = emit_python(small())
    assert "class SpectralConv" in text
    assert "class GroupNorm" not in text
    assert "def coords" not in text


def test_emitting_changes_no_class_and_no_random_number():
    torch.manual_seed(5)
    state, made = torch.get_rng_state(), torch.nn.Linear.__init__
    emit_python(everything())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.nn.Linear.__init__ is made


def test_text_of_the_program_cannot_leave_its_comment():
    graph = small()
    name = "x.op\nimport os\r\x0cos.abort()\x00"
    spans = (Source(name, "abc").span(0, 1),)
    nodes = tuple(x.model_copy(update={"spans": spans}) for x in graph.nodes)
    hostile = graph.model_copy(update={"nodes": nodes, "doc": '"""\nimport os\n'})
    same = graph.model_copy(update={"doc": '"""\nimport os\n'})
    assert ast.dump(ast.parse(emit_python(hostile))) == ast.dump(ast.parse(emit_python(same)))
    imports = (x for x in ast.walk(ast.parse(emit_python(hostile))) if isinstance(x, ast.Import))
    assert "os" not in {y.name for x in imports for y in x.names}


def test_an_input_on_a_coarser_grid_tells_the_finer_one():
    d = square("periodic")
    p = Writer(a=Space(domain=d.coarsened(2), channels=1))
    graph = p.graph("Up", {"u": p.node("k", SpectralConv(modes=2, to=d), "a")})
    module, other = lower(graph), executed(emit_python(graph), "Up")
    other.load_state_dict(module.state_dict())
    x = torch.randn(1, 1, 9, 10)
    torch.testing.assert_close(other(x), module(x))


def test_all_definitions_of_the_numerics_fit_into_one_file():
    sources = SourceCollection()
    for info in pkgutil.walk_packages(opdsl.nn.__path__, "opdsl.nn."):
        module = import_module(info.name)
        for x in vars(module).values():
            if (isinstance(x, type) or inspect.isfunction(x)) and x.__module__ == info.name:
                sources.add(x)
    assert len(set(sources.names.values())) > 300
    compile("\n".join([*sources.imports(), *sources.texts()]), "all.py", "exec")


# --- JSON -------------------------------------------------------------------------------------


def test_json_holds_every_node_with_its_place():
    graph = everything()
    found = json.loads(json.dumps(to_json(graph), allow_nan=False))
    assert [x["path"] for x in found["nodes"]] == [x.path for x in graph.nodes]
    node = next(x for x in found["nodes"] if x["path"] == "e.k")
    assert node["op"] == "spectral_conv"
    assert node["params"]["modes"] == [3, 2]
    assert node["inputs"] == ["e.pad"]
    assert node["space"]["channels"] == 6
    assert re.fullmatch(r"specs/model\.op:\d+:1", node["at"])


def test_json_holds_the_verdict_and_the_fingerprint():
    graph = small()
    found = to_json(graph)
    assert found["hashes"] == {"function": fingerprint(graph)}
    assert found["certificate"]["agnostic"]
    promise = found["certificate"]["promises"][0]
    assert (promise["axis"], promise["promised"], promise["needed"]) == ("D.x", 17, 9)
    assert promise["because"].startswith("`u.k` keeps |k| <= 4 on D")


def test_json_gives_spaces_and_blocks_back():
    graph = everything()
    for node, told in zip(graph.nodes, to_json(graph)["nodes"], strict=True):
        assert Space.model_validate(told["space"]) == node.space
        assert type(node.block).model_validate(told["params"]) == node.block


def test_json_is_written_without_torch():
    code = "import sys, opdsl.export; sys.exit('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603  our own text
    assert found.returncode == 0


# --- the folder -------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    graph = small()
    module = lower(graph)
    return graph, module, save_compiled(graph, module, TEXT, tmp_path / "model")


def test_a_folder_gives_back_what_was_written(saved):
    graph, module, folder = saved
    found = load_compiled(folder)
    assert found.text == TEXT
    assert found.ir == json.loads(json.dumps(to_json(graph)))
    assert found.manifest["hashes"] == {"function": fingerprint(graph)}
    other = lower(graph)
    other.load_state_dict(found.weights)
    x = torch.randn(1, 1, 17, 17)
    assert torch.equal(other(x), module(x))


def test_nothing_but_the_folder_is_left(saved, tmp_path):
    assert [x.name for x in tmp_path.iterdir()] == ["model"]
    assert {x.name for x in saved[2].iterdir()} == {*compiled.PARTS, compiled.MANIFEST}


@pytest.mark.parametrize("name", [*compiled.PARTS])
def test_one_altered_byte_is_noticed(saved, name):
    file = saved[2] / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(OpError, match=f"`{name}` is not what was written"):
        load_compiled(saved[2])


@pytest.mark.parametrize("name", [*compiled.PARTS, compiled.MANIFEST])
def test_a_missing_file_is_named(saved, name):
    (saved[2] / name).unlink()
    with pytest.raises(OpError, match=name) as error:
        load_compiled(saved[2])
    assert error.value.diagnostics[0].code == "OP0621"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": {}}', '{"format": 2, "sha256": {}}'])
def test_a_strange_manifest_is_refused(saved, text):
    (saved[2] / compiled.MANIFEST).write_text(text)
    with pytest.raises(OpError, match="OP0621"):
        load_compiled(saved[2])


def test_a_folder_that_exists_is_not_touched(saved):
    graph, module, folder = saved
    before = {x.name: x.read_bytes() for x in folder.iterdir()}
    with pytest.raises(OpError, match="OP0625"):
        save_compiled(graph, module, "other", folder)
    assert {x.name: x.read_bytes() for x in folder.iterdir()} == before


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    graph = small()
    with pytest.raises(OpError, match="no space left on device"):
        save_compiled(graph, lower(graph), TEXT, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_shared_weights_are_made_once_in_the_source():
    from opdsl import compile as compile_
    from tests.programs import model

    text = model("output u : D -> R^2\nu = a |> repeat 3 shared { linear(out = 2) |> tanh() }")
    net = compile_(text)
    space: dict[str, object] = {}
    exec(emit_python(net.graph), space)  # noqa: S102  the file that a user would import
    other = space["M"]()
    other.load_state_dict(net.state_dict(), strict=True)
    x = torch.randn(2, 2, 65, 66)
    torch.testing.assert_close(other(x), net(x))


@pytest.mark.parametrize("name", ["deeponet", "gino", "sfno", "transformer"])
def test_a_model_whose_calls_take_coordinates_or_fields_says_that_it_has_no_source(name):
    from opdsl import OpError, load

    with pytest.raises(OpError) as caught:
        emit_python(load(f"tests/data/language/{name}.op"))
    assert caught.value.diagnostics[0].code == "OP0107"


GRIDS = """edition 2026

model M {
  domain D = grid(x: 0..3, y: 0..1, min = 4)
  input f : D -> R^2
  output w : R^2

  w = f |> SAID |> pool(kind = mean)
}
"""


def test_a_block_that_looks_for_points_says_that_it_has_no_source():
    from opdsl import OpError, load

    with pytest.raises(OpError, match="`interpolate` looks for points") as caught:
        emit_python(load(GRIDS.replace("SAID", "interpolate(to = D / 2, kind = linear)")))
    assert caught.value.diagnostics[0].code == "OP0107"


def test_a_mean_has_a_source():
    from opdsl import compile as compile_

    net = compile_(GRIDS.replace("SAID", "gelu()"))
    space: dict[str, object] = {}
    exec(emit_python(net.graph), space)  # noqa: S102  the file that a user would import
    x = torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(space["M"]()(x), net(x))


def test_a_model_with_vectors_has_a_source():
    from opdsl import compile as compile_

    net = compile_("tests/data/language/ns_autoregressive.op")
    space: dict[str, object] = {}
    exec(emit_python(net.graph), space)  # noqa: S102  the file that a user would import
    other = space["NavierStokes2D"]()
    other.load_state_dict(net.state_dict(), strict=True)
    w, nu = torch.randn(2, 10, 33, 40), torch.rand(2, 1)
    torch.testing.assert_close(other(w, nu), net(w, nu))
