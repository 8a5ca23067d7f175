"""Stand-ins for the C++ compiler: optimising takes most of the time of a test that compiles."""

import shlex
from pathlib import Path

from opdsl.nn.kernels.native import library as native

COPYING = """#!/bin/sh
[ "$1" = --version ] && exec {compiler} "$@"
for word; do
  [ "$last" = -o ] && out=$word
  [ "$word" = -shared ] && shared={shared}
  last=$word
done
cat "${{shared:-/dev/null}}" > "$out"
"""


def quick_compiler(folder: Path, before: str = ":") -> Path:
    """The compiler without optimisation, behind a command."""
    text = f'#!/bin/sh\n{before}\nexec {native._compiler()} "$@" -O0\n'
    return _executable(folder / "compiler", text)


def copying_compiler(folder: Path) -> Path:
    """A compiler that links the library that all tests share, and compiles nothing."""
    assert native.library() is not None
    shared = native._cache_folder() / f"kernels-{native._cache_key(native._compiler())}.so"
    text = COPYING.format(compiler=native._compiler(), shared=shlex.quote(str(shared)))
    return _executable(folder / "compiler", text)


def _executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path
