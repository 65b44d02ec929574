"""What `tidegate forecast` says of an endpoint shortly before its morning, after a night under a forecast."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws
from rich.console import Console

from cli.errors import RefusedError
from cli.forecast import KNOBS, Outlook, Source, ahead_of, document_of, lines_of, options_of, outlook_of, played_of
from core.aws.cloudwatch import CloudWatch
from core.aws.store import Table
from core.context import Context, Decision
from core.decide import decide
from core.model import Reason, ScalableTarget
from simulator.replay import TARGET, Replay
from tests import tables
from tests.replay.test_forecast import DAY, MORNING, office

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
        for decision in decisions:
            table.put_decision(decision, "changed")
        seen = decisions[-1].context
        yield Source(seen, dynamodb, "tidegate", CloudWatch(run.account.client("cloudwatch")))


@pytest.fixture(scope="module")
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
