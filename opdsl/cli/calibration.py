"""The calibration of a run, as commands write and read it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

from opdsl.cli.console import say
from opdsl.cli.files import write
from opdsl.data.bind.samples import Samples
from opdsl.train.metrics.calibrate import Calibration
from opdsl.workflow.calibration import CALIBRATION, stored_calibration, weights_of


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
    found = stored_calibration(run)
    if found is None or found.weights == weights_of(module):
        return found
    path = run / CALIBRATION
    say(f"note: {path} is of other weights than these, so there is no band; calibrate again")
    return None
