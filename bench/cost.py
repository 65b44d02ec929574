"""What the controller costs: calls of simulated days times list prices, `make cost`.

A real-time endpoint with a forecast and an idle asynchronous one are played until the controller knows them; then one
day of default rates is counted with the real handlers, adapters and clients, DynamoDB on moto. The same day with an
empty fleet is what the stack costs by itself: the rest is what one endpoint adds, alone in its stack, where it bears
what the calls of a pass cost for all. The alarms that AWS's own guides make for such an endpoint stand apart: target
tracking's two, and the one that leaves zero. A month is 30 such days. Prices and their sources are in `prices.json`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import numpy as np
import typer
import yaml
from botocore.model import OperationModel
from moto import mock_aws
from rich.console import Console
from rich.table import Table as Shown
from typing_extensions import override

from core.aws.store import Table
from core.ports import PolicySource
from core.reconcile import Outcome, Status
from handlers.wiring import sent, summary
from simulator.account import SimulatedAccount
from simulator.cases import DAY, Case, Mode, case_of
from simulator.replay import Replay
from simulator.stack import SimulatedStack
from tests import tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).resolve().parents[1]
PRICES = Path(__file__).with_name("prices.json")
DAYS = 30
CALL_MS, OWN_MS, CORE_MB = 40.0, 7.25, 1769
"""What AWS is assumed to take for a call, a pass's own time on a core (`bench.scale`: 6 ms), and what buys one."""

REPORT_BYTES, EMF_BYTES = 900, 700
"""Of the lines that Lambda writes of each invocation, and of the fleet metrics of a pass."""

ROUND_UP_READ, ROUND_UP_WRITE = 4096, 1024
PLAIN = "plain_alarm_month"
CASE = "servegen_small_c31"
GOALS = {"real-time, with forecast": 0.80, "asynchronous, idle": 0.30}

Use = Counter[str]
"""What is billed, by the names in `prices.json`."""


class Meter:
    """Counts what a stack asks of AWS, by listening to the clients of the simulated account and of moto."""

    def __init__(self, account: SimulatedAccount, dynamodb: "DynamoDBClient") -> None:
        self.calls: Counter[str] = Counter()
        self.by: Counter[str] = Counter()
        """Calls of each function."""
        self.use: Use = Counter()
        self._account = account
        for client in (*(account.client(s) for s in ("cloudwatch", "application-autoscaling", "sagemaker")), dynamodb):
            client.meta.events.register("before-parameter-build", self._asked)
        dynamodb.meta.events.register("after-call.dynamodb", self._read)

    def _asked(self, params: Mapping[str, Any], model: OperationModel, **_: object) -> None:
        self.calls[model.name] += 1
        self.by[self._account.caller] += 1
        match model.name:
            case "GetMetricData":
                self.use["metric_queried"] += len(params["MetricDataQueries"])
            case "UpdateItem":
                self.use["dynamodb_write_unit"] += _units({**params["Key"], **params["ExpressionAttributeValues"]})
            case "PutItem":
                self.use["dynamodb_write_unit"] += _units(params["Item"])
            case _:
                pass

    def _read(self, parsed: Mapping[str, Any], model: OperationModel, **_: object) -> None:
        found = [item for items in parsed.get("Responses", {}).values() for item in items]
        match model.name:
            case "BatchGetItem":
                self.use["dynamodb_read_unit"] += sum(max(1, ceil(_size(item) / ROUND_UP_READ)) for item in found)
            case "Query":
                whole = sum(map(_size, parsed["Items"]))
                self.use["dynamodb_read_unit"] += max(1, ceil(whole / ROUND_UP_READ))
            case _:
                pass


def _size(item: Mapping[str, Any]) -> int:
    """Return about what DynamoDB counts of an item: names and values."""
    values = {name: next(iter(value.values())) for name, value in item.items()}
    return sum(len(k) + (len(v) if isinstance(v, bytes) else len(json.dumps(v))) for k, v in values.items())


def _units(item: Mapping[str, Any]) -> int:
    return max(1, ceil(_size(item) / ROUND_UP_WRITE))


class CountedStack(SimulatedStack):
    """Notes which fleet metric each function sends in which hour."""

    def __init__(self, account: SimulatedAccount, fleet: Mapping[str, Any] | PolicySource, store: Table) -> None:
        super().__init__(account, fleet, store=store)
        self.sent: set[tuple[str, str, int]] = set()
        self._first = account.now + timedelta(minutes=1)

    @override
    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:
        super().tell(function, outcomes)
        hour = (self.account.now - self._first) // timedelta(hours=1)
        self.sent |= {(function, name, hour) for name in sent(outcomes)}


@contextmanager
def table() -> "Iterator[DynamoDBClient]":
    """An empty table on moto."""
    with mock_aws():
        client = boto3.Session("bench", "bench", region_name="eu-central-1").client("dynamodb")
        tables.create(client)
        yield client


def day(played: Replay | None, minutes: int) -> tuple[Use, Counter[str]]:
    """Return what one day of a stack uses, and its calls; without an endpoint, that of an empty fleet."""
    with table() as dynamodb:
        account = played.account if played else SimulatedAccount(datetime.fromisoformat("2026-11-18T00:00Z"))
        store = Table(dynamodb, "tidegate")
        fleet = played.stack.policies if played else {"version": 1, "profiles": {}, "endpoints": []}
        stack = CountedStack(account, fleet, store=store)
        if played:
            roster = played.stack.store.roster() or {}
            store.put_roster(roster)
            for target, fit in played.stack.store.learned(list(roster)).items():
                store.put_learned(target, fit)
            for target, memory in played.stack.store.memories(list(roster)).items():
                store.record(target, replace(memory, version=0), "bench", account.now)
        meter = Meter(account, dynamodb)
        for _ in range(minutes):
            stack.minute()
        if stack.failures:
            raise RuntimeError(f"{len(stack.failures)} passes failed, the first: {stack.failures[0]}")
    use, passes = meter.use, stack.invocations.total()
    use["lambda_request"] = use["appconfig_request"] = passes
    use["scheduler_invocation"] = passes - meter.calls["events"]
    use["lambda_gb_second"] = round(sum(gb_seconds(f, n, meter.by[f]) for f, n in stack.invocations.items()))
    told = [o for _, o in stack.outcomes if o.status not in {Status.UNCHANGED, Status.WAITING, Status.BUSY}]
    use["custom_metric_hour"] = len(stack.sent)
    use["log_byte"] = passes * (REPORT_BYTES + EMF_BYTES) + sum(len(json.dumps(summary(o), default=str)) for o in told)
    for name, alarm in account.cloudwatch.alarms.items():
        measured = len([m for m in alarm.config.get("Metrics", [{}]) if "Expression" not in m])
        native = name.startswith("TargetTracking") or name.endswith("-wake")
        use[PLAIN if native else "alarm_month"] += measured
    return use, meter.calls


def bill(use: Use, minutes: int) -> dict[str, float]:
    """Return US$ a month of each thing."""
    prices = json.loads(PRICES.read_text(encoding="utf-8"))["prices"]
    month = DAYS * DAY / minutes
    counts = {name: n if name.endswith("_month") else n * month for name, n in use.items()}
    counts["log_gb"] = counts.pop("log_byte", 0) / 1e9
    return {name: n * prices[name]["usd"] / prices[name]["per"] for name, n in counts.items()}


def gb_seconds(function: str, passes: int, calls: int) -> float:
    """Return what so many passes with so many calls of AWS are billed for, in a function of the template's memory."""
    return memory_mb(function) / 1024 * (calls * CALL_MS + passes * OWN_MS / core_share(function)) / 1000


def core_share(function: str) -> float:
    """Return what a function's memory buys of a core."""
    return memory_mb(function) / CORE_MB


def memory_mb(function: str) -> int:
    """Return the memory that the template gives a function."""
    found: int = resources()[f"{function}Function"]["Properties"]["MemorySize"]
    return found


@cache
def resources() -> Mapping[str, Any]:
    """Return those of the template."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.load(text, _Tags)["Resources"]  # noqa: S506 - a safe loader that knows its tags
    return found


def stands() -> Use:
    """Return what the stack holds whatever it manages."""
    kinds = Counter(each["Type"] for each in resources().values())
    return Counter(
        alarm_month=kinds["AWS::CloudWatch::Alarm"],
        dashboard_month=kinds["AWS::CloudWatch::Dashboard"],
    )


class _Tags(yaml.SafeLoader):
    """Reads `!Ref` and the like as nothing."""


_Tags.add_multi_constructor("!", lambda *_: None)


def realtime(trace: str) -> Replay:
    """Return a real-time endpoint after up to two weeks, with a fit of its load; a day of its load is left to count."""
    case = case_of(ROOT / "traces" / f"{trace}.csv")
    played = Replay(case)
    played.run(before_counted(len(case.requests)))
    return played


def before_counted(minutes: int) -> int:
    """Return how many minutes of so many are played before the day that is counted: after the last nothing arrives."""
    return min(14 * DAY, minutes - DAY)


def idle() -> Replay:
    """Return an asynchronous endpoint that has had no request for hours, at zero instances."""
    nothing = np.zeros(2 * DAY, np.int64)
    case = Case(
        trace="idle",
        mode=Mode.ASYNC,
        start=datetime.fromisoformat("2026-11-18T00:00Z"),
        requests=nothing,
        capacity=4.0,
        work_seconds=nothing.astype(float),
        minimum=0,
    )
    played = Replay(case)
    played.run(6 * 60)
    return played


def main(
    trace: Annotated[str, typer.Option(help="Of traces/, played as a real-time endpoint.")] = CASE,
    hours: Annotated[int, typer.Option(min=1, max=24, help="Of the day that is counted.")] = 24,
) -> None:
    """Count and print."""
    minutes, out = hours * 60, Console(width=110)
    alone, _ = day(None, minutes)
    fixed = bill(alone + stands(), minutes)
    bills, calls = {"stack, empty": fixed}, {}
    for name, played in (("real-time, with forecast", realtime(trace)), ("asynchronous, idle", idle())):
        use, calls[name] = day(played, minutes)
        use.subtract(alone)
        bills[name] = bill(use, minutes)
    shown = Shown("US$ a month", title=f"What the controller costs ({trace}; {hours} h counted)")
    for name in bills:
        shown.add_column(name, justify="right")
    plain = {name: each.pop(PLAIN, 0.0) for name, each in bills.items()}
    for item in sorted({item for each in bills.values() for item in each}):
        shown.add_row(item, *(f"{each.get(item, 0.0):.3f}" for each in bills.values()))
    shown.add_section()
    shown.add_row("Tidegate adds", *(f"{sum(each.values()):.2f}" for each in bills.values()))
    shown.add_row("goal", "", *(f"{GOALS[name]:.2f}" for name in calls))
    shown.add_section()
    shown.add_row("alarms of plain AAS", *(f"{each:.2f}" for each in plain.values()))
    shown.add_row("together", *(f"{sum(each.values()) + plain[name]:.2f}" for name, each in bills.items()))
    out.print(shown)
    for name, made in calls.items():
        out.print(f"calls of the day, {name}: {json.dumps(made)}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
