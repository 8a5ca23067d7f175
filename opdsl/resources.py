"""Where the files that are not Python stand: grammar/, library/, specs/.

What comes in: the name of such a folder. What goes out: its path, the same for an installed
wheel, an editable install and a bare checkout. `importlib.resources` on a sub-package is not used:
it fails in editable installs.
"""

from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["grammar", "library", "specs"]


@cache
def root(kind: Kind) -> Path:
    """The folder `kind`: inside the installed package if it is there, else beside it.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"opdsl is installed without its folder `{kind}`: install it again")
