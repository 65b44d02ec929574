"""Seconds that a replay of 14 days takes (`make speed`): `python bench/replay.py [--days 14] [--profile]`."""

import cProfile
import pstats
import time
from pathlib import Path
from typing import Annotated

import typer

from simulator.cases import Case, Mode
from simulator.replay import replay
from simulator.traces import read_trace

TRACES = Path(__file__).resolve().parents[1] / "traces"


def main(
    trace: Annotated[str, typer.Option(help="File of traces/.")] = "servegen_small_c31.csv",
    days: Annotated[int, typer.Option(help="Days to play.")] = 14,
    *,
    profile: Annotated[bool, typer.Option(help="Show where the time goes.")] = False,
) -> None:
    """Play the first days of a trace as a real-time endpoint whose largest minutes (p99.5) need ten instances."""
    seen = read_trace(TRACES / trace)
    requests = seen.requests[: days * 24 * 60]
    capacity = float(sorted(requests)[int(0.995 * len(requests))]) / 10
    case = Case(trace=trace, mode=Mode.REALTIME, start=seen.start, requests=requests, capacity=capacity)
    profiler = cProfile.Profile()
    started = time.process_time()
    if profile:
        profiler.enable()
    played = replay(case)
    profiler.disable()
    seconds = time.process_time() - started
    changes = len(played.course.orders) / days
    print(
        f"{trace}: {len(requests):,} minutes in {seconds:.1f} s of one core, {1000 * seconds / len(requests):.3f} ms a "
        f"minute; {changes:.0f} changes a day, {played.course.billed.sum() / 60:,.0f} instance-hours"
    )
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    typer.run(main)
