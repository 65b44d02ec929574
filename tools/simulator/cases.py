"""What is judged: one load on one endpoint (`Case`), and what a policy made of it (`Course`).

All series have one value a minute, from `Case.start` on. Every policy, the clairvoyant and Tidegate itself play the
same case and answer with a course; `simulator.scores` says what the course is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray


class Mode(StrEnum):
    """How the load meets the endpoint."""

    REALTIME = "realtime"
    ASYNC = "async"
    WINDOW = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One load on one endpoint, and the clockwork of AWS around it (algorithms 1 and 11)."""

    trace: str
    mode: Mode
    start: datetime
    requests: NDArray[np.int64]
    """Arrivals of each minute."""

    capacity: float
    """Requests a minute one instance serves within its objective (`c`); of a queue, items it finishes (`mu`)."""

    work_seconds: NDArray[np.float64] | None = None
    """Seconds of one slot that the arrivals of each minute need, together. Queues only."""

    concurrency: int = 1
    """Slots of an instance. Queues only."""

    objective: int = 15
    """Minutes from arrival to result. Queues only."""

    warmup: int = 7 * 24 * 60
    """Minutes at the beginning that are played and not judged."""

    minimum: int = 1
    maximum: int = 100
    provisioning: int = 6
    """Minutes from an order until the instances serve (`D`)."""

    provisioning_from_zero: int = 6
    """The same where no instance runs (`D0`)."""

    removal: int = 1
    """Minutes from the order to scale in until the instances are gone and no longer paid (`Din`)."""

    lag: int = 2
    """Minutes from the end of a minute until its sum can be read (`l`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one policy did in one case."""

    policy: str
    knob: str
    ready: NDArray[np.int64]
    """Instances that serve during each minute."""

    billed: NDArray[np.int64]
    """Instances paid in each minute: from the order until they are gone."""

    orders: NDArray[np.int64]
    """The minutes in which another capacity was asked for, ascending."""
