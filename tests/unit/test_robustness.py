"""What is changed in the robustness rows of the benchmarks."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.robustness import C31, EVENT, OUTAGE, OUTAGES, ROWS, Outcome, judged, outcome, play_all, summary, trials
from simulator.baselines import run
from simulator.cases import DAY, Case, Course, case_of
from simulator.replay import replay
from simulator.traces import MINUTE

TRACES = Path(__file__).parents[2] / "traces"


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(TRACES / f"{C31}.csv")


def test_every_row_has_its_traces_and_parts_within_them() -> None:
    planned = trials(TRACES)
    assert {(each.what, each.path.name.split(".")[0]) for each in planned} == {
        (what, name) for what, row in ROWS.items() for name in row.traces
    }
    for what, row in ROWS.items():
        for first, end in row.parts.values():
            assert 0 <= first < end <= 14 * DAY, what


def test_after_an_outage_comes_twice_the_usual_load_and_ever_less_of_it(case: Case) -> None:
    stormy = ROWS["two outages of 90 minutes, storms after them"].change(case)
    for begin in OUTAGES:
        back = begin + OUTAGE
        assert not stormy.requests[begin:back].any()
        for later, share in ((0, 2.0), (15, 1.368), (30, 1.135), (89, 1.003)):  # 1 + exp(-minutes / 15)
            assert stormy.requests[back + later] == pytest.approx(share * case.requests[back + later], abs=1)
    assert np.count_nonzero(stormy.requests != case.requests) <= 4 * OUTAGE


def test_clocks_skip_an_hour_and_show_the_same_again_afterwards(case: Case) -> None:
    """03:00 in Berlin on 30 March is the minute after 01:59."""
    shifted = ROWS["clocks skip an hour, `timezone` stated"].change(case)
    berlin = ZoneInfo("Europe/Berlin")
    for minute in (0, EVENT, EVENT + 119, EVENT + 120, EVENT + 600, 10 * DAY):
        clock = (shifted.start + minute * MINUTE).astimezone(berlin)
        wall = int((clock.replace(tzinfo=UTC) - datetime(2025, 3, 22, tzinfo=UTC)) / MINUTE)
        assert shifted.requests[minute] == case.requests[wall]
    assert len(shifted.requests) == len(case.requests) - 60


def test_the_level_rises_at_noon(case: Case) -> None:
    risen = ROWS["1.8 times the load from a noon on"].change(case)
    noon = EVENT + 12 * 60
    assert (risen.requests[:noon] == case.requests[:noon]).all()
    assert risen.requests[noon:] == pytest.approx(1.8 * case.requests[noon:], abs=0.5)


@pytest.mark.parametrize(("what", "share"), [("4 instances at the peak", 4), ("25 instances at the peak", 25)])
def test_fleets_have_another_size(case: Case, what: str, share: int) -> None:
    peak = np.quantile(ROWS[what].change(case).needed, 0.995)
    assert peak == pytest.approx(share, abs=1)


def test_a_new_endpoint_begins_under_both_with_what_its_first_minute_needs(case: Case) -> None:
    new = ROWS["a new endpoint"].change(case)
    new = replace(new, requests=new.requests[:30])
    ours, plain = replay(new).course, run("aas-target-tracking", "0.5", new)
    assert ours.ready[0] == plain.ready[0] == new.needed[0] > new.minimum


def test_no_demand_is_shown_to_who_learns_where_it_is_hidden() -> None:
    """Before it joined, the endpoint ran what the largest minute needs, and metrics showed all."""
    assert not ROWS["demand above 1.05 of capacity is in no metric"].late


def test_a_wrong_capacity_is_stated_to_both(case: Case) -> None:
    row = ROWS["capacity is stated 20% too high, and learned"]
    stated = row.profile(case)["objectives"]
    assert stated["requests_per_instance"] == pytest.approx(1.2 * case.capacity)
    assert stated["latency_p95"].endswith("ms")
    assert float(row.target) == pytest.approx(1.2 * 0.5)


def test_a_row_is_played_by_both_on_the_same_minutes_and_twice_alike(tmp_path: Path) -> None:
    """An hour and a half is no day: rows about one are left out."""
    loads = [60] * 30 + [600] * 60  # of 60 each: one instance, then ten
    rows = [f"2025-04-01T{at // 60:02d}:{at % 60:02d}:00Z,{load}" for at, load in enumerate(loads)]
    (tmp_path / f"{C31}.csv").write_text("\n".join(["timestamp,requests", *rows]))
    played = play_all(trials(tmp_path))
    assert play_all(trials(tmp_path), workers=1) == played
    assert [each.what for each in played] == [what for what, row in ROWS.items() if not row.parts]
    quick, slow, *_ = played
    assert {score.requests for each in played for score in (each.ours, each.plain)} == {sum(loads)}
    assert 5 * 600 < quick.ours.violated < slow.ours.violated  # nobody saw it coming
    assert quick.plain.violated < slow.plain.violated
    assert [row["policy"] for row in quick.rows()] == ["tidegate", "aas-target-tracking"]


def test_parts_are_judged_alone_and_storms_are_held_against_their_goal(case: Case) -> None:
    course = run("static-peak", "1.0", case)  # as many as the first week's highest minute needs
    days = [judged(case, course, (day * DAY, (day + 1) * DAY)) for day in (8, 9)]
    whole = judged(case, course, (8 * DAY, 10 * DAY))
    assert sum(day.requests for day in days) == whole.requests == case.requests[8 * DAY : 10 * DAY].sum()
    assert sum(day.violated for day in days) == whole.violated
    assert sum(day.instance_hours for day in days) == pytest.approx(whole.instance_hours)
    storm = Outcome(what="two outages", part="storm 1", ours=whole, plain=whole, lost=(0.10, 0.33))
    worse = replace(storm, lost=(0.16, 0.39))
    assert "Lost of a storm's requests, mean: 13.0%, AAS 0.5 36.0%. Goal 12%: missed." in summary([storm, worse], [])


def test_lost_is_what_comes_beyond_what_is_ready(case: Case) -> None:
    """Two instances for a load that needs three is a third lost, and all of it violated."""
    even = replace(case, requests=np.full(60, 300), capacity=100.0, warmup=0)
    course = Course(policy="x", knob="", ready=np.full(60, 2), billed=np.full(60, 2), orders=np.empty(0, np.int64))
    found = outcome("what", "storm 1", (0, 60), even, (course, replace(course, ready=course.ready // 2)))
    assert found.lost == pytest.approx((1 / 3, 2 / 3), abs=1e-6)
    assert found.ours.violated_share == 1
    assert found.cells()[0].endswith("/ 100.00%, 33.3% lost")
