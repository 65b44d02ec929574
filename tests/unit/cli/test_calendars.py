"""Public holidays become plain dates before a policy is delivered."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cli.calendars import resolved
from cli.errors import PolicyFileError
from cli.policy_file import read_policy_file

FILE = """\
version: 1
profiles:
  night:
    kind: batch
    min_capacity: 1
    max_capacity: 4
    windows:
      - {{name: w, start: "02:00", duration: 4h, min_capacity: 2, except: [2026-02-17], except_holidays: {calendar}}}
"""


def document(window: dict[str, Any]) -> dict[str, Any]:
    return {"profiles": {"night": {"windows": [window]}}}


@pytest.mark.parametrize(
    ("calendar", "holiday", "working_day"),
    [
        ("DE", "2026-10-03", "2026-01-06"),  # the day of unity; Epiphany is one in the south only
        ("DE-BY", "2026-01-06", "2026-02-17"),
        ("US", "2026-11-26", "2026-10-03"),
        ("DE", "2028-12-25", "2029-12-25"),  # this year and the next two
    ],
)
def test_holidays_are_exceptions(calendar: str, holiday: str, working_day: str) -> None:
    written, refused = resolved(document({"except_holidays": calendar}), 2026)
    window = written["profiles"]["night"]["windows"][0]
    dates = {str(date) for date in window["except"]}
    assert (refused, window.keys(), holiday in dates, working_day in dates) == ([], {"except"}, True, False)


def test_what_is_delivered_has_dates_and_no_calendar(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FILE.format(calendar="DE"))
    read = read_policy_file(file, date(2026, 1, 1))
    [window] = read.document["profiles"]["night"]["windows"]
    assert "except_holidays" not in window
    assert {"2026-02-17", "2026-05-01"} <= set(window["except"])
    assert not read.fleet.profiles["night"].windows[0].starts_on(read.fleet.profiles["night"].windows[0].except_[1])


@pytest.mark.parametrize("calendar", ["XX", "DE-ZZ", "4"])
def test_an_unknown_calendar_is_refused_with_its_line(tmp_path: Path, calendar: str) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FILE.format(calendar=calendar))
    with pytest.raises(PolicyFileError) as refusal:
        read_policy_file(file, date(2026, 1, 1))
    assert [(f.line, f.path) for f in refusal.value.findings] == [(8, "profiles.night.windows[0].except_holidays")]


@pytest.mark.parametrize("odd", [None, [], {"profiles": {"p": None}}, {"profiles": {"p": {"windows": [3]}}}])
def test_other_faults_are_left_to_be_named_elsewhere(odd: object) -> None:
    assert resolved(odd, 2026) == (odd, [])
