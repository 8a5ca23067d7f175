"""How every command behaves at its ends: exit codes, colours, pipes, faults of our own."""

import inspect
import json
import os
import re
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

from opdsl.cli import COMMANDS, CommandGroup, app, check
from opdsl.cli.error_handling import guard, report
from opdsl.diagnostics import CODES, Exit, fault
from opdsl.train.engine.signals import Interrupted
from tests.e2e.command_line import TINY, environment, process, run

RED = "\x1b[1;31m"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY)
    (tmp_path / "wrong.op").write_text(TINY.replace("(3, 3)", "(9, 9)"))


# ---------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    "arguments",
    [("explan",), ("check",), ("check", "--colour"), ("data", "generate", "darci"), ()],
)
def test_a_wrong_command_line_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_misspelt_command_gets_a_suggestion():
    assert "Did you mean 'explain'?" in run("explan").stderr


def every(commands, before=""):
    """The words of every command, those of groups included."""
    for name, home in commands.items():
        if isinstance(home, CommandGroup):
            yield from every(home.commands, f"{before}{name} ")
        else:
            yield before + name


@pytest.mark.parametrize("name", [*every(COMMANDS)])
def test_every_help_fits_80_columns_and_has_an_example(name):
    words = name.split()
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert f"Example: opdsl {name} " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in run("--help").stdout.split("Commands:")[1]  # no summary is cut


def test_the_version_is_told():
    from opdsl import __version__

    assert run("--version").stdout == f"opdsl {__version__}\n"


def test_the_module_is_the_program():
    assert process("--version").stdout.startswith("opdsl ")


# --------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    ("settings", "coloured"),
    [
        ({}, False),  # a pipe
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": ""}, True),
    ],
)
def test_colours_come_where_they_are_wanted(settings, coloured):
    assert (RED in process("check", "wrong.op", **settings).stdout) is coloured


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False)])
def test_a_terminal_has_colours_unless_it_is_dumb(term, coloured):
    assert (RED in on_terminal("check", "wrong.op", TERM=term)) is coloured


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_narrow_terminal_gets_short_lines_of_the_program():
    lines = on_terminal("check", "wrong.op", COLUMNS="40", TERM="dumb").splitlines()
    assert max(len(x) for x in lines if re.match(r" *\d+ \|", x)) <= 40


def on_terminal(*arguments, **more):
    """What the command writes to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "opdsl", *arguments]
    child = subprocess.Popen(  # noqa: S603  our own program
        command, stdout=theirs, stderr=theirs, env=environment(**more)
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
        child.wait(timeout=60)
    return text.decode()


# ----------------------------------------------------------------------------------------- pipes


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe breaks at the end, or at once
def test_a_reader_who_has_seen_enough_is_no_error(unbuffered):
    shell = ["bash", "-c", f"{sys.executable} -m opdsl explain | true; echo ${{PIPESTATUS[0]}}"]
    settings = environment(PYTHONUNBUFFERED=unbuffered)
    done = subprocess.run(shell, capture_output=True, text=True, env=settings, check=False)  # noqa: S603  a fixed command
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_is_no_traceback(closed):
    shell = ["bash", "-c", f"{sys.executable} -m opdsl check wrong.op {closed}"]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment(), check=False)  # noqa: S603  a fixed command
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")  # noqa: PTH110  a device
@pytest.mark.parametrize("arguments", ["explain", "render tiny.op -f png", "check tiny.op"])
def test_a_full_disk_behind_stdout_is_told(arguments):
    shell = ["bash", "-c", f"{sys.executable} -m opdsl {arguments} > /dev/full"]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment(), check=False)  # noqa: S603  a fixed command
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in done.stderr


def test_an_ascii_terminal_is_no_traceback(tmp_path):
    (tmp_path / "umlaut.op").write_text(TINY.replace("small", "größer →"), encoding="utf-8")
    result = process("summary", "umlaut.op", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "gr\\xf6" in result.stdout


def test_no_home_is_no_matter():
    result = process("check", "tiny.op", HOME="/nonexistent", XDG_CACHE_HOME="/nonexistent")
    assert (result.returncode, result.stderr) == (0, "")


# ----------------------------------------------------------------------------------------- guard


def code_of(error, capsys):
    """The exit code of a command that raises, and what it says."""

    def command():
        raise error

    with pytest.raises(typer.Exit) as caught:
        guard(command)()
    return caught.value.exit_code, capsys.readouterr()


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_diagnostic_sets_the_exit_code_of_its_table(code, capsys):
    found, said = code_of(fault(code, "something is wrong"), capsys)
    assert found == CODES[code].exit
    assert said.err.startswith(f"error[{code}]: something is wrong")
    assert said.out == ""


def test_signals_have_their_codes(capsys):
    assert code_of(KeyboardInterrupt(), capsys)[0] == 130
    assert code_of(Interrupted(15), capsys)[0] == 143


def test_a_fault_of_ours_is_one_line_that_says_so(capsys, monkeypatch):
    monkeypatch.delenv("OPDSL_TRACEBACK", raising=False)
    code, said = code_of(LookupError("no such thing"), capsys)
    assert code == Exit.FAILED
    assert said.err.startswith("internal error: LookupError: no such thing\n")
    assert "fault of opdsl" in said.err
    assert "Traceback" not in said.err
    monkeypatch.setenv("OPDSL_TRACEBACK", "1")
    assert "Traceback" in code_of(LookupError("no such thing"), capsys)[1].err


def test_no_memory_is_exit_code_5(capsys):
    assert code_of(MemoryError(), capsys)[0] == Exit.TOO_LARGE
    error = RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    )
    assert code_of(error, capsys)[0] == Exit.TOO_LARGE


def test_a_file_that_cannot_be_used_is_named(capsys):
    error = PermissionError(13, "Permission denied", "/some/where")
    assert code_of(error, capsys)[1].err == "error: /some/where: Permission denied\n"


def test_an_error_is_json_where_json_was_asked_for(capsys):
    assert report(fault("OP0602", "no data"), as_json=True) == Exit.SPEC
    found = json.loads(capsys.readouterr().out)
    assert found["diagnostics"][0]["code"] == "OP0602"


def test_every_command_is_guarded():
    def functions(command):
        if not hasattr(command, "commands"):
            yield inspect.unwrap(command.callback, stop=is_guarded)
        for x in getattr(command, "commands", {}).values():
            yield from functions(x)

    def is_guarded(function):
        return function.__code__.co_name == "guarded"

    found = list(functions(get_command(app)))
    assert len(found) == len(list(every(COMMANDS)))
    assert all(map(is_guarded, found))
    assert check.command.__code__.co_name != "guarded"  # so the line above can fail
