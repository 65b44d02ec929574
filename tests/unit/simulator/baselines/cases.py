"""Small cases for the baselines: one instance serves 100 requests a minute, six minutes to come, one to go."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from simulator.cases import Case, Mode

START = datetime(2025, 4, 1, tzinfo=UTC)


def realtime(load: Sequence[int], **fields: Any) -> Case:
    case = Case(
        trace="test", mode=Mode.REALTIME, start=START, requests=np.array(load, dtype=np.int64), capacity=100.0, warmup=0
    )
    return replace(case, **fields)


def queue(load: Sequence[int], work: Sequence[float] | None = None, **fields: Any) -> Case:
    """Items of 12 seconds unless `work` says otherwise, so an instance finishes five a minute; may go to zero."""
    seconds = np.array([12.0 * count for count in load] if work is None else work)
    return realtime(load, **{"mode": Mode.ASYNC, "capacity": 5.0, "work_seconds": seconds, "minimum": 0, **fields})


def minutes(*runs: tuple[int, int]) -> list[int]:
    """A load from runs of (minutes, requests a minute)."""
    return [load for length, load in runs for _ in range(length)]
