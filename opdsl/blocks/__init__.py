"""The catalogue of blocks: one module for each block, in a folder for each family.

A block is looked up by its keyword, which is the name of its module; only that module is imported.
Other packages add blocks through the entry-point group `opdsl.blocks`, keyword to class.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from opdsl.ir.block import Block

GROUP = "opdsl.blocks"


@cache
def _families() -> dict[str, str]:
    """Map each block of this package to its family, by keyword."""
    # iter_modules works inside a zip file as well, which has modules but no folders
    return {
        block.name: family.name
        for family in iter_modules(__path__)
        for block in iter_modules([f"{path}/{family.name}" for path in __path__])
        if not block.name.startswith("_")
    }


def names() -> tuple[str, ...]:
    """Return the keywords of all blocks of this package, sorted."""
    return tuple(sorted(_families()))


def family(keyword: str) -> str:
    """Return the family of a block of this package: the name of its folder."""
    return _families()[keyword]


@cache
def find(keyword: str) -> type[Block] | None:
    """Return the block of a keyword, or None."""
    if home := _families().get(keyword):
        module = import_module(f"{__name__}.{home}.{keyword}")
        return next(x for x in _classes(module) if x.keyword() == keyword)
    from importlib.metadata import entry_points  # slow, and only for blocks of others

    matches = entry_points(group=GROUP, name=keyword)
    return next((x.load() for x in matches), None)


def _classes(module: object) -> list[type[Block]]:
    return [x for x in vars(module).values() if isinstance(x, type) and issubclass(x, Block)]
