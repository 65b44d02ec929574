"""`tidegate backtest --account`: what an engineer reads who asks what this would have saved on all endpoints."""

import json
import math
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from signal import SIGINT
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli import account_backtest
from cli.account_backtest import CHANGE, HELPS, LEAVE, TRADE, Asked, Subject, advised, at_its_best, subjects, tried
from cli.errors import MisusedError
from cli.estate import read_estate
from cli.main import app
from cli.own_policies import play
from cli.policy_file import read_policy_file
from cli.prices import Prices, given_prices
from core.aws import clock
from simulator.account import SimulatedAccount
from simulator.cases import DAY, Mode, Scale, case_from
from simulator.scores import Elasticity, Score
from simulator.traces import MinuteTrace
from simulator.workload import AsyncWorkload, RealtimeWorkload
from tests.estates import NOW, People, alarm, by_endpoint, by_variant, custom, requests, steps, wake

CAPACITY = 400


def wave(minutes: int) -> list[int]:
    """From 100 to 2,100 requests a minute and back in a day: at 400 an instance, 1 to 6 instances."""
    return [round(1100 - 1000 * math.cos(2 * math.pi * minute / DAY)) for minute in range(minutes)]


def traffic(loads: list[int]) -> RealtimeWorkload:
    return RealtimeWorkload(per_minute_requests=loads, capacity_per_instance=CAPACITY)


def people_at(now: datetime) -> People:
    return People(account=SimulatedAccount(now, record_calls=False))


# ---- all of it, once ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    """Two days of an endpoint with a policy, and of others of which nothing can be said; judged once, for it is slow."""
    people = people_at(clock.now().replace(second=0, microsecond=0))
    orders = people.endpoint("orders", workload=traffic([]), count=4)
    people.register(orders, 2, 12)
    people.track(orders, "requests", requests(CAPACITY / 2))
    for name, minutes in (("orders", 2 * DAY + 5), ("young", 300)):
        if name not in people.account.sagemaker.endpoints:
            people.endpoint(name, workload=traffic([]))
        people.account.backfill(name, traffic(wave(minutes)), minutes)
    people.endpoint("papers", count=0, asynchronous=True)
    people.endpoint("silent", workload=traffic([]))
    people.endpoint("forms", count=0, serverless=True)
    args = ["backtest", "--account", "--json", "--price", "ml.m5.xlarge=0.5", "--html", str(folder)]
    result = CliRunner().invoke(app, args, obj=people)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_an_endpoint_is_judged_under_what_it_has_plain_aas_and_tidegate(said: dict[str, Any]) -> None:
    (orders,) = said["endpoints"]
    assert orders["name"] == "orders"
    assert (orders["now"]["policy"], orders["tidegate"]["policy"]) == ("as-it-is", "tidegate")
    assert orders["best"]["policy"].startswith("aas-")
    assert len({orders[way]["requests"] for way in ("now", "best", "tidegate")}) == 1
    for way in ("now", "best", "tidegate"):
        row = orders[way]
        assert row["cost"] == pytest.approx(0.5 * row["instance_hours"], abs=1e-4)
        assert said["fleet"][way]["instance_hours"] == pytest.approx(row["instance_hours"], abs=1e-4)
    assert orders["advice"] in {HELPS, LEAVE, CHANGE, TRADE}
    assert any("serve 400 requests a minute in time: its target is 200" in note for note in orders["notes"])
    assert "Bounds 2 to 12, as registered." in orders["notes"]


def test_what_is_not_judged_is_named_with_its_reason(said: dict[str, Any]) -> None:
    whys = {each["name"]: each["why"] for each in said["not_judged"]}
    assert whys["young"] == "5 hours of history; 2 days are needed"
    assert whys["papers"].startswith("no history: ")
    assert whys["silent"].startswith("no history: ")
    assert whys["forms"].startswith("serverless without provisioned concurrency")
    assert "Not judged: forms, papers, silent, young." in said["comes_to"]


def test_one_page_leads_to_that_of_each_endpoint(said: dict[str, Any], folder: Path) -> None:
    index = (folder / "index.html").read_text()
    assert '<a href="endpoint-orders.html">orders</a>' in index
    assert said["endpoints"][0]["why"] in index.replace("&#x27;", "'")
    assert "<script" not in index
    page = (folder / "endpoint-orders.html").read_text()
    for words in (
        '<script src="plotly.js">',
        'href="index.html"',
        "What it has now, ready",
        "as-it-is",
        "Tidegate, ready",
    ):
        assert words in page
    assert (folder / "plotly.js").stat().st_size > 1_000_000


# ---- what an endpoint has now --------------------------------------------------------------------------------------


def test_own_policies_are_played_as_they_act_in_the_account() -> None:
    """Tracking, steps on CPU with their alarms, and scheduled actions: the same instances in each of 1,000 minutes."""
    loads = [round(load * (1.6 if 500 < minute < 560 else 1)) for minute, load in enumerate(wave(1000))]
    people = people_at(NOW)
    endpoint = people.endpoint("orders", workload=traffic(loads), count=3)
    people.register(endpoint, 1, 12)
    people.track(endpoint, "requests", requests(250.0, ScaleInCooldown=600))
    high = alarm("cpu-high", "CPUUtilization", by_variant("orders"), 250.0)
    people.step(endpoint, "out", steps((0.0, 60.0, 1), (60.0, None, 3), Cooldown=120), high)
    people.schedule(endpoint, "evening", "cron(0 20 * * ? *)", {"MinCapacity": 7})
    estate = read_estate(people, NOW)
    for _ in loads:
        people.account.advance()
    really = people.account.endpoint("orders").first.workload.history

    trace = MinuteTrace(NOW, np.array(loads), np.zeros(len(loads)))
    case = case_from("orders", trace, Mode.REALTIME, Scale(capacity=CAPACITY))
    played = play(case, estate.hosted[0][1], count=3)
    assert played.course.ready.tolist() == really.ready
    assert max(really.ready) >= 7  # something happened
    assert len(set(really.ready)) > 4
    assert played.remarks == ()


def test_a_policy_on_a_metric_of_ones_own_cannot_be_replayed_and_that_is_said() -> None:
    people = people_at(NOW)
    endpoint = people.endpoint("orders", workload=traffic([600] * 60), count=3)
    people.register(endpoint, 1, 12)
    people.track(endpoint, "tokens", custom(50.0, "TokensWaiting", by_variant("orders")))
    ((_, hosted),) = read_estate(people, NOW).hosted
    case = case_from(
        "orders", MinuteTrace(NOW, np.full(60, 600), np.zeros(60)), Mode.REALTIME, Scale(capacity=CAPACITY)
    )
    played = play(case, hosted, count=3)
    assert played.remarks == ("policy tokens follows TokensWaiting, which a replay does not know: it never acted",)
    assert set(played.course.ready.tolist()) == {3}


def test_one_that_cannot_be_replayed_does_not_cost_the_others() -> None:
    found = subject(orders(registered=(1, 9)), orders=CAPACITY)
    broken = replace(found, profile={"kind": "realtime", "min_capacity": 5, "max_capacity": 2})
    name, why = tried(broken, None)  # type: ignore[misc]  # a Line if it could be
    assert name == "orders"
    assert why.startswith("it could not be replayed: ")


# ---- what one instance serves, and within which bounds ------------------------------------------------------------


def subject(people: People, tmp_path: Path | None = None, **capacities: float) -> Subject:
    """What is to be judged of `orders`, of which two days of CloudWatch are known."""
    people.account.backfill("orders", traffic(wave(2 * DAY + 5)), 2 * DAY + 5)
    policy = None
    if tmp_path is not None:
        file = tmp_path / "fleet.yaml"
        file.write_text(
            "version: 1\nprofiles: {chat: {kind: realtime, min_capacity: 2, max_capacity: 9,"
            " objectives: {requests_per_instance: 333}}}\nendpoints: [{name: orders, profile: chat}]\n"
        )
        policy = read_policy_file(file)
    asked = Asked(
        capacities=capacities, policy=policy, prices=Prices(given={"*": 2.0}, aws=None), provisioning=6, objective=15
    )
    (found,) = subjects(people, read_estate(people, NOW), asked, NOW)
    assert isinstance(found, Subject)
    return found


def orders(*, registered: tuple[int, int] | None = None, target: float | None = None) -> People:
    people = people_at(NOW)
    endpoint = people.endpoint("orders", workload=traffic([]), count=4)
    if registered:
        people.register(endpoint, *registered)
    if target:
        people.track(endpoint, "requests", requests(target))
    return people


def test_what_an_instance_serves_is_said_stated_implied_or_seen(tmp_path: Path) -> None:
    assert subject(orders(registered=(1, 9), target=150.0), tmp_path, orders=444.0).case.capacity == 444
    assert subject(orders(registered=(1, 9), target=150.0), tmp_path).case.capacity == 333
    assert subject(orders(registered=(1, 9), target=150.0)).case.capacity == 300  # AWS's guide: half of it is a target
    seen = subject(orders(registered=(1, 9)))
    assert seen.case.capacity == pytest.approx(2100 / 4, rel=0.01)  # the most that one of four was seen to serve
    assert "name the real figure with --sized" in seen.notes[0]


def test_the_share_of_cpu_at_capacity_is_measured() -> None:
    """The simulated instance has 80 % of its 4 vCPUs busy at capacity."""
    assert subject(orders(registered=(1, 9)), orders=CAPACITY).cpu_at_capacity == pytest.approx(0.8, abs=0.01)


BOUNDS: dict[str, tuple[tuple[int, int] | None, tuple[int, int], str]] = {
    "as registered": ((2, 12), (2, 12), "Bounds 2 to 12, as registered."),
    "equal ones cannot scale": ((5, 5), (1, 8), "its bounds are equal"),  # 2,100 requests need 6, times 1.25
    "nor can what is not registered": (None, (1, 8), "it is not registered"),
}


@pytest.mark.parametrize(("registered", "bounds", "why"), BOUNDS.values(), ids=BOUNDS)
def test_bounds(registered: tuple[int, int] | None, bounds: tuple[int, int], why: str) -> None:
    found = subject(orders(registered=registered), orders=CAPACITY)
    assert (found.case.minimum, found.case.maximum) == bounds
    assert why in found.notes[1]


# ---- queues --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def queue() -> tuple[People, list[int]]:
    """Two days of an asynchronous endpoint from and to zero: 90 items an hour or so at once, 20 seconds of work each."""
    items = [90 + minute % 7 if minute % 60 == 0 else 0 for minute in range(2 * DAY + 30)]
    people = people_at(NOW)
    workload = AsyncWorkload(
        per_minute_requests=items,
        per_minute_work_seconds=[20.0 * count for count in items],
        objective=timedelta(minutes=30),
    )
    papers = people.endpoint("papers", workload=workload, count=0, asynchronous=True)
    people.register(papers, 0, 5)
    people.track(papers, "backlog", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("papers")))
    people.step(papers, "wake", steps((0.0, None, 1), MetricAggregationType="Average", Cooldown=300), wake("papers"))
    for _ in items:
        people.account.advance()
    return people, items


def test_what_arrived_in_a_queue_and_how_fast_it_is_worked_off_is_read_from_backlog_and_work_done(
    queue: tuple[People, list[int]],
) -> None:
    people, items = queue
    (found,) = subjects(
        people,
        read_estate(people, people.account.now),
        Asked(capacities={}, policy=None, prices=Prices(given={}, aws=None), provisioning=6, objective=30),
        people.account.now,
    )
    assert isinstance(found, Subject)
    case = found.case
    assert case.capacity == pytest.approx(3, rel=0.02)  # 60 s / 20 s
    read = case.requests[: len(items)]
    assert read.sum() == pytest.approx(sum(items), rel=0.002)  # what is being worked on counts as waiting (facts 3.4)
    assert np.abs(np.cumsum(read) - np.cumsum(items[: len(read)])).max() <= 5
    assert (case.mode, case.objective, case.minimum, case.maximum) == (Mode.ASYNC, 30, 0, 5)
    assert "An instance is taken to finish 3" in found.notes[0]

    own = play(case, found.hosted, count=found.count)
    really = people.account.endpoint("papers").first.workload.history
    assert own.course.billed.sum() == pytest.approx(sum(np.maximum(really.ready, really.desired)), rel=0.05)


# ---- advice --------------------------------------------------------------------------------------------------------


def made(hours: float, violated: int, policy: str = "aas-target-tracking", knob: str = "0.6") -> Score:
    """A score of 100,000 requests."""
    return Score(
        trace="orders",
        mode=Mode.REALTIME,
        policy=policy,
        knob=knob,
        requests=100_000,
        violated=violated,
        instance_hours=hours,
        clairvoyant_instance_hours=50,
        changes_per_day=1,
        elasticity=Elasticity(theta_u=0, theta_o=0, tau_u=0, tau_o=0),
    )


# (hours, violated) of what it has now, of plain AAS at its best, of Tidegate. 2 % of the hours, or 50 requests of the
# 100,000, are no difference.
ADVICE: dict[str, tuple[tuple[float, int], tuple[float, int], tuple[float, int], str, str]] = {
    "cheaper and better": ((200, 900), (150, 300), (120, 200), HELPS, "120.0 instance-hours, 0.20% violated instead of 200.0"),
    "cheaper, and as good": ((200, 900), (150, 900), (120, 930), HELPS, "120.0 instance-hours"),
    "better than now, and plain AAS dearer but better still": (
        (200, 900), (150, 100), (120, 200), HELPS, "Plain AAS (aas-target-tracking 0.6) is a choice too: 150.0"),
    "plain AAS does as much": ((200, 900), (120, 200), (121, 230), CHANGE, "Tidegate would not help: 121.0"),
    "plain AAS is better than now, Tidegate a trade": (
        (200, 100), (120, 100), (100, 200), CHANGE, "Tidegate would be a trade: 100.0"),
    "nothing to gain": ((120, 200), (130, 200), (121, 220), LEAVE, "Tidegate would not help: 121.0"),
    "worse": ((120, 200), (125, 400), (140, 300), LEAVE, "now it is 120.0 instance-hours, 0.20% violated"),
    "more hours, less violated": ((120, 900), (170, 200), (140, 200), TRADE, "Tidegate costs more and violates less"),
    "fewer hours, more violated": ((200, 100), (170, 700), (120, 400), TRADE, "Tidegate costs less and violates more"),
    "a trade that plain AAS does better": (
        (120, 900), (130, 100), (140, 200), TRADE, "Plain AAS (aas-target-tracking 0.6) costs more and violates less"),
}  # fmt: skip


@pytest.mark.parametrize(("now", "best", "ours", "advice", "why"), ADVICE.values(), ids=ADVICE)
def test_advice(
    now: tuple[float, int], best: tuple[float, int], ours: tuple[float, int], advice: str, why: str
) -> None:
    found, said = advised(made(*now, "as-it-is", ""), made(*best), made(*ours, "tidegate", "balanced"))
    assert found == advice
    assert why in said


def test_plain_aas_at_its_best_is_the_cheapest_that_violates_no_more_than_tidegate() -> None:
    ours = made(100, 300, "tidegate")
    plain = [made(110, 400, knob="0.8"), made(150, 300, knob="0.6"), made(190, 100, knob="0.5")]
    assert at_its_best(plain, ours).knob == "0.6"
    assert at_its_best(plain, made(100, 50, "tidegate")).knob == "0.5"  # none is as good: the one that violates least


# ---- prices ----------------------------------------------------------------------------------------------------------


class PriceList:
    """The Pricing API, of which one answer is known."""

    def __init__(self, *usd: str, refused: bool = False) -> None:
        self.usd, self.refused = usd, refused
        self.asked: list[dict[str, Any]] = []

    def of(self, service: str) -> Any:
        assert service == "pricing"
        return self

    def get_products(self, **params: Any) -> dict[str, Any]:
        self.asked.append(params)
        if self.refused:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
            raise ClientError(error, "GetProducts")  # type: ignore[arg-type]  # as much of it as anybody reads
        rates = [{"priceDimensions": {"x": {"unit": "Hrs", "pricePerUnit": {"USD": usd}}}} for usd in self.usd]
        return {"PriceList": [json.dumps({"product": {}, "terms": {"OnDemand": {"y": rate}}}) for rate in rates]}


def test_a_price_is_looked_up_once_by_region_type_and_hosting() -> None:
    aws = PriceList("0.0000000000", "0.2300000000")
    prices = Prices(given={"ml.g5.xlarge": 1.5}, aws=aws, region="eu-central-1")
    assert [prices.of(kind) for kind in ("ml.m5.xlarge", "ml.g5.xlarge", "ml.m5.xlarge", None)] == [
        0.23,
        1.5,
        0.23,
        None,
    ]
    (asked,) = aws.asked
    assert asked["ServiceCode"] == "AmazonSageMaker"
    assert {each["Field"]: each["Value"] for each in asked["Filters"]} == {
        "regionCode": "eu-central-1",
        "instanceName": "ml.m5.xlarge",
        "component": "Hosting",
    }
    assert prices.source == (
        "as given with --price or --prices; list prices on demand in eu-central-1, USD, from AWS's Pricing API"
    )


@pytest.mark.parametrize(
    ("aws", "why"),
    [
        (PriceList(refused=True), "not authorized"),
        (PriceList(), "the Pricing API lists no hosting of ml.m5.xlarge here"),
    ],
)
def test_without_a_price_it_is_said_why_and_how_to_give_one(aws: PriceList, why: str) -> None:
    prices = Prices(given={}, aws=aws, region="eu-central-1")
    assert prices.of("ml.m5.xlarge") is None
    assert prices.of("ml.m5.xlarge") is None
    assert len(aws.asked) == 1
    assert why in prices.source
    assert "give them with --price TYPE=PRICE" in prices.source


def test_prices_are_given_by_option_or_file(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"ml.m5.xlarge": 0.23, "ml.g5.xlarge": 1.4}')
    assert given_prices(["ml.g5.xlarge=1.5", "2"], file) == {"ml.m5.xlarge": 0.23, "ml.g5.xlarge": 1.5, "*": 2}
    with pytest.raises(MisusedError) as refusal:
        given_prices(["cheap", "ml.m5.xlarge=-1"], None)
    assert str(refusal.value).splitlines() == [
        "--price cheap: must be a price of an instance-hour from 0 on, alone or as TYPE=PRICE",
        "--price ml.m5.xlarge=-1: must be a price of an instance-hour from 0 on, alone or as TYPE=PRICE",
    ]


MISUSED: dict[str, tuple[list[str], str]] = {
    "an endpoint too": (["--account", "--endpoint", "orders"], "leave --endpoint out"),
    "one capacity for all": (["--account", "--capacity", "5"], "leave --capacity out"),
    "an account's option without it": (["trace.csv", "--sized", "orders=4"], "--only and --sized go with --account"),
    "a size that is none": (["--account", "--sized", "orders"], "--sized orders: must be NAME=REQUESTS"),
    "a file of prices that is none": (["--account", "--prices", "nowhere.json"], "--prices nowhere.json: must be JSON"),
}


@pytest.mark.parametrize(("args", "why"), MISUSED.values(), ids=MISUSED)
def test_misuse(args: list[str], why: str) -> None:
    result = CliRunner().invoke(app, ["backtest", *args], obj=people_at(NOW))
    assert result.exit_code == 2, result.output
    assert why in result.output


def test_only_some_and_none_that_is_not_there() -> None:
    people = people_at(NOW)
    people.endpoint("silent", workload=traffic([]))
    people.endpoint("other", workload=traffic([]))
    refused = CliRunner().invoke(app, ["backtest", "--account", "--only", "silent", "--only", "othr"], obj=people)
    assert refused.exit_code == 2
    assert "refused: ENDPOINT = 'othr': is not in eu-central-1; did you mean other?" in refused.output
    result = CliRunner().invoke(app, ["backtest", "--account", "--only", "silent"], obj=people)
    assert result.exit_code == 0, result.output
    assert "other" not in result.output


def test_a_fleet_whose_load_came_before_the_judged_days_is_a_fleet_too() -> None:
    people = people_at(clock.now().replace(second=0, microsecond=0))
    resource = people.endpoint("orders", workload=traffic([]))
    people.register(resource, 1, 4)
    people.track(resource, "requests", requests(CAPACITY / 2))
    people.account.backfill("orders", traffic([*wave(DAY), *[0] * (DAY + 5)]), 2 * DAY + 5)
    result = CliRunner().invoke(app, ["backtest", "--account", "--price", "1"], obj=people)
    assert result.exit_code == 0, result.exception
    assert "0.00% of requests violated instead of 0.00%" in result.stdout


def test_what_tidegate_scales_already_is_no_set_up_to_judge() -> None:
    people = people_at(NOW)
    resource = people.endpoint("orders", workload=traffic([]))
    people.register(resource, 5, 12)  # the floor of this minute
    people.track(resource, "tidegate-dev-track-requests_per_instance", requests(0.9 * CAPACITY))
    people.account.backfill("orders", traffic(wave(2 * DAY)), 2 * DAY)
    asked = Asked(capacities={}, policy=None, prices=Prices(given={}, aws=None), provisioning=6, objective=15)
    [(name, why)] = subjects(people, read_estate(people, NOW), asked, NOW)  # type: ignore[misc]  # no Subject
    assert (name, "Tidegate scales it already" in why) == ("orders", True)


def test_a_size_of_a_mistyped_endpoint_is_refused() -> None:
    people = people_at(NOW)
    people.endpoint("orders", workload=traffic([]))
    result = CliRunner().invoke(app, ["backtest", "--account", "--sized", "order=400"], obj=people)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'order': is not in what is judged (--sized); did you mean orders?" in result.stderr


# ---- Ctrl-C ------------------------------------------------------------------------------------------------------


def begun_when_ctrl_c_comes(subject: Any, folder: Path) -> None:
    """A terminal sends SIGINT to every process of the command."""
    (folder / subject.name).touch()
    os.kill(os.getpid(), SIGINT)


def test_ctrl_c_ends_each_process_and_not_one_endpoint_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(account_backtest, "tried", begun_when_ctrl_c_comes)
    processes = os.cpu_count() or 1
    todo: Any = [SimpleNamespace(name=f"endpoint-{number}") for number in range(4 * processes)]
    with pytest.raises(BrokenProcessPool):  # the command itself ends by its own SIGINT
        account_backtest.judge_all(todo, tmp_path)
    assert len([*tmp_path.iterdir()]) <= processes  # no process takes a second one
