"""The one folder in which an embedded account keeps everything: made, locked, and swept after crashes."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

PREFIX = "tidegate-account-"
LOCK = "lock"
ROOM = 1_500_000_000
"""Bytes one account may need: 65 MB a Lambda worker, the artefact and its archive."""


def candidates() -> list[Path]:
    """Return where the folder may lie: in memory (a deployment on disk takes up to ten times as long), or else."""
    return [Path("/dev/shm"), Path(tempfile.gettempdir())]  # noqa: S108 - only ever below a fresh private directory


def parent(places: Sequence[Path], room: int = ROOM) -> Path:
    """Return the first place with enough room; containers often have a /dev/shm of 64 MB. The last one must do."""
    for place in places[:-1]:
        if place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free >= room:
            return place
    return places[-1]


@contextlib.contextmanager
def run_directory(places: Sequence[Path] | None = None) -> Iterator[Path]:
    """Make a folder, hold its lock, and remove it at the end; remove what crashed accounts left, too."""
    known = list(places or candidates())
    sweep(known)
    folder, lock = _locked(parent(known))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def sweep(places: Sequence[Path]) -> list[Path]:
    """Remove the folders whose lock nobody holds, and return them."""
    removed = []
    for folder in [found for place in places if place.is_dir() for found in place.glob(f"{PREFIX}*")]:
        with contextlib.suppress(OSError), (folder / LOCK).open() as lock:  # without a lock it is just being made
            if _free(lock):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _locked(place: Path) -> tuple[Path, IO[str]]:
    """Make a folder and hold its lock; again, should another account have swept it away in between."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock = (folder / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / LOCK).exists():
            return folder, lock
        lock.close()


def _free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
