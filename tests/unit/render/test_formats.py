"""The formats: texts as golden files, pictures as Graphviz reads them back."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from opdsl.diagnostics import OpError
from opdsl.render import layout, render
from tests import hand_built

MODELS = ("fno", "uno", "residual")
NASTY = 'a "quoted" <b> & `tick` \\n \\G \\N back\\\\slash #1; \x07\n<new>'


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_the_text_of_a_drawing_is_as_it_was(name, form, golden):
    golden(render(getattr(hand_built, name)(), form), f"render/{name}.{form}")


def read_back(graph, **options):
    return ET.fromstring(render(graph, "svg", **options))  # noqa: S314  our own drawing


def nasty():
    graph = hand_built.fno()
    scopes = tuple(x.model_copy(update={"title": NASTY, "doc": NASTY}) for x in graph.scopes)
    return graph.model_copy(update={"name": NASTY, "doc": NASTY, "scopes": scopes})


@pytest.mark.parametrize("depth", [0, 2])
def test_text_of_the_user_is_drawn_letter_by_letter(depth):
    root = read_back(nasty(), depth=depth)
    texts = ["".join(x.itertext()) for x in root.iter("{http://www.w3.org/2000/svg}text")]
    words = [" ".join(x.split()) for x in texts]  # Graphviz sets no-break spaces
    shown = [x for x in words if 'a "quoted" <b> & `tick` \\n \\G \\N back\\\\slash #1;' in x]
    assert len(shown) == 6  # the name, the doc string, four blocks
    assert "\x07" not in "".join(root.itertext())


def test_mermaid_keeps_quotes_and_tags_of_the_user_out_of_its_syntax():
    lines = render(nasty(), "mermaid").splitlines()
    assert lines[1] == (
        'title: "a \\"quoted\\" <b> & `tick` \\\\n \\\\G \\\\N back\\\\\\\\slash #1; <new>"'
    )
    assert all(x.count('"') in {0, 2} for x in lines[2:])
    assert not [x for x in lines[2:] if "<b>" in x]


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_picture_is_a_file_of_its_kind(form, magic):
    assert render(hand_built.fno(), form).startswith(magic)


def test_the_svg_shows_paths_spaces_and_lines_on_request():
    svg = render(hand_built.fno(), "svg")
    assert "u.repeat.0.fourier_layer.k: spectral_conv&#10;D &#45;&gt; R^64&#10;modes = 16×16" in svg
    assert "specs/model.op:7" in svg


def test_the_direction_turns_the_drawing():
    down, right = (read_back(hand_built.uno(), direction=x) for x in ("down", "right"))
    wide = [float(x.get("width")[:-2]) > float(x.get("height")[:-2]) for x in (down, right)]
    assert wide == [False, True]


def test_without_graphviz_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(layout.shutil, "which", lambda _: None)
    with pytest.raises(OpError, match="pip install pygraphviz") as caught:
        render(hand_built.fno(), "svg")
    assert caught.value.diagnostics[0].code == "OP0640"


def test_a_dot_program_draws_where_the_library_is_missing(monkeypatch, tmp_path):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho $1; cat\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(layout.shutil, "which", lambda _: str(program))
    drawn = render(hand_built.fno(), "svg")
    assert drawn.startswith("-Tsvg\ndigraph DarcyFNO")


def test_a_drawing_needs_no_environment_and_no_torch():
    code = """
import sys
from opdsl.render import render
from tests import hand_built
assert render(hand_built.fno(), "svg").startswith("<?xml")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], env={}, check=True)  # noqa: S603  the line above
