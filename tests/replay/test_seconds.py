"""Passes run some seconds after the full minute, as schedules and alarms start them; what they decide is the same."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from simulator.account import SimulatedAccount
from simulator.fleet_run import FLEET, account_with
from simulator.stack import SimulatedStack

TRACES = Path(__file__).parents[2] / "traces"
START = datetime(2025, 4, 9, tzinfo=UTC)
HOURS = 12
CHAT = {"kind": "realtime", "min_capacity": 1, "max_capacity": 14, "objectives": {"requests_per_instance": 400}}
# A promise of no whole number of minutes, and a window that is over when its items are done: both look back by seconds.
DOCUMENTS = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 10,
    "objectives": {"items_per_minute": 29, "oldest_age_at_most": "15m"},
}
NIGHTLY = {
    "kind": "batch",
    "min_capacity": 1,
    "max_capacity": 8,
    "objectives": {"requests_per_instance": 40},
    "windows": [{"name": "night", "start": "00:40", "finish_by": "08:00", "items": 12000}],
}
DOCUMENT: Mapping[str, Any] = {
    "version": 1,
    "profiles": {"chat": CHAT, "documents": DOCUMENTS, "nightly": NIGHTLY},
    "endpoints": [
        {"name": "chat-prod", "profile": "chat"},
        {"name": "documents-prod", "profile": "documents"},
        {"name": "scoring-nightly", "profile": "nightly"},
    ],
}


class Late(SimulatedStack):
    """A stack whose functions start so many seconds after the minute."""

    def __init__(self, account: SimulatedAccount, seconds: int) -> None:
        self._late = timedelta(seconds=seconds)
        super().__init__(account, DOCUMENT)

    @override
    def now(self) -> datetime:
        return self.account.now + self._late


def instance_hours(seconds: int) -> dict[str, float]:
    """What AAS was told to keep, in instance-hours."""
    made = Late(account_with(FLEET, TRACES, START, HOURS), seconds)
    made.invoke("FleetSync", {"trigger": "policy"})
    kept = dict.fromkeys((endpoint["name"] for endpoint in DOCUMENT["endpoints"]), 0.0)
    for _ in range(HOURS * 60):
        made.minute()
        for name in kept:
            kept[name] += made.account.snapshot(name)["bounds"][0] / 60
    assert made.failures == []
    return kept


@pytest.fixture(scope="module")
def at_full_minutes() -> dict[str, float]:
    return instance_hours(0)


@pytest.mark.parametrize("seconds", [7, 59])
def test_what_is_kept_does_not_depend_on_the_second(seconds: int, at_full_minutes: dict[str, float]) -> None:
    assert instance_hours(seconds) == pytest.approx(at_full_minutes, rel=0.03)
