"""Every policy on every trace: `python -m bench.benchmarks [--traces DIR] [--json FILE]`.

With the shipped traces it writes docs/benchmarks.md and benchmarks-queues.md; with others it prints, and writes JSON.
Two runs write the same.
"""

import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import queues
from cli.backtest import harmed
from simulator.capacities import Learned, play
from simulator.cases import OTHERS, Mode, Planned, standing, trace_name
from simulator.deadlines import MAXIMUM, Outcome, jobs, play_all
from simulator.judge import judge_all
from simulator.scores import Score
from simulator.traces import TraceError

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "traces"
PAGE = ROOT / "docs" / "benchmarks.md"
QUEUES = ROOT / "docs" / "benchmarks-queues.md"
SETTINGS = {
    "peak_instances": 10,
    "peak_quantile": 0.995,
    "provisioning_minutes": 6,
    "provisioning_from_zero_minutes": 8,
    "removal_minutes": 1,
    "metric_lag_minutes": 2,
    "warmup_days": 7,
    "longest_days": 28,
    "objective_minutes": 15,
    "concurrency": 1,
    "seed": 0,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """The scores of one case."""

    planned: Planned
    scores: tuple[Score, ...]


def main(
    traces: Annotated[Path, typer.Option(help="Folder of timestamp,requests[,work_seconds] files.")] = SHIPPED,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write settings and results there.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; figures do not depend on it.")] = 2,
) -> None:
    """Judge every case and write what came out."""
    try:
        planned = (*standing(traces), *queues.planned(traces))
    except (TraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    begun, found = time.monotonic(), dict[Planned, tuple[Score, ...]]()
    longest_first = sorted(planned, key=lambda each: -each.path.stat().st_size)
    for each, scores in judge_all(longest_first, workers):
        found[each] = scores
        said = f"{len(found)}/{len(planned)} {each.mode} {each.path.name}"
        print(f"{time.monotonic() - begun:6.1f} s  {said}", file=sys.stderr)
    judged = [Judged(each, found[each]) for each in planned]
    kept = play_all(jobs(traces), workers)
    capacities = play() if traces.resolve() == SHIPPED else []  # of no trace, so of all alike
    if json_file is not None:
        json_file.write_text(json.dumps(document(judged, kept, capacities), indent=1) + "\n", encoding="utf-8")
    text = "\n".join(page(judged, kept, capacities)) + "\n"
    if traces.resolve() == SHIPPED:
        for file, said in ((PAGE, text), (QUEUES, "\n".join(queues.details(found)) + "\n")):
            file.write_text(said, encoding="utf-8")
            print(f"{file.relative_to(ROOT)} is written.", file=sys.stderr)
    print(text)


def document(judged: Sequence[Judged], kept: Sequence[Outcome], capacities: Sequence[Learned]) -> dict[str, Any]:
    """Return what `JSON=FILE` writes."""
    return {
        "settings": SETTINGS,
        "results": [score.row() | _setting(each.planned) for each in judged for score in each.scores],
        "deadlines": [outcome.row() for outcome in kept],
        "capacities": [asdict(each) for each in capacities],
    }


def _setting(planned: Planned) -> dict[str, Any]:
    return asdict(planned.setting) if planned.setting else {}


def page(judged: Sequence[Judged], kept: Sequence[Outcome], capacities: Sequence[Learned]) -> Iterable[str]:
    """Yield the page, a line at a time."""
    yield from (
        "# Benchmarks",
        "",
        "Written by `make bench`; [benchmarks-method.md](benchmarks-method.md) says what is judged and how.",
        "One setting for all, nothing chosen for a trace. Each cell: cost ÷ clairvoyant / share of requests violated",
        "(queues: late). A group has the geometric mean of the cost and the arithmetic mean of the share.",
        "**Bold** is Tidegate.",
        "",
    )
    groups: Mapping[str, list[Judged]] = defaultdict(list)
    standard = [each for each in judged if each.planned.setting is None]
    for each in standard:
        groups[each.planned.group].append(each)
    for group, members in groups.items():
        yield from _group(group, members)
    yield from _deadlines(kept)
    yield from queues.summary({each.planned: each.scores for each in judged})
    yield from _capacities(capacities)
    yield from _losers(standard)


def _group(group: str, members: Sequence[Judged]) -> Iterable[str]:
    modes = list(dict.fromkeys(each.planned.mode for each in members)) if group == OTHERS else [members[0].planned.mode]
    for mode in modes:
        part = [each for each in members if each.planned.mode is mode]
        names = [each.scores[0].trace for each in part]
        yield from (f"## {group.capitalize()} ({mode})", "")
        yield f"| policy | {' | '.join(names)} | group | changes a day |"
        yield f"|---|{'---|' * len(names)}---|---|"
        for index, score in enumerate(part[0].scores):
            row = [each.scores[index] for each in part]
            yield _line(score, row)
        yield ""
        if mode is Mode.WINDOW:
            yield from _openings(names, part)


def _openings(names: Sequence[str], part: Sequence[Judged]) -> Iterable[str]:
    """Yield what windows are for: whether the instances stood when the load came."""
    yield from (
        "Share of the requests in the first 30 minutes of each block of load that were violated: all blocks /",
        "those that resemble history (one in the first week needed as much within an hour of that time of day):",
        "",
    )
    yield from (f"| policy | {' | '.join(names)} |", f"|---|{'---|' * len(names)}")
    for index, named in enumerate(part[0].scores):
        row = [each.scores[index] for each in part]
        cells = [f"{s.opening_violated_share or 0:.2%} / {s.resembling_violated_share or 0:.2%}" for s in row]
        yield f"| {_name(named)} | {' | '.join(cells)} |"
    yield ""


def _deadlines(kept: Sequence[Outcome]) -> Iterable[str]:
    """Yield what became of work that had a deadline; nothing where no trace of the group is there."""
    if not kept:
        return
    yield from (
        "## Deadlines (window)",
        "",
        f"Each day's requests of the second week wait at 01:00 and are due so much later; at most {MAXIMUM} instances.",
        "Each cell: deadlines met of those that can be met / least margin / instance-hours ÷ those of the work itself.",
        "Scheduled actions hold what the first week's largest day needed, from 15 minutes before.",
        "",
    )
    names = [one.policy for one in kept[0].kept]
    yield from (f"| trace | deadline | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}")
    for each in kept:
        slower = f", instances {each.job.slower:.0%} slower than stated" if each.job.slower else ""
        cells = [
            f"{one.met} of {each.feasible} / {'-' if one.least_margin is None else f'{one.least_margin} min'} "
            f"/ {one.instance_hours / each.work_hours:.2f}"
            for one in each.kept
        ]
        yield f"| {trace_name(each.job.path)} | {each.job.hours} h{slower} | {' | '.join(cells)} |"
    yield ""


def _name(score: Score) -> str:
    name = f"{score.policy} {score.knob}".rstrip()
    return f"**{name}**" if score.policy == "tidegate" else name


def _line(named: Score, row: Sequence[Score]) -> str:
    cells = [_cell(score.cost_ratio, harmed(score)) for score in row]
    known = [cost for score in row if (cost := score.cost_ratio) is not None]
    cost = math.exp(statistics.fmean(map(math.log, known))) if known and min(known) > 0 else None
    cells.append(_cell(cost, statistics.fmean(harmed(score) for score in row)))
    cells.append(f"{statistics.fmean(score.changes_per_day for score in row):.0f}")
    return f"| {_name(named)} | {' | '.join(cells)} |"


def _cell(cost: float | None, share: float) -> str:
    return f"{'-' if cost is None else f'{cost:.2f}'} / {share:.2%}"


def _capacities(found: Sequence[Learned]) -> Iterable[str]:
    """Yield what was learned of the capacity of instances, beside the truth."""
    if not found:
        return
    yield from ("## Capacity learned", "")
    yield "What is planned with at the end of each day, as a share of the truth: the load at which p95 of all requests"
    yield "is the objective. Simulated request by request (M/G/k); each day's load is from 3 to 12 capacities."
    yield ""
    days = range(1, len(found[0].shares) + 1)
    yield f"| endpoint | stated | {' | '.join(f'day {day}' for day in days)} |"
    yield f"|---|---|{'---|' * len(days)}"
    for each in found:
        yield f"| {each.what} | {each.stated:g} | {' | '.join(f'{share:.2f}' for share in each.shares)} |"
    yield ""


def _losers(judged: Sequence[Judged]) -> Iterable[str]:
    """Name every case in which another policy costs less and harms no more, the cheapest of them."""
    yield from (
        "## Where Tidegate loses",
        "",
        "Another policy, knowing no future, costs less and harms no more:",
        "",
    )
    lost = 0
    for each in judged:
        others = [score for score in each.scores if score.policy not in {"tidegate", "clairvoyant"}]
        for ours in (score for score in each.scores if score.policy == "tidegate"):
            better = [o for o in others if harmed(o) <= harmed(ours) and o.instance_hours < ours.instance_hours]
            if better:
                lost += 1
                best = min(better, key=lambda score: score.instance_hours)
                yield (
                    f"- {ours.trace} ({ours.mode}, {ours.knob}): {_cell(ours.cost_ratio, harmed(ours))}; "
                    f"{best.policy} {best.knob}: {_cell(best.cost_ratio, harmed(best))}"
                )
    yield from (f"{lost} of {len(judged)} cases." if lost else f"Nowhere, in {len(judged)} cases.", "")


if __name__ == "__main__":
    typer.run(main)
