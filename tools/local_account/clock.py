"""Simulated time for the deployed Lambdas: a file that the emulator's workers map into their memory."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ClockFile:
    """Eight bytes, microseconds since 1970, rewritten in place.

    Args:
        path: the file; made here.
        now: what it says first.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self._file = path.open("wb", buffering=0)
        self.set(now)

    def set(self, now: datetime) -> None:
        """Let the Lambdas see `now`, in one write that no reader can see half of."""
        self._file.seek(0)
        self._file.write(struct.pack("<q", (now - EPOCH) // timedelta(microseconds=1)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
