"""`tidegate windows propose`: what recurs becomes windows to paste, with what each would have been worth."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from core.policy import parse_fleet
from simulator.cases import Case, Mode
from simulator.judge import found_windows

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 24 * 60
BERLIN = ZoneInfo("Europe/Berlin")


def nightly(days: int, on: tuple[int, ...] = tuple(range(14))) -> np.ndarray:
    """A job of an hour that begins at 02:00 and needs 5 instances of 100 requests a minute."""
    requests = np.zeros(days * DAY, dtype=np.int64)
    for day in on:
        requests[day * DAY + 120 : day * DAY + 180] = 450
    return requests


def case(requests: np.ndarray, start: datetime = MONDAY) -> Case:
    return Case(trace="job", mode=Mode.REALTIME, start=start, requests=requests, capacity=100.0)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "job.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "requests"])
        rows.writerows(
            ((MONDAY + timedelta(minutes=minute)).isoformat(), int(load))
            for minute, load in enumerate(nightly(4, on=(0, 1, 2, 3)))
        )
    return path


def tidegate(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["windows", "propose", *map(str, args)])


WEEKDAYS = (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)


@pytest.mark.parametrize(
    ("_what", "requests", "zone", "window"),
    [
        ("each night", nightly(14), UTC, {}),
        ("never at a weekend", nightly(14, on=WEEKDAYS), UTC, {"days": ["mon", "tue", "wed", "thu", "fri"]}),
        ("one weekend says nothing", nightly(7, on=WEEKDAYS[:5]), UTC, {}),
        (
            "by another clock",
            nightly(14),
            BERLIN,
            {"name": "found-0259", "start": "02:59", "timezone": "Europe/Berlin"},
        ),
    ],
)
def test_what_recurs(_what: str, requests: np.ndarray, zone: ZoneInfo, window: dict[str, object]) -> None:
    """The mean of three minutes rises a minute before the load; half an hour later that carries on by itself."""
    [(_, found)] = found_windows(case(requests), len(requests), ZoneInfo(str(zone)))
    assert found == {"name": "found-0159", "start": "01:59", "duration": "30m", "min_capacity": 5} | window


def test_the_floor_stays_until_the_load_of_the_latest_start_carries_on_by_itself() -> None:
    """Every other night the job begins 99 minutes later: 99 + 30."""
    requests = np.concatenate([np.roll(nightly(1, on=(0,)), 99 * (day % 2)) for day in range(7)])
    [(_, found)] = found_windows(case(requests), len(requests))
    assert (found["start"], found["duration"], found["hand_over"]) == ("01:59", "129m", "30m")


def test_what_the_minimum_serves_needs_no_window() -> None:
    requests = nightly(7) // 5
    assert found_windows(case(requests), len(requests)) == []


def test_what_is_printed_can_be_pasted_and_says_what_it_is_worth(trace: Path) -> None:
    """The judged days have two starts, each of which goes without instances until tracking has answered."""
    result = tidegate(trace, "--capacity", "100", "--max", "20")
    assert result.exit_code == 0, result.output
    pasted = yaml.safe_load(result.stdout[result.stdout.index("windows:") :])
    assert [window["start"] for window in pasted["windows"]] == ["01:59"]
    profile = {"kind": "batch", "min_capacity": 1, "max_capacity": 20, **pasted}
    parse_fleet({"version": 1, "profiles": {"p": profile}, "endpoints": []})
    said = json.loads(tidegate(trace, "--capacity", "100", "--max", "20", "--price", "2", "--json").stdout)
    [row] = said["proposals"]
    assert (row["window"], row["days"], row["known_days"]) == (pasted["windows"][0], 4, 4)
    assert row["prevented"] == row["violated_without"] > 450  # all of them
    assert row["cost_more"] == pytest.approx(2 * row["instance_hours_more"], abs=0.02)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "windows are sized by what an instance serves"),
        (("--capacity", "100", "--timezone", "Berlin"), "--timezone 'Berlin' must be an IANA time zone"),
        (("--capacity", "100", "--endpoint", "other"), "give either a trace file or --endpoint"),
    ],
)
def test_what_cannot_be_answered_is_refused(trace: Path, args: tuple[str, ...], said: str) -> None:
    result = tidegate(trace, *args)
    assert result.exit_code == 2
    assert said in result.output


def test_nothing_that_recurs_is_said_to_be_nothing(tmp_path: Path) -> None:
    path = tmp_path / "calm.csv"
    path.write_text("timestamp,requests\n2026-03-02T00:00:00Z,60\n2026-03-02T00:01:00Z,60\n")
    result = tidegate(path, "--capacity", "100")
    assert (result.exit_code, result.stdout.strip()) == (
        0,
        "calm: no load begins at about one time on most days, and needs more than the minimum.",
    )
