"""The calibration of a run: a file in its folder, and the band that it puts around predictions.

calibration.json    the factor of the band, and the promise that it keeps
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import nn

from opdsl.data.io.joining import fingerprint
from opdsl.diagnostics import fault
from opdsl.files import read_json
from opdsl.nn.points.batch import Values, all_values, map_values, match_packing
from opdsl.train.metrics.calibrate import CONFIDENCE, Calibration, Coverage, half_width
from opdsl.workflow.datasets.reading.sources import absolute
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.output import write_file

__all__ = [
    "CALIBRATION",
    "CONFIDENCE",
    "Calibration",
    "CalibrationReport",
    "Coverage",
    "stored_calibration",
    "weights_of",
    "with_edges",
    "write_calibration",
]

CALIBRATION = "calibration.json"


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A calibrated band, and how it does on other samples; `Run.calibrate` returns one.

    Attributes:
        calibration: the factor of the band, and the promise that it keeps.
        coverage: on each test set, by its name.
        path: the file in the folder of the run.
    """

    calibration: Calibration
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    path: Path = Path()


def write_calibration(run: Path, calibration: Calibration, samples: AnySamples) -> Path:
    """Write a calibration whole, with the data that it was found on.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    data = {"path": absolute(samples.source), "fingerprint": samples.fingerprint}
    content = {**asdict(calibration), "data": data}
    write_file(run / CALIBRATION, json.dumps(content, indent=1).encode())
    return run / CALIBRATION


def stored_calibration(run: Path) -> Calibration | None:
    """Read the calibration of a run, whatever weights it is of; None if it has none.

    Raises:
        OpError: OP0627, the file is damaged.
    """
    path = run / CALIBRATION
    if not path.exists():
        return None
    try:
        content = read_json(path)
        return Calibration(**{k: content[k] for k in Calibration.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError) as error:
        helps = ("make it anew: `opdsl calibrate RUN --data PATH`",)
        message = "the calibration of the run cannot be read"
        raise fault("OP0627", message, helps=helps, file=str(path)) from error


def weights_of(module: nn.Module) -> str:
    """Return the SHA-256 of the weights."""
    return fingerprint({k: x.detach().float().cpu() for k, x in module.state_dict().items()})


def with_edges(calibration: Calibration | None, outputs: Mapping[str, Values]) -> dict[str, Values]:
    """Add the edges of the band to the outputs, `u_lower` and `u_upper`, if there is a band."""
    if calibration is None:
        return dict(outputs)
    u = outputs[calibration.of]
    half = half_width(all_values(match_packing(outputs[calibration.width], u)), calibration.factor)
    lower, upper = map_values(u, lambda x: x - half), map_values(u, lambda x: x + half)
    return {**outputs, f"{calibration.of}_lower": lower, f"{calibration.of}_upper": upper}
