"""`tidegate backtest`: what an engineer sees who asks what this would have done to an endpoint."""

import csv
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 24 * 60
FIELDS = ["cost_ratio", "violated_share", "instance_hours", "clairvoyant_instance_hours", "changes_per_day", "theta_u"]
POLICIES = ["clairvoyant", "aas-target-tracking", "aas-step", "aas-scheduled", "hpa", "knative", "hourly-forecast"]
FLEET = """\
version: 1
profiles:
  chat:
    kind: realtime
    min_capacity: 2
    max_capacity: 9
    objectives: {requests_per_instance: 150}
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of a daily curve between 100 and 900 requests a minute, in steps of ten minutes."""
    path = tmp_path_factory.mktemp("trace") / "wave.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "requests", "work_seconds"])
        for minute in range(0, 2 * DAY, 10):
            load = round(10 * (500 - 400 * math.cos(2 * math.pi * minute / DAY)))
            rows.writerow([(START + timedelta(minutes=minute)).isoformat(), load, load])
    return path


def tidegate(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["backtest", *map(str, args)])


def test_table_names_every_policy_and_says_what_it_comes_to_and_the_page_is_complete(
    trace: Path, tmp_path: Path
) -> None:
    page = tmp_path / "out" / "page.html"
    result = tidegate(trace, "--price", "2", "--html", page)
    assert result.exit_code == 0, result.output
    html = page.read_text()
    for words in (
        "Backtest of wave",
        "Cost against violated requests",
        "aas-target-tracking 0.5",
        "Tracking rests at",
        "Floor",
    ):
        assert words in html
    for policy in [*POLICIES, "static-peak", "tidegate balanced"]:
        assert policy in result.stdout
    assert "2026-03-03 00:00 to 2026-03-04 00:00 (1440 minutes) after 1440 minutes of warm-up" in result.stdout
    assert "Tidegate (balanced)" in result.stdout.splitlines()[-1]
    assert "requests a minute (--capacity), 1 to 100 run (--min, --max), each serves 6 minutes" in result.stdout
    assert "cost" in result.stdout


def test_json_has_the_settings_and_a_row_a_policy_and_knob(trace: Path) -> None:
    said = json.loads(tidegate(trace, "--json", "--capacity", "100", "--min", "2", "--max", "12").stdout)
    assert said["settings"]["capacity"] == 100
    assert (said["settings"]["minimum"], said["settings"]["maximum"]) == (2, 12)
    rows = {(row["policy"], row["knob"]): row for row in said["results"]}
    assert ("aas-target-tracking", "0.5") in rows
    assert {policy for policy, _ in rows} >= set(POLICIES)
    ours = rows["tidegate", "balanced"]
    assert set(FIELDS) <= set(ours)
    assert ours["mode"] == "realtime"
    assert ours["trace"] == "wave"
    assert ours["instance_hours"] / ours["clairvoyant_instance_hours"] == pytest.approx(ours["cost_ratio"], abs=1e-5)
    assert rows["clairvoyant", ""]["violated_share"] == 0


def test_a_queue_has_waits(trace: Path) -> None:
    said = json.loads(tidegate(trace, "--json", "--mode", "async", "--objective", "30", "--concurrency", "8").stdout)
    rows = {(row["policy"], row["knob"]): row for row in said["results"]}
    assert {"aas-async-guide", "keda", "tidegate", "clairvoyant"} <= {policy for policy, _ in rows}
    assert rows["tidegate", "balanced"]["objective_seconds"] == 1800
    assert rows["clairvoyant", ""]["late_share"] == 0


def test_tidegate_plays_under_a_profile_of_the_policy_file(trace: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    said = json.loads(tidegate(trace, "--json", "--policy", fleet, "--use", "chat").stdout)
    assert (said["settings"]["capacity"], said["settings"]["minimum"], said["settings"]["maximum"]) == (150, 2, 9)


MISUSED: dict[str, tuple[list[str], str]] = {
    "neither file nor endpoint": ([], "give either a trace file or --endpoint NAME"),
    "a file that does not exist": (["nowhere.csv"], "nowhere.csv"),
    "a profile without its file": (["TRACE", "--use", "chat"], "--policy FILE and --use PROFILE go together"),
    "a profile that is none": (["TRACE", "--policy", "FLEET", "--use", "chta"], "--use 'chta' must be a profile of"),
    "bounds the wrong way round": (["TRACE", "--min", "9", "--max", "3"], "--min 9 must not be above --max 3"),
    "a queue of an endpoint": (["--endpoint", "orders", "--mode", "async"], "needs a trace file with work_seconds"),
    "a queue's profile of an endpoint": (
        ["--endpoint", "orders", "--policy", "QUEUE", "--use", "docs"],
        "--use docs, of kind async, needs a trace file with work_seconds",
    ),
    "a file that is no trace": (["FLEET"], "fleet.yaml"),
    "a page that is a folder": (
        ["TRACE", "--html", "tests"],
        "--html = 'tests': must be a file that can be written, and is a folder",
    ),
    "a page in the place of the trace": (["TRACE", "--html", "TRACE"], "is the trace itself"),
}


@pytest.mark.parametrize(("args", "why"), MISUSED.values(), ids=MISUSED)
def test_what_cannot_be_played_is_refused_with_its_reason(
    args: list[str], why: str, trace: Path, tmp_path: Path
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    queue = tmp_path / "queue.yaml"
    objectives = "objectives: {items_per_minute: 9}"
    queue.write_text(
        f"version: 1\nprofiles: {{docs: {{kind: async, min_capacity: 0, max_capacity: 3, {objectives}}}}}\n"
    )
    files = {"TRACE": str(trace), "FLEET": str(fleet), "QUEUE": str(queue)}
    result = tidegate(*(files.get(arg, arg) for arg in args))
    assert result.exit_code == 2, result.output
    assert why in result.output
