"""`make bench`: every policy on every trace of a folder, the same bytes each time, and losing is said."""

import csv
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bench import queues
from bench.benchmarks import main
from simulator.baselines import BASELINES
from simulator.cases import Mode, Setting, case_of
from simulator.judge import judge_all

TRACES = Path(__file__).resolve().parents[2] / "traces"
START = datetime(2026, 3, 2, tzinfo=UTC)
ROW = {"trace", "mode", "policy", "knob", "cost_ratio", "violated_share", "instance_hours", "changes_per_day"}
ROW |= {"clairvoyant_instance_hours", "theta_u", "theta_o"}
QUEUE = {"objective_seconds", "late_share", "expired", "wait_p50_s", "wait_p95_s", "wait_max_s", "starts_from_zero"}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day at two hours high, four low, with the work of each request in one of the files."""
    folder = tmp_path_factory.mktemp("traces")
    for name, fields in (("steps", ["timestamp", "requests"]), ("jobs", ["timestamp", "requests", "work_seconds"])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(fields)
            for half_hour in range(48):
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


@pytest.fixture(scope="module")
def benched(traces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The page and the JSON of one run."""
    file = tmp_path_factory.mktemp("bench") / "first.json"
    return bench(traces, file), file.read_text()


def test_two_runs_are_equal(traces: Path, benched: tuple[str, str], tmp_path: Path) -> None:
    second = tmp_path / "second.json"
    assert (bench(traces, second, "--workers", "1"), second.read_text()) == benched


def test_each_policy_and_knob_has_a_row_in_each_mode_it_plays_in(benched: tuple[str, str]) -> None:
    said = json.loads(benched[1])
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


def test_the_page_shows_every_policy_and_names_who_loses(benched: tuple[str, str]) -> None:
    page, _ = benched
    assert "## Other (realtime)" in page
    assert "## Other (async)" in page
    assert "| **tidegate balanced** |" in page
    assert "## Where Tidegate loses" in page


def test_queues_are_held_against_their_goals(tmp_path: Path) -> None:
    """The shipped hour of code completion alone: what is promised of the mean is then promised of it."""
    shutil.copy(TRACES / "azure_llm2023_code.csv", tmp_path)
    found = dict(judge_all(queues.planned(tmp_path), workers=1))

    row = next(line for line in queues.details(found) if "Tidegate" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert dict(zip(queues.COLUMNS, cells, strict=True)).items() >= {"late": "0.00%", "expired": "0"}.items()
    verdicts = [line for line in queues.summary(found) if "goal" in line and line.startswith("- ")]
    assert len(verdicts) == 8  # two objectives, two concurrencies, two sets of traces
    assert all("late (azure_llm2023_code)" in line and line.endswith(("met", "not met")) for line in verdicts)
    assert all("; 0 expired that the clairvoyant saves, goal 0: " in line for line in verdicts)


def test_instances_of_more_slots_get_as_many_times_the_requests() -> None:
    one, eight = (
        Setting(objective=30, provisioning=10, concurrency=slots).of(
            case_of(TRACES / "azure_llm2023_code.csv", Mode.ASYNC)
        )
        for slots in (1, 8)
    )
    assert one.work_seconds is not None
    assert eight.work_seconds is not None
    assert (eight.requests == 8 * one.requests).all()
    assert eight.capacity == 8 * one.capacity
    assert eight.work_seconds / 8 == pytest.approx(one.work_seconds)
    assert (one.provisioning, one.provisioning_from_zero, one.ttl) == (10, 12, 60)


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    result = invoked("--traces", str(tmp_path))
    assert result.exit_code == 2
    assert "no traces" in result.output
