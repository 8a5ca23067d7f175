"""Measured times, kept on the disk: `cache/opdsl/timings/DIGEST.json`, a small file for each case.

What comes in: cases and their times. What goes out: the times of an equal case that was measured
before on an equal machine with the same versions. The name of a file is a hash of all that the
times depend on, and the file says it again; one that is damaged, or says something else, does not
exist. Files are written whole or not at all, and where nothing can be written, times are known for
as long as the process lives.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import opdsl
from opdsl.files import read_json, user_cache, write_whole
from opdsl.lower.plan.tuning_case import Times, TuningCase

FOLDER = "timings"
FORMAT = 1


class Timings:
    """Times by case, in memory and in folders; what the first folder says holds.

    Args:
        folders: where to look, in this order; new times are written to all of them.
        anew: whether to look into none of them.
    """

    def __init__(self, *folders: Path, anew: bool = False) -> None:
        self.folders, self.anew = folders, anew
        self.known: dict[str, Times] = {}

    def __call__(self, case: TuningCase) -> Times | None:
        """The times of a case, or None; what a later folder has is copied to those before it."""
        key = _key(case)
        for i, folder in enumerate(() if self.anew else self.folders):
            if key not in self.known and (found := _read(folder, key, case.ways)):
                self._keep(key, found, self.folders[:i])
        return self.known.get(key)

    def keep(self, case: TuningCase, times: Times) -> None:
        """Remember the times of a case, in place of earlier ones."""
        self._keep(_key(case), times, self.folders)

    def _keep(self, key: str, times: Times, folders: tuple[Path, ...]) -> None:
        self.known[key] = dict(times)
        text = json.dumps({"of": json.loads(key), "milliseconds": dict(times)}, indent=1)
        for folder in folders:
            with suppress(OSError):  # then they are known to this process only
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(_file(folder, key), text.encode())


def users_folder() -> Path | None:
    """Where this user's times are; None: there is no home."""
    with suppress(OSError):
        return user_cache() / FOLDER
    return None


def users_timings(*, anew: bool = False) -> Timings:
    """This user's times; `anew`: those that are measured from now on, in place of earlier ones."""
    folder = users_folder()
    return Timings(folder, anew=anew) if folder else Timings()


def _key(case: TuningCase) -> str:
    """TuningCase and machine as a text with one spelling."""
    told = case.description() | machine(case.setting.device) | {"format": FORMAT}
    return json.dumps(told, sort_keys=True)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read(folder: Path, key: str, ways: tuple[str, ...]) -> Times | None:
    """What a file says of all ways, if it is whole and about this."""
    try:
        told = read_json(_file(folder, key))
        if told["of"] != json.loads(key):
            return None
        found = {x: float(told["milliseconds"][x]) for x in ways}
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if all(0 < t < math.inf for t in found.values()) else None


@cache
def machine(device: str) -> dict[str, Any]:
    """What else times depend on: the device, the versions, the compiled kernels."""
    from opdsl.nn.kernels.native.library import library, processor

    return {
        "device": _accelerator() if device == "cuda" else device,
        "processor": hashlib.sha256(processor().encode()).hexdigest()[:16],
        "opdsl": opdsl.__version__,
        "torch": metadata.version("torch"),
        "compiled": library() is not None,
    }


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda"
