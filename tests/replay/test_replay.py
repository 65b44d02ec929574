"""A case through the whole controller: minutes of each action with their arithmetic, and what no replay may break.

Unless a test says otherwise: l 2 (a minute's sum is readable two minutes after its end), D 6, Din 1, one instance
serves 100 requests a minute, so native tracking aims at 50.
"""

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from simulator.cases import Case, Mode
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

        Minute 60 is readable when minute 62 has ended (l = 2): at the beginning of 63 the floor becomes 5 and the order
        goes out. Instances are paid from there and serve from 63 + D = 69.
        """
        played = replay(case([90] * 60 + [450] * 4 + [90] * 8), QUIET)
        assert steps(played.floor) == {0: 1, 63: 5}
        assert played.course.orders.tolist() == [63]
        assert steps(played.course.ready) == {0: 1, 69: 5}
        assert steps(played.course.billed) == {0: 1, 63: 5}

    @pytest.mark.parametrize(("lag", "delay"), [(1, 6), (2, 3), (2, 10)])
    def test_lag_and_delay_move_it(self, lag: int, delay: int) -> None:
        """Order at 60 + l + 1, service D later."""
        played = replay(case([90] * 60 + [450] * 4 + [90] * 10, lag=lag, provisioning=delay), QUIET)
        assert played.course.orders[0] == 60 + lag + 1
        assert steps(played.course.ready)[60 + lag + 1 + delay] == 5

    def test_five_minutes_at_capacity_double_it(self) -> None:
        """The saturation policy: minutes 60-64 at 100 or more each, readable at 67.

        The endpoint is under change until 69; when that is over, at 70, 5 x 2 = 10 are ordered: what can be read is
        still of one instance.
        """
        played = replay(case([90] * 60 + [450] * 12), QUIET)
        assert played.course.orders.tolist() == [63, 70]
        assert steps(played.course.billed) == {0: 1, 63: 5, 70: 10}

    def test_a_fall_is_followed_when_the_window_has_passed(self) -> None:
        """The last high minute is 119; stabilization is 10 minutes, counted back from the clock.

        At t the minutes from t - 10 on count, 119 until t = 129. So 130 lowers the floor to 1 and scales in directly to
        ceil(90 / 1000) = 1. Din = 1: the four leave while 130 passes, which is paid, and 131 has one.
        """
        played = replay(case([450] * 120 + [90] * 30), QUIET)
        assert steps(played.floor) == {0: 1, 3: 5, 130: 1}
        assert played.course.orders.tolist() == [130]
        assert steps(played.course.ready) == {0: 5, 131: 1}
        assert steps(played.course.billed) == {0: 5, 131: 1}

    def test_before_it_joins_the_endpoint_runs_what_its_largest_minute_needs(self) -> None:
        """After that all is as if it had always been there."""
        load = case([90] * 5 + [450] * 115 + [90] * 30)
        played, late = replay(load, QUIET), replay(load, QUIET, joins=60)
        assert steps(late.course.ready) == {0: 5, 131: 1}
        assert late.course.orders.tolist() == [130]
        assert (late.course.billed[60:] == played.course.billed[60:]).all()
        assert steps(late.floor[60:]) == {0: 5, 70: 1}

    @pytest.mark.parametrize("window", [5, 20])
    def test_a_longer_window_holds_longer(self, window: int) -> None:
        played = replay(case([450] * 120 + [90] * 30), {**QUIET, "stabilization": f"{window}m"})
        assert steps(played.floor) == {0: 1, 3: 5, 120 + window: 1}

    def test_one_change_at_a_time(self) -> None:
        """A second rise while instances start waits until they serve, from 69 on: ordered at 70, served from 76."""
        played = replay(case([90] * 60 + [450] * 4 + [950] * 60), QUIET)
        assert played.course.orders.tolist() == [63, 70]
        assert steps(played.course.ready) == {0: 1, 69: 5, 76: 10}

    def test_bounds_hold(self) -> None:
        played = replay(case([100] * 30 + [5000] * 60, minimum=3, maximum=8))
        assert set(np.unique(played.course.ready)) == {3, 8}
        assert (played.floor.min(), played.ceiling.max()) == (3, 8)

    @pytest.mark.parametrize(("cooldown", "second"), [("0s", 72), ("5m", 77), ("10m", 82)])
    def test_native_cooldown_is_kept(self, cooldown: str, second: int) -> None:
        """Tracking alone, target 100; nothing that we do.

        105 exceed 100 in minutes 60-62, readable at 65: 1 -> ceil(1.05) = 2, serving from 65 + 6 = 71. AAS sees that at
        72, where the cooldown begins, and still reads the 105 of minute 69: without a cooldown it goes on to
        ceil(2 x 1.05) = 3 at once. With one it counts from the 1 before: ceil(1.05) and, from 71 on with 205 for two,
        ceil(1.025) are no more than 2. At 72 + 5 or 72 + 10 it may: ceil(2 x 1.025) = 3.
        """
        policy = {"type": "target_tracking", "metric": "requests_per_instance", "target": 100}
        orders = self.native_orders([90] * 60 + [105] * 11 + [205] * 40, {**policy, "scale_out_cooldown": cooldown})
        assert orders[:2] == [65, second]

    def test_native_scale_in_waits_for_fifteen_low_minutes(self) -> None:
        """Below 0.9 x 100 from minute 60 on: the 15th is 74, readable at 77."""
        policy = {"type": "target_tracking", "metric": "requests_per_instance", "target": 100}
        assert self.native_orders([190] * 60 + [85] * 40, policy) == [77]

    def native_orders(self, load: list[int], policy: dict[str, Any]) -> list[int]:
        objectives = {"requests_per_instance": 10_000.0}  # our floor and the saturation policy never speak
        played = replay(case(load), {"policies": [policy], "objectives": objectives, "scale_in": "native"})
        return [int(minute) for minute in played.course.orders]


class TestQueue:
    def test_it_starts_from_zero_and_returns_there(self) -> None:
        """Seven items of one minute's work at minute 30, D0 = 8.

        33: they are readable, two minutes old: 0.85 x 15 - 2 - 9 leave 1.75 minutes, and no less than 0.3 x 9 is planned
        with: ceil(7 / 2.7) = 3, served from 33 + 8 = 41 on, and nobody may add to them.
        42: seven items want one for the rest, ceil(7 / (0.8 x 12.75)), the other two may be busy.
        46: metrics show the three since 41; one item is left of what was seen until 43: down to one at once.
        48: the last minute with work has left the window of 3 minutes: floor 0.
        51: nothing waited from 43 on for D0 - 3 = 5 minutes, readable at 50: AAS goes to zero.
        """
        load = [0] * 30 + [7] + [0] * 60
        played = Replay(case(load, mode=Mode.ASYNC, capacity=1.0, minimum=0, provisioning_from_zero=8))
        played.run(len(load))
        course = played.result().course
        assert course.orders.tolist() == [33, 46, 51]
        assert steps(played.result().floor) == {0: 0, 33: 3, 42: 1, 48: 0}
        assert steps(course.ready) == {0: 0, 41: 3, 47: 1, 52: 0}
        workload = played.endpoint.workload
        assert isinstance(workload, AsyncWorkload)
        assert (workload.served, workload.waiting) == (7, 0)
        assert workload.history.backlog[40:44] == [7, 4, 1, 0]

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
        """Lead 10: the floor rises in the pass at 00:50; served from 50 + 6 = 56 on.

        When it closes the floor falls to what demand needed in the last ten minutes, 500 / 100, and then to the minimum.
        """
        played = replay(case([10] * 60 + [500] * 60 + [10] * 30, mode=Mode.WINDOW), {"windows": WINDOWS})
        assert steps(played.floor) == {0: 1, 50: 6, 120: 5, 130: 1}
        assert steps(played.course.ready)[56] == 6

    def test_without_windows_it_is_a_real_time_endpoint(self) -> None:
        load = [10] * 60 + [500] * 10
        assert same(replay(case(load, mode=Mode.WINDOW)), replay(case(load)))


@pytest.fixture(scope="module")
def day() -> Replay:
    """A day of c31, played."""
    played = Replay(a_day_of_c31())
    played.run(DAY)
    return played


class TestEveryReplay:
    def test_two_runs_give_the_same_bytes_in_parts_too(self, day: Replay) -> None:
        parts = Replay(a_day_of_c31())
        for part in (7, 700, DAY):
            parts.run(part)
        assert same(day.result(), parts.result())

    def test_what_was_played_so_far_does_not_depend_on_what_comes(self) -> None:
        one, other = case([100] * 60 + [450] * 60), case([100] * 60 + [900] * 60)
        first, second = replay(one), replay(other)
        assert np.array_equal(first.course.ready[:69], second.course.ready[:69])
        assert not np.array_equal(first.floor, second.floor)

    @pytest.mark.parametrize("mode", Mode)
    def test_the_fast_path_decides_as_the_one_over_botocore(self, day: Replay, mode: Mode) -> None:
        """A day of c31, and three hours in the other modes, where other owners have something to do."""
        load = day.case if mode is Mode.REALTIME else case([0] * 30 + [40] * 20 + [350] * 60 + [0] * 70, mode=mode)
        settings = {"windows": WINDOWS} if mode is Mode.WINDOW else {}
        fast, slow = day if mode is Mode.REALTIME else Replay(load, settings), Replay(load, settings, direct=False)
        for played in (fast, slow):
            played.run(DAY)  # which plays no minute twice
        assert same(fast.result(), slow.result())
        assert len(fast.result().course.orders) > (20 if mode is Mode.REALTIME else 1)

    def test_instance_minutes_add_up(self, day: Replay) -> None:
        """Paid are the instances that serve, those that start (D a piece) and those that leave (Din a piece)."""
        course = day.result().course
        assert course.billed.sum() == day.endpoint.instance_minutes
        assert np.all(course.billed >= course.ready)
        starting = np.maximum(np.diff(course.ready), 0).sum()
        assert (course.billed - course.ready).sum() == 6 * starting

    def test_one_change_at_a_time_in_all_of_a_day(self, day: Replay) -> None:
        """The next order comes when D or Din have passed, and the pass after that has seen it."""
        course = day.result().course
        for order, following in pairwise(course.orders):
            started = course.billed[order] > course.ready[order]
            assert following - order > (6 if started else 1)

    def test_series_have_a_value_a_minute(self) -> None:
        played = replay(case([100] * 50))
        course = played.course
        assert {len(each) for each in (course.ready, course.billed, played.floor, played.ceiling, played.target)} == {
            50
        }
        assert np.all(played.target == 50.0)
        assert np.all((played.floor <= played.course.billed) & (played.course.billed <= played.ceiling))

    def test_a_profile_that_is_none_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="min_capacity"):
            replay(case([10]), {"min_capacity": -1})

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
