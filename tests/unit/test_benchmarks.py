"""`make bench`: every policy on every trace of a folder, the same bytes each time, and losing is said."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bench.benchmarks import main
from simulator.baselines import BASELINES
from simulator.cases import Mode

START = datetime(2026, 3, 2, tzinfo=UTC)
ROW = {"trace", "mode", "policy", "knob", "cost_ratio", "violated_share", "instance_hours", "changes_per_day"}
ROW |= {"clairvoyant_instance_hours", "theta_u", "theta_o"}
QUEUE = {"objective_seconds", "late_share", "expired", "wait_p50_s", "wait_p95_s", "wait_max_s", "starts_from_zero"}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Two days at two hours high, four low, with the work of each request in one of the files."""
    folder = tmp_path / "traces"
    folder.mkdir()
    for name, fields in (("steps", ["timestamp", "requests"]), ("jobs", ["timestamp", "requests", "work_seconds"])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(fields)
            for half_hour in range(96):
                load = 6_000 if half_hour % 12 < 4 else 600
                row = [(START + timedelta(minutes=30 * half_hour)).isoformat(), load, load * 2]
                rows.writerow(row[: len(fields)])
    return folder


def invoked(*args: str) -> Result:
    command = typer.Typer()
    command.command()(main)
    return CliRunner().invoke(command, args)


def bench(folder: Path, file: Path, *more: str) -> str:
    result = invoked("--traces", str(folder), "--json", str(file), *more)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_policy_and_knob_has_a_row_in_each_mode_it_plays_in_and_two_runs_are_equal(
    traces: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    page = bench(traces, first)
    assert bench(traces, second, "--workers", "1") == page
    assert first.read_bytes() == second.read_bytes()

    said = json.loads(first.read_text())
    assert said["settings"]["metric_lag_minutes"] == 2
    seen = {(row["trace"], row["mode"], row["policy"], row["knob"]) for row in said["results"]}
    cases = [("steps", Mode.REALTIME), ("jobs", Mode.REALTIME), ("jobs", Mode.ASYNC)]
    rivals = {
        (trace, mode.value, policy, knob)
        for trace, mode in cases
        for policy, baseline in BASELINES.items()
        if mode in baseline.modes
        for knob in baseline.knobs
    }
    ours = {
        (trace, mode.value, policy, knob)
        for trace, mode in cases
        for policy, knob in [("clairvoyant", ""), ("tidegate", "balanced")]
    }
    assert seen == rivals | ours
    assert all(set(row) >= (ROW | QUEUE if row["mode"] == "async" else ROW) for row in said["results"])
    assert all(row["cost_ratio"] == 1 for row in said["results"] if row["policy"] == "clairvoyant")


def test_the_page_shows_every_policy_and_names_who_loses(traces: Path, tmp_path: Path) -> None:
    page = bench(traces, tmp_path / "out.json")
    assert "## Other (realtime)" in page
    assert "## Other (async)" in page
    assert "| **tidegate balanced** |" in page
    assert "## Where Tidegate loses" in page


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    result = invoked("--traces", str(tmp_path))
    assert result.exit_code == 2
    assert "no traces" in result.output
