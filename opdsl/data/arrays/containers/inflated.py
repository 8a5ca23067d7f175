"""`Inflated`: a zlib stream inside a file as a file that is read forwards, in bounded memory."""

from __future__ import annotations

import io
import zlib
from typing import IO

PIECE = 1 << 16  # compressed bytes that are read at a time


class Inflated(io.RawIOBase):
    """The inflated bytes of a zlib stream; going back starts from the beginning again."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        """Prepare to read.

        Args:
            file: holds the stream; nothing else may read it meanwhile.
            start: position of the first compressed byte.
            size: number of compressed bytes.
        """
        super().__init__()
        self._file = file
        self._start, self._size = start, size
        self._restart()

    def _restart(self) -> None:
        self._inflater = zlib.decompressobj()
        self._file.seek(self._start)
        self._left, self._place = self._size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the inflated bytes."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position from the beginning; less where the stream ends before.

        Raises:
            zlib.error: the stream is damaged.
        """
        assert whence == io.SEEK_SET
        if offset < self._place:
            self._restart()
        while self._place < offset and self.read(min(offset - self._place, PIECE)):
            pass
        return self._place

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with the next bytes; return how many there were, 0 at the end.

        Raises:
            zlib.error: the stream is damaged.
        """
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while view:
            waiting = self._inflater.unconsumed_tail
            if not waiting:
                waiting = self._file.read(min(PIECE, self._left))
                self._left -= len(waiting)
            data = self._inflater.decompress(waiting, len(view))
            if data:
                view[: len(data)] = data
                self._place += len(data)
                return len(data)
            if self._inflater.eof or not waiting:
                break
        return 0
