"""Commands and files that are no plain files: FIFOs, devices, links, full disks."""

import os
import re
import shutil

import numpy as np
import pytest

from opdsl import files
from tests.e2e.command_line import TINY, TRAIN, good, run

FULL = OSError(28, "No space left on device")


@pytest.fixture
def fifo(tmp_path, monkeypatch):
    """A FIFO under every ending that a command reads, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY)
    for ending in ("op", "json", "yaml", "pt", "npz", "h5", "vtu", "safetensors"):
        os.mkfifo(tmp_path / f"f.{ending}")
    return tmp_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "f.op"),
        ("check", "f.json"),
        ("fmt", "f.op"),
        ("summary", "f.op"),
        ("train", "f.op"),
        ("train", "tiny.op", "--config", "f.yaml"),
        ("import", "neuralop", "f.yaml"),
        ("import", "neuralop", "f.pt"),
        ("data", "show", "f.pt"),
        ("data", "show", "f.h5"),
        ("data", "show", "f.vtu"),
        ("data", "convert", "f.vtu", "--out", "a.h5"),
    ],
    ids=" ".join,
)
def test_no_command_waits_for_a_fifo(fifo, arguments):
    result = run(*arguments)
    assert result.exit_code in {2, 3, 4}
    told = result.stdout + result.stderr
    assert len(re.findall(r"^error\[OP\d{4}\]", told, re.MULTILINE)) == 1
    assert fifo


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["opdsl.json", "settings.yaml", "resolved.op", "metrics.jsonl"])
def test_a_fifo_in_a_run_is_not_waited_for(tmp_path, trained, name):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    result = run("evaluate", tmp_path / "run")
    assert "error[OP0628]" in result.stderr


@pytest.mark.parametrize(
    "name", [".lock", "metrics.jsonl", "checkpoints/best", ".tmp-opdsl.json", "report.html"]
)
def test_training_into_a_prepared_folder_writes_nothing_outside_it(tmp_path, trained, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(victim)
    program = trained.parent / "tiny.op"
    result = run("train", program, "--out", tmp_path / "run", "--resume", "--quiet")
    assert "error[OP0628]" in result.stderr
    assert f"`{name}`" in result.stderr
    assert victim.read_text() == "precious"


def test_a_new_run_does_not_follow_a_link_that_waits_as_its_lock(tmp_path, trained):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    result = run("train", trained.parent / "tiny.op", "--out", tmp_path / "run", "--quiet")
    assert "error[OP0628]" in result.stderr
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        ("ir", "tiny.op", "-o", "out.json"),
        ("render", "tiny.op", "-o", "out.mmd"),
        ("compile", "tiny.op", "--emit", "python", "-o", "out.py"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_a_link_is_replaced_and_its_target_stays(
    tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / arguments[-1]).symlink_to("victim")
    good(*arguments)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / arguments[-1]).is_symlink()


def test_fmt_rewrites_the_program_behind_a_link(tmp_path):
    real = tmp_path / "real.op"
    real.write_text(TINY)
    good("fmt", real)
    formatted = real.read_text()
    real.write_text(formatted.replace("  domain", "     domain"))
    (tmp_path / "link.op").symlink_to("real.op")
    good("fmt", tmp_path / "link.op")
    assert (tmp_path / "link.op").is_symlink()
    assert real.read_text() == formatted


def test_a_data_set_that_is_a_link_is_read(tmp_path):
    np.savez(tmp_path / "real.npz", x=np.zeros((2, 8, 8)), y=np.zeros((2, 8, 8)))
    (tmp_path / "link.npz").symlink_to("real.npz")
    assert "8x8" in good("data", "show", tmp_path / "link.npz")


@pytest.mark.parametrize("name", ["model.safetensors", "opdsl.json", "report.html"])
def test_a_disk_that_is_full_at_the_end_of_a_run_is_told_with_the_file(
    tmp_path, darcy, monkeypatch, name
):
    (tmp_path / "tiny.op").write_text(TINY + TRAIN)
    shutil.copy(darcy, tmp_path / "d.h5")
    write_new, write_whole, marked = files._write_new, files.write_whole, {}

    def full(path, data, folder):
        if data == marked.get("data"):
            raise FULL
        return write_new(path, data, folder)

    def watched(path, data):
        if path.name == name and (tmp_path / "run" / "metrics.jsonl").exists():
            marked["data"] = data
        write_whole(path, data)

    monkeypatch.setattr(files, "_write_new", full)
    monkeypatch.setattr(files, "write_whole", watched)
    monkeypatch.setattr("opdsl.train.report.page.write_whole", watched)
    result = run("train", tmp_path / "tiny.op", "--out", tmp_path / "run", "--quiet")
    assert "error[OP0625]" in result.stderr
    assert name in result.stderr
    assert "no space left" in result.stderr.lower()
    assert result.exit_code == 1
    assert not list((tmp_path / "run").glob(".tmp-*"))
