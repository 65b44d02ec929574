"""Traces by the minute: sums kept, seeded, sliced."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from simulator.traces import TraceError, has_work, read_trace

REPOSITORY = Path(__file__).parents[3]
TRACES = sorted((REPOSITORY / "traces").glob("*.csv*"))
TEN_MINUTELY = [path for path in TRACES if path.name.startswith("servegen_")]
START = datetime(2025, 4, 1, tzinfo=UTC)


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


TEN_MINUTES = "timestamp,requests,work_seconds\n2025-04-01T00:00:00Z,100,50\n2025-04-01T00:10:00Z,0,0\n2025-04-01T00:20:00Z,600,1200\n"


@pytest.mark.parametrize("path", TEN_MINUTELY, ids=lambda path: path.name)
def test_shipped_traces_keep_every_measured_count(path: Path) -> None:
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


def test_each_shipped_trace_is_described_and_licensed() -> None:
    described = (REPOSITORY / "traces" / "README.md").read_text()
    noticed = (REPOSITORY / "traces" / "NOTICE.md").read_text()
    assert len(TRACES) == 15
    for path in TRACES:
        assert path.name in described
        assert path.name in noticed or path.name.split("_")[0] + "_*" in noticed


def test_work_is_optional_and_known_from_the_first_line() -> None:
    with_work = {path.name for path in TRACES if has_work(path)}
    assert {"servegen_large_c48.csv", "mooncake_conversation.csv"} <= with_work
    assert with_work.isdisjoint({"worldcup98_jun.csv.gz", "nab_nyc_taxi.csv"})


HEAD = "timestamp,requests,work_seconds\n"
FIRST = "2025-04-01T00:00:00Z,5,1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "trace.csv, row 1: no field requests and timestamp in 'nothing'; expected timestamp,requests"),
        ("time,requests\n", "row 1: no field timestamp in 'time,requests'"),
        (HEAD, "0 row(s) at one time; a trace needs at least two times"),
        (HEAD + FIRST, "1 row(s) at one time"),
        (HEAD + FIRST + "yesterday,5,1\n", "trace.csv, row 3: timestamp 'yesterday' is no ISO 8601 time"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,-4,1\n", "row 3: requests '-4' is no number from 0 to 1e+12"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,,1\n", "row 3: requests '' is no number from 0 to 1e+12"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,1e300,1\n", "row 3: requests '1e300' is no number from 0 to 1e+12"),
        (HEAD + "0001-01-01T00:00+05:00,4,1\n", "row 2: timestamp '0001-01-01T00:00+05:00' is no ISO 8601 time"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,nan,1\n", "row 3: requests 'nan'"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,many,1\n", "row 3: requests 'many'"),
        (HEAD + FIRST + "2025-04-01T00:01:00Z,3,inf\n", "row 3: work_seconds 'inf'"),
        (HEAD + FIRST + "2025-03-31T23:59:00Z,3,1\n", "row 3: timestamp 2025-03-31T23:59:00+00:00 lies before"),
        (
            "timestamp,requests\n0001-01-01T00:00Z,1\n2025-04-01T00:00:30Z,1\n2025-04-01T00:00:31Z,1\n",
            "from timestamp 0001-01-01T00:00:00+00:00 (row 2) to 2025-04-01T00:00:31+00:00 (row 4) it is longer than 3660",
        ),
        (
            HEAD + FIRST + "2025-04-01T00:10:00Z,5,1\n2025-04-01T00:30:00Z,5,1\n",
            "row 4: timestamp 2025-04-01T00:30:00+00:00 comes 0:20:00 after the row before; expected 0:10:00",
        ),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_row_field_and_value(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(written(tmp_path, text))
    assert said in str(caught.value)


def test_all_faults_are_said_at_once_but_not_endlessly(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(written(tmp_path, HEAD + FIRST + "2025-04-01T00:01:00Z,x,1\n" * 7))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [f"trace.csv, row {number}" for number in range(3, 8)]
    assert lines[5:] == ["and 2 more"]


@pytest.mark.parametrize(("name", "content"), [("a.csv.gz", b"timestamp"), ("a.csv", b"\xff\xfe\x00"), ("b.csv", None)])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TraceError, match=f"{name}: cannot be read as CSV"):
        read_trace(tmp_path / name)


def test_an_interval_may_be_stamped_within_its_minute(tmp_path: Path) -> None:
    text = "timestamp,requests\n2025-04-01T00:00:17Z,5\n2025-04-01T00:01:17Z,7\n"
    trace = read_trace(written(tmp_path, text))
    assert (trace.start, trace.requests.tolist()) == (START, [5, 7])


def test_a_time_without_an_offset_is_utc_and_others_are_turned_into_it(tmp_path: Path) -> None:
    bare = read_trace(written(tmp_path, "timestamp,requests\n2025-04-01T00:00:00,5\n2025-04-01T00:01:00,7\n"))
    far = "timestamp,requests\n2025-04-01T02:00:00+02:00,5\n2025-04-01T02:01:00+02:00,7\n"
    assert bare.start == read_trace(written(tmp_path, far)).start == START


def test_odd_intervals_are_refused(tmp_path: Path) -> None:
    text = "timestamp,requests\n2025-04-01T00:00:00Z,5\n2025-04-01T00:01:30Z,7\n"
    with pytest.raises(ValueError, match="whole number of minutes"):
        read_trace(written(tmp_path, text))
