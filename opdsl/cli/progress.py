"""The progress of a command over samples, on stderr."""

import sys

from opdsl.cli.console import lively, say


class SampleProgress:
    """Progress as a line that moves on a terminal, and as a line for each tenth in a pipe."""

    def __init__(self) -> None:
        self._tenth = 0
        self._moving = lively(sys.stderr)

    def __call__(self, done: int, count: int) -> None:
        """Show that `done` of `count` samples are done."""
        if self._moving:
            sys.stderr.write(f"\r{done}/{count} samples")
            sys.stderr.flush()
        elif done * 10 // count > self._tenth:
            self._tenth = done * 10 // count
            say(f"{done}/{count} samples")

    def end(self) -> None:
        """End the line."""
        if self._moving:
            sys.stderr.write("\n")
