"""Data: read from files (`formats`), bound to a model (`binding`), made here (`generate`)."""

from opdsl.data.bind.binding import bind
from opdsl.data.bind.point_sets import Site
from opdsl.data.bind.samples import Fields, Port, Samples
from opdsl.data.bind.suspects import suspicion
from opdsl.data.io.formats import open_dataset

__all__ = ["Fields", "Port", "Samples", "Site", "bind", "open_dataset", "suspicion"]
