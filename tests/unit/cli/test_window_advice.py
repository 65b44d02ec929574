"""What `tidegate policy check` says of windows: allowed, and still not what anyone means."""

from datetime import date
from typing import Any

import pytest

from cli.window_advice import window_advice
from core.policy import Profile

TODAY = date(2026, 11, 18)
NIGHT = {"name": "night", "start": "02:00", "duration": "4h", "lead": "10m", "min_capacity": 3}
LUNCH = {"name": "lunch", "start": "12:00", "duration": "2h", "lead": "10m", "min_capacity": 2}
WORK = {"name": "work", "start": "02:00", "finish_by": "06:00", "items": 24_000, "lead": "10m"}  # 100 a minute

CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, str]]]] = [
    ("nothing to say", [NIGHT, LUNCH], []),
    ("two at once", [NIGHT, LUNCH | {"start": "05:30"}],
     [("windows.1", " = lunch: overlaps night, first at 2026-11-18T05:30Z")]),
    ("one ends as the other starts", [NIGHT, LUNCH | {"start": "06:00", "lead": "0s"}], []),
    ("on different days", [NIGHT | {"days": ["mon"]}, LUNCH | {"start": "03:00", "days": ["tue"]}], []),
    ("past midnight into the other", [NIGHT | {"start": "23:00", "days": ["mon"]}, LUNCH | {"start": "01:00", "days": ["tue"]}],
     [("windows.1", "first at 2026-11-24T01:00Z")]),
    ("dates that are over", [NIGHT | {"dates": ["2026-11-17"]}], [("windows.0", "never opens from 2026-11-18 on")]),
    ("a date that is far", [NIGHT | {"dates": ["2028-02-29"]}], []),
    ("a last date that is over", [NIGHT | {"to": "2026-11-17"}], [("windows.0", "never opens from 2026-11-18 on")]),
    ("all of its dates excepted", [NIGHT | {"dates": ["2026-12-24"], "except": ["2026-12-24"]}], [("windows.0", "never opens")]),
    ("a rule that is used up", [NIGHT | {"rrule": "FREQ=DAILY;COUNT=3", "from": "2026-11-01"}], [("windows.0", "never opens")]),
    ("both ends in the hour that is skipped: it opens after it", [NIGHT | {"timezone": "Europe/Berlin", "start": "02:10", "until": "02:40", "duration": None, "dates": ["2027-03-28"]}],
     []),
    ("a rate above the maximum: ceil(450 / 50)", [{"name": "w", "start": "02:00", "duration": "1h", "requests_per_minute": 450}],
     [("windows.0.requests_per_minute", " = 450: needs 9, above max_capacity (8)")]),
    ("work within it: 1.1 x 24,000 / (0.9 x 50 x 240) = 2.4", [WORK], []),
    # 1.1 x 192,000 / (0.9 x 50 x 240) = 19.6; 192,000 / (50 x 8) are 480 minutes
    ("work above it", [WORK | {"items": 192_000}],
     [("windows.0.items", " = 192,000: needs 20 to be done by 06:00, above max_capacity (8), with which it is done 8.0h after 02:00, at 10:00. Raise it")]),
    ("a lead longer than the gap", [NIGHT, LUNCH | {"start": "06:20", "lead": "30m"}],
     [("windows.1.lead", ": 30m is longer than the gap of 20m after night")]),
    ("a lead longer than the gap to itself", [NIGHT | {"duration": "23h", "lead": "2h"}],
     [("windows.0.lead", ": 2h is longer than the gap of 1h after night")]),
]  # fmt: skip


@pytest.mark.parametrize(("windows", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_advice(windows: list[dict[str, Any]], said: list[tuple[str, str]]) -> None:
    document = {"kind": "batch", "min_capacity": 1, "max_capacity": 8, "objectives": {"requests_per_instance": 50}}
    remarks = list(window_advice(Profile.model_validate({**document, "windows": windows}), TODAY))
    assert [".".join(map(str, where)) for where, _ in remarks] == [where for where, _ in said]
    for (_, text), (_, part) in zip(remarks, said, strict=True):
        assert part in text


def test_work_that_takes_longer_than_calendars_reach_is_a_remark_like_any_other() -> None:
    slow = {"kind": "batch", "min_capacity": 1, "max_capacity": 8, "objectives": {"requests_per_instance": 0.02}}
    profile = Profile.model_validate({**slow, "windows": [WORK | {"items": 10**12}]})
    [(where, text)] = window_advice(profile, TODAY)
    assert where == ("windows", 0, "items")
    assert "is done 104166666666.7h after 02:00" in text
