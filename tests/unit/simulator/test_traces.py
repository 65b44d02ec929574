"""Traces by the minute: sums kept, seeded, sliced."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from simulator.traces import read_trace

REPOSITORY = Path(__file__).parents[3]
SHIPPED = ("servegen_small_c31.csv", "servegen_large_c48.csv", "servegen_large_c149.csv")
START = datetime(2025, 4, 1, tzinfo=UTC)


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


TEN_MINUTES = "timestamp,requests,work_seconds\n2025-04-01T00:00:00Z,100,50\n2025-04-01T00:10:00Z,0,0\n2025-04-01T00:20:00Z,600,1200\n"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_traces_keep_every_measured_count(name: str) -> None:
    path = REPOSITORY / "traces" / name
    trace = read_trace(path, seed=7)
    measured = [int(line.split(",")[1]) for line in path.read_text().splitlines()[1:]]
    assert len(trace.requests) == 14 * 1440
    assert trace.requests.reshape(-1, 10).sum(axis=1).tolist() == measured


def test_the_rate_runs_from_centre_to_centre(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, TEN_MINUTES), seed=1)
    first, silent, last = trace.requests.reshape(3, 10)
    assert first[:5].sum() > first[5:].sum()  # falls towards the silence
    assert silent.sum() == 0
    assert last[:5].sum() < last[5:].sum()


def test_work_goes_with_the_requests_that_carry_it(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, TEN_MINUTES))
    assert trace.work_seconds.reshape(3, 10).sum(axis=1).tolist() == pytest.approx([50.0, 0.0, 1200.0])
    assert trace.work_seconds[25] == pytest.approx(2.0 * trace.requests[25])


def test_equal_seeds_give_equal_minutes_other_seeds_others(tmp_path: Path) -> None:
    path = written(tmp_path, TEN_MINUTES)
    assert np.array_equal(read_trace(path, seed=1).requests, read_trace(path, seed=1).requests)
    assert not np.array_equal(read_trace(path, seed=1).requests, read_trace(path, seed=2).requests)


def test_scale_multiplies_the_counts(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, TEN_MINUTES), scale=0.25)
    assert trace.requests.reshape(3, 10).sum(axis=1).tolist() == [25, 0, 150]


def test_minute_traces_are_taken_as_they_are_also_gzipped_and_without_work(tmp_path: Path) -> None:
    text = "timestamp,requests\n2025-04-01T00:00:00Z,5\n2025-04-01T00:01:00Z,7\n"
    trace = read_trace(written(tmp_path, text, "trace.csv.gz"), seed=3)
    assert (trace.requests.tolist(), trace.work_seconds.tolist()) == ([5, 7], [0.0, 0.0])


def test_one_row_a_request_is_binned(tmp_path: Path) -> None:
    rows = "2025-04-01T00:00:01.500Z,1,2.0\n2025-04-01T00:00:30Z,1,4.0\n2025-04-01T00:02:00Z,1,1.5\n"
    trace = read_trace(written(tmp_path, f"timestamp,requests,work_seconds\n{rows}"))
    assert (trace.start, trace.requests.tolist(), trace.work_seconds.tolist()) == (START, [2, 0, 1], [6.0, 0.0, 1.5])


def test_slicing(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, TEN_MINUTES))
    part = trace.slice(START + timedelta(minutes=10), 1 / 6)
    assert (part.start, part.requests.tolist()) == (START + timedelta(minutes=10), [0] * 10)
    with pytest.raises(ValueError, match="outside the trace"):
        trace.slice(START, 1)


def test_odd_intervals_are_refused(tmp_path: Path) -> None:
    text = "timestamp,requests\n2025-04-01T00:00:00Z,5\n2025-04-01T00:01:30Z,7\n"
    with pytest.raises(ValueError, match="whole number of minutes"):
        read_trace(written(tmp_path, text))
