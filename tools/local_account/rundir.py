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
        if _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _locked(place: Path) -> tuple[Path, IO[str]]:
    """Make a folder and hold its lock. It gets its name last, so that nobody finds it unlocked."""
    unnamed = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=place))
    lock = (unnamed / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return unnamed.rename(unnamed.with_name(unnamed.name.removeprefix("."))), lock


def _abandoned(folder: Path) -> bool:
    """Whether nobody holds its lock; without one, a build went on for a moment after its account had died."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:  # held, or somebody else's
        return False
    return True
