"""metrics.jsonl: one line for each epoch, whole lines only, no epoch twice."""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opdsl.files import write_all, write_whole
from opdsl.train.folder import JOURNAL

Row = dict[str, Any]


class Journal:
    """The metrics of a run on the disk; rows that a full disk refuses are kept for the next try."""

    def __init__(self, run: Path) -> None:
        self.path = run / JOURNAL
        self._waiting = b""

    def append(self, row: Row) -> None:
        """Add a row.

        Raises:
            OSError: it could not be written; the file is as before.
        """
        self._waiting += json.dumps(_finite(row), allow_nan=False).encode() + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(handle).st_size
        try:
            write_all(handle, self._waiting)
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise
        finally:
            os.close(handle)
        self._waiting = b""

    def keep_until(self, epoch: int) -> list[Row]:
        """Drop every row after `epoch` and every torn line; the rows that stay."""
        rows = [row for row in read_journal(self.path.parent) if row["epoch"] <= epoch]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        return rows


def read_journal(run: Path) -> list[Row]:
    """The rows of a run, oldest first; a torn last line is passed over."""
    path = run / JOURNAL
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [row for line in lines if isinstance(row := _parsed(line), dict) and "epoch" in row]


def validation(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The errors in a row that choose the weights, if the epoch has some.

    Rows of earlier versions have test sets by name, the first of which chose.
    """
    errors: dict[str, Any] | None = row.get("valid") or next(
        iter((row.get("tests") or {}).values()), None
    )
    return errors


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _finite(value: Any) -> Any:
    """JSON has no NaN: such a number is null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
