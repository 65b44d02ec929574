"""Queues that start from zero, against their goals: eight traces in several settings (algorithms 9)."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from simulator.cases import GROUPS, Mode, Planned, Setting, trace_name
from simulator.scores import QueueScore, Score

SIX = GROUPS["async"]
EIGHT: tuple[str, ...] = (*SIX, "servegen_large_c149", "servegen_small_c31")
SETS = (("six traces", SIX), ("eight traces, those of the design", EIGHT))

GOALS = {15: (1.40, 0.01), 30: (1.25, 0.001)}
"""By objective: cost by the loose bound in the mean, share late of the worst trace. From zero in 8 minutes, else 6."""

SHAPES = ((3, 1), (6, 1), (10, 1), (6, 8))
"""Minutes that a start takes, and slots of an instance."""

SETTINGS = tuple(
    Setting(objective=objective, provisioning=provisioning, concurrency=slots)
    for objective in GOALS
    for provisioning, slots in SHAPES
)
POLICIES = {
    ("aas-async-guide", "5"): "AWS's guide, 5 each",
    ("aas-async-guide", "0.25"): "backlog target 0.25 mu T",
    ("aas-async-guide", "0.5"): "backlog target 0.5 mu T",
    ("keda", "5"): "KEDA, 5 each",
    ("tidegate", "balanced"): "**Tidegate**",
    ("clairvoyant", ""): "clairvoyant",
}

COLUMNS = [
    "trace",
    "policy",
    "p50",
    "p95",
    "max",
    "late",
    "expired",
    "saved",
    "hours",
    "÷clairvoyant",
    "÷bound",
    "÷work",
    "starts",
]
WHAT_SUMS_SAY = """
Cost ÷ loose bound (geometric mean) / late (mean) / late on the worst trace. D is the minutes a start takes, from
zero 2 more; k the slots of an instance, which has k times the requests. Where D is 10 and the objective 15 minutes,
nothing that starts from zero can be in time (12, 2 until it is seen, and the work): there only the clairvoyant is,
which orders before. Waits, expired requests and every trace: [benchmarks-queues.md](benchmarks-queues.md).
""".strip().splitlines()
WHAT_ROWS_SAY = """
Written by `make bench`; [benchmarks-method.md](benchmarks-method.md) says what is judged and how,
[benchmarks.md](benchmarks.md) has the means and the goals. Waits (p50, p95, max) in minutes from arrival to result.
Late: after the objective. Expired: requests older than a time to live of twice the objective; saved: those of them
that the clairvoyant saves. Then instance-hours, and these by the clairvoyant's, the loose bound and the work, and
starts from zero.
""".strip().splitlines()

Found = Mapping[Planned, Sequence[Score]]
Cell = tuple[Setting, str]
"""A setting and a trace."""


def planned(folder: Path) -> tuple[Planned, ...]:
    """Return what is played of a folder: those of the eight traces that are in it, in every setting."""
    files = {trace_name(path): path for path in sorted(folder.iterdir())}
    return tuple(
        Planned(path=files[name], mode=Mode.ASYNC, group="queues", setting=setting)
        for setting in SETTINGS
        for name in EIGHT
        if name in files
    )


def summary(found: Found) -> Iterable[str]:
    """Yield the section of docs/benchmarks.md; nothing if no queue was played in these settings."""
    cells = _cells(found)
    if not cells:
        return
    yield from ("## Queues from zero", "", *WHAT_SUMS_SAY, "")
    for objective in GOALS:
        settings = [setting for setting in SETTINGS if setting.objective == objective]
        for label, names in SETS:
            yield f"**Objective {objective} minutes, {label}**"
            yield from ("", f"| policy | {' | '.join(_named(setting) for setting in settings)} |")
            yield f"|---|{'---|' * len(settings)}"
            for policy, name in POLICIES.items():
                row = (_mean([cells[s, n][policy] for n in names if (s, n) in cells]) for s in settings)
                yield f"| {name} | {' | '.join(row)} |"
            yield ""
    yield from ("Goals, for a start of 6 minutes and 8 from zero:", "")
    yield from (line for objective in GOALS for line in _verdicts(cells, objective))
    yield from ("", "Trace by trace at D 6 and k 1, cost ÷ loose bound / late:", "")
    for objective in GOALS:
        setting = Setting(objective=objective, provisioning=6, concurrency=1)
        played = [name for name in EIGHT if (setting, name) in cells]
        yield f"| {objective} minutes | {' | '.join(played)} |"
        yield f"|---|{'---|' * len(played)}"
        for policy, name in POLICIES.items():
            scores = [cells[setting, trace][policy] for trace in played]
            yield f"| {name} | {' | '.join(f'{_cost(s):.2f} / {_queue(s).late_share:.2%}' for s in scores)} |"
        yield ""


def details(found: Found) -> Iterable[str]:
    """Yield docs/benchmarks-queues.md, a line at a time."""
    yield from ("# Benchmarks of queues", "", *WHAT_ROWS_SAY, "")
    cells = _cells(found)
    for setting in SETTINGS:
        yield f"## Objective {setting.objective} minutes, {_named(setting)}"
        yield from (
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|---|---|{'--:|' * (len(COLUMNS) - 2)}",
        )
        for name in EIGHT:
            if (setting, name) in cells:
                yield from _rows(name, cells[setting, name])
        yield ""


def _cells(found: Found) -> dict[Cell, dict[tuple[str, str], Score]]:
    return {
        (each.setting, trace_name(each.path)): {(score.policy, score.knob): score for score in scores}
        for each, scores in found.items()
        if each.setting is not None
    }


def _rows(trace: str, scores: Mapping[tuple[str, str], Score]) -> Iterable[str]:
    best = _queue(scores["clairvoyant", ""])
    for policy, name in POLICIES.items():
        score = scores[policy]
        queue = _queue(score)
        waits = (queue.wait_p50_s, queue.wait_p95_s, queue.wait_max_s)
        cells = [
            *(f"{seconds / 60:.0f}" for seconds in waits),
            f"{queue.late_share:.2%}",
            f"{queue.expired}",
            f"{_saved(queue, best)}",
            f"{score.instance_hours:.1f}",
            *(f"{score.instance_hours / each:.2f}" for each in _measures(score)),
            f"{queue.starts_from_zero}",
        ]
        yield f"| {trace} | {name} | {' | '.join(cells)} |"


def _measures(score: Score) -> tuple[float, float, float]:
    queue = _queue(score)
    return score.clairvoyant_instance_hours, queue.bound_instance_hours, queue.work_instance_hours


def _verdicts(cells: Mapping[Cell, Mapping[tuple[str, str], Score]], objective: int) -> Iterable[str]:
    """Yield, for each concurrency and set of traces, what Tidegate reached of the goal."""
    cost, late = GOALS[objective]
    for slots in (1, 8):
        setting = Setting(objective=objective, provisioning=6, concurrency=slots)
        for label, names in SETS:
            played = [cells[setting, name] for name in names if (setting, name) in cells]
            ours = [scores["tidegate", "balanced"] for scores in played]
            lost = sum(_saved(_queue(s["tidegate", "balanced"]), _queue(s["clairvoyant", ""])) for s in played)
            costs, worst = [_cost(score) for score in ours], max(ours, key=lambda score: _queue(score).late_share)
            mean, share = math.exp(statistics.fmean(map(math.log, costs))), _queue(worst).late_share
            met = "met" if mean <= cost and share <= late and not lost else "not met"
            yield (
                f"- {objective} minutes, k {slots}, {label}: {mean:.2f} (arithmetic {statistics.fmean(costs):.2f}), "
                f"goal {cost:.2f}; at worst {share:.2%} late ({worst.trace}), goal {late:.1%}; "
                f"{lost} expired that the clairvoyant saves, goal 0: {met}"
            )


def _mean(scores: Sequence[Score]) -> str:
    cost = math.exp(statistics.fmean(math.log(_cost(score)) for score in scores))
    late = [_queue(score).late_share for score in scores]
    return f"{cost:.2f} / {statistics.fmean(late):.2%} / {max(late):.2%}"


def _named(setting: Setting) -> str:
    return f"D {setting.provisioning}, k {setting.concurrency}"


def _saved(queue: QueueScore, best: QueueScore) -> int:
    """Return how many requests expired that the clairvoyant saves."""
    return max(0, queue.expired - best.expired)


def _cost(score: Score) -> float:
    return score.instance_hours / _queue(score).bound_instance_hours


def _queue(score: Score) -> QueueScore:
    if score.queue is None:
        raise ValueError(f"{score.trace}: not a queue")
    return score.queue
