"""Fixtures of all tests: an environment of their own, and golden texts (`--update-golden`)."""

import gc
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
CACHE = Path(__file__).parents[1] / ".test_cache"  # compiled kernels, grammar tables, fonts
HOME = pytest.StashKey[Path]()


def pytest_configure(config):
    """Give the tests a home and a cache of their own, before anything of opdsl is imported.

    The cache is kept between runs, since it holds only what is named by a hash of its sources; the
    measured times of kernels, which would change what is planned, are not.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:  # the controller has done it
        return
    home = config.stash[HOME] = Path(tempfile.mkdtemp(prefix="opdsl-home-"))
    shutil.rmtree(CACHE / "opdsl" / "timings", ignore_errors=True)
    CACHE.mkdir(exist_ok=True)
    # without bytecode every command in a process of its own compiles the whole package
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(CACHE),
        "XDG_CONFIG_HOME": str(home / "config"),
        "MPLCONFIGDIR": str(CACHE / "matplotlib"),
    }


def pytest_collection_finish():
    """Leave the many objects of the collection out of every later search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session):
    """Fail the session if a test kept measured times where the next one would read them."""
    if (CACHE / "opdsl" / "timings").exists():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("a test left measured times in the cache of all tests", file=sys.stderr)  # noqa: T201


def pytest_unconfigure(config):
    if home := config.stash.get(HOME, None):
        shutil.rmtree(home, ignore_errors=True)


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden texts anew")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """What a test draws does not depend on which ran before it; torch is not imported for that."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def golden(request):
    """`golden(text, "dot/fno.dot")` compares with a file; a missing file fails."""

    def compare(text: str, name: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"tests/golden/{name} is missing: run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return compare
