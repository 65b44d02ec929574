"""What `tidegate forecast` says of an endpoint shortly before its morning, after a night under a forecast."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws
from rich.console import Console

from cli.cloudwatch_history import History
from cli.errors import RefusedError
from cli.forecast import (
    KNOBS,
    Outlook,
    Source,
    ahead_of,
    bound_of,
    case_of_target,
    document_of,
    hours_ahead,
    lines_of,
    options_of,
    outlook_of,
    played_of,
)
from core.aws.cloudwatch import CloudWatch
from core.aws.store import Table
from core.context import Context, Decision
from core.decide import decide
from core.model import Judged, Memory, Option, Reason, ScalableTarget, Starts
from core.signals.forecast import LAG
from simulator.replay import TARGET, Replay, profile_of, replay
from simulator.traces import MinuteTrace
from tests import tables
from tests.builders import REALTIME, context, profile
from tests.replay.test_forecast import DAY, MORNING, office
from tests.unit.test_forecast import OFFICE, C, trace

UNTIL = 4 * DAY + MORNING - 8
"""Eight minutes before nine, on the day after the first whole one under a fit."""


def decided(run: Replay) -> Decision:
    """What a pass would decide now."""
    reconciler = run.stack.reconciler
    [seen] = reconciler.observe(reconciler.enrolments(run.stack.policies.fleet()), run.account.now)
    assert isinstance(seen, Context)
    return decide(seen)


@pytest.fixture(scope="session")
def played() -> tuple[Replay, list[Decision]]:
    """The run, and the decisions of its last ten minutes."""
    run = Replay(office(5))
    run.run(UNTIL - 10)
    decisions = []
    for _ in range(10):
        decisions.append(decided(run))
        run.run(1)
    return run, decisions


@contextmanager
def deployed(run: Replay, decisions: Sequence[Decision]) -> Iterator[Source]:
    """What the command line reads of the run, in a table of its own."""
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        tables.create(dynamodb)
        table = Table(dynamodb, "tidegate")
        table.put_learned(TARGET, run.stack.store.learned([TARGET])[TARGET])
        table.put_roster(run.stack.store.roster() or {})
        table.put_policy_copy(run.stack.policies.fleet().model_dump_json(exclude_unset=True).encode())
        for decision in decisions:
            table.put_decision(decision, "changed")
        seen = decisions[-1].context
        yield Source(seen, dynamodb, "tidegate", CloudWatch(run.account.client("cloudwatch")))


@pytest.fixture
def source(played: tuple[Replay, list[Decision]]) -> Iterator[Source]:
    with deployed(*played) as made:
        yield made


@pytest.fixture(scope="session")
def found(played: tuple[Replay, list[Decision]]) -> Outlook:
    told: list[str] = []
    with deployed(*played) as made:
        outlook = outlook_of(made, made.seen.now, hours=3, told=told.append)
    assert told[0] == "Playing 4 days: economy (1 of 4)"
    return outlook


def test_the_bound_rises_before_the_load(found: Outlook) -> None:
    ahead = {f"{each.at:%H:%M}": each for each in found.ahead}
    first, later = found.ahead[0], found.ahead[4]  # an hour on
    assert len(ahead) == 13  # each quarter of an hour, and now
    assert first.requests < 100
    assert first.order_up_to >= 6  # of 650 that come in less than ten minutes
    assert 500 < later.requests < 900
    assert later.order_up_to >= later.requests / found.capacity


def test_last_week_is_what_really_ran(found: Outlook, source: Source) -> None:
    assert found.last_week.requests > 4 * 8 * 60 * 600
    assert found.last_week.covered_share is not None
    assert 0.9 < found.last_week.covered_share < 1
    assert found.fitted_at == source.seen.learned.fitted_at  # type: ignore[union-attr] # it decided by a fit


def test_what_it_changed_is_what_was_decided_for_it(found: Outlook, played: tuple[Replay, list[Decision]]) -> None:
    expected = [(d.context.now, str(d.envelope)) for d in played[1] if d.reason is Reason.FORECAST]
    assert expected
    assert found.changed == expected


def test_who_pays_more_pays_for_less_late(found: Outlook) -> None:
    assert [each.name for each in found.played] == list(KNOBS)
    hours = [each.instance_hours for each in found.played]
    violated = [each.violated_share for each in found.played]
    assert hours == sorted(hours)
    assert violated == sorted(violated, reverse=True)


def test_what_else_could_order_ahead_stands_beside_it(found: Outlook) -> None:
    """The first 17 hours under a fit were replayed: tracking at 0.5 pays more for it, and is late at nine."""
    assert (found.chosen, found.days) == ("forecast", 1)
    forecast, windows, guard = found.options
    assert (forecast.name, windows.name, guard.name) == ("forecast", "windows", "guard")
    assert forecast.cost == pytest.approx(forecast.instance_hours)
    assert forecast.violated_share == 0 < guard.violated_share
    assert guard.cost > guard.instance_hours > forecast.instance_hours
    assert found.bound is not None
    assert found.bound[0] == pytest.approx(found.bound[1], abs=0.01)
    for each in found.played:  # a violated instance-hour costs 32
        late = each.violated_share * found.last_week.requests / 100 / 60
        assert 0 <= each.cost - each.instance_hours <= 32 * late


def test_it_is_said_in_words_a_chart_and_json(found: Outlook) -> None:
    lines = list(lines_of(found))
    assert lines[0].endswith("forecast: balanced")
    assert lines[1].endswith("requests_per_instance 100.")
    console = Console(width=120)
    with console.capture() as shown:
        console.print(ahead_of(found))
        console.print(options_of(found))
        console.print(played_of(found))
    text = shown.get()
    assert "forecast (in force)" in text
    assert "balanced (in force)" in text
    assert "#" in text
    assert "|" in text
    said = json.loads(json.dumps(document_of(found)))
    assert said["ahead"][0]["at"] == f"{found.ahead[0].at:%Y-%m-%dT%H:%MZ}"
    assert said["changed"][0].keys() == {"at", "bounds"}
    assert [each["name"] for each in said["played"]] == list(KNOBS)


def test_without_a_fit_it_says_what_one_needs(source: Source) -> None:
    seen = source.seen
    another = replace(seen.enrolment, target=ScalableTarget.variant("another", "AllTraffic"))
    bare = replace(source, seen=replace(seen, enrolment=another))
    with pytest.raises(RefusedError, match="nothing is fitted; a forecast needs three days"):
        outlook_of(bare, seen.now, hours=1, told=None)


def written(source: Source, **fields: Any) -> None:
    """Put another policy document in force: FleetSync keeps a copy of it, and no decision changes for it."""
    table = Table(source.dynamodb, source.table)
    document = json.loads(table.policy_copy() or b"")
    document["profiles"]["replayed"] |= fields
    table.put_policy_copy(json.dumps(document).encode())


def test_it_is_said_under_the_document_in_force_whatever_the_newest_decision_was(
    played: tuple[Replay, list[Decision]],
) -> None:
    with deployed(*played) as made:
        written(made, forecast="critical", objectives={"requests_per_instance": 120})
        outlook = outlook_of(made, made.seen.now, hours=1, told=None)
        assert (outlook.knob, outlook.price, outlook.capacity) == ("critical", 128, 120)
        written(made, forecast="off")
        with pytest.raises(RefusedError, match="nor `forecast: off`"):
            outlook_of(made, made.seen.now, hours=1, told=None)


def test_a_fit_of_which_nobody_orders_any_more_is_not_said_to(played: tuple[Replay, list[Decision]]) -> None:
    """Older than 26 hours it is left. What is usual at these hours stays worth a look."""
    with deployed(*played) as made:
        table, late = Table(made.dynamodb, made.table), timedelta(hours=24)
        fit = table.learned([TARGET])[TARGET]
        table.put_learned(TARGET, replace(fit, fitted_at=fit.fitted_at - late, first=fit.first - late))
        outlook = outlook_of(made, made.seen.now, hours=1, told=None)
    assert "Orders ahead: guard (a fit older than 26 hours is left: FleetSync could not make a new one)." in lines_of(
        outlook
    )
    assert (outlook.chosen, {each.order_up_to for each in outlook.ahead}) == ("guard", {0})
    assert outlook.ahead[-1].requests > 500


def history_of(days: float, age: timedelta) -> History:
    """Office hours until so long after the fit of `OFFICE`, as CloudWatch has them."""
    points = trace(days, until=OFFICE.fitted_at + age).points
    unknown = np.full(len(points), np.nan)
    requests = np.array([point.value for point in points], np.int64)
    laid = MinuteTrace(points[0].at, requests, np.zeros(len(points)))
    return History(trace=laid, latency_p95=unknown, instances=unknown, cpu=unknown, unknown=0)


@pytest.mark.parametrize("age", [0, 5, 13, 23, 26])
def test_the_next_day_is_as_days_are_however_old_the_fit(age: int) -> None:
    """A fit knows the 26 hours in which it is decided by; 23 hours old it had 500 a minute at the next noon too."""
    found = [*hours_ahead(OFFICE, history_of(1, timedelta(hours=age)), capacity=C, price=32, hours=24)]
    assert found[-1].at - found[0].at == timedelta(hours=24)
    for each in found:
        clock = each.at - LAG * timedelta(minutes=1)
        if 60 * clock.hour + clock.minute not in {*range(8 * 60 + 45, 9 * 60 + 15), *range(16 * 60 + 45, 17 * 60 + 15)}:
            usual = 6500 if 9 <= clock.hour < 17 else 500
            assert each.requests == pytest.approx(usual, rel=0.02)
            assert each.order_up_to >= usual / C


def test_the_bound_is_of_the_minutes_of_seven_days() -> None:
    """(280 x 0.5 + 7 x 1,400) / 10,080: a part of a day counts as what it is, and what is older not at all."""
    none, late = dict.fromkeys(Option, 0), dict.fromkeys(Option, 0.0)
    day = Judged(price=32, load=1, instances=none, violated=late, under=1, promised=0.9, minutes=1400)
    part, old = replace(day, minutes=280, under=0.5), replace(day, under=0, promised=0)
    assert bound_of([part, *[day] * 7, *[old] * 9]) == pytest.approx(((140 + 9_800) / 10_080, 0.9))
    whole = replace(day, minutes=1442)
    assert bound_of([*[whole] * 6, replace(whole, under=0.3), *[old] * 9]) == pytest.approx((0.9, 0.9))
    assert bound_of([]) is None


STARTS = Starts(running=(timedelta(minutes=16),) * 5)
"""From the order on, with AAS's minute to notice."""


@pytest.mark.parametrize(
    ("changes", "memory", "provisioning"),
    [
        ({}, Memory(), 6),
        ({}, Memory(starts=STARTS), 15),
        ({"provisioning": "90s"}, Memory(starts=STARTS), 2),
    ],
)
def test_the_knob_is_played_with_what_starts_take_here(
    changes: dict[str, Any], memory: Memory, provisioning: int
) -> None:
    ctx = replace(context(), enrolment=replace(context().enrolment, profile=profile(REALTIME, **changes)))
    case, _ = case_of_target(ctx, memory, history_of(1, timedelta(0)))
    assert case.provisioning == provisioning


def test_the_knob_is_played_for_a_component_that_goes_to_zero_and_closes() -> None:
    closed = {"name": "closed", "start": "22:00", "until": "06:00", "min_capacity": 0, "max_capacity": 0}
    sleeping = profile(REALTIME, serving="inference_component", min_capacity=0, windows=[closed])
    ctx = replace(context(), enrolment=replace(context().enrolment, profile=sleeping))
    case, fields = case_of_target(ctx, Memory(), history_of(0.01, timedelta(0)))
    assert profile_of(case, fields)["min_capacity"] == 1
    assert len(replay(case, fields).course.ready) == len(case.requests)
