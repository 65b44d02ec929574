"""A case through the whole controller: minutes of each action with their arithmetic, and what no replay may break.

Unless a test says otherwise: l 2 (a minute's sum is readable two minutes after its end), D 6, Din 1, one instance
serves 100 requests a minute, so native tracking aims at 50.
"""

import hashlib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from simulator.cases import Case, Course, Mode
from simulator.replay import Replay, Replayed, replay
from simulator.traces import read_trace
from simulator.workload import AsyncWorkload

TRACES = Path(__file__).resolve().parents[2] / "traces"
START = datetime(2025, 4, 2, tzinfo=UTC)
DAY = 24 * 60


def case(load: list[int], **settings: Any) -> Case:
    usual: dict[str, Any] = {"trace": "made up", "mode": Mode.REALTIME, "capacity": 100.0, "warmup": 0, "maximum": 20}
    return Case(**{**usual, "start": START, "requests": np.array(load), **settings})


def a_day_of_c31(**settings: Any) -> Case:
    seen = read_trace(TRACES / "servegen_small_c31.csv", seed=31)
    return case(seen.requests[:DAY].tolist(), start=seen.start, capacity=400.0, **settings)


def steps(series: np.ndarray[Any, Any]) -> dict[int, int]:
    """The minutes in which a series takes another value, and the value."""
    return {0: int(series[0])} | {int(t): int(series[t]) for t in np.flatnonzero(np.diff(series)) + 1}


def same(left: Replayed, right: Replayed) -> bool:
    """Whether two replays are equal, minute by minute and word for word."""
    return fingerprint(left) == fingerprint(right)


def fingerprint(played: Replayed) -> str:
    digest = hashlib.sha256(repr((played.changes, played.failures)).encode())
    for series in (played.floor, played.ceiling, played.target):
        digest.update(series.tobytes())
    for name in ("ready", "billed", "orders"):
        digest.update(getattr(played.course, name).tobytes())
    return digest.hexdigest()


QUIET = {"policies": [{"type": "target_tracking", "metric": "requests_per_instance", "target": 1000}]}
"""Native tracking is out of the way: every order is the floor's, the direct scale-in's or the saturation policy's."""
WINDOWS = [{"name": "job", "start": "01:00", "duration": "1h", "lead": "10m", "min_capacity": 6}]


class TestMinutes:
    def test_a_rise_is_served_nine_minutes_later(self) -> None:
        """450 requests need ceil(450 / 100) = 5.

        Minute 60 is readable when minute 62 has ended (l = 2): floor 5 and the order. Instances serve from
        62 + 1 + D = 69 and are paid from 63.
        """
        played = replay(case([90] * 60 + [450] * 4 + [90] * 8), QUIET)
        assert steps(played.floor) == {0: 1, 62: 5}
        assert played.course.orders.tolist() == [62]
        assert steps(played.course.ready) == {0: 1, 69: 5}
        assert steps(played.course.billed) == {0: 1, 63: 5}

    @pytest.mark.parametrize(("lag", "delay"), [(1, 6), (2, 3), (2, 10)])
    def test_lag_and_delay_move_it(self, lag: int, delay: int) -> None:
        """Order at the end of 60 + l, service from 60 + l + 1 + D."""
        played = replay(case([90] * 60 + [450] * 4 + [90] * 10, lag=lag, provisioning=delay), QUIET)
        assert played.course.orders[0] == 60 + lag
        assert steps(played.course.ready)[60 + lag + 1 + delay] == 5

    def test_five_minutes_at_capacity_double_it(self) -> None:
        """The saturation policy: minutes 60-64 at 100 or more each, readable at the end of 66.

        The endpoint is under change until 69, and then 5 x 2 = 10 are ordered, for 67 still reads one instance.
        """
        played = replay(case([90] * 60 + [450] * 12), QUIET)
        assert played.course.orders.tolist() == [62, 69]
        assert steps(played.course.billed) == {0: 1, 63: 5, 70: 10}

    def test_a_fall_is_followed_when_the_window_has_passed(self) -> None:
        """The last high minute is 119; stabilization is 10 minutes, counted back from the clock.

        At clock t minutes from t - 10 on count: 119 counts until clock 129, so the pass at clock 130, the end of
        minute 129, lowers the floor to 1 and scales in directly to ceil(90 / 1000) = 1. Din = 1: the four leave while
        130 passes, which is paid, and 131 has one.
        """
        played = replay(case([450] * 120 + [90] * 30), QUIET)
        assert steps(played.floor) == {0: 1, 2: 5, 129: 1}
        assert played.course.orders.tolist() == [129]
        assert steps(played.course.ready) == {0: 5, 131: 1}
        assert steps(played.course.billed) == {0: 5, 131: 1}

    @pytest.mark.parametrize("window", [5, 20])
    def test_a_longer_window_holds_longer(self, window: int) -> None:
        played = replay(case([450] * 120 + [90] * 30), {**QUIET, "stabilization": f"{window}m"})
        assert steps(played.floor) == {0: 1, 2: 5, 119 + window: 1}

    def test_one_change_at_a_time(self) -> None:
        """A second rise while instances start is ordered when they serve: 62 + 1 + D = 69, and comes 7 later."""
        played = replay(case([90] * 60 + [450] * 4 + [950] * 60), QUIET)
        assert played.course.orders.tolist() == [62, 69]
        assert steps(played.course.ready) == {0: 1, 69: 5, 76: 10}

    def test_bounds_hold(self) -> None:
        played = replay(case([100] * 30 + [5000] * 60, minimum=3, maximum=8))
        assert set(np.unique(played.course.ready)) == {3, 8}
        assert (played.floor.min(), played.ceiling.max()) == (3, 8)

    @pytest.mark.parametrize(("cooldown", "second"), [("0s", 71), ("5m", 76), ("10m", 81)])
    def test_native_cooldown_is_kept(self, cooldown: str, second: int) -> None:
        """Tracking alone, target 100; nothing that we do.

        105 exceed 100 in minutes 60-62, readable at the end of 64: 1 -> ceil(1.05) = 2, serving from 64 + 1 + 6 = 71.
        AAS sees that at the end of 71, where the cooldown begins, and still reads the 105 of minute 69: without a
        cooldown it goes on to ceil(2 x 1.05) = 3 at once. With one it counts from the 1 before: ceil(1.05) and, from
        71 on with 205 for two, ceil(1.025) are no more than 2. After 71 + 5 or 71 + 10 it may: ceil(2 x 1.025) = 3.
        """
        policy = {"type": "target_tracking", "metric": "requests_per_instance", "target": 100}
        orders = self.native_orders([90] * 60 + [105] * 11 + [205] * 40, {**policy, "scale_out_cooldown": cooldown})
        assert orders[:2] == [64, second]

    def test_native_scale_in_waits_for_fifteen_low_minutes(self) -> None:
        """Below 0.9 x 100 from minute 60 on: 15 of them have passed at the end of 74, readable at the end of 76."""
        policy = {"type": "target_tracking", "metric": "requests_per_instance", "target": 100}
        assert self.native_orders([190] * 60 + [85] * 40, policy) == [76]

    def native_orders(self, load: list[int], policy: dict[str, Any]) -> list[int]:
        objectives = {"requests_per_instance": 10_000.0}  # our floor and the saturation policy never speak
        played = replay(case(load), {"policies": [policy], "objectives": objectives, "scale_in": "native"})
        return [int(minute) for minute in played.course.orders]


class TestQueue:
    def test_it_starts_from_zero_and_returns_there(self) -> None:
        """Seven items of one minute's work at minute 30, D0 = 8.

        32: they are readable; floor ceil(7 / (1 x 15)) = 1, served from 32 + 1 + 8 = 41 on, one a minute until 47.
        41: the wake alarm still reads the minutes without instances and asks for one more, which comes at 48.
        48: FleetSync, called by that change, scales in directly to ceil(7 / 7.5) = 1; gone from 50 on.
        57: the last minute with work, 47, has left the window of 10 minutes (clock 58): floor 0.
        58: less than 0.9 x 7.5 waited from 41 to 55, 15 minutes, readable at the end of 57; but only now the floor
        is out of the way: down to zero.
        """
        load = [0] * 30 + [7] + [0] * 60
        played = Replay(case(load, mode=Mode.ASYNC, capacity=1.0, minimum=0, provisioning_from_zero=8))
        played.run(len(load))
        course = played.result().course
        assert course.orders.tolist() == [32, 41, 48, 58]
        assert steps(played.result().floor) == {0: 0, 32: 1, 57: 0}
        assert steps(course.ready) == {0: 0, 41: 1, 48: 2, 50: 1, 60: 0}
        workload = played.endpoint.workload
        assert isinstance(workload, AsyncWorkload)
        assert (workload.served, workload.waiting) == (7, 0)
        assert workload.history.backlog[40:49] == [7, 6, 5, 4, 3, 2, 1, 0, 0]

    def test_every_item_is_served_or_waits(self) -> None:
        load = np.random.default_rng(1).poisson(20, 300).tolist()
        played = Replay(case(load, mode=Mode.ASYNC, capacity=4.0, minimum=0))
        for _ in range(300):
            played.run(1)
            workload = played.endpoint.workload
            assert isinstance(workload, AsyncWorkload)
            assert workload.served + workload.waiting == sum(load[: played.minute])


class TestWindow:
    def test_instances_stand_when_it_opens(self) -> None:
        """Lead 10: the floor rises in the pass at 00:50, the end of minute 49; served from 49 + 1 + 6 = 56."""
        played = replay(case([10] * 60 + [500] * 60 + [10] * 30, mode=Mode.WINDOW), {"windows": WINDOWS})
        assert steps(played.floor) == {0: 1, 49: 6, 119: 1}
        assert steps(played.course.ready)[56] == 6

    def test_a_window_must_be_given(self) -> None:
        with pytest.raises(ConfigError, match="at least one window"):
            replay(case([10], mode=Mode.WINDOW))


class TestEveryReplay:
    def test_two_halves_equal_one(self) -> None:
        whole, halves = Replay(a_day_of_c31()), Replay(a_day_of_c31())
        whole.run(DAY)
        for part in (7, 700, DAY):
            halves.run(part)
        assert same(whole.result(), halves.result())

    def test_two_runs_give_the_same_bytes(self) -> None:
        load = a_day_of_c31()
        assert same(replay(load), replay(load))

    def test_what_was_played_so_far_does_not_depend_on_what_comes(self) -> None:
        one, other = case([100] * 60 + [450] * 60), case([100] * 60 + [900] * 60)
        first, second = replay(one), replay(other)
        assert np.array_equal(first.course.ready[:69], second.course.ready[:69])
        assert not np.array_equal(first.floor, second.floor)

    def test_the_fast_path_decides_as_the_one_over_botocore(self) -> None:
        fast, slow = Replay(a_day_of_c31()), Replay(a_day_of_c31(), direct=False)
        for played in (fast, slow):
            played.run(DAY)
        assert same(fast.result(), slow.result())
        assert len(fast.result().course.orders) > 20

    def test_instance_minutes_add_up(self) -> None:
        """Paid are the instances that serve, those that start (D a piece) and those that leave (Din a piece)."""
        played = Replay(a_day_of_c31())
        played.run(DAY)
        course = played.result().course
        assert course.billed.sum() == played.endpoint.instance_minutes
        assert np.all(course.billed >= course.ready)
        starting = np.maximum(np.diff(course.ready), 0).sum()
        assert (course.billed - course.ready).sum() == 6 * starting

    def test_one_change_at_a_time_in_all_of_a_day(self) -> None:
        course = replay(a_day_of_c31()).course
        for order, following in zip(course.orders, course.orders[1:], strict=False):
            before = course.ready[order]
            under_way = 7 if course.billed[order + 1] > before else 2
            assert following - order >= under_way - 1

    def test_series_have_a_value_a_minute(self) -> None:
        played = replay(case([100] * 50))
        series = [getattr(played.course, each.name) for each in fields(Course) if each.name in {"ready", "billed"}]
        assert {len(each) for each in [*series, played.floor, played.ceiling, played.target]} == {50}
        assert np.all(played.target == 50.0)
        assert np.all((played.floor <= played.course.billed) & (played.course.billed <= played.ceiling))

    def test_progress_is_told_once_a_day(self) -> None:
        told: list[int] = []
        replay(case([0] * (DAY + 5)), progress=told.append)
        assert told == [DAY, DAY + 5]

    def test_a_failed_invocation_is_told(self) -> None:
        played = Replay(case([100] * 5))
        played.account.fail_next("sagemaker", "DescribeEndpoint", "InternalServiceError", "try again")
        played.run(5)
        ((function, error),) = played.result().failures
        assert (function, "try again" in error) == ("RealtimeTarget", True)
