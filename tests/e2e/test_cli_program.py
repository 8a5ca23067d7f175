"""The commands that need no data: check, fmt, explain, summary, render, compile, new."""

import json
import os
import subprocess
import sys

import pytest

import opdsl
from opdsl.diagnostics import CODES
from tests.e2e.command_line import DARCY, TINY, TRAIN, data, environment, good, run

TWO_FAULTS = TINY.replace("modes = (3, 3)", "modes = (9, 9)").replace("coords(D)", "koords(D)")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY)


def write(name, text):
    with open(name, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123  line ends as given
        file.write(text)
    return name


# --------------------------------------------------------------------------------------- check


def test_a_sound_program_has_no_faults():
    assert good("check", "tiny.op") == "tiny.op: no faults\n"


def test_a_wrong_program_is_a_result_with_exit_code_3():
    result = run("check", write("wrong.op", TINY.replace("(3, 3)", "(9, 9)")))
    assert result.exit_code == 3
    assert "error[OP0309]" in result.stdout
    assert result.stdout.endswith("wrong.op: 1 error\n")
    assert not result.stderr


def test_json_is_a_list_with_every_key():
    result = run("check", write("wrong.op", TWO_FAULTS), "--format", "json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    keys = "code slug severity level message file span labels notes help"
    assert found
    assert all(" ".join(x) == keys for x in found)
    assert found[0]["file"] == "wrong.op"
    assert found[0]["span"]["line"] == TWO_FAULTS[: TWO_FAULTS.index("koords")].count("\n") + 1


def test_json_of_a_sound_program_is_an_empty_list():
    assert data("check", "tiny.op", "--format", "json") == []


def test_github_reads_one_line_for_each_fault():
    result = run("check", write("wrong.op", TINY.replace("(3, 3)", "(9, 9)")), "-f", "github")
    assert result.exit_code == 3
    line = result.stdout.splitlines()[0]
    assert line.startswith("::error file=wrong.op,line=14,endLine=14,col=")
    assert ",title=OP0309::too many modes" in line
    assert "%0A" in line  # its notes and cures


def test_stdin_is_a_dash():
    assert run("check", "-", stdin=TINY).exit_code == 0
    result = run("check", "-", stdin="edition 2026\nmodel {")
    assert result.exit_code == 3
    assert "<stdin>" in result.stdout


def test_a_folder_stands_for_its_programs_and_all_are_told(tmp_path):
    (tmp_path / "sub").mkdir()
    write("sub/a.op", TINY)
    write("sub/b.op", TINY.replace("(3, 3)", "(9, 9)"))
    result = run("check", "sub", "tiny.op")
    assert result.exit_code == 3
    assert result.stdout.endswith("3 files: 1 error\n")


def test_every_model_of_a_file_is_checked():
    second = TINY.split("model Tiny")[1].replace("(3, 3)", "(9, 9)")
    result = run("check", write("two.op", f"{TINY}\nmodel Other{second}"))
    assert result.exit_code == 3
    assert result.stdout.count("error[") == 1


def test_a_file_of_blocks_is_sound():
    assert run("check", opdsl.resources.root("library") / "pointwise.op").exit_code == 0


def test_a_warning_does_not_fail():
    text = TINY.replace("  u = concat", "  k = linear(a, out = 3)\n  u = concat")
    result = run("check", write("idle.op", text))
    assert result.exit_code == 0
    assert "warning[OP0401]" in result.stdout
    assert "1 warning" in result.stdout


def test_the_settings_of_the_train_block_are_checked_too():
    result = run("check", write("t.op", TINY + TRAIN.replace("optimizer adamw", "optimzer adamw")))
    assert result.exit_code == 3
    assert "error[OP0603]" in result.stdout
    assert "did you mean `optimizer`?" in result.stdout


def test_an_absent_file_is_told_with_the_nearest_name():
    result = run("check", "tinny.op")
    assert result.exit_code == 3
    assert "did you mean `tiny.op`?" in result.stdout


# ----------------------------------------------------------------------------------------- fmt

UGLY = TINY.replace("  domain D = ", "domain   D=").replace(" |> Lift", "|>Lift")


def test_fmt_writes_the_one_layout_once(tmp_path):
    write("ugly.op", UGLY)
    first = run("fmt", "ugly.op")
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", "changed ugly.op\n")
    after = (tmp_path / "ugly.op").read_text()
    assert "domain D = grid" in after
    assert "# channels" in after
    again = run("fmt", "ugly.op")
    assert (again.exit_code, again.stderr) == (0, "")


def test_fmt_check_says_so_and_writes_nothing(tmp_path):
    write("ugly.op", UGLY)
    result = run("fmt", "--check", "ugly.op")
    assert (result.exit_code, result.stderr) == (1, "would change ugly.op\n")
    assert (tmp_path / "ugly.op").read_text() == UGLY
    good("fmt", "ugly.op")
    assert run("fmt", "--check", "ugly.op").exit_code == 0


def test_fmt_diff_is_a_patch(tmp_path):
    write("ugly.op", UGLY)
    result = run("fmt", "--diff", "ugly.op")
    assert result.exit_code == 0
    assert "-domain   D=grid" in result.stdout
    assert "+  domain D = grid" in result.stdout
    assert (tmp_path / "ugly.op").read_text() == UGLY


def test_fmt_of_stdin_goes_to_stdout():
    out = good("fmt", "-", stdin=UGLY)
    assert out == good("fmt", "-", stdin=out)
    assert "domain D = grid" in out


def test_fmt_leaves_what_it_cannot_read_and_does_the_others(tmp_path):
    write("a.op", "model {")
    write("ugly.op", UGLY)
    result = run("fmt", "a.op", "ugly.op")
    assert result.exit_code == 3
    assert "error[OP01" in result.stderr
    assert (tmp_path / "a.op").read_text() == "model {"
    assert (tmp_path / "ugly.op").read_text() != UGLY


def test_fmt_lays_out_what_does_not_type_check():
    assert "koords(D)" in good("fmt", "-", stdin=TWO_FAULTS)


def test_fmt_keeps_the_rights_of_a_file_and_what_a_link_is(tmp_path):
    write("ugly.op", UGLY)
    (tmp_path / "ugly.op").chmod(0o640)
    (tmp_path / "link.op").symlink_to("ugly.op")
    good("fmt", "link.op")
    assert (tmp_path / "link.op").is_symlink()
    assert "domain D = grid" in (tmp_path / "ugly.op").read_text()
    assert (tmp_path / "ugly.op").stat().st_mode & 0o777 == 0o640


def test_fmt_turns_crlf_and_a_mark_into_plain_lines(tmp_path):
    (tmp_path / "dos.op").write_bytes(b"\xef\xbb\xbf" + TINY.replace("\n", "\r\n").encode())
    good("fmt", "dos.op")
    assert (tmp_path / "dos.op").read_bytes() == good("fmt", "-", stdin=TINY).encode()


# ------------------------------------------------------------------------------------- explain


@pytest.mark.parametrize("word", ["OP0309", "op309", "309", "too-many-modes"])
def test_explain_prints_the_page(word):
    assert good("explain", word).startswith("# OP0309: ")


def test_explain_of_an_unknown_code_suggests_one():
    result = run("explain", "too-many-mods")
    assert result.exit_code == 2
    assert "did you mean `too-many-modes`?" in result.stderr
    assert run("explain", "OP9999").exit_code == 2


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("spectral_conv", "F^-1(R . F(v))"),
        ("optimizer.lr", "--set optimizer.lr="),
        ("schedule", "schedule.epochs"),
        ("data convert", "opdsl data convert [OPTIONS]"),
        ("precision", "# OP0622"),  # a diagnostic and a setting
        ("precision", "--set precision="),
    ],
)
def test_explain_prints_blocks_settings_and_commands(topic, text):
    assert text in good("explain", topic)


@pytest.mark.parametrize(
    ("word", "near"), [("spectral_con", "spectral_conv"), ("optimizer.lt", "optimizer.lr")]
)
def test_explain_suggests_the_nearest_topic(word, near):
    result = run("explain", word)
    assert result.exit_code == 2
    assert f"did you mean `{near}`?" in result.stderr


def test_explain_without_a_code_lists_all():
    listed = good("explain").splitlines()
    assert [x.split()[0] for x in listed] == list(CODES)


# ------------------------------------------------------------------------------------- summary


def test_summary_counts_the_parameters_that_the_module_has():
    found = data("summary", "tiny.op", "--at", "x=16,y=16", "--json")
    module = opdsl.compile("tiny.op")
    assert found["total"]["params"] == sum(x.numel() for x in module.parameters())
    assert found["at"] == {"D": [16, 16]}


def test_summary_with_other_parameters_and_its_plan():
    text = good("summary", "tiny.op", "--set", "model.width=8", "--at", "x=64,y=64", "--plan")
    assert "D -> R^8" in text
    assert "certificate" in text
    assert "u.fourier_layer.k" in text
    assert "64×64" in text
    plan = data("summary", "tiny.op", "--plan", "--batch", 4, "--json")["plan"]
    assert plan["at"] == {"D": [9, 9]}  # the smallest that is promised
    assert [x["path"] for x in plan["nodes"]] == ["u.fourier_layer.k"]
    assert plan["nodes"][0]["kernel"] in plan["nodes"][0]["milliseconds"]


def test_a_plan_of_processes_has_types_with_the_axis_and_bytes():
    asked = ("summary", "tiny.op", "--at", "x=17,y=16", "--plan", "--nproc", 4, "--space", "x=2")
    text = good(*asked, "--batch", 4)
    assert "processes  4: 2 share each sample, 8 or 9 points along `x`" in text
    assert "2 groups with 2 samples each" in text
    assert " @ x " in text
    assert "reduce_scatter" in text or "all_to_all" in text
    assert "peak memory" in text
    found = data(*asked, "--batch", 4, "--json")["processes"]
    layer = next(x for x in found["nodes"] if x["path"] == "u.fourier_layer.k")
    assert layer["rule"] == "spectral"
    assert all(len(x["sent"]) == 2 and min(x["sent"]) > 0 for x in layer["exchanges"])
    assert found["memory"]["total"] > found["memory"]["weights"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--nproc", 2), "`--nproc` needs `--plan`"),
        (("--plan", "--space", "x"), "`--space` needs `--nproc`"),
        (("--plan", "--nproc", 4, "--space", 3), "4 processes cannot be divided into groups of 3"),
    ],
)
def test_a_plan_of_processes_refuses_what_does_not_fit(options, message):
    result = run("summary", "tiny.op", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_axis_that_is_not_there_is_one_diagnostic():
    result = run("summary", "tiny.op", "--plan", "--nproc", 2, "--space", "z")
    assert result.exit_code == 2
    assert result.stderr.count("error[OP0822]") == 1


def test_a_measured_plan_has_a_line_for_each_unit():
    asked = ("summary", "tiny.op", "--at", "x=16,y=16", "--plan", "--measure")
    text = good(*asked)
    assert "forward and gradient" in text
    found = data(*asked, "--json")["measured"]
    nodes = [x for unit in found["units"] for x in unit["nodes"]]
    assert "u.fourier_layer.k" in nodes
    assert len(nodes) == len(set(nodes))
    layer = next(x for x in found["units"] if "u.fourier_layer.k" in x["nodes"])
    assert layer["predicted_milliseconds"] > 0
    assert "fft" in layer["others"]
    assert found["forward_milliseconds"] > 0
    assert found["step_milliseconds"] > 0


@pytest.mark.parametrize(
    "options", [("--at", "x=16,y=16"), ("--plan",), ("--plan", "--at", "x=16", "--device", "cuda")]
)
def test_what_cannot_be_measured_is_refused_before_the_program_is_read(options):
    result = run("summary", "absent.op", "--measure", *options)
    assert result.exit_code == 2
    assert "`--measure`" in result.stderr


def test_errors_of_precisions_are_told_in_order_and_why_one_is_missing():
    asked = ("summary", "tiny.op", "--at", "x=15,y=12", "--precision")
    assert "tf32" in good(*asked)
    found = {x["name"]: x for x in data(*asked, "--json")["precisions"]}
    results = [found[x]["result"] for x in ("fp32", "fp16_spectral", "bf16_spectral")]
    assert results == sorted(results)
    assert found["tf32"]["result"] is None
    assert "CUDA" in found["tf32"]["why"]


def test_errors_of_precisions_need_a_resolution():
    result = run("summary", "absent.op", "--precision")
    assert result.exit_code == 2
    assert "--at" in result.stderr


def test_a_resolution_below_the_promise_is_refused():
    result = run("summary", "tiny.op", "--at", "x=8,y=64")
    assert result.exit_code == 4
    assert "--> <--at>:1:1" in result.stderr


# -------------------------------------------------------------------------------------- render


@pytest.mark.parametrize(
    ("kind", "begin"), [("svg", "<?xml"), ("dot", "digraph"), ("mermaid", "flowchart")]
)
def test_a_text_format_goes_to_stdout(kind, begin):
    assert begin in good("render", "tiny.op", "-f", kind)


@pytest.mark.parametrize(
    ("name", "magic"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_the_suffix_says_the_format(tmp_path, name, magic):
    good("render", "tiny.op", "-o", name)
    assert (tmp_path / name).read_bytes().startswith(magic)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_terminal_is_spared_binary():
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "opdsl", "render", "tiny.op", "-f", "png"]
    done = subprocess.run(  # noqa: S603  our own program
        command, stdout=theirs, stderr=subprocess.PIPE, env=environment(), check=False
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"-o model.png" in done.stderr


# ------------------------------------------------------------------------------------- compile


def test_a_compiled_folder_gives_the_module_back(tmp_path):
    import torch

    from opdsl.export import load_compiled

    good("compile", "tiny.op", "-o", "out", "--set", "model.width=5", "--seed", 3)
    held = load_compiled(tmp_path / "out")
    module = opdsl.compile(held.text)  # the width is in the text
    module.load_state_dict(held.weights)
    torch.manual_seed(3)
    fresh = opdsl.compile("tiny.op", width=5)
    assert all(torch.equal(held.weights[k], x) for k, x in fresh.state_dict().items())
    assert run("compile", "tiny.op", "-o", "out").exit_code == 1  # nothing is replaced


def test_emitted_python_runs_without_opdsl(tmp_path):
    good("compile", "tiny.op", "--emit", "python", "-o", "tiny.py")
    assert good("compile", "tiny.op", "--emit", "python") == (tmp_path / "tiny.py").read_text()
    assert "opdsl" not in [
        x.split()[1].split(".")[0]
        for x in (tmp_path / "tiny.py").read_text().splitlines()
        if x.startswith(("import", "from"))
    ]


def test_compile_asks_where_to():
    result = run("compile", "tiny.op")
    assert result.exit_code == 2
    assert "`-o DIR`" in result.stderr


# ----------------------------------------------------------------------------------------- new


def test_a_new_program_is_sound_and_in_the_one_layout(tmp_path):
    assert good("new", "my-burgers") == "my-burgers.op\n"
    assert "model MyBurgers " in (tmp_path / "my-burgers.op").read_text()
    assert good("check", "my-burgers.op") == "my-burgers.op: no faults\n"
    assert run("fmt", "--check", "my-burgers.op").exit_code == 0


def test_new_overwrites_nothing(tmp_path):
    result = run("new", "tiny")
    assert result.exit_code == 1
    assert "OP0625" in result.stderr
    assert (tmp_path / "tiny.op").read_text() == TINY


def test_new_refuses_a_name_that_no_model_can_have():
    assert run("new", "3d").exit_code == 2


def test_the_spec_of_the_house_is_sound():
    assert run("check", DARCY).exit_code == 0
