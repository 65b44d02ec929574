"""Work and a deadline: who meets it, with how much room, and for how many instance-hours."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.deadlines import Job, jobs, play

START = datetime(2026, 3, 2, tzinfo=UTC)


def trace(folder: Path, hours: int) -> Path:
    """Four days with 1,000 requests a minute from 02:00 on: an instance serves 100, 6,000 an hour."""
    path = folder / "servegen_large_c149.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "requests"])
        for minute in range(4 * 24 * 60):
            load = 1000 if 2 <= minute // 60 % 24 < 2 + hours else 0
            rows.writerow([(START + timedelta(minutes=minute)).isoformat(), load])
    return path


@pytest.mark.parametrize(
    ("slower", "scheduled_meets", "work_hours"),
    [
        (0.0, 2, 20.0),  # 60,000 a day / 6,000: ten instances are done to the minute
        (0.2, 0, 25.0),  # the same ten do 48,000
    ],
)
def test_deadlines_are_met_by_what_is_measured_not_by_what_was_stated(
    tmp_path: Path, slower: float, scheduled_meets: int, work_hours: float
) -> None:
    outcome = play(Job(path=trace(tmp_path, hours=1), hours=1, slower=slower))
    ours, scheduled = outcome.kept
    assert (outcome.deadlines, outcome.feasible, outcome.work_hours) == (2, 2, work_hours)
    assert (scheduled.met, scheduled.least_margin) == (scheduled_meets, 0 if scheduled_meets else None)
    assert ours.met == 2
    assert ours.least_margin is not None
    assert ours.least_margin >= 0
    assert ours.instance_hours < 2 * work_hours


def test_what_nobody_could_meet_is_not_counted_against_anybody(tmp_path: Path) -> None:
    """360,000 a day are more than 50 instances do in an hour, and less than they do in four."""
    [first, *_] = jobs(trace(tmp_path, hours=6).parent)
    assert (first.hours, first.slower) == (1, 0.0)
    outcome = play(first)
    assert (outcome.feasible, [one.met for one in outcome.kept]) == (0, [0, 0])
    row = outcome.row()
    assert (row["trace"], row["deadlines"], row["feasible"]) == ("servegen_large_c149", 2, 0)
