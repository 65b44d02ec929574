"""A metric that falls silent holds scale-in back for ever: AAS waits for every tracking policy, and nobody says so."""

from datetime import UTC, datetime, timedelta

from core.model import Reason
from handlers.wiring import summary
from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload

START = datetime(2026, 11, 18, 9, tzinfo=UTC)
MEMORY = ("/aws/sagemaker/Endpoints", "MemoryUtilization", "orders")
BUSY, QUIET = 40, 120


def stack() -> SimulatedStack:
    """Six instances busy with 3,600 requests a minute for 40 minutes, then 600, which one of them serves."""
    account = SimulatedAccount(START)
    workload = RealtimeWorkload(per_minute_requests=[3600] * BUSY + [600] * 240, capacity_per_instance=1000)
    account.add_endpoint(name="orders", instance_type="ml.c5.xlarge", instance_count=6, workload=workload)
    profile = {
        "kind": "realtime",
        "min_capacity": 1,
        "max_capacity": 8,
        "objectives": {"requests_per_instance": 1000},
        "policies": [
            {"type": "target_tracking", "metric": "requests_per_instance", "target": 600},
            {"type": "target_tracking", "metric": "memory", "target": 80},  # 35 to 50 % are in use
        ],
    }
    document = {"version": 1, "profiles": {"p": profile}, "endpoints": [{"name": "orders", "profile": "p"}]}
    made = SimulatedStack(account, document, direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def blockers(made: SimulatedStack) -> set[str]:
    """What the newest pass names."""
    _, outcome = [seen for seen in made.outcomes if seen[1].target.names["EndpointName"] == "orders"][-1]
    assert outcome.decision is not None
    steps = [step for step in outcome.decision.steps if step.reason is Reason.SCALE_IN_BLOCKED]
    assert ("scale_in_blocked_by" in summary(outcome)) == bool(steps)
    return {name for step in steps for name in step.seen}


def test_the_policy_whose_metric_is_silent_is_named_until_it_speaks_again() -> None:
    made = stack()
    orders = made.account.endpoint("orders")
    for _ in range(BUSY - 10):
        made.minute()
    made.account.silence(*MEMORY)
    for _ in range(30):  # 10 busy minutes, and the 20 after which AAS would scale in
        made.minute()
    named = set()
    for _ in range(QUIET):
        made.minute()
        named.add(frozenset(blockers(made)))
        assert orders.desired_count == 6  # that is what it costs
    assert named == {frozenset({"track-memory"})}
    made.account.unsilence(*MEMORY)
    for _ in range(20):  # its alarm needs fifteen minutes to judge
        made.minute()
    assert blockers(made) == set()
    for _ in range(60):
        made.minute()
    assert orders.desired_count == 1
    assert made.failures == []
    assert made.account.now == START + timedelta(minutes=BUSY - 10 + 30 + QUIET + 80)


def test_without_silence_nobody_is_named() -> None:
    made = stack()
    named = set()
    for minute in range(BUSY + 60):
        made.minute()
        if minute > 20:  # alarms that were just made judge after fifteen minutes
            named |= blockers(made)
    assert named == set()
    assert made.account.endpoint("orders").desired_count == 1
