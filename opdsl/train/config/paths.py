"""Paths by which a user names parts of a model in settings."""

from fnmatch import fnmatchcase


def matches(path: str, name: str) -> bool:
    """Return whether a path is that of a weight, or of a part of the model that contains it.

    The parts of the path have to stand in the name one behind the other; `*` is for any letters of
    one part. `lift` matches `u.lift.weight`, `layers*.bias` matches `u.layers2.bias`.
    """
    wanted, parts = path.split("."), name.split(".")
    starts = range(len(parts) - len(wanted) + 1)
    return any(all(map(fnmatchcase, parts[i:], wanted)) for i in starts)
