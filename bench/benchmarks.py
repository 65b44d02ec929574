"""Every policy on every trace: `python -m bench.benchmarks [--traces DIR] [--json FILE]`.

With the shipped traces it writes docs/benchmarks.md and benchmarks-queues.md; with others it prints, and writes JSON.
Two runs write the same.
"""

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import figures, goals, queues, robustness
from bench.figures import figure, head, mean, name
from cli.backtest import harmed
from simulator.capacities import Learned, play
from simulator.cases import COARSE, DRAWS, OTHERS, Mode, Planned, interpolated, standing, trace_name
from simulator.deadlines import MAXIMUM, Outcome, jobs, play_all
from simulator.judge import judge_all
from simulator.scores import Score, together
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
SHOWN_INTERPOLATED = {
    *(("aas-target-tracking", target) for target in goals.SAVED),
    ("hpa", "0.6"),
}
"""Those that stand in the design's tables beside Tidegate."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The scores of one case."""

    planned: Planned
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """All that was played."""

    judged: Sequence[Judged]
    deadlines: Sequence[Outcome]
    robustness: Sequence[robustness.Outcome]
    capacities: Sequence[Learned]


def main(
    traces: Annotated[Path, typer.Option(help="Folder of timestamp,requests[,work_seconds] files.")] = SHIPPED,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write settings and results there.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; figures do not depend on it.")] = 2,
) -> None:
    """Judge every case and write what came out."""
    try:
        planned = (*standing(traces), *interpolated(traces), *queues.planned(traces))
    except (TraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    begun, found = time.monotonic(), dict[Planned, tuple[Score, ...]]()
    longest_first = sorted(planned, key=lambda each: -len(each.knobs) * each.path.stat().st_size)
    for each, scores in judge_all(longest_first, workers):
        found[each] = scores
        said = f"{len(found)}/{len(planned)} {each.mode} {each.path.name}"
        print(f"{time.monotonic() - begun:6.1f} s  {said}", file=sys.stderr)
    everything = Found(
        [Judged(each, found[each]) for each in planned],
        play_all(jobs(traces), workers),
        robustness.play_all(robustness.trials(traces), workers),
        play() if traces.resolve() == SHIPPED else [],  # of no trace, so of all alike
    )
    if json_file is not None:
        json_file.write_text(json.dumps(document(everything), indent=1) + "\n", encoding="utf-8")
    text = "\n".join(page(everything)) + "\n"
    if traces.resolve() == SHIPPED:
        for file, said in ((PAGE, text), (QUEUES, "\n".join(queues.details(found)) + "\n")):
            file.write_text(said, encoding="utf-8")
            print(f"{file.relative_to(ROOT)} is written.", file=sys.stderr)
    print(text)


def document(found: Found) -> dict[str, Any]:
    """Return what `JSON=FILE` writes."""
    return {
        "settings": SETTINGS,
        "results": [score.row() | _setting(each.planned) for each in found.judged for score in each.scores],
        "deadlines": [outcome.row() for outcome in found.deadlines],
        "robustness": [row for outcome in found.robustness for row in outcome.rows()],
        "capacities": [asdict(each) for each in found.capacities],
    }


def _setting(planned: Planned) -> dict[str, Any]:
    return (asdict(planned.setting) if planned.setting else {}) | (
        {"minutes": "interpolated", "draw": planned.draw} if planned.noisy else {}
    )


def page(found: Found) -> Iterable[str]:
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
    standard = [each for each in found.judged if each.planned.setting is None and not each.planned.noisy]
    groups, drawn = _groups(standard), _groups(each for each in found.judged if each.planned.noisy)
    noisy = {group: _one_of_all(drawn[group]) if group in COARSE else groups[group] for group in groups}
    yield from goals.summary(*({group: [by_policy(e) for e in of[group]] for group in of} for of in (groups, noisy)))
    yield from _draws(drawn)
    for group, members in groups.items():
        yield from _group(group, members)
        if group in COARSE:
            yield from _interpolated(noisy[group])
    alike = [by_policy(each) for group in COARSE for each in groups.get(group, ())]
    yield from robustness.summary(found.robustness, alike)
    yield from _deadlines(found.deadlines)
    yield from queues.summary({each.planned: each.scores for each in found.judged})
    yield from _capacities(found.capacities)
    yield from _losers(standard)


def _groups(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    groups = defaultdict(list)
    for each in judged:
        groups[each.planned.group].append(each)
    return dict(groups)


def _one_of_all(drawn: Iterable[Judged]) -> list[Judged]:
    """Return each trace once, with all draws of its noise put together."""
    traces = defaultdict(list)
    for each in drawn:
        traces[replace(each.planned, draw=0)].append(each.scores)
    return [Judged(planned, tuple(map(together, zip(*draws, strict=True)))) for planned, draws in traces.items()]


def _draws(drawn: Mapping[str, Sequence[Judged]]) -> Iterable[str]:
    """Yield what the noise alone moves."""
    if not drawn:
        return
    yield from ("## Draw by draw", "", "Tidegate's `balanced` on each draw of the noise on interpolated minutes.", "")
    yield from head(["group", *(f"draw {draw + 1}" for draw in range(DRAWS))])
    for group, judged in drawn.items():
        ours = [(each.planned.draw, by_policy(each)[goals.OURS]) for each in judged]
        yield figures.row([group, *(mean([s for draw, s in ours if draw == wanted]) for wanted in range(DRAWS))])
    yield ""


def by_policy(judged: Judged) -> dict[tuple[str, str], Score]:
    """Return the scores of a case by policy and knob."""
    return {(score.policy, score.knob): score for score in judged.scores}


def _interpolated(members: Sequence[Judged]) -> Iterable[str]:
    """Yield a few rows of a group on the minutes of the prototype."""
    yield from (
        f"Interpolated with 5 % AR(1) and Poisson noise, as the design's prototype did; {DRAWS} draws of it together:",
        "",
    )
    yield from head(["policy", *(each.scores[0].trace for each in members), "group", "changes a day"])
    for index, score in enumerate(members[0].scores):
        if score.policy == "tidegate" or (score.policy, score.knob) in SHOWN_INTERPOLATED:
            yield _line(score, [each.scores[index] for each in members])
    yield ""


def _group(group: str, members: Sequence[Judged]) -> Iterable[str]:
    modes = list(dict.fromkeys(each.planned.mode for each in members)) if group == OTHERS else [members[0].planned.mode]
    for mode in modes:
        part = [each for each in members if each.planned.mode is mode]
        names = [each.scores[0].trace for each in part]
        yield from (f"## {group.capitalize()} ({mode})", "")
        yield from head(["policy", *names, "group", "changes a day"])
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
    yield from head(["policy", *names])
    for index, named in enumerate(part[0].scores):
        row = [each.scores[index] for each in part]
        cells = [f"{s.opening_violated_share or 0:.2%} / {s.resembling_violated_share or 0:.2%}" for s in row]
        yield figures.row([name(named), *cells])
    yield ""
    for trace, each in zip(names, part, strict=True):
        yield from goals.of_windows(trace, by_policy(each))


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
    yield from head(["trace", "deadline", *names])
    for each in kept:
        slower = f", instances {each.job.slower:.0%} slower than stated" if each.job.slower else ""
        cells = [
            f"{one.met} of {each.feasible} / {'-' if one.least_margin is None else f'{one.least_margin} min'} "
            f"/ {one.instance_hours / each.work_hours:.2f}"
            for one in each.kept
        ]
        yield figures.row([trace_name(each.job.path), f"{each.job.hours} h{slower}", *cells])
    yield ""


def _line(named: Score, row: Sequence[Score]) -> str:
    changes = f"{statistics.fmean(score.changes_per_day for score in row):.0f}"
    return figures.row([name(named), *map(figure, row), mean(row), changes])


def _capacities(found: Sequence[Learned]) -> Iterable[str]:
    """Yield what was learned of the capacity of instances, beside the truth."""
    if not found:
        return
    yield from ("## Capacity learned", "")
    yield "What is planned with at the end of each day, as a share of the truth: the load at which p95 of all requests"
    yield "is the objective. Simulated request by request (M/G/k); each day's load is from 3 to 12 capacities."
    yield ""
    days = range(1, len(found[0].shares) + 1)
    yield from head(["endpoint", "stated", *(f"day {day}" for day in days)])
    for each in found:
        yield figures.row([each.what, f"{each.stated:g}", *(f"{share:.2f}" for share in each.shares)])
    yield from ("", *goals.of_capacities(found), "")


def _losers(judged: Sequence[Judged]) -> Iterable[str]:
    """Name every play in which another policy costs less and violates no more, the cheapest of them."""
    yield from (
        "## Where Tidegate loses",
        "",
        "Another policy, knowing no future, costs less and violates no more:",
        "",
    )
    lost = played = 0
    for each in judged:
        others = [score for score in each.scores if score.policy not in {"tidegate", "clairvoyant"}]
        for ours in (score for score in each.scores if score.policy == "tidegate"):
            played += 1
            better = [o for o in others if harmed(o) <= harmed(ours) and o.instance_hours < ours.instance_hours]
            if better:
                lost += 1
                best = min(better, key=lambda score: score.instance_hours)
                yield (
                    f"- {ours.trace} ({ours.mode}, {ours.knob}): {figure(ours)}; "
                    f"{best.policy} {best.knob}: {figure(best)}"
                )
    yield from (f"{lost} of {played} plays." if lost else f"Nowhere, in {played} plays.", "")


if __name__ == "__main__":
    typer.run(main)
