"""A folder with a tiny program and data, and a run of it."""

import shutil

import pytest

from tests.e2e.command_line import TINY, TRAIN, good


@pytest.fixture(scope="session")
def darcy(tmp_path_factory):
    """30 Darcy flows at 17x17."""
    path = tmp_path_factory.mktemp("darcy") / "d.h5"
    shape = ("--resolution", 17, "--samples", 30, "--fine", 33)
    good("data", "generate", "darcy", *shape, "--seed", 1, "--out", path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, darcy):
    """The current folder: `tiny.op` and its data `d.h5`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.op").write_text(TINY + TRAIN)
    shutil.copy(darcy, tmp_path / "d.h5")
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, darcy):
    """A finished run, to be read only; its folder has the program and the data too."""
    home = tmp_path_factory.mktemp("trained")
    (home / "tiny.op").write_text(TINY + TRAIN)
    shutil.copy(darcy, home / "d.h5")
    good("train", home / "tiny.op", "--out", home / "run", "--quiet")
    return home / "run"
