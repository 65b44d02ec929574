"""Every decision can be made again from what was written down of it: the demo's fleet, with hands on it all the time."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from cli.decisions import Recorded, differences
from core.context import DECISIONS, Decision
from core.model import Reason
from core.policy import Fleet, parse_fleet
from simulator.fleet_run import FLEET, account_with
from simulator.in_memory import InMemoryStore, StaticPolicies
from simulator.stack import SimulatedStack

ROOT = Path(__file__).parents[2]
START = datetime(2025, 4, 9, tzinfo=UTC)
HOURS = 5
POLICY: dict[str, Any] = yaml.safe_load((ROOT / "fleet.yaml").read_text(encoding="utf-8"))

WISHES: list[dict[str, Any]] = [
    {"action": "floor", "fleet": True, "capacity": 3, "duration": "50m"},
    {"action": "pin", "target": "chat-prod", "capacity": 6, "duration": "35m"},
    {"action": "ceiling", "profile": "documents-async", "capacity": 2, "duration": "20m"},
    {"action": "pause", "tag": "team=search", "duration": "10m"},
    {"action": "floor", "inference_component": "assistant-llm", "capacity": 2, "duration": "30m"},
    {"action": "resume", "target": "chat-prod"},
    {"action": "pin", "target": "scoring-nightly", "capacity": 2, "duration": "90m"},
    {"action": "resume", "fleet": True},
]


class Edited(StaticPolicies):
    """A policy that somebody edits half-way."""

    document = POLICY

    def __init__(self) -> None:
        super().__init__(self.document)

    @override
    def fleet(self) -> Fleet:
        return parse_fleet(self.document)


class Written(InMemoryStore):
    """Writes decisions down as JSON, as the table does."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Recorded] = []

    @override
    def put_decision(self, decision: Decision, outcome: str) -> None:
        self.written.append(recorded(decision, outcome))


def recorded(decision: Decision, outcome: str) -> Recorded:
    name = f"{decision.context.target.resource_id}@{decision.context.now.isoformat()}"
    return Recorded(name, outcome, DECISIONS.dump_python(decision, mode="json"))


@pytest.fixture(scope="module")
def stack() -> SimulatedStack:
    """Five hours with a window, an override every quarter of an hour, and a policy edit in it."""
    account = account_with(FLEET, ROOT / "traces", START, HOURS)
    account.endpoint("documents-prod").tags["team"] = "search"
    policy = Edited()
    made = SimulatedStack(account, policy, store=Written(), direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    wishes = count()
    while account.now < START + timedelta(hours=HOURS):
        if account.now.minute % 15 == 10:
            number = next(wishes)
            who = {"request_id": f"r-{number}", "reason": "hands on", "requested_by": "maria"}
            made.invoke("Override", {**WISHES[number % len(WISHES)], **who})
        if account.now == START + timedelta(hours=2):
            changed = {**POLICY["profiles"]["nightly-batch"], "max_capacity": 6}
            policy.document = {**POLICY, "profiles": {**POLICY["profiles"], "nightly-batch": changed}}
        made.minute()
    assert made.failures == []
    return made


def test_every_recorded_decision_replays_equal(stack: SimulatedStack) -> None:
    assert isinstance(stack.store, Written)
    found = stack.store.written
    assert len(found) >= 100
    assert [(each.name, differences(each.decision)) for each in found if differences(each.decision)] == []
    spoken = {step.reason for each in found for step in each.decision.steps}
    assert spoken >= {Reason.LOAD, Reason.BACKLOG, Reason.WINDOW_PREWARMING, Reason.WINDOW_OPEN, Reason.OVERRIDE_PAUSE}


def test_so_does_every_decision_that_was_not_worth_recording(stack: SimulatedStack) -> None:
    made = [o.decision for _, o in stack.outcomes if o.decision is not None]
    assert len(made) >= HOURS * 60 * len(FLEET)
    for decision in made:
        assert differences(recorded(decision, "").decision) == []
