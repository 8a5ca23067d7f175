"""The calibration of a run: a file in its folder, and the band that it puts around predictions.

calibration.json    the factor of the band, and the promise that it keeps
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from opdsl.data.io.joining import fingerprint
from opdsl.diagnostics import fault
from opdsl.files import read_json
from opdsl.nn.points.batch import Values, alike, changed, numbers
from opdsl.train.metrics.calibrate import Calibration, half_width

CALIBRATION = "calibration.json"


def stored_calibration(run: Path) -> Calibration | None:
    """Read the calibration of a run, whatever weights it is of; None if it has none.

    Raises:
        OpError: OP0627, the file is damaged.
    """
    path = run / CALIBRATION
    if not path.exists():
        return None
    try:
        stored = read_json(path)
        return Calibration(**{k: stored[k] for k in Calibration.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError) as error:
        helps = ("make it anew: `opdsl calibrate RUN --data PATH`",)
        message = "the calibration of the run cannot be read"
        raise fault("OP0627", message, helps=helps, file=str(path)) from error


def weights_of(module: nn.Module) -> str:
    """SHA-256 of the weights."""
    return fingerprint({k: x.detach().float().cpu() for k, x in module.state_dict().items()})


def with_edges(found: Calibration | None, outputs: Mapping[str, Values]) -> dict[str, Values]:
    """Add the edges of the band to the outputs, `u_lower` and `u_upper`, if there is a band."""
    if found is None:
        return dict(outputs)
    u = outputs[found.of]
    half = half_width(numbers(alike(outputs[found.width], u)), found.factor)
    lower, upper = changed(u, lambda x: x - half), changed(u, lambda x: x + half)
    return {**outputs, f"{found.of}_lower": lower, f"{found.of}_upper": upper}
