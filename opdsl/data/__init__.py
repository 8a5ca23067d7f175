"""Data sets: read from files (`io`), generated (`generate`), extended (`derive`), bound (`bind`).

The names below are imported when they are first asked for: generators are listed without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opdsl.data.bind.binding import bind_fields
    from opdsl.data.bind.point_sets import PointsRequest
    from opdsl.data.bind.samples import FieldRequest, Fields, Samples
    from opdsl.data.bind.suspects import suspects_warning
    from opdsl.data.io.dataset import open_dataset

_HOMES = {
    "FieldRequest": "bind.samples",
    "Fields": "bind.samples",
    "PointsRequest": "bind.point_sets",
    "Samples": "bind.samples",
    "bind_fields": "bind.binding",
    "open_dataset": "io.dataset",
    "suspects_warning": "bind.suspects",
}

__all__ = [
    "FieldRequest",
    "Fields",
    "PointsRequest",
    "Samples",
    "bind_fields",
    "open_dataset",
    "suspects_warning",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
