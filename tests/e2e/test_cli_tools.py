"""The commands on the checked graph: show, diff, fingerprint, ir, schema; completion of words."""

import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
from typer.testing import CliRunner

import opdsl
from opdsl.cli import app
from opdsl.diagnostics import CODES
from opdsl.export import from_json
from opdsl.ir.fingerprint import fingerprint
from tests.e2e.command_line import DARCY, TINY, TRAIN, data, environment, good, run

OTHER = (
    TINY.replace("width : int = 6", "width : int = 8")
    .replace("min = 9", "min = 17")
    .replace("|> Project", "|> norm(kind = layer) |> Project")
    .replace("{pressure}", "{p, q}")
    .replace("Project(out = 1)", "Project(out = 2)")
)
RENAMED = TINY.replace("  u = concat", "  v = concat").replace("out = 1)", "out = 1)\n  u = v", 1)
DEEP = TINY.replace("FourierLayer(modes = modes)", "repeat 4 { FourierLayer(modes = modes) }")
TIED = DEEP.replace("repeat 4", "repeat 4 shared")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "tiny": TINY, "other": OTHER, "renamed": RENAMED, "deep": DEEP, "tied": TIED,
    }.items():  # fmt: skip
        (tmp_path / f"{name}.op").write_text(text)


# ------------------------------------------------------------------------------ ir, schema


def test_ir_is_the_graph_as_json(tmp_path):
    assert fingerprint(from_json(data("ir", "tiny.op"))) == fingerprint(opdsl.load("tiny.op"))
    good("ir", "tiny.op", "-o", "g.json")
    assert json.loads((tmp_path / "g.json").read_text()) == data("ir", "tiny.op")


def test_ir_takes_parameters():
    found = data("ir", "tiny.op", "--set", "model.width=4")
    assert found["params"]["width"] == 4
    assert found["hashes"] != data("ir", "tiny.op")["hashes"]


def test_commands_read_a_graph_in_place_of_a_program():
    good("ir", "tied.op", "-o", "g.json")
    assert good("check", "g.json") == "g.json: no faults\n"
    assert data("check", "g.json", "-f", "json") == []
    assert placeless(good("summary", "g.json")) == placeless(good("summary", "tied.op"))
    assert good("render", "g.json", "-f", "mermaid") == good("render", "tied.op", "-f", "mermaid")
    assert good("show", "--core", "g.json") == good("show", "--core", "tied.op")
    assert good("fingerprint", "g.json") == good("fingerprint", "tied.op")
    assert good("diff", "g.json", "tied.op").endswith("the same function\n")


def placeless(text):
    """Without the lines that things come from."""
    return re.sub(r"\((tied.op|g.json):\d+\)", "", text)


def test_a_damaged_graph_gets_one_diagnostic(tmp_path):
    good("ir", "tiny.op", "-o", "g.json")
    text = (tmp_path / "g.json").read_text()
    (tmp_path / "g.json").write_text(text.replace('"spectral_conv"', '"spectral_conf"'))
    result = run("check", "g.json")
    assert result.exit_code == 3
    assert result.stdout.count("error[OP0501]") == 1
    assert "did you mean `spectral_conv`?" in result.stdout
    assert run("summary", "g.json").exit_code == 3


def test_a_graph_has_no_text_to_keep():
    good("ir", "tiny.op", "-o", "g.json")
    result = run("compile", "g.json", "-o", "out")
    assert result.exit_code == 2
    assert "opdsl show --core g.json" in result.stderr
    assert "class Tiny" in good("compile", "g.json", "--emit", "python")


@pytest.mark.parametrize("kind", ["ir", "train", "blocks"])
def test_schemas_are_schemas_with_a_name(kind):
    found = data("schema", kind)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"].startswith(f"urn:opdsl:{kind}:")


def test_a_graph_is_of_the_schema_that_is_printed():
    jsonschema.validate(data("ir", DARCY), data("schema"))


def test_settings_are_of_the_schema_that_is_printed():
    from opdsl.train.config.schema import Settings

    schema = data("schema", "train")
    jsonschema.validate(Settings().model_dump(mode="json"), schema)
    wrong = {"optimizer": {"kind": "adamww"}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


# ------------------------------------------------------------------------------ fingerprint


def test_the_fingerprint_sees_the_function_and_not_the_text(tmp_path):
    (tmp_path / "laid.op").write_text(TINY.replace("\n", "\n\n# more\n"))
    first = good("fingerprint", "tiny.op")
    assert len(bytes.fromhex(first.strip())) == 32
    assert good("fingerprint", "laid.op") == good("fingerprint", "renamed.op") == first
    assert good("fingerprint", "other.op") != first
    assert good("fingerprint", "tiny.op", "--set", "model.width=7") != first


def test_the_fingerprint_of_a_run_sees_its_settings(tmp_path):
    (tmp_path / "a.op").write_text(TINY + TRAIN)
    (tmp_path / "b.op").write_text(TINY + TRAIN.replace("batch = 5", "batch = 6"))
    (tmp_path / "c.op").write_text(TINY + TRAIN.replace("  device = cpu\n", "") + "\n# c\n")
    a, b, c = (data("fingerprint", f"{x}.op", "--json") for x in "abc")
    assert a["function"] == b["function"] == good("fingerprint", "tiny.op").strip()
    assert a["run"] != b["run"]
    assert a["run"] != c["run"]
    (tmp_path / "c.op").write_text(f"# c\n{TINY}{TRAIN}")
    assert data("fingerprint", "c.op", "--json")["run"] == a["run"]


def test_a_compiled_folder_and_the_command_agree(tmp_path):
    good("compile", "tiny.op", "-o", "out")
    held = json.loads((tmp_path / "out" / "opdsl.json").read_text())
    assert held["hashes"]["function"] == good("fingerprint", "tiny.op").strip()


# ------------------------------------------------------------------------------------- diff


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("tiny", "other", 1),
        ("tiny", "renamed", 0),
        ("tiny", "deep", 1),
        ("deep", "tied", 1),
        ("tiny", "tiny", 0),
    ],
)
def test_differences_are_told_like_this(old, new, code, golden):
    result = run("diff", f"{old}.op", f"{new}.op")
    assert result.exit_code == code
    golden(result.stdout, f"tools/diff_{old}_{new}.txt")


def test_differences_as_json():
    result = run("diff", "tiny.op", "other.op", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["same"] is False
    assert found["verdict"] == "another function"
    counts = [
        sum(p.numel() for p in opdsl.compile(x).parameters()) for x in ("tiny.op", "other.op")
    ]
    assert found["params"] == counts
    assert sum(x["params"] for x in found["nodes"]) == counts[1] - counts[0]
    assert {"sign": "+", "name": "u.norm", "told": ["norm(layer) : D -> R^8"], "params": 16} in (
        found["nodes"]
    )


def test_other_promises_are_the_same_function(tmp_path):
    (tmp_path / "far.op").write_text(TINY.replace("min = 9", "min = 99"))
    result = run("diff", "tiny.op", "far.op")
    assert result.exit_code == 0
    assert "~ D.x  min 9 => 99" in result.stdout
    assert result.stdout.endswith("the same function with other promises\n")


def test_a_wrong_program_is_no_difference():
    assert run("diff", "tiny.op", "nothing.op").exit_code == 3


# ------------------------------------------------------------------------------------- show


@pytest.mark.parametrize("name", ["tiny", "tied"])
def test_the_core_is_a_program_like_this(name, golden):
    text = good("show", "--core", f"{name}.op")
    golden(text, f"tools/core_{name}.op")
    assert good("fingerprint", "-", stdin=text) == good("fingerprint", f"{name}.op")
    assert good("fmt", "-", stdin=text) == text


def test_the_core_of_the_house_spec_is_sound(tmp_path):
    (tmp_path / "core.op").write_text(good("show", "--core", DARCY))
    assert good("check", "core.op") == "core.op: no faults\n"
    assert run("diff", DARCY, "core.op").exit_code == 0


def test_python_is_what_compile_emits():
    assert good("show", "--python", "tiny.op") == good("compile", "tiny.op", "--emit", "python")


@pytest.mark.parametrize("options", [(), ("--core", "--python")])
def test_show_asks_as_what(options):
    result = run("show", "tiny.op", *options)
    assert result.exit_code == 2
    assert "`--core` or `--python`" in result.stderr


# ------------------------------------------------------------------------------ fmt on stdin


def test_fmt_checks_stdin():
    ugly = TINY.replace("domain D", "domain    D")
    result = run("fmt", "--check", "--diff", "-", stdin=ugly)
    assert result.exit_code == 1
    assert "-  domain    D = " in result.stdout
    assert "+  domain D = " in result.stdout
    assert run("fmt", "--check", "-", stdin=ugly).stderr == "would change <stdin>\n"
    clean = run("fmt", "--check", "--diff", "-", stdin=good("fmt", "-", stdin=TINY))
    assert (clean.exit_code, clean.stdout) == (0, "")


def test_fmt_checks_stdin_with_line_ends_of_dos():
    assert run("fmt", "--check", "-", stdin=TINY.replace("\n", "\r\n")).exit_code == 1


# ------------------------------------------------------------------------------- completion


def completed(words, shell="bash"):
    """What Tab offers behind `words`, the last of which is begun."""
    asked = {"_OPDSL_COMPLETE": f"complete_{shell}"}
    asked |= {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    asked |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], env=asked, prog_name="opdsl")
    assert not result.stderr
    return result.stdout.split("\n") if shell == "bash" else result.stdout


def offered(words):
    return [x for x in completed(words) if x]


def test_commands_are_completed():
    assert offered("opdsl fing") == ["fingerprint"]


def test_programs_graphs_and_folders_are_completed(tmp_path):
    (tmp_path / "t.txt").touch()
    (tmp_path / ".t.op").touch()
    (tmp_path / "t.json").touch()
    for folder in ("specs", "specs/deep", "ten"):
        (tmp_path / folder).mkdir()
    (tmp_path / "specs" / "deep" / "a.op").touch()
    (tmp_path / "specs" / "deep" / "b.op").touch()
    expected = ["t.json", "ten/", "tied.op", "tiny.op"]
    for command in ("check", "fmt", "summary", "render", "show", "ir", "train", "diff tiny.op"):
        assert offered(f"opdsl {command} t") == expected
    assert offered("opdsl check sp") == ["specs/deep/a.op", "specs/deep/b.op"]
    assert offered(f"opdsl check {tmp_path}/specs/deep/a") == [f"{tmp_path}/specs/deep/a.op"]
    assert offered("opdsl check nowhere/") == []


def test_models_of_the_program_are_completed(tmp_path):
    (tmp_path / "two.op").write_text(TINY + "\nmodel Big" + TINY.split("model Tiny")[1])
    assert offered("opdsl summary two.op --model ") == ["Tiny", "Big"]
    assert offered("opdsl summary two.op --model B") == ["Big"]


def test_parameters_and_settings_are_completed_with_their_values():
    assert offered("opdsl summary tiny.op --set mod") == ["model.width=6", "model.modes=(3,3)"]
    assert offered("opdsl train tiny.op --set model.w") == ["model.width=6"]
    assert offered("opdsl train tiny.op --set optimizer.lr") == ["optimizer.lr=0.001"]
    assert offered("opdsl summary tiny.op --set optimizer.l") == []


def test_codes_formats_and_kinds_are_completed():
    assert offered("opdsl explain OP09") == [x for x in CODES if x.startswith("OP09")]
    assert offered("opdsl explain too-many-m") == ["too-many-modes"]
    assert offered("opdsl check --format ") == ["text", "json", "github"]
    assert offered("opdsl render tiny.op -f ") == ["svg", "png", "pdf", "dot", "mermaid"]
    assert offered("opdsl schema ") == ["ir", "train", "blocks"]


@pytest.mark.parametrize(
    "words",
    ["opdsl summary nothing.op --set m", "opdsl summary - --model ", "opdsl summary --set m"],
)
def test_where_nothing_can_be_said_nothing_is_offered(words):
    assert offered(words) == []


def test_zsh_and_fish_get_the_meaning_too():
    for shell in ("zsh", "fish"):
        assert "too many modes for the promised resolution" in completed(
            "opdsl explain OP0309", shell
        )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell):
    asked = {"_OPDSL_COMPLETE": f"source_{shell}"}
    result = CliRunner().invoke(app, [], env=asked, prog_name="opdsl")
    assert "_OPDSL_COMPLETE=complete_" in result.stdout
    if shutil.which(shell):
        ran = subprocess.run([shell, "-n"], input=result.stdout, text=True, check=False)  # noqa: S603
        assert ran.returncode == 0


def test_completion_needs_no_torch():
    code = (
        "import atexit, sys; from opdsl.cli import main;"
        "atexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    words = "opdsl train tiny.op --set mo"
    asked = {"_OPDSL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4"}
    found = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", code],
        env=environment(**asked),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["model.width=6", "model.modes=(3,3)", "False"]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_itself_completes():
    script = (
        'opdsl() { "$PYTHON" -m opdsl "$@"; }\n'
        'eval "$(_OPDSL_COMPLETE=source_bash opdsl)"\n'
        "COMP_WORDS=(opdsl explain too-many-m); COMP_CWORD=2\n"
        'export PYTHON; export -f opdsl; _opdsl_completion "$0"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    wrapper = f'#!/bin/sh\nexec "{sys.executable}" -m opdsl "$@"\n'
    with open("opdsl", "w") as file:  # noqa: PTH123  beside the program
        file.write(wrapper)
    os.chmod("opdsl", 0o755)  # noqa: PTH101, S103  a script of the test
    found = subprocess.run(  # noqa: S603  our own text
        ["bash", "-c", script, "./opdsl"],  # noqa: S607  whichever bash is there
        env=environment(PYTHON=sys.executable),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["too-many-modes"]
