"""Cases: what of a trace is played, at which size, and what of it is judged."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from simulator.cases import COARSE, DRAIN, DRAWS, GROUPS, Case, Mode, Planned, Scale, case_of, interpolated, standing
from simulator.traces import TraceError, read_trace

TRACES = Path(__file__).parents[3] / "traces"
START = datetime(2025, 4, 1, tzinfo=UTC)
DAY = 1440


def written(folder: Path, counts: list[int], *, name: str = "mine.csv", minutes: int = 1, work: float = 0) -> Path:
    """A regular trace; `work` seconds a request."""
    head = "timestamp,requests,work_seconds" if work else "timestamp,requests"
    rows = [
        f"{(START + number * timedelta(minutes=minutes)).isoformat()},{count}" + (f",{count * work}" if work else "")
        for number, count in enumerate(counts)
    ]
    (folder / name).write_text("\n".join([head, *rows]) + "\n")
    return folder / name


@pytest.mark.parametrize("planned", standing(TRACES), ids=lambda p: f"{p.path.name}-{p.mode}")
def test_the_standing_cases_need_ten_instances_at_their_peak(planned: Planned) -> None:
    case = planned.case()
    if case.work_seconds is None:
        assert np.quantile(case.needed, 0.995) == pytest.approx(10, abs=1)
    else:  # thinning adds noise where few requests are left; what needs less than 10 is left as it is
        peak = np.quantile(case.work_seconds[:-DRAIN] / (60 * case.concurrency), 0.995)
        assert 7 < peak < 15
    assert case.judged_minutes > 0
    assert len(case.requests) <= 28 * DAY + DRAIN


def test_every_shipped_trace_is_played_and_only_shipped_ones_are_listed() -> None:
    played = standing(TRACES)
    assert [(p.group, p.path.name.split(".")[0]) for p in played] == [
        (g, n) for g, names in GROUPS.items() for n in names
    ]
    assert {p.path for p in played} == set(TRACES.glob("*.csv*"))
    assert {p.group: p.mode for p in played} == dict.fromkeys(("daily", "trend", "surprise", "sparse"), Mode.REALTIME) | {
        "async": Mode.ASYNC,
        "window": Mode.WINDOW,
    }  # fmt: skip


def test_other_folders_are_played_in_real_time_and_as_queues_where_they_have_work(tmp_path: Path) -> None:
    written(tmp_path, [1, 2], name="plain.csv")
    written(tmp_path, [1, 2], name="queued.csv", work=3)
    written(tmp_path, [1, 2], name="nab_nyc_taxi.csv")
    (tmp_path / "README.md").write_text("no trace")
    assert [(p.path.name, p.mode, p.group) for p in standing(tmp_path)] == [
        ("nab_nyc_taxi.csv", Mode.REALTIME, "daily"),
        ("plain.csv", Mode.REALTIME, "other"),
        ("queued.csv", Mode.REALTIME, "other"),
        ("queued.csv", Mode.ASYNC, "other"),
    ]


def test_coarse_traces_are_played_once_more_on_the_prototype_s_minutes(tmp_path: Path) -> None:
    played = [(p.path.name.split(".")[0], p.draw) for p in interpolated(TRACES)]
    assert played == [(n, draw) for g in COARSE for n in GROUPS[g] for draw in range(DRAWS)]
    first, second = (each.case().requests for each in interpolated(TRACES)[:2])
    assert (first != second).mean() > 0.9  # other noise in each minute
    path = written(tmp_path, [600, 6_000] * 36, minutes=60)
    kept, noisy = (case_of(path, scale=Scale(noisy=noisy)).requests.reshape(-1, 60) for noisy in (False, True))
    assert (kept.sum(axis=1) == [600, 6_000] * 36).all()
    assert (noisy.sum(axis=1) != kept.sum(axis=1)).all()
    assert noisy.mean() == pytest.approx(55, rel=0.05)
    assert noisy[1].max() < 1.2 * 100 < kept[1].max()  # the middle of the hour is the highest, at what was counted


def test_minutes_that_were_counted_are_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, [3, 5, 0, 8] * 30)
    assert case_of(path, scale=Scale(noisy=True)).requests.tolist() == [3, 5, 0, 8] * 30


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no traces"):
        standing(tmp_path)


@pytest.mark.parametrize(
    ("days", "played", "warmup"),
    [
        (35, 28, 7 * DAY),  # the last 28 days
        (14, 14, 7 * DAY),
        (6, 6, 3 * DAY),  # half of what there is
        (1, 1, 0),
        (0.5, 0.5, 0),
    ],
)
def test_what_is_played_and_judged(tmp_path: Path, days: float, played: float, warmup: int) -> None:
    case = case_of(written(tmp_path, [10] * round(days * 24), minutes=60))
    assert (len(case.requests), case.warmup) == (played * DAY, warmup)
    assert case.start == START + timedelta(days=days - played)
    assert case.judged == slice(warmup, len(case.requests))
    assert sum(case.requests[case.judged]) == pytest.approx(case.judged_minutes / 6, rel=0.01)


def test_the_judged_part_is_said(tmp_path: Path) -> None:
    assert case_of(written(tmp_path, [10] * 48 * 7, minutes=60)).judged_part == (
        "2025-04-08 00:00 to 2025-04-15 00:00 (7 days) after 7 days of warm-up"
    )
    assert case_of(written(tmp_path, [10] * 30)).judged_part == (
        "2025-04-01 00:00 to 2025-04-01 00:30 (30 minutes), no warm-up"
    )


def test_longer_traces_are_taken_whole_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, [10] * 30 * 24, minutes=60)
    assert len(case_of(path, scale=Scale(longest_days=None)).requests) == 30 * DAY


def test_capacity_is_given_or_follows_from_the_peak(tmp_path: Path) -> None:
    path = written(tmp_path, [*range(1001)])  # 99.5 % of the minutes do not exceed 995
    assert case_of(path).capacity == pytest.approx(99.5)
    assert case_of(path, scale=Scale(peak_instances=5)).capacity == pytest.approx(199.0)
    assert case_of(path, scale=Scale(capacity=40)).capacity == 40
    assert case_of(written(tmp_path, [0] * 999 + [50])).capacity == 5  # almost always silent: the largest minute


@pytest.mark.parametrize(("load", "needed"), [(0, 0), (1, 1), (30, 1), (31, 2), (90, 3), (91, 4)])
def test_needed_instances(load: int, needed: int) -> None:
    case = Case(trace="t", mode=Mode.REALTIME, start=START, requests=np.array([load]), capacity=30.0)
    assert case.needed.tolist() == [needed]
    tenth = replace(case, requests=np.array([3]), capacity=0.1)  # 3 / 0.1 is 30.000000000000004 to a computer
    assert tenth.needed.tolist() == [30]


def test_a_queue_is_thinned_to_its_peak_and_drained(tmp_path: Path) -> None:
    path = written(tmp_path, [600] * 300, work=2)  # 20 slots
    case = case_of(path, Mode.ASYNC, Scale(peak_instances=10))
    assert case.work_seconds is not None
    assert case.requests[:-DRAIN].mean() == pytest.approx(300, rel=0.01)  # every second request is kept
    assert not case.requests[-DRAIN:].any()
    assert case.work_seconds == pytest.approx(2.0 * case.requests)
    assert case.capacity == pytest.approx(30.0)  # of 2 seconds each
    assert case_of(path, Mode.ASYNC, Scale(concurrency=8)).capacity == pytest.approx(240.0)
    small = case_of(path, Mode.ASYNC, Scale(peak_instances=40))  # thinned, never multiplied
    assert small.requests[:-DRAIN].tolist() == [600] * 300


def test_a_queue_needs_work(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"mine: a queue needs the field work_seconds"):
        case_of(written(tmp_path, [1, 2]), Mode.ASYNC)


def test_silence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"mine: no requests from 2025-04-01"):
        case_of(written(tmp_path, [0, 0]))


def test_a_bad_scale_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"peak_instances 0 must be above 0; concurrency 0 must be from 1 on"):
        Scale(peak_instances=0, concurrency=0)


def test_two_readings_are_equal_and_another_seed_is_not() -> None:
    path = TRACES / "servegen_large_c61.csv"
    one, two, other = (case_of(path, Mode.ASYNC, Scale(seed=seed)) for seed in (3, 3, 4))
    assert one.requests.tobytes() == two.requests.tobytes()
    assert one.requests.tobytes() != other.requests.tobytes()
    assert int(read_trace(path).requests.sum()) > int(one.requests.sum())
