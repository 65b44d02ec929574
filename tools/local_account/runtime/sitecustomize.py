"""Python reads this in every process of the emulator; it acts in the workers that run deployed Lambdas.

- `core.aws.clock.now` becomes a read of the simulated time, so production code needs no switch for it. That goes for
  the command line too, where the account's environment is set.
- The emulator's own packages leave the search path: a package missing from the artefact must be missing here too.
- Each worker notes its name under its access key, so that whoever is called can tell the caller.
"""

import mmap
import os
import struct
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SimulatedClock:
    """Stands in for the import of `core.aws.clock`: the real module is loaded, then its `now` replaced.

    Args:
        file: holds the microseconds since 1970 in its first 8 bytes.
    """

    name = "core.aws.clock"

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)

    def now(self) -> datetime:
        """Return the simulated present."""
        (microseconds,) = struct.unpack("<q", self._shared[:8])
        return EPOCH + timedelta(microseconds=microseconds)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the clock where it is, and load it with this object; leave every other module to Python."""
        if fullname != self.name:
            return None
        self._real = PathFinder.find_spec(fullname, path, target)
        return None if self._real is None else ModuleSpec(fullname, cast("Loader", self))

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the real code, then replace what it says about the present."""
        if self._real is None or self._real.loader is None:
            raise ImportError(f"{self.name} has no code")
        self._real.loader.exec_module(module)
        module.__dict__["now"] = self.now


if "TIDEGATE_RUN_DIRECTORY" in os.environ:
    _run_directory = Path(os.environ["TIDEGATE_RUN_DIRECTORY"])
    if (_run_directory / "clock").exists():
        sys.meta_path.insert(0, SimulatedClock(_run_directory / "clock"))
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        (_run_directory / "callers" / os.environ["AWS_ACCESS_KEY_ID"]).write_text(
            os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        )
        sys.path[:] = [entry for entry in sys.path if not entry.endswith("site-packages")]
