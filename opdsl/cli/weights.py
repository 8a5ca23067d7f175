"""The module of a run with its weights.

What comes in: a saved run. What goes out: the module, and what came with the weights.
"""

from __future__ import annotations

from opdsl.cli.overrides import option
from opdsl.cli.run_folder import Saved
from opdsl.lower.torch import OperatorModule, lower
from opdsl.summary.room import refuse_too_large, weight_bytes
from opdsl.train.sections import Settings
from opdsl.train.settings import resolve
from opdsl.train.trained import Trained, load_trained


def trained_module(saved: Saved, *, last: bool = False) -> tuple[OperatorModule, Trained]:
    """The best weights of the run, or the last.

    Raises:
        OpError: OP0621, OP0626, OP0627, OP0630.
    """
    refuse_too_large(saved.graph.name, {"weights": weight_bytes(saved.graph)})
    module = lower(saved.graph)
    return module, load_trained(saved.folder, module, "last" if last else "best")


def with_device(settings: Settings, device: str | None, precision: str | None) -> Settings:
    """The settings with another device or precision.

    Without an option the device is the best of this machine: it may not be that of the run.

    Raises:
        OpError: OP0604, there is no device or precision of that name.
    """
    name = device or "auto"
    given = [option("--device", ("device",), name)]
    given += [option("--precision", ("precision",), precision)] if precision else []
    told = resolve(given).settings
    kept = {"device": told.device}
    kept |= {"precision": told.precision} if precision else {}
    return settings.model_copy(update=kept)
