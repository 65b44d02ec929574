"""The accounts in which pages run their commands: simulated, with what a deployed stack offers beside them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto import mock_aws
from typing_extensions import override

from bench.tutorial import hosted
from cli.own_policies import set_up
from core.aws.store import Table
from core.model import Mode
from core.times import MINUTE
from simulator.account import SimulatedAccount
from simulator.cases import DAY, Case, Scale, case_of
from simulator.cases import Mode as Load
from simulator.replay import workload_of
from simulator.stack import SimulatedStack
from tests import tables
from tests.desk import Desk, InForce, small_desk
from tests.docs.pages import ROOT
from tests.estates import People, alarm, by_endpoint, by_variant, custom, requests, steps

START = timedelta(hours=8)
"""Where in the trace's first day the account is met: load is coming up."""

TWO_WEEKS = datetime(2025, 4, 1, tzinfo=UTC)


class Adopted(Desk):
    """An account that had endpoints before it had Tidegate."""

    @override
    def of(self, service: str) -> Any:
        """Return a client."""
        return People(self.account) if service == "service-quotas" else super().of(service)


@contextmanager
def adopting() -> Iterator[Adopted]:
    """`ranker` under the tutorial's policies, on a Tuesday morning; the stack that is deployed manages nothing yet."""
    case = case_of(ROOT / "traces/servegen_small_c31.csv", Load.REALTIME, Scale(capacity=1250))
    account = SimulatedAccount(case.start + START)
    workload = workload_of(replace(case, requests=case.requests[START // MINUTE :]))
    workload.vcpus = 8
    account.add_endpoint(name="ranker", instance_type="ml.c5.2xlarge", instance_count=2, workload=workload)
    registration = hosted(account.now).registration
    assert registration is not None
    assert not [*set_up(account, registration)]
    for _ in range(60):
        account.advance()
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        tables.create(dynamodb)
        table = Table(dynamodb, "tidegate")
        in_force = InForce(table)
        stack = SimulatedStack(account, in_force, stage="prod", mode=Mode.ACTIVE, store=table)
        yield Adopted(stack, dynamodb, in_force, Mode.ACTIVE)


@contextmanager
def two_weeks() -> Iterator[People]:
    """Shipped traces, met for two weeks behind what people set up by hand; `idle` and `young` have seen too little."""
    people = People(SimulatedAccount(TWO_WEEKS, record_calls=False))
    chat, search = (_traffic(name) for name in ("servegen_small_c31", "servegen_small_c05"))
    papers = _traffic("servegen_large_c48", Load.ASYNC)
    people.endpoint("fraud", workload=workload_of(search), count=12)
    orders = people.endpoint("orders", workload=workload_of(chat), count=4)
    people.register(orders, 2, 14)
    people.track(orders, "requests", requests(chat.capacity / 2))
    people.schedule(orders, "night", "cron(0 23 * * ? *)", {"MinCapacity": 1})
    people.schedule(orders, "day", "cron(0 6 * * ? *)", {"MinCapacity": 4})
    ranking = people.endpoint("ranking", workload=workload_of(_traffic("worldcup98_jun")), count=2)
    people.register(ranking, 2, 20)
    busy = alarm("ranking-busy", "CPUUtilization", by_variant("ranking"), 200.0)
    people.step(ranking, "out", steps((0.0, 60.0, 1), (60.0, None, 2), Cooldown=300), busy)
    calm = {"ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 15}
    quiet = alarm("ranking-quiet", "CPUUtilization", by_variant("ranking"), 120.0, **calm)
    people.step(ranking, "in", steps((None, 0.0, -1), Cooldown=600), quiet)
    queue = people.endpoint(
        "papers", workload=workload_of(papers), count=1, instance_type="ml.g5.xlarge", asynchronous=True
    )
    people.register(queue, 1, 12)
    people.track(queue, "backlog", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("papers")))
    people.endpoint("idle")
    for _ in range(14 * DAY):
        people.account.advance()
    people.endpoint("young")
    people.account.backfill("young", workload_of(chat), 300)
    yield people


def _traffic(trace: str, mode: Load = Load.REALTIME) -> Case:
    """Return two weeks of a shipped trace, of which the busiest minutes need ten instances."""
    (path,) = (ROOT / "traces").glob(f"{trace}.*")
    return case_of(path, mode, Scale(longest_days=14))


ACCOUNTS: Mapping[str, Callable[[], AbstractContextManager[Desk | People]]] = {
    "orders": small_desk,
    "adopting": adopting,
    "two-weeks": two_weeks,
}
