import multiprocessing
import warnings
from pathlib import Path

import pytest

from opdsl.nn.kernels import fourier_layer
from opdsl.nn.kernels.native import library as native
from tests.compilers import copying_compiler, quick_compiler

needs_compiler = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no C++ compiler here"
)


@pytest.fixture(autouse=True)
def fresh():
    native.library.cache_clear()
    yield
    native.library.cache_clear()


@pytest.fixture
def copying(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(copying_compiler(tmp_path)))
    native.library.cache_clear()


def test_without_a_compiler_there_is_one_note_and_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="there is no C\\+\\+ compiler"):
        assert not fourier_layer.kernels_available()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fourier_layer.kernels_available()


def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    broken = tmp_path / "bin" / "broken"
    broken.parent.mkdir()
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "error: no" >&2; exit 1; }\n')
    broken.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(broken))
    with pytest.warns(RuntimeWarning, match="error: no"):
        assert native.library() is None
    assert not [x for x in (tmp_path / "cache").rglob("*") if x.is_file()]


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("OPDSL_NATIVE", "0")
    assert native.library() is None


@needs_compiler
@pytest.mark.usefixtures("copying")
def test_the_library_is_compiled_once_into_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library() is not None
    (made,) = Path(tmp_path).rglob("*.so")
    stamp = made.stat().st_mtime_ns
    native.library.cache_clear()
    assert native.library() is not None
    assert made.stat().st_mtime_ns == stamp
    assert not made.stat().st_mode & 0o077


def compiled_anew():
    """Whether the library is had, but not kept; nothing is left in the folder of the system."""
    with pytest.warns(RuntimeWarning, match="cannot be kept .*: each process compiles them anew"):
        found = native.library()
    return found is not None and hasattr(found, "layer_rows")


@needs_compiler
@pytest.mark.usefixtures("copying")
def test_a_cache_that_cannot_be_written_costs_time_and_a_note(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder: also root cannot
    monkeypatch.setattr(native.tempfile, "tempdir", str(tmp_path / "temporary"))
    assert compiled_anew()
    assert not list((tmp_path / "temporary").iterdir())


@needs_compiler
@pytest.mark.usefixtures("copying")
def test_a_user_without_a_home_compiles_for_each_process(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(native.Path, "home", homeless)
    assert compiled_anew()


@needs_compiler
@pytest.mark.usefixtures("copying")
def test_a_file_in_the_cache_that_is_no_library_is_replaced(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = native._cache_folder() / f"kernels-{native._cache_key(native._compiler())}.so"
    broken.parent.mkdir(parents=True, mode=0o700)
    broken.write_bytes(b"no library" * 400)
    broken.chmod(0o700)
    assert native.library() is not None
    assert b"no library" not in broken.read_bytes()


def load(cache: str, compiler: str, ready) -> None:
    """What each of two processes does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.setenv("CXX", compiler)
        native.library.cache_clear()
        ready.wait(timeout=60)
        assert native.library() is not None


@needs_compiler
@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # of newer Pythons, where threads are
def test_of_two_processes_at_once_one_compiles(tmp_path):
    counting = quick_compiler(
        tmp_path, before=f'[ "$1" = --version ] || echo once >> {tmp_path}/log'
    )
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(2)
    given = (str(tmp_path / "cache"), str(counting), ready)
    children = [context.Process(target=load, args=given) for _ in range(2)]
    for x in children:
        x.start()
    for x in children:
        x.join(timeout=60)
    assert [x.exitcode for x in children] == [0, 0]
    assert (tmp_path / "log").read_text() == "once\n" * (len(native.SOURCES) + 1)  # and the linker
    (made,) = (x for x in (tmp_path / "cache").rglob("*") if not x.is_dir())
    assert made.suffix == ".so"


@needs_compiler
@pytest.mark.usefixtures("copying")
def test_what_others_may_have_written_is_not_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native._cache_folder().mkdir(parents=True)
    native._cache_folder().chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write to"):
        assert native.library() is not None
    assert not list(tmp_path.rglob("*.so"))
