"""`tidegate shadow-report`: floors laid beside what ran and what was needed, with the arithmetic."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import shadow, shadow_told
from cli.decisions import Recorded, recorded_since
from cli.shadow import Compared, Figures, Wakes
from cli.shadow_record import Seen, Shadowed, by_the_minute, laid
from cli.stack import DeployedStack
from core.model import ScalableTarget
from simulator.cases import Case, Course
from simulator.cases import Mode as Load
from simulator.workload import AsyncWorkload
from tests.desk import TABLES, Desk, by_hand, desk, document

ORDERS = ScalableTarget.variant("orders", "AllTraffic")
BEGIN = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)


# ---- floors by the minute -----------------------------------------------------------------------------------------


def said(minute: float, floor: int, cut: int | None = None) -> Recorded:
    at = BEGIN + timedelta(minutes=minute)
    decision = {
        "envelope": {"floor": floor, "ceiling": 9},
        "scale_in_to": cut,
        "context": {"capacity": {"current": 3, "desired": 3}},
    }
    return Recorded(f"{ORDERS.resource_id}@{at.isoformat(timespec='milliseconds')}", "shadow", decision)


def test_a_floor_holds_until_the_next_is_recorded_and_a_cut_for_its_minute() -> None:
    found = by_the_minute([said(0.1, 2), said(3.0, 5), said(4.9, 1, cut=1)], BEGIN, 7)
    assert found.floor.tolist() == [2, 2, 2, 5, 1, 1, 1]
    assert found.ceiling.tolist() == [9] * 7
    assert np.flatnonzero(~np.isnan(found.cut)).tolist() == [4]
    assert found.running.tolist() == [3] * 7


def test_what_was_in_force_at_the_beginning_holds_from_there_on_and_its_cut_is_over() -> None:
    found = by_the_minute([said(-300, 4, cut=1), said(3.0, 5)], BEGIN, 5)
    assert found.floor.tolist() == [4, 4, 4, 5, 5]
    assert np.isnan(found.cut).all()


LAID = [  # which minute the first of three values is, out of four minutes
    (0, [1, 2, 3, -1]),
    (1, [-1, 1, 2, 3]),
    (2, [-1, -1, 1, 2]),
    (-1, [2, 3, -1, -1]),
    (9, [-1, -1, -1, -1]),
]


@pytest.mark.parametrize(("first", "expected"), LAID)
def test_what_cloudwatch_knows_of_fewer_minutes_is_laid_where_it_belongs(first: int, expected: list[float]) -> None:
    assert laid(np.array([1, 2, 3]), first, 4, -1).tolist() == expected


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


WAKES = {
    # items that wait, what ran, floors; an instance takes a minute from zero. Minutes that Tidegate's is earlier by.
    "ordered in minute 2, serves in 3": ([0, 4, 4, 4, 4, 0], [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], [1]),
    "it was there before anything came": ([0, 4, 4, 4, 4, 0], [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [3]),
    "not ordered before what ran served: at the earliest then": (
        [0, 4, 4, 4, 4, 0], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0], [-2]),
    "twice": ([0, 4, 0, 0, 4, 0], [0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 0], [-1, -2]),
    "nobody knows since when it waited": ([4, 4, 4, 4, 4, 0], [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], []),
    "it still waits": ([0, 4, 4, 4, 4, 4], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], []),
    "what ran went while items waited": ([0, 4, 4, 4, 4, 0], [1, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], []),
}  # fmt: skip


@pytest.mark.parametrize(("waits", "ran", "floor", "earlier"), WAKES.values(), ids=WAKES)
def test_until_an_idle_endpoint_serves_both_see_the_same_queue(
    waits: list[int], ran: list[int], floor: list[int], earlier: list[int]
) -> None:
    case = Case(trace="papers", mode=Load.ASYNC, start=BEGIN, requests=np.zeros(6, np.int64), capacity=1.0)
    seen = Seen(
        case=replace(case, provisioning_from_zero=1),
        known=np.ones(6, dtype=bool),
        sized=True,
        was=np.array(ran),
        demand=np.array(waits, dtype=float),
        notes=(),
    )
    assert shadow._wakes(seen, np.array(floor)).minutes == tuple(earlier)  # noqa: SLF001 - the arithmetic itself


WOKEN = [
    ((), "Nothing waited while no instance ran."),
    ((3,), "Items waited at zero instances once; Tidegate's first would have served 3 min earlier in 1."),
    ((3, 2, -4, 0), ("Items waited at zero instances 4 times; Tidegate's first would have served 5 min earlier in 2, "
     "4 min later at least in 1, in the same minute in 1.")),
]  # fmt: skip


@pytest.mark.parametrize(("minutes", "told"), WOKEN)
def test_how_it_would_have_been_woken_is_said(minutes: tuple[int, ...], told: str) -> None:
    assert shadow_told.woken(Wakes(minutes)) == told


# ---- verdicts -----------------------------------------------------------------------------------------------------


def figures(hours: float, share: float | None, short: int | None) -> Figures:
    return Figures(instance_hours=hours, violated_share=share, short_minutes=short)


EMPTY = np.zeros(0, np.int64)
COURSE = Course(policy="", knob="", ready=EMPTY, billed=EMPTY, orders=EMPTY)
NOTHING = Seen(
    case=Case(trace="orders", mode=Load.REALTIME, start=BEGIN, requests=EMPTY, capacity=600.0),
    known=EMPTY > 0,
    sized=True,
    was=EMPTY,
    demand=EMPTY.astype(float),
    notes=(),
)
FOUND = Compared(
    target=ORDERS,
    profile="p",
    since=BEGIN,
    until=BEGIN + timedelta(days=3),
    minutes=4320,
    unknown=0,
    was=figures(100, 0.02, 40),
    floors=figures(60, 0.03, 60),
    native=figures(90, 0.01, 20),
    covered=30,
    missed=10,
    wakes=None,
    notes=(),
    seen=NOTHING,
    shadow=Shadowed(EMPTY, EMPTY, EMPTY.astype(float), EMPTY),
    decisions=0,
    said=(),
    courses=(COURSE, COURSE),
)
VERDICTS = [
    (FOUND, True, "10% fewer instance-hours, short in 20 minutes in place of 40. Next: remove `mode: shadow`"),
    (replace(FOUND, native=figures(120, 0.01, 20)), True, "20% more instance-hours, short in 20 minutes"),
    (replace(FOUND, native=figures(101, 0.02, 40)), True, "as many instance-hours"),
    (replace(FOUND, native=figures(120, 0.02, 40)), False, "It would only have cost more: leave it in shadow"),
    (replace(FOUND, native=figures(50, 0.05, 90)), False, "It would have served fewer requests in time: leave it"),
    (replace(FOUND, until=BEGIN + timedelta(hours=23)), False, "Too short to judge"),
    (
        replace(FOUND, wakes=Wakes(())),
        True,
        "10% fewer instance-hours, items late in 20 minutes in place of 40. Next",
    ),
    (
        replace(FOUND, wakes=Wakes(()), native=figures(50, 0.05, 90)),
        False,
        "More late, had the floors stayed as they were",
    ),
    (replace(FOUND, was=figures(100, None, None)), False, "no verdict, for what the load needed is not known"),
]


@pytest.mark.parametrize(("found", "ready", "told"), VERDICTS)
def test_the_verdict_is_plain_and_names_the_next_step(found: Compared, ready: bool, told: str) -> None:
    assert found.ready is ready
    assert told in shadow_told.verdict(found)


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


def test_a_report_keeps_only_the_wishes_that_changed(watching: Desk) -> None:
    """A shadow records its wish each minute while another stands: of twenty targets a week of all takes 4 GB."""
    workload: Any = watching.account.endpoint("orders").first.workload
    workload.per_minute_requests[workload.minute + 5 :] = [2400] * 2000
    watching.minutes(20)
    now = watching.account.now
    stack = DeployedStack.read(watching, "tidegate", lambda: now)
    (found,) = shadow.compared(stack, [ORDERS], now - timedelta(days=7), now)
    assert isinstance(found, Compared)
    wishes = [each.document["envelope"] for each in found.said]
    assert found.decisions > len(wishes) > 1
    assert all(one != other for one, other in pairwise(wishes))


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


def test_without_a_record_there_is_no_page_and_that_is_said(watching: Desk, tmp_path: Path) -> None:
    result = watching.run("shadow-report", "--html", str(tmp_path / "page.html"))
    assert (result.exit_code, [*tmp_path.iterdir()]) == (0, [])
    assert "No page was written: nothing could be compared." in result.stderr


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


def test_a_shadow_that_was_active_is_reported_at_any_second_of_a_minute() -> None:
    """At 10:15:40 metrics know 10:11 as the last whole minute; what was decided in 10:12 belongs to none of the report.

    Only what was enrolled says above which count nothing was needed, and only that is laid in one minute.
    """
    with desk(name=next(TABLES)) as made:
        for mode, least, minutes in (("active", 6, 20), ("shadow", 1, 40)):
            content = document({"name": "orders"}, mode=mode, provisioning="2m", min_capacity=least)
            made.in_force.content = json.dumps(content).encode()
            made.stack.invoke("FleetSync", {"trigger": "policy"})
            made.minutes(minutes)
        stack = DeployedStack.read(made, "tidegate", lambda: made.account.now)
        (found,) = shadow.compared(
            stack, [ORDERS], made.account.now - timedelta(days=7), made.account.now + timedelta(seconds=40)
        )
    assert isinstance(found, Compared)
    assert f"{found.since:%H:%M} to {found.until:%H:%M:%S}" == "09:35 to 10:12:00"
    assert (found.minutes, found.shadow.cut[-1]) == (37, 2)


def push(at: Desk, *endpoints: dict[str, Any], **profile: Any) -> None:
    """Put a document in force, and let FleetSync see it."""
    at.in_force.content = json.dumps(document(*endpoints, provisioning="2m", **profile)).encode()
    at.stack.invoke("FleetSync", {"trigger": "policy"})


def span(at: Desk, *more: str) -> tuple[str, str, int]:
    """From when to when `orders` is reported, by how many decisions."""
    (found,) = report(at, *more)["targets"]
    return found["since"][11:], found["until"][11:], found["decisions"]


def test_a_wish_that_stands_for_long_was_in_force_all_the_time() -> None:
    """It wishes the bounds that stand, so nothing is recorded after 09:15; asked at 09:55, metrics know until 09:52."""
    with desk(name=next(TABLES)) as made:
        by_hand(made.account, "orders", (2, 8))
        push(made, {"name": "orders", "adopt": True}, mode="shadow")
        made.minutes(40)
        assert span(made) == ("09:15Z", "09:52Z", 1)
        assert span(made, "--since", "10m") == ("09:45Z", "09:52Z", 1)
        (found,) = report(made, "--since", "10m")["targets"]
        assert (found["minutes"], found["floors"]["instance_hours"]) == (7, round(2 * 7 / 60, 2))


def test_the_time_in_which_it_was_not_enrolled_was_not_watched() -> None:
    """In shadow at 09:15, out of the file at 09:25, in shadow again from 09:45 on."""
    with desk(name=next(TABLES)) as made:
        for endpoints, minutes in (([{"name": "orders"}], 10), ([], 20), ([{"name": "orders"}], 10)):
            push(made, *endpoints, mode="shadow")
            made.minutes(minutes)
        since, until, _ = span(made)
    assert (since, until) == ("09:45Z", "09:52Z")


def test_what_an_active_pass_had_no_need_to_write_is_no_shadow() -> None:
    """Active from 09:15 on; at 09:20 somebody asks, and the answer is recorded: unchanged. In shadow from 09:25 on."""
    with desk(name=next(TABLES)) as made:
        push(made, {"name": "orders"})
        made.minutes(5)
        asked = {"request_id": "r", "action": "floor", "target": "orders", "capacity": 2, "duration": "2m"}
        made.stack.invoke("Override", {**asked, "reason": "test", "requested_by": "maria"})
        made.minutes(5)
        push(made, {"name": "orders"}, mode="shadow", min_capacity=1)
        made.minutes(10)
        outcomes = [each.outcome for each in recorded_since(made.dynamodb, made.table, ORDERS, BEGIN)]
        since, until, _ = span(made)
    assert "unchanged" in outcomes
    assert (since, until) == ("09:25Z", "09:32Z")


# ---- a queue --------------------------------------------------------------------------------------------------------

LETTERS: dict[str, Any] = {
    "kind": "async",
    "mode": "shadow",
    "min_capacity": 0,
    "max_capacity": 4,
    "objectives": {"items_per_minute": 6, "drain_within": "15m"},
    "provisioning": "4m",
}


@pytest.fixture(scope="module")
def queue() -> Iterator[Desk]:
    """40 minutes of `letters` at zero: at 09:18 come 40 items, of which an instance finishes six a minute.

    Somebody starts one by hand at 09:35; it serves from 09:41 on.
    """
    with desk(name=next(TABLES)) as made:
        arrivals = [40 if minute == 3 else 0 for minute in range(200)]
        made.account.add_endpoint(
            name="letters",
            workload=AsyncWorkload(
                per_minute_requests=arrivals,
                per_minute_work_seconds=[10.0 * count for count in arrivals],
                objective=timedelta(minutes=15),
            ),
            instance_count=0,
            asynchronous=True,
        )
        endpoints = [{"name": "letters", "profile": "q"}]
        made.in_force.content = json.dumps({"version": 1, "profiles": {"q": LETTERS}, "endpoints": endpoints}).encode()
        made.stack.invoke("FleetSync", {"trigger": "policy"})
        made.minutes(20)
        made.account.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="letters",
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}],
        )
        made.minutes(20)
        yield made


def test_a_queue_is_judged_by_the_same_play_under_what_ran_and_under_the_floors(queue: Desk) -> None:
    (found,) = report(queue)["targets"]
    assert found["was"] == {
        "instance_hours": round(11 / 60, 2),  # 09:41 to 09:51, the newest minute that metrics know
        "violated_share": round(40 / 41, 6),  # the first is done at 09:41; backlog and work done come to one item more
        "short_minutes": 14,  # from 09:33 on until the last is done, 40 items at six a minute after 09:41
    }
    assert found["floors"]["violated_share"] is None  # they answered to another queue than they would have left
    assert found["native"]["violated_share"] == 0
    assert found["missed_minutes"] == 0
    # Ordered at 09:21, when the metrics told; six minutes from zero, against 09:41.
    assert found["wakes"] == {"count": 1, "earlier": 1, "earlier_minutes": 14, "later": 0, "later_minutes": 0}
    assert found["notes"] == [
        "An instance is taken to finish 6 items a minute, all alike: as measured before, or stated.",
        "Played so, what ran leaves 40 items waiting at most; CloudWatch saw 40.",
        (
            "Late is what takes longer than 15 minutes. The floors answered to the queue as it was: where what ran kept "
            "it shorter, Tidegate would have asked for more."
        ),
    ]


def test_the_page_shows_what_waited_and_each_wish_with_its_reason(queue: Desk, tmp_path: Path) -> None:
    page = tmp_path / "shadow.html"
    result = queue.run("shadow-report", "--html", str(page))
    assert result.stdout.split("\n")[1].split()[:4] == ["target", "course", "instance-hours", "late"]
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, f"Page: {page}")
    told = page.read_text(encoding="utf-8")
    marks = re.findall(r'<td class="reason">(\w+)</td><td>(.*?)</td>', told)
    assert marks[0] == ("PolicyMinimum", "would hold 0..4")
    assert marks[1] == (
        "Backlog",
        "would hold 2..2 (backlog 40, arrivals per minute 11.546, items per minute 6, oldest minutes 2)",
    )
    assert "What really ran, ready" in told
    assert "Tidegate&#x27;s first would have served 14 min earlier in 1." in told
