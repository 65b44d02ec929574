"""The calls of a pass as a function of its targets, counted at the wire: what a tick may cost in rate and money."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from math import ceil

import pytest
from typing_extensions import override

from core.aws.cloudwatch import QUERIES_A_CALL, CloudWatch
from core.aws.sagemaker import SageMaker
from core.aws.store import Table
from core.model import Missing, Observation, Option, ScalableTarget
from core.ports import MetricQuery
from simulator.account import SimulatedAccount
from simulator.workload import AsyncWorkload, RealtimeWorkload
from tests.builders import ASYNC, REALTIME
from tests.chaos.cloud import TABLE, CloudAccount, Snapshot
from tests.chaos.passes import Build, invoke, runtime
from tests.chaos.story import START, fitted
from tests.chaos.unsafe import with_parts
from tests.chaos.wire import the_wire
from tests.rights import REGION

OWNERS = {"realtime": "RealtimeTarget", "async": "AsyncQueue"}
TICK = {"trigger": "schedule"}
PROFILES = {
    "realtime": {**REALTIME, "objectives": {**REALTIME["objectives"], "latency_p95": "800ms"}},
    "async": {**ASYNC, "min_capacity": 1},
}

Budget = Callable[[int], int]
"""Calls a tick may make for so many targets."""

IDLE: Mapping[str, Budget] = {
    "StartConfigurationSession": lambda _: 1,  # a fresh execution environment
    "GetLatestConfiguration": lambda _: 1,
    "Query": lambda _: 2,  # roster and overrides
    "BatchGetItem": lambda n: 2 * ceil(n / 100),  # memories and fits
    "DescribeScalableTargets": lambda n: ceil(n / 50),
    "DescribeAlarms": lambda n: ceil(n * ALARMS_EACH / 100),
    "GetMetricData": lambda n: 1 + n // 100,
    "DescribeEndpoint": lambda n: n,  # a fresh execution environment knows none
    "UpdateItem": lambda n: ceil(n / 2),  # each every fifth minute, in turns that names give
}
"""An operation that is not named may not be called: above all no write to Application Auto Scaling or an alarm."""

ALARMS_EACH = 8
"""Guard alarms and those of native policies, at most."""


def account(kind: str, count: int, requests: int) -> CloudAccount:
    """So many endpoints of one kind, enrolled half an hour ago."""
    simulated = SimulatedAccount(START, region=REGION, record_calls=False)
    names = [f"{kind}-{number:03}" for number in range(count)]
    for name in names:
        silent = AsyncWorkload(per_minute_requests=[], per_minute_work_seconds=[], objective=timedelta(minutes=15))
        busy = RealtimeWorkload(per_minute_requests=[requests] * 200, capacity_per_instance=1200)
        simulated.add_endpoint(
            name=name,
            workload=silent if kind == "async" else busy,
            instance_count=2 if kind == "realtime" else 1,
            asynchronous=kind == "async",
        )
    document = {
        "version": 1,
        "profiles": {kind: PROFILES[kind]},
        "endpoints": [{"name": name, "profile": kind} for name in names],
    }
    return CloudAccount(account=simulated, document=document)


@cache
def enrolled(kind: str, count: int, requests: int = 900) -> Snapshot:
    cloud = account(kind, count, requests)
    assert invoke(cloud, "FleetSync", TICK).error is None
    for minute in range(30):
        cloud.account.advance()
        if minute > 25:
            assert invoke(cloud, OWNERS[kind], TICK).error is None
    return cloud.save()


def made(cloud: CloudAccount, function: str, build: Build = runtime) -> Counter[str]:
    """The calls of one pass by operation."""
    ran = invoke(cloud, function, TICK, build=build)
    assert ran.error is None
    return Counter(call.operation for call in ran.calls)


def over(calls: Counter[str], count: int) -> dict[str, int]:
    """Operations that were called more often than they may be."""
    return {name: times for name, times in calls.items() if name not in IDLE or times > IDLE[name](count)}


@pytest.mark.parametrize("kind", OWNERS)
@pytest.mark.parametrize("count", [3, 16])
def test_an_idle_tick_keeps_its_budget(kind: str, count: int) -> None:
    cloud = CloudAccount.of(enrolled(kind, count))
    for _ in range(6):  # every fifth minute the demand floor is written down
        cloud.account.advance()
        assert over(made(cloud, OWNERS[kind]), count) == {}


WARM: Mapping[str, Budget] = {"DescribeEndpoint": lambda n: ceil(n / 5), "ListEndpoints": lambda n: ceil(n / 100)}
"""What a tick may ask SageMaker in an execution environment that made those before it."""


@pytest.mark.parametrize("kind", OWNERS)
def test_only_what_changed_is_described_again_before_its_turn(kind: str) -> None:
    cloud, clients = CloudAccount.of(enrolled(kind, 16)), the_wire().clients
    kept = SageMaker(lambda: clients["sagemaker"], lambda: clients["resourcegroupstaggingapi"])
    build = with_parts(serving=lambda: kept)
    for minute in range(6):
        cloud.account.advance()
        calls = made(cloud, OWNERS[kind], build)
        assert {name: calls[name] for name in WARM if calls[name] > WARM[name](16)} == (
            {} if minute else {"DescribeEndpoint": 16}
        )
    cloud.account.deploy(f"{kind}-003", 1)
    cloud.account.advance()
    described = [
        c.body for c in invoke(cloud, OWNERS[kind], TICK, build=build).calls if c.operation == "DescribeEndpoint"
    ]
    assert any(f"{kind}-003" in body for body in described)
    assert len(described) <= ceil(16 / 5) + 1


@pytest.mark.parametrize(("kind", "metrics"), [("realtime", 1), ("async", 4)])
def test_each_metric_is_paid_for_once_a_tick_and_a_hundred_targets_fit_into_one_call(kind: str, metrics: int) -> None:
    """43,200 metrics a month cost US$0.43; a queue at rest at zero is not asked at all (tests/unit/test_queue.py)."""
    cloud = CloudAccount.of(enrolled(kind, 3))
    ran = invoke(cloud, OWNERS[kind], TICK)
    (asked,) = [call.body.count('"Id"') for call in ran.calls if call.operation == "GetMetricData"]
    assert asked == 3 * metrics
    assert 100 * metrics <= QUERIES_A_CALL


def test_a_raised_floor_costs_a_renewal_each_ten_minutes_and_no_other_write() -> None:
    cloud = CloudAccount.of(enrolled("realtime", 3, requests=3900))
    writes: Counter[str] = Counter()
    for _ in range(60):
        cloud.account.advance()
        calls = made(cloud, "RealtimeTarget")
        writes += Counter({name: n for name, n in calls.items() if name not in IDLE})
    assert writes.keys() == {"PutScheduledAction", "PutItem"}, "the renewal, and the record of its decision"
    assert 3 <= writes["PutScheduledAction"] <= 3 * 2


SCHEDULING = ("UpdateSchedule", "CreateSchedule", "DeleteSchedule")


def scheduled(cloud: CloudAccount) -> dict[str, int]:
    """What a tick asks of EventBridge Scheduler, whose API is free of charge."""
    calls = made(cloud, "RealtimeTarget")
    return {name: calls[name] for name in SCHEDULING if calls[name]}


def choose(cloud: CloudAccount, option: Option) -> None:
    """FleetSync finds that something orders ahead best for all three."""
    wire = the_wire()
    table, learned = Table(wire.clients["dynamodb"], TABLE), replace(fitted(), fitted_at=cloud.now, chosen=option)
    with wire.to(cloud, "FleetSync"):
        for number in range(3):
            table.put_learned(ScalableTarget.variant(f"realtime-{number:03}", "AllTraffic"), learned)


def test_a_raised_target_costs_one_update_of_its_schedule_each_ten_minutes() -> None:
    """It is due in 20 minutes and renewed when 10 are left: 6 an hour and target. One that is new is first looked for."""
    cloud = CloudAccount.of(enrolled("realtime", 3))
    assert scheduled(cloud) == {}
    choose(cloud, Option.FORECAST)
    assert scheduled(cloud) == {"UpdateSchedule": 3, "CreateSchedule": 3}
    hour: Counter[str] = Counter()
    for minute in range(60):
        cloud.account.advance()
        if minute % 5 == 4:
            hour += Counter(scheduled(cloud))
    assert hour == {"UpdateSchedule": 3 * 6}
    choose(cloud, Option.GUARD)
    assert scheduled(cloud) == {"DeleteSchedule": 3}
    assert scheduled(cloud) == {}


def test_policies_are_described_by_the_hour_and_alarms_written_once() -> None:
    cloud = account("realtime", 3, 900)
    first = made(cloud, "FleetSync")
    cloud.account.advance()
    again = made(cloud, "FleetSync")
    assert first["PutMetricAlarm"] > 0
    assert first["DescribeScalingPolicies"] > 0
    assert again["DescribeScalingPolicies"] == 3
    assert not {name for name in again if name.startswith(("Put", "Register", "Delete")) and name != "PutItem"}


class Chatty(CloudWatch):
    """Asks for each metric by itself."""

    @override
    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        return {query: seen for each in queries for query, seen in super(Chatty, self).fetch([each], now, span).items()}


def test_a_controller_that_asks_too_often_is_caught() -> None:
    chatty = with_parts(metrics=lambda: Chatty(the_wire().clients["cloudwatch"]))
    assert over(made(CloudAccount.of(enrolled("realtime", 3)), "RealtimeTarget", chatty), 3).keys() == {"GetMetricData"}
