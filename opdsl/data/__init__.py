"""Data: read from files (`formats`), bound to a model (`binding`), made here (`generate`)."""

from opdsl.data.bind.binding import bind
from opdsl.data.bind.point_sets import PointsRequest
from opdsl.data.bind.samples import FieldRequest, Fields, Samples
from opdsl.data.bind.suspects import suspects_warning
from opdsl.data.io.dataset import open_dataset

__all__ = [
    "FieldRequest",
    "Fields",
    "PointsRequest",
    "Samples",
    "bind",
    "open_dataset",
    "suspects_warning",
]
