"""The arithmetic of `make cost` and `make speed`; what they count is counted elsewhere (tests/chaos/test_budget.py)."""

import json
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.artefact import FIRST_PASS, ROOT, fresh
from bench.cost import CASE, DAYS, GOALS, PRICES, before_counted, bill, stands
from bench.scale import Measured, alone, growth
from simulator.cases import DAY, case_of


@pytest.mark.parametrize(
    ("use", "minutes", "want", "why"),
    [
        ({"metric_queried": 1440}, DAY, {"metric_queried": 0.432}, "43,200 a month at 0.01 a thousand"),
        ({"metric_queried": 60}, 60, {"metric_queried": 0.432}, "an hour counted stands for all"),
        ({"alarm_month": 4}, DAY, {"alarm_month": 0.40}, "a month is a month however long was counted"),
        ({"log_byte": 1_000_000}, DAY, {"log_gb": 0.015}, "30 MB at 0.50 a GB"),
        ({"lambda_gb_second": 100}, DAY, {"lambda_gb_second": 0.0400}, "3,000 at 0.0000133334"),
    ],
)
def test_a_bill_is_use_times_list_price(use: dict[str, int], minutes: int, want: dict[str, float], why: str) -> None:
    found = {name: cost for name, cost in bill(Counter(use), minutes).items() if cost}
    assert found == pytest.approx(want, rel=1e-4), why


def test_every_price_says_for_how_much_and_who_says_so() -> None:
    document = json.loads(PRICES.read_text(encoding="utf-8"))
    assert document["as_of"]
    for price in document["prices"].values():
        assert price["usd"] > 0
        assert price["per"] >= 1
        assert price["what"]
        assert price["source"][-3:] in {"[D]", "[O]", "[U]"}


def test_metrics_read_each_minute_leave_room_for_little_else() -> None:
    """One metric a minute is more than half of what a real-time endpoint may cost."""
    reads = bill(Counter(metric_queried=DAY), DAY)["metric_queried"]
    assert DAYS * DAY == 43_200
    assert reads < GOALS["real-time, with forecast"] < 2 * reads


def test_the_day_that_is_counted_has_load() -> None:
    requests = case_of(ROOT / "traces" / f"{CASE}.csv").requests
    begin = before_counted(len(requests))
    assert begin > 7 * DAY
    assert np.count_nonzero(requests[begin : begin + DAY]) > 0.9 * DAY


def test_what_the_empty_stack_holds_is_read_from_the_template() -> None:
    assert stands()["dashboard_month"] == 1
    assert stands()["alarm_month"] > 15


@pytest.mark.parametrize(("power", "straight"), [(1.0, True), (1.5, True), (1.0, False)])
def test_growth_is_the_exponent_of_a_power_law(power: float, straight: bool) -> None:
    noise = {100: 1.0, 1000: 1.0 if straight else 3.0, 5000: 1.0}
    found = [Measured(n, 0.0, 0.001 * n**power * noise[n], 0.0, {}, {}) for n in noise]
    exponent, fit = growth([Measured(1, 0.0, 99.0, 0.0, {}, {}), *found])
    assert (abs(exponent - power) < 1e-9) is straight
    assert (fit > 0.9999) is straight


def test_a_first_pass_finds_the_answers_that_were_written_down(tmp_path: Path) -> None:
    """As `make speed` runs it; what the artefact holds, and nothing else, is put beside each other by links."""
    artefact, answers = tmp_path / "artefact", str(tmp_path / "answers")
    artefact.mkdir()
    for place in (Path(sysconfig.get_path("purelib")), ROOT / "src"):
        for path in place.iterdir():
            (artefact / path.name).symlink_to(path)
    alone("record", "1", answers)
    imported, passed, cpu = fresh([str(FIRST_PASS)], artefact, answers)
    assert 0 < imported < passed
    assert cpu > 0
