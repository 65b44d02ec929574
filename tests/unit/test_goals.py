"""What is promised of the benchmarks, and how it is judged."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures import Figure, mean
from bench.goals import GOALS, Goal, cheapest, chosen, of_capacities, of_windows, summary, verdict
from simulator.capacities import Learned
from simulator.cases import Mode, standing
from simulator.scores import Elasticity, Score

TRACES = Path(__file__).resolve().parents[2] / "traces"
NONE = Elasticity(theta_u=0, theta_o=0, tau_u=0, tau_o=0)
Trace = dict[tuple[str, str], Score]


def scored(policy: str, knob: str, hours: float, violated: int, trace: str = "a") -> Score:
    """Of 10,000 requests; the clairvoyant takes 100 hours."""
    return Score(
        trace=trace,
        mode=Mode.REALTIME,
        policy=policy,
        knob=knob,
        requests=10_000,
        violated=violated,
        instance_hours=hours,
        clairvoyant_instance_hours=100,
        changes_per_day=1,
        elasticity=NONE,
    )


def trace(name: str, ours: dict[str, tuple[float, int]], plain: dict[str, tuple[float, int]]) -> Trace:
    """Hours and violated requests by position of the knob, and by target of AAS."""
    scores = [scored("tidegate", knob, *at, trace=name) for knob, at in ours.items()]
    scores += [scored("aas-target-tracking", target, *at, trace=name) for target, at in plain.items()]
    return {(score.policy, score.knob): score for score in scores}


A = trace(
    "a",
    {"economy": (110, 300), "balanced": (120, 20), "strict": (150, 10)},
    {"0.5": (200, 20), "0.6": (160, 100), "0.7": (140, 400)},
)
B = trace(
    "b",
    {"economy": (105, 10), "balanced": (125, 6), "strict": (140, 5)},
    {"0.5": (200, 0), "0.6": (150, 6), "0.7": (130, 10)},
)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Figure(1.25, 0.002), "aim met"),
        (Figure(1.20, 0.003), "met"),
        (Figure(1.35, 0.0033), "met"),
        (Figure(1.351, 0.0033), "cost missed"),
        (Figure(1.30, 0.0034), "violated missed"),
        (Figure(1.40, 0.01), "cost and violated missed"),
        (Figure(None, 0.0), "cost missed"),
    ],
)
def test_a_goal_is_met_or_what_missed_it_is_said(found: Figure, said: str) -> None:
    assert verdict(found, Goal(Figure(1.35, 0.0033), Figure(1.25, 0.002))) == said


def test_the_mean_is_geometric_of_the_cost_and_arithmetic_of_the_share() -> None:
    found = mean([scored("x", "", 100, 10), scored("x", "", 400, 30)])
    assert found.cost == pytest.approx(2.0)
    assert found.harmed == pytest.approx(0.002)
    assert str(found) == "2.00 / 0.20%"


def test_target_tracking_is_compared_with_what_violates_no_more() -> None:
    """On a AAS 0.6 violates 100: from balanced, 20 for 120 hours, 80 / 280 of the way to economy, 300 for 110."""
    lines = list(summary({"daily": [A, B]}, {}))
    found = {cells[1]: cells[2:6] for line in lines if (cells := [c.strip() for c in line.split("|")])[1:2]}
    assert found["AAS 0.5"] == ["0.20%: 0.60 (balanced)", "0.00%: -", "0.60", "0.75, met"]  # 120/200
    economy_to_balanced = "1.00%: 0.73 (economy to balanced)"  # 117.1/160
    assert found["AAS 0.6"] == [economy_to_balanced, "0.06%: 0.83 (balanced)", "0.78", "0.80, met"]  # 125/150
    assert found["AAS 0.7"] == ["4.00%: 0.79 (economy)", "0.10%: 0.81 (economy)", "0.80", "0.88, met"]


def test_it_is_compared_on_both_kinds_of_minutes() -> None:
    lines = list(summary({"daily": [A]}, {"daily": [B]}))
    assert [line for line in lines if line.startswith("| AAS 0.5")] == [
        "| AAS 0.5 | 0.20%: 0.60 (balanced) | 0.60 | 0.75, met |",
        "| AAS 0.5 | 0.00%: - | - | 0.75, missed |",
    ]


@pytest.mark.parametrize(
    ("level", "least"),
    [
        (9, None),
        (10, (150, "strict")),
        (15, (135, "balanced to strict")),  # half of the days each
        (20, (120, "balanced")),
        (160, (115, "economy to balanced")),
        (300, (110, "economy")),
        (9_999, (110, "economy")),
    ],
)
def test_between_two_positions_cost_and_violated_go_in_a_straight_line(
    level: int, least: tuple[float, str] | None
) -> None:
    ours = [score for (policy, _), score in A.items() if policy == "tidegate"]
    assert cheapest(ours, level) == least


def test_a_position_that_costs_more_and_violates_more_is_in_no_mix() -> None:
    ours = [scored("tidegate", "lean", 130, 50), scored("tidegate", "safe", 120, 10)]
    assert cheapest(ours, 30) == (120, "safe")


def test_both_kinds_of_minutes_are_held_against_the_goal() -> None:
    [line] = [line for line in summary({"daily": [A]}, {"daily": [B]}) if line.startswith("| daily | 1.35")]
    assert [cell.strip() for cell in line.split("|")[2:8]] == [
        "1.35 / 0.33%",
        "1.25 / 0.20%",
        "1.20 / 0.20%, aim met",
        "2.00 / 0.20%",
        "1.25 / 0.06%, aim met",
        "2.00 / 0.00%",
    ]


@pytest.mark.parametrize(
    ("limit", "knob"),
    [
        (0.02, "economy"),  # (300 + 10) / 20,000 = 1.55 %
        (0.01, "balanced"),
        (0.001, "strict"),  # (10 + 5) / 20,000 = 0.075 %
        (0.0001, "strict"),  # none is within: the safest
    ],
)
def test_the_knob_is_chosen_by_what_is_promised_of_the_mean(limit: float, knob: str) -> None:
    assert chosen([A, B], limit) == knob


def test_what_was_chosen_on_the_others_is_applied_to_the_one_left_out() -> None:
    """Without b, a alone needs `balanced` for 0.33 %; without a, b is content with `economy`."""
    lines = list(summary({"daily": [A, B]}, {}))
    begin = lines.index("## One trace left out")
    rows = [[cell.strip() for cell in line.split("|")[2:6]] for line in lines[begin:] if line.startswith("| daily")]
    assert rows == [
        ["a", "economy", "1.10 / 3.00%", "1.20 / 0.20%"],
        ["b", "balanced", "1.25 / 0.06%", "1.25 / 0.06%"],
        ["mean", "", "1.17 / 1.53%, violated missed", "1.22 / 0.13%"],
    ]


@pytest.mark.parametrize(
    ("shares", "near", "above"),
    [
        (
            (1.30, 1.04, 0.96, 1.05),
            "1 of 1, met",
            "0 of 1 are, at two days' ends, met",
        ),  # the first two days may be off
        ((1.10, 1.06, 1.02, 1.02), "1 of 1, met", "1 of 1 are, at two days' ends, missed"),
        ((1.00, 1.00, 1.00, 0.94), "0 of 1, missed", "0 of 1 are, at two days' ends, met"),
    ],
)
def test_what_is_learned_of_a_capacity_is_held_against_the_truth(
    shares: tuple[float, ...], near: str, above: str
) -> None:
    first, _, last = of_capacities([Learned(what="x", stated=1.5, shares=shares)])
    assert first.endswith(f": {near}.")
    assert last.endswith(f": {above}.")


def test_a_capacity_whose_limit_is_not_reached_is_not_held_against_it() -> None:
    found = [Learned(what="x", stated=1.0, shares=(1.0,) * 4), Learned(what="y", stated=0.7, shares=(0.74,) * 4)]
    assert "1 of 1, met" in next(iter(of_capacities(found)))


def test_every_group_in_real_time_has_a_goal_and_is_played_with_all_positions() -> None:
    planned = standing(TRACES)
    assert {each.group for each in planned if each.mode is Mode.REALTIME} == set(GOALS)
    assert {each.knobs for each in planned if each.group in GOALS} == {("economy", "balanced", "strict", "critical")}
    assert {each.knobs for each in planned if each.group not in GOALS} == {("balanced",)}


@pytest.mark.parametrize(
    ("hours", "opening", "said"),
    [
        (120, 0.0, "All three: lean (1.20, 0.600)."),  # 120 / 100 and 120 / 200
        (121, 0.0, "All three: missed by every row."),  # 0.605 of the scheduled actions
        (120, 0.01, "All three: missed by every row."),  # late on a night like others
    ],
)
def test_windows_are_cheap_and_in_time_or_no_row_is_named(hours: float, opening: float, said: str) -> None:
    ours = replace(scored("tidegate", "lean", hours, 900), resembling_violated_share=opening)
    theirs = replace(scored("aas-scheduled", "0.7", 200, 300), resembling_violated_share=0.0)
    scores = {(score.policy, score.knob): score for score in (ours, theirs)}
    assert said in list(of_windows("servegen_large_c149", scores))
    assert list(of_windows("servegen_small_c31", scores)) == []
