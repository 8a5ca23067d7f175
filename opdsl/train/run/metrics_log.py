"""metrics.jsonl: one line for each epoch, whole lines only, no epoch twice."""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opdsl.files import naming, open_regular, read_regular, write_all, write_whole
from opdsl.train.run.folder import METRICS

LARGEST = 256 << 20  # bytes of metrics.jsonl

MetricsRow = dict[str, Any]


class MetricsLog:
    """The metrics of a run on the disk; rows that a full disk refuses are kept for the next try."""

    def __init__(self, run: Path) -> None:
        self.path = run / METRICS
        self._waiting = b""

    def append(self, row: MetricsRow) -> None:
        """Add a row.

        Raises:
            OSError: it could not be written; the file is as before.
        """
        self._waiting += json.dumps(_finite(row), allow_nan=False).encode() + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        handle = open_regular(self.path, flags)
        size = os.fstat(handle).st_size
        try:
            with naming(self.path):
                write_all(handle, self._waiting)
                os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise
        finally:
            os.close(handle)
        self._waiting = b""

    def keep_until(self, epoch: int) -> tuple[list[MetricsRow], int]:
        """Drop every row after `epoch` and every damaged line.

        Returns:
            The rows that stay, and how many lines were damaged.

        Raises:
            OSError: the file cannot be read or written.
        """
        stored, damaged = _rows(self.path)
        rows = [row for row in stored if row["epoch"] <= epoch]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        return rows, damaged


def read_metrics(run: Path) -> list[MetricsRow]:
    """Read the rows of a run, oldest first; damaged lines are skipped."""
    return _rows(run / METRICS)[0]


def validation(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the errors in a row that choose the weights; None if the epoch has none.

    Rows of earlier versions have test sets by name, the first of which chose.
    """
    errors: dict[str, Any] | None = row.get("valid") or next(
        iter((row.get("tests") or {}).values()), None
    )
    return errors


def score(errors: Mapping[str, Any]) -> float:
    """Return the error that chooses the best weights: relative L2, or the loss of a band."""
    return float(errors.get("pinball", errors["rel_l2"]))


def _rows(path: Path) -> tuple[list[MetricsRow], int]:
    """Read the rows of a file, and count the lines that are no rows."""
    try:
        data = read_regular(path, LARGEST, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return [], 0
    lines = [line for line in data.split(b"\n") if line.strip()]
    rows = [row for line in lines if (row := _row(line)) is not None]
    return rows, len(lines) - len(rows)


def _row(line: bytes) -> MetricsRow | None:
    """Parse a row that `append` has written; None for a torn or a foreign line."""
    try:
        row = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("epoch")) is not int:
        return None
    tests, valid = row.get("tests", {}), row.get("valid")
    tables = isinstance(tests, dict) and all(
        isinstance(x, dict) for x in (*tests.values(), valid or {})
    )
    numbers = all(_is_number(row.setdefault(k, None)) for k in ("train_loss", "lr"))
    return row if tables and numbers else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON, and `append` writes null")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: Any) -> Any:
    """Replace a number that is not finite by None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
