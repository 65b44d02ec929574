"""The accounts in which pages run their commands: simulated, with what a deployed stack offers beside them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import boto3
from moto import mock_aws

from core.aws.store import Table
from simulator.invoke import small_fleet
from tests import tables
from tests.unit.cli.test_overrides import Aws


class Deployed(Aws):
    """A stack in which time can pass."""

    def later(self, span: timedelta) -> None:
        """Let minutes pass, with the controller's ticks."""
        for _ in range(span // timedelta(minutes=1)):
            self.stack.minute()


@contextmanager
def orders() -> Iterator[Deployed]:
    """The small fleet of `simulator.invoke`, which knows `orders-ranker-prod`."""
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        tables.create(dynamodb)
        yield Deployed(small_fleet(Table(dynamodb, "tidegate")), dynamodb)


ACCOUNTS: Mapping[str, Callable[[], AbstractContextManager[Deployed]]] = {"orders": orders}
