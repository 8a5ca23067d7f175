"""The interruption of a run by a signal, which commands report and Python users see as Ctrl-C."""

from opdsl.train.engine.signals import Interrupted

__all__ = ["Interrupted"]
