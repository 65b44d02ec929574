"""What can go wrong, and what the shell does about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb

from typing_extensions import override


class TidegateError(Exception):
    """Root of everything the core raises on purpose."""


def said(err: Exception) -> str:
    """Return what an error says; of a mistake of ours, which nobody raised on purpose, also what and where it is."""
    if isinstance(err, TidegateError):
        return str(err)
    at = extract_tb(err.__traceback__)[-1]
    return f"{type(err).__name__}: {err} ({Path(at.filename).name}:{at.lineno})"


class ObservationError(TidegateError):
    """A read that a decision needs failed: nothing is decided for this target."""


class ActuationError(TidegateError):
    """A write failed: the next tick decides afresh."""


class ThrottledError(ActuationError):
    """AWS refused for now because of too many calls."""


class TargetBusyError(ActuationError):
    """The endpoint is Updating, as after a change of another of its variants: normal, no alarm."""


class TargetNotFoundError(ActuationError):
    """The endpoint, variant or registration does not exist."""


class LeaseLostError(TidegateError):
    """The lease ran out before everything was written: the next tick goes on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where, what was seen, what is allowed."""

    path: tuple[str | int, ...]
    seen: object
    allowed: str

    @override
    def __str__(self) -> str:
        where = ""
        for part in self.path:
            where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else part
        said = "" if self.seen is None else f" = {self.seen!r}"
        return f"{where or 'document'}{said}: {self.allowed}"


class ConfigError(TidegateError):
    """A policy document, an event or an endpoint's settings cannot be used; carries every problem found.

    It concerns this target only, and is never retried.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))
