"""Data: read from files (`formats`), bound to a model (`binding`), made here (`generate`)."""

from opdsl.data.binding import bind
from opdsl.data.formats import open_dataset
from opdsl.data.samples import Fields, Port, Samples
from opdsl.data.sites import Site
from opdsl.data.suspects import suspicion

__all__ = ["Fields", "Port", "Samples", "Site", "bind", "open_dataset", "suspicion"]
