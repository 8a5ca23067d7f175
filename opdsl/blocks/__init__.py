"""The blocks, one module each: the folder is the catalogue.

A block is found by its keyword, the name of its module; only that module is imported. Packages of
others join by the entry-point group `opdsl.blocks`, keyword to class.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from opdsl.ir.block import Block

GROUP = "opdsl.blocks"


@cache
def names() -> tuple[str, ...]:
    """The keywords of all blocks of this package, sorted."""
    found = (x.name for x in iter_modules(__path__))  # a zip file has modules, but no folder
    return tuple(sorted(x for x in found if not x.startswith("_")))


@cache
def find(keyword: str) -> type[Block] | None:
    """The block of this keyword, or None."""
    if keyword in names():
        module = import_module(f"{__name__}.{keyword}")
        return next(x for x in _classes(module) if x.keyword() == keyword)
    from importlib.metadata import entry_points  # slow, and only for blocks of others

    found = entry_points(group=GROUP, name=keyword)
    return next((x.load() for x in found), None)


def _classes(module: object) -> list[type[Block]]:
    return [x for x in vars(module).values() if isinstance(x, type) and issubclass(x, Block)]
