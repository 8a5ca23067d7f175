"""Settings of a run on this machine."""

from __future__ import annotations

from opdsl.cli.overrides import option
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import resolve


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
