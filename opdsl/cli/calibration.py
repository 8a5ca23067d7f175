"""The calibration of a run: a file in its folder, and what predictions and tables make of it.

    calibration.json    the factor of the band, and the promise that it keeps

What comes in: a run's folder. What goes out: a `Calibration`, edges of bands, coverages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import nn

from opdsl.cli.console import say
from opdsl.cli.files import write
from opdsl.data.formats import fingerprint
from opdsl.data.samples import Samples
from opdsl.diagnostics import fault
from opdsl.files import read_json
from opdsl.nn.batch import Values, alike, changed, numbers
from opdsl.train.calibrate import Calibration, edge

CALIBRATION = "calibration.json"


def write_calibration(run: Path, found: Calibration, held: Samples) -> Path:
    """Write it whole, with the data that it was found on.

    Raises:
        OpError: OP0625.
    """
    data = {"path": str(Path(held.source).resolve()), "fingerprint": held.fingerprint}
    told = {**asdict(found), "data": data}
    write(run / CALIBRATION, json.dumps(told, indent=1).encode())
    return run / CALIBRATION


def read_calibration(run: Path, module: nn.Module) -> Calibration | None:
    """The calibration of a run, None if it has none of these weights, which is warned of.

    Raises:
        OpError: OP0627, the file is damaged.
    """
    path = run / CALIBRATION
    if not path.exists():
        return None
    try:
        told = read_json(path)
        found = Calibration(**{k: told[k] for k in Calibration.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError) as error:
        helps = ("make it anew: `opdsl calibrate RUN --data PATH`",)
        message = "the calibration of the run cannot be read"
        raise fault("OP0627", message, helps=helps, file=str(path)) from error
    if found.weights == weights_of(module):
        return found
    say(f"note: {path} is of other weights than these, so there is no band; calibrate again")
    return None


def weights_of(module: nn.Module) -> str:
    """SHA-256 of the weights."""
    return fingerprint({k: x.detach().float().cpu() for k, x in module.state_dict().items()})


def with_edges(found: Calibration | None, outputs: Mapping[str, Values]) -> dict[str, Values]:
    """The outputs with the edges of the band, `u_lower` and `u_upper`, if there is one."""
    if found is None:
        return dict(outputs)
    u = outputs[found.of]
    half = edge(numbers(alike(outputs[found.width], u)), found.factor)
    lower, upper = changed(u, lambda x: x - half), changed(u, lambda x: x + half)
    return {**outputs, f"{found.of}_lower": lower, f"{found.of}_upper": upper}
