"""The accounts in which pages run their commands: simulated, with what a deployed stack offers beside them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
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
from simulator.cases import Mode as Load
from simulator.cases import Scale, case_of
from simulator.replay import workload_of
from simulator.stack import SimulatedStack
from tests import tables
from tests.desk import Desk, InForce, small_desk
from tests.docs.pages import ROOT
from tests.estates import People

START = timedelta(hours=8)
"""Where in the trace's first day the account is met: load is coming up."""


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


ACCOUNTS: Mapping[str, Callable[[], AbstractContextManager[Desk]]] = {"orders": small_desk, "adopting": adopting}
