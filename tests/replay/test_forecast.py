"""Six office days through the whole controller: the fit, the floor before the ramp, and what stays without Tidegate."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from core.model import Option
from simulator.cases import Case, Mode
from simulator.replay import TARGET, Replay, Replayed
from simulator.stack import DirectStack

START = datetime(2025, 4, 2, tzinfo=UTC)
DAY, MORNING, EVENING = 24 * 60, 9 * 60, 17 * 60
READY_IN = 6  # minutes, D


def office(days: int = 6) -> Case:
    """50 requests a minute, 650 from 09:00 to 17:00, with 5 % of noise; an instance serves 100."""
    minute = np.arange(days * DAY) % DAY
    rate = np.where((minute >= MORNING) & (minute < EVENING), 650, 50)
    load = np.random.default_rng(7).normal(rate, 0.05 * rate).round().astype(np.int64)
    return Case(
        trace="office",
        mode=Mode.REALTIME,
        start=START,
        requests=load,
        capacity=100.0,
        warmup=0,
        maximum=20,
        provisioning=READY_IN,
    )


@pytest.fixture(scope="module")
def played() -> Replay:
    run = Replay(office())
    run.run(len(run.case.requests))
    return run


def at(result: Replayed, day: int, minute: int) -> tuple[int, int]:
    """Floor and instances that serve, at the beginning of a minute of a day."""
    index = day * DAY + minute
    return int(result.floor[index]), int(result.course.ready[index])


def test_the_floor_rises_before_the_morning(played: Replay) -> None:
    result = played.result()
    assert result.failures == ()
    assert at(result, 1, MORNING)[1] < 7  # nothing is learned yet: 650 need seven, and they come too late
    for day in (4, 5):
        assert at(result, day, MORNING - 60)[0] <= 2
        floor, ready = at(result, day, MORNING)
        assert floor >= 6
        assert ready >= 6
        assert result.course.ready[day * DAY + MORNING + 5 : day * DAY + EVENING].min() >= 7


def test_the_target_stands_by_from_the_first_fit_on(played: Replay) -> None:
    """Three days are needed; CloudWatch shows a minute after two, and FleetSync runs hourly."""
    target = played.result().target
    assert set(target[5 : 3 * DAY]) == {50.0}
    assert set(target[3 * DAY + 121 :]) == {90.0}


@pytest.mark.parametrize(
    ("stated", "horizons"),
    [
        ("6m", (3, 7, 13)),
        ("20m", (3, 21, 41)),  # with the old one the next morning was ordered 14 minutes late
        ("90s", (3, 7, 13)),  # earlier than needed is only dear, until tomorrow's fit
    ],
)
def test_a_longer_start_that_is_stated_is_looked_ahead_by_at_once(stated: str, horizons: tuple[int, int, int]) -> None:
    run = Replay(office(4), joins=3 * DAY + 60)
    run.run(run.joins + 5)
    assert run.stack.store.learned([TARGET])[TARGET].horizons == (3, 7, 13)
    document = run.stack.policies.fleet().model_dump(mode="json", exclude_unset=True)
    document["profiles"]["replayed"]["provisioning"] = stated
    stack = DirectStack(run.account, document, store=run.stack.store)
    for _ in range(2):  # a push, and the next
        stack.invoke("FleetSync", {"trigger": "policy"})
        assert stack.store.learned([TARGET])[TARGET].horizons == horizons


def test_the_evening_gives_back_at_once(played: Replay) -> None:
    ready = played.result().course.ready
    assert ready[5 * DAY + EVENING + 20] <= 2


def test_two_runs_give_the_same_bytes(played: Replay) -> None:
    """Until the evening of the first day that is foreseen."""

    def digest(result: Replayed) -> str:
        series: tuple[Any, ...] = (result.course.ready, result.floor, result.ceiling, result.target)
        return hashlib.sha256(b"".join(each[: 4 * DAY].tobytes() for each in series)).hexdigest()

    again = Replay(office())
    again.run(4 * DAY)
    assert digest(again.result()) == digest(played.result())


def test_floors_expire_without_the_controller() -> None:
    run = Replay(office(5))
    run.run(4 * DAY + MORNING + 60)
    assert run.result().floor[-1] >= 7
    run.stack.stop()
    run.run(6 * 60)
    bounds = run.account.snapshot("replayed")["bounds"]
    assert bounds == (1, 20)
    assert run.result().course.ready[-1] >= 7  # tracking holds on by itself


def test_each_day_is_replayed_under_the_other_options_too(played: Replay) -> None:
    """By the fit that was in force; what it says the forecast cost is what the day came to."""
    learned = played.stack.store.learned([TARGET])[TARGET]
    newest, *_ = learned.judged
    first = (learned.fitted_at - START) // timedelta(minutes=1) - DAY
    billed = played.result().course.billed[first : first + DAY]
    assert newest.instances[Option.FORECAST] == pytest.approx(billed.sum(), rel=0.02)
    assert newest.violated[Option.FORECAST] == 0 < newest.violated[Option.GUARD]
    assert newest.instances[Option.FORECAST] < newest.instances[Option.GUARD]
    assert newest.under == pytest.approx(newest.promised, abs=0.01)
    assert learned.chosen is Option.FORECAST
