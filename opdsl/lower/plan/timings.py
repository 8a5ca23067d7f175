"""A disk cache of measured times: `cache/opdsl/timings/DIGEST.json`, a small file for each case.

The name of a file is a hash of everything that the times depend on, case, machine and versions, and
the file repeats it; a damaged or mismatched file is ignored. Files are written whole or not at all,
and where nothing can be written, times are cached for as long as the process lives.
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

from opdsl.files import read_json, user_cache, write_whole
from opdsl.lower.plan.tuning_case import Times, TuningCase
from opdsl.nn.kernels.native.library import library, processor
from opdsl.version import VERSION

FOLDER = "timings"
FORMAT = 1


class Timings:
    """Times by case, in memory and in folders, of which the first has precedence.

    Args:
        folders: searched in this order; new times are written to all of them.
        anew: ignore the folders when reading.
    """

    def __init__(self, *folders: Path, anew: bool = False) -> None:
        self.folders, self.anew = folders, anew
        self.known: dict[str, Times] = {}

    def __call__(self, case: TuningCase) -> Times | None:
        """Return the times of a case, or None; copy a hit in a later folder to the earlier ones."""
        key = _key(case)
        for i, folder in enumerate(() if self.anew else self.folders):
            if key not in self.known and (result := _read(folder, key, case.ways)):
                self._keep(key, result, self.folders[:i])
        return self.known.get(key)

    def keep(self, case: TuningCase, times: Times) -> None:
        """Store the times of a case, replacing earlier ones."""
        self._keep(_key(case), times, self.folders)

    def _keep(self, key: str, times: Times, folders: tuple[Path, ...]) -> None:
        self.known[key] = dict(times)
        text = json.dumps({"of": json.loads(key), "milliseconds": dict(times)}, indent=1)
        for folder in folders:
            with suppress(OSError):  # if nothing can be written, only this process has the times
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(_file(folder, key), text.encode())


def users_folder() -> Path | None:
    """Return the folder of this user's times; None if the user has no home."""
    with suppress(OSError):
        return user_cache() / FOLDER
    return None


def users_timings(*, anew: bool = False) -> Timings:
    """Open this user's times; with `anew` they are measured again and replaced."""
    folder = users_folder()
    return Timings(folder, anew=anew) if folder else Timings()


def _key(case: TuningCase) -> str:
    """Encode case and machine as canonical JSON."""
    description = case.description() | machine(case.setting.device) | {"format": FORMAT}
    return json.dumps(description, sort_keys=True)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read(folder: Path, key: str, ways: tuple[str, ...]) -> Times | None:
    """Read the times from a file; None unless it is intact and its key is this one."""
    try:
        content = read_json(_file(folder, key))
        if content["of"] != json.loads(key):
            return None
        result = {x: float(content["milliseconds"][x]) for x in ways}
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return result if all(0 < t < math.inf for t in result.values()) else None


@cache
def machine(device: str) -> dict[str, Any]:
    """Describe what times depend on beside the case: device, versions, compiled kernels."""
    return {
        "device": _accelerator() if device == "cuda" else device,
        "processor": hashlib.sha256(processor().encode()).hexdigest()[:16],
        "opdsl": VERSION,
        "torch": metadata.version("torch"),
        "compiled": library() is not None,
    }


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda"
