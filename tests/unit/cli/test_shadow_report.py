"""`tidegate shadow-report`: floors laid beside what ran and what was needed, with the arithmetic."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from cli import shadow
from cli.shadow import Compared, Figures
from core.model import ScalableTarget
from tests.desk import Desk, by_hand, desk, document

ORDERS = ScalableTarget.variant("orders", "AllTraffic")
BEGIN = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)


# ---- floors by the minute -----------------------------------------------------------------------------------------


def said(minute: float, floor: int, cut: int | None = None) -> tuple[datetime, dict[str, Any]]:
    capacity = {"current": 3, "desired": 3}
    return BEGIN + timedelta(minutes=minute), {
        "envelope": {"floor": floor, "ceiling": 9},
        "scale_in_to": cut,
        "context": {"capacity": capacity},
    }


def test_a_floor_holds_until_the_next_is_recorded_and_a_cut_for_its_minute() -> None:
    found = shadow._by_the_minute([said(0.1, 2), said(3.0, 5), said(4.9, 1, cut=1)], BEGIN, 7)  # noqa: SLF001 - the layout itself
    assert found.floor.tolist() == [2, 2, 2, 5, 1, 1, 1]
    assert np.flatnonzero(~np.isnan(found.cut)).tolist() == [4]
    assert found.running.tolist() == [3] * 7


COURSES = [
    # floors by the minute, minutes a start takes, what ran first, ready by the minute
    ([2, 2, 2, 2], 2, 2, [2, 2, 2, 2]),
    ([2, 5, 5, 5], 2, 2, [2, 2, 2, 5]),  # ordered in minute 1, serves in minute 3
    ([5, 5, 1, 1], 2, 7, [5, 5, 1, 1]),  # what ran at the beginning serves; what goes goes at once
    ([2, 5, 3, 3], 2, 2, [2, 2, 2, 3]),  # two of the three ordered are called off, the third comes when it was due
    ([2, 4, 4, 4], 0, 2, [2, 4, 4, 4]),
]


@pytest.mark.parametrize(("floor", "delay", "first", "ready"), COURSES)
def test_what_a_floor_orders_serves_after_its_start_and_is_paid_from_the_order(
    floor: list[int], delay: int, first: int, ready: list[int]
) -> None:
    course = shadow._course(np.array(floor), delay, first)  # noqa: SLF001 - the arithmetic itself
    assert (course.ready.tolist(), course.billed.tolist()) == (ready, floor)


# ---- verdicts -----------------------------------------------------------------------------------------------------


def figures(hours: float, share: float | None, short: int | None) -> Figures:
    return Figures(instance_hours=hours, violated_share=share, short_minutes=short)


FOUND = Compared(
    target=ORDERS,
    profile="p",
    since=BEGIN,
    until=BEGIN + timedelta(days=3),
    decisions=100,
    minutes=4320,
    unknown=0,
    was=figures(100, 0.02, 40),
    floors=figures(60, 0.03, 60),
    native=figures(90, 0.01, 20),
    covered=30,
    missed=10,
    notes=(),
)
VERDICTS = [
    (FOUND, True, "10% fewer instance-hours, short in 20 minutes in place of 40. Next: remove `mode: shadow`"),
    (replace(FOUND, native=figures(120, 0.01, 20)), True, "20% more instance-hours, short in 20 minutes"),
    (replace(FOUND, native=figures(101, 0.02, 40)), True, "as many instance-hours"),
    (replace(FOUND, native=figures(120, 0.02, 40)), False, "It would only have cost more: leave it in shadow"),
    (replace(FOUND, native=figures(50, 0.05, 90)), False, "It would have served fewer requests in time: leave it"),
    (replace(FOUND, until=BEGIN + timedelta(hours=23)), False, "Too short to judge"),
    (replace(FOUND, was=figures(100, None, None)), False, "no verdict, for what the load needed is not known"),
]


@pytest.mark.parametrize(("found", "ready", "told"), VERDICTS)
def test_the_verdict_is_plain_and_names_the_next_step(found: Compared, ready: bool, told: str) -> None:
    assert found.ready is ready
    assert told in shadow.verdict(found)


# ---- against a stack ----------------------------------------------------------------------------------------------


@pytest.fixture
def watching() -> Iterator[Desk]:
    """`orders`, scaled by hand between 1 and 6, is watched under a profile that knows what an instance serves."""
    with desk() as made:
        by_hand(made.account, "orders")
        shadowed = document({"name": "orders", "adopt": True}, mode="shadow", provisioning="2m")
        made.in_force.content = json.dumps(shadowed).encode()
        made.stack.invoke("FleetSync", {"trigger": "policy"})
        yield made


def report(at: Desk, *more: str) -> dict[str, Any]:
    result = at.run("shadow-report", "--json", *more)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_it_counts_what_ran_what_was_wanted_and_what_was_needed(watching: Desk) -> None:
    workload: Any = watching.account.endpoint("orders").first.workload
    begun = watching.account.now
    workload.per_minute_requests[workload.minute + 5 :] = [2400] * 2000  # four instances are needed from then on
    watching.minutes(20)
    (found,) = report(watching)["targets"]
    assert found["since"] == f"{begun:%Y-%m-%dT%H:%MZ}"
    assert (found["minutes"], found["unknown_minutes"]) == (17, 0)  # the newest three are not complete
    ran = [instances(watching, minute) for minute in range(17)]
    assert found["was"]["instance_hours"] == round(sum(ran) / 60, 2)
    assert found["was"]["short_minutes"] == sum(count < 4 for count in ran[5:])
    assert found["was"]["short_minutes"] > 0
    assert found["floors"]["short_minutes"] > 0  # even a floor learns of a step after it came
    assert found["floors"]["instance_hours"] >= 2 * 17 / 60
    assert found["floors"]["instance_hours"] <= found["native"]["instance_hours"]
    assert (found["ready"], found["verdict"].endswith("let it watch for a day, better a week.")) == (False, True)


def instances(at: Desk, minute: int) -> int:
    """What CloudWatch counted of `orders` in a minute since it was enrolled."""
    begin = BEGIN + timedelta(minutes=15 + minute)
    names = {"EndpointName": "orders", "VariantName": "AllTraffic"}
    found = at.account.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "/aws/sagemaker/Endpoints",
                        "MetricName": "CPUUtilization",
                        "Dimensions": [{"Name": name, "Value": value} for name, value in names.items()],
                    },
                    "Period": 60,
                    "Stat": "SampleCount",
                },
            }
        ],
        StartTime=begin,
        EndTime=begin + timedelta(minutes=1),
    )["MetricDataResults"][0]["Values"]
    return int(found[0])


def test_in_words_it_says_what_a_shadow_cannot_know(watching: Desk) -> None:
    watching.minutes(6)
    result = watching.run("shadow-report", "orders")
    assert "shadow decisions, 2026-11-18T09:15Z to 2026-11-18T09:18Z." in result.stdout
    assert "Tidegate's floors" in result.stdout
    assert "What a shadow cannot know" in result.stdout


def test_who_is_active_is_no_shadow_and_who_was_not_watched_has_no_record(watching: Desk) -> None:
    content = document({"name": "orders", "adopt": True}, {"name": "chat"}, mode="shadow")
    content["profiles"]["q"] = {**content["profiles"]["p"], "mode": "active"}
    content["endpoints"][1]["profile"] = "q"
    watching.in_force.content = json.dumps(content).encode()
    watching.stack.invoke("FleetSync", {"trigger": "policy"})
    found = report(watching)
    assert found["targets"] == []
    assert [text.partition(": ")[2].partition(",")[0] for text in found["untold"]] == [
        "profile q is active",
        "no shadow decision is recorded that is old enough for metrics to know its minute",
    ]


def test_what_an_instance_serves_unknown_leaves_hours_and_says_so(watching: Desk) -> None:
    content = document({"name": "orders", "adopt": True}, mode="shadow", objectives={})
    watching.in_force.content = json.dumps(content).encode()
    watching.minutes(6)
    (found,) = report(watching)["targets"]
    assert (found["was"]["short_minutes"], found["missed_minutes"], found["covered_minutes"]) == (None, None, None)
    assert found["was"]["instance_hours"] > 0
    assert found["native"]["instance_hours"] >= found["was"]["instance_hours"]  # CPU: what ran, and the floors over it
    assert "no verdict" in found["verdict"]
    assert [note.partition(":")[0] for note in found["notes"]] == [
        "What an instance serves is not known (requests_per_instance)",
        "Its policies are taken to have held what ran",
    ]
