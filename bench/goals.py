"""What Tidegate is to reach on the shipped traces, beside what it reached."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from bench.figures import Figure, figure, head, mean, row
from simulator.capacities import Learned
from simulator.cases import DEFAULT
from simulator.scores import Score

PLAIN = ("aas-target-tracking", "0.5")
OURS = ("tidegate", *DEFAULT)


class Goal(NamedTuple):
    """What is promised of the means over a group, and what is aimed at."""

    promised: Figure
    aim: Figure


GOALS: Mapping[str, Goal] = {
    "daily": Goal(Figure(1.35, 0.0033), Figure(1.25, 0.0020)),
    "trend": Goal(Figure(1.19, 0.0054), Figure(1.15, 0.0030)),
    "surprise": Goal(Figure(2.00, 0.018), Figure(1.75, 0.017)),
    "sparse": Goal(Figure(2.00, 0.048), Figure(1.60, 0.040)),
}
WINDOWS = {"servegen_large_c149": (1.3, 0.6)}
"""What windows may cost there, as a multiple of the clairvoyant and of scheduled actions, and be in time."""

NEAR = 0.05
"""What is learned of a capacity is to be so near to the truth, as a share of it."""

SAVED = {"0.5": 0.75, "0.6": 0.80, "0.7": 0.88}
"""On daily traces, at the violations of target tracking with these targets, at most these shares of its cost."""

Group = Sequence[Mapping[tuple[str, str], Score]]
"""Scores of each trace of a group, by policy and knob."""

WHAT_GOALS_SAY = """
Means over a group, Tidegate's `balanced` on all. The interpolated minutes are those that the design's prototype was
measured on: between the centres of a coarse trace's intervals the rate goes in a straight line, with 5 % of AR(1) noise
and Poisson noise; four draws of that noise are played and put together. The bench's own minutes keep each measured
count, so that load jumps where intervals meet, which no forecast sees coming and no start of six minutes can meet. What
is promised is what the prototype reached on its own.
""".strip().splitlines()
WHAT_EQUAL_VIOLATIONS_SAY = """
On daily, at target tracking's violations: what Tidegate costs as a share of target tracking's cost, at the cheapest
position of the knob that violates no more, or between two positions, each for a share of the days. Beyond `economy`
the knob ends. - where no position violates so little.
""".strip().splitlines()
WHAT_LEAVING_OUT_SAYS = """
Nothing is chosen for a trace, but the default was chosen on these traces. Here the knob is chosen on a group's other
traces and applied to the one left out: the cheapest position that violates no more than is promised in the mean over
the others; where none does, the one that violates least.
""".strip().splitlines()


def summary(kept: Mapping[str, Group], noisy: Mapping[str, Group]) -> Iterable[str]:
    """Yield the sections of docs/benchmarks.md; nothing of a group that was not played.

    Args:
        kept: groups on minutes that keep each measured count.
        noisy: groups on minutes made as the design's prototype made them.
    """
    groups = {group: goal for group, goal in GOALS.items() if group in kept}
    if not groups:
        return
    yield from ("## Goals", "", *WHAT_GOALS_SAY, "")
    columns = ("Tidegate", "AAS 0.5", "Tidegate, interpolated", "AAS 0.5, interpolated")
    yield from head(["group", "goal", "aim", *columns])
    for group, goal in groups.items():
        cells = list[object]()
        for minutes in (kept[group], noisy.get(group, ())):
            ours, plain = (mean([trace[policy] for trace in minutes]) if minutes else "-" for policy in (OURS, PLAIN))
            cells += [f"{ours}, {verdict(ours, goal)}" if isinstance(ours, Figure) else ours, plain]
        yield row([group, *goal, *cells])
    both = {"The bench's own minutes": kept.get("daily"), "Interpolated": noisy.get("daily")}
    if "daily" in groups:
        yield from ("", *WHAT_EQUAL_VIOLATIONS_SAY)
        yield from _equal_violations({kind: daily for kind, daily in both.items() if daily})
    yield ""
    yield from _left_out({group: kept[group] for group in groups if len(kept[group]) > 1})


def verdict(found: Figure, goal: Goal) -> str:
    """Return in words what was reached of a goal."""
    if not missed(found, goal.aim):
        return "aim met"
    return " and ".join(missed(found, goal.promised)) + " missed" if missed(found, goal.promised) else "met"


def missed(found: Figure, goal: Figure) -> list[str]:
    """Return what is above the goal."""
    above = {"cost": found.cost is None or found.cost > (goal.cost or 0), "violated": found.harmed > goal.harmed}
    return [what for what, is_so in above.items() if is_so]


def of_windows(trace: str, scores: Mapping[tuple[str, str], Score]) -> Iterable[str]:
    """Yield what was reached of the goals for windows on a trace; nothing where there is none for it."""
    if trace not in WINDOWS:
        return
    most, share = WINDOWS[trace]
    hours = scores["aas-scheduled", "0.7"].instance_hours
    met = [
        f"{each.knob} ({each.cost_ratio:.2f}, {each.instance_hours / hours:.3f})"
        for each in _positions(scores)
        if (each.cost_ratio or 0) <= most
        and each.instance_hours <= share * hours
        and not each.resembling_violated_share
    ]
    yield f"Goals on {trace}: at most {most} x clairvoyant and {share} x scheduled actions (`aas-scheduled 0.7`), with"
    yield "nothing violated in the first 30 minutes of blocks that resemble history."
    yield f"All three: {', '.join(met) if met else 'missed by every row'}."
    yield ""


def of_capacities(found: Sequence[Learned]) -> Iterable[str]:
    """Yield what was reached of the goals for what is learned of capacities."""
    low, high = 1 - NEAR, 1 + NEAR
    reaching = [each for each in found if each.stated >= 1]
    near = [each for each in reaching if all(low <= share <= high for share in each.shares[2:])]
    above = [each for each in found if any(min(pair) > high for pair in pairwise(each.shares))]
    met = _said(met=len(near) == len(reaching))
    yield f"Goal, from {low:.2f} to {high:.2f} from the third day on: {len(near)} of {len(reaching)}, {met}."
    yield "Where less than the truth is stated, load reaches the limit only as the value rises: not counted here."
    told = f"{len(above)} of {len(found)} are, at two days' ends, {_said(met=not above)}"
    yield f"Goal, never above {high:.2f} for a day: {told}."


def _said(*, met: bool) -> str:
    return "met" if met else "missed"


def _equal_violations(minutes: Mapping[str, Group]) -> Iterable[str]:
    """Yield what the knob costs where it violates as much as target tracking does, trace by trace."""
    for kind, daily in minutes.items():
        yield from ("", f"{kind}:", "")
        yield from head(["at the violations of", *(trace[OURS].trace for trace in daily), "median", "goal"])
        for target, goal in SAVED.items():
            shares, cells = list[float](), list[str]()
            for trace in daily:
                plain = trace["aas-target-tracking", target]
                least = cheapest(_positions(trace), plain.violated)
                if least:
                    shares.append(least[0] / plain.instance_hours)
                said = f"{shares[-1]:.2f} ({least[1]})" if least else "-"
                cells.append(f"{plain.violated_share:.2%}: {said}")
            middle = statistics.median(shares) if shares else None
            met = middle is not None and middle <= goal
            yield row(
                [f"AAS {target}", *cells, "-" if middle is None else f"{middle:.2f}", f"{goal:.2f}, {_said(met=met)}"]
            )


def cheapest(positions: Sequence[Score], level: int) -> tuple[float, str] | None:
    """Return the fewest instance-hours that violate no more requests than `level`, and what costs them.

    That is a position of the knob, or two of them, each for a share of the days: what they violate and cost goes in a
    straight line from one to the other. None where no position violates so little.
    """
    found = [(each.instance_hours, each.knob) for each in positions if each.violated <= level]
    for safe, lean in permutations(positions, 2):
        if safe.violated < level < lean.violated:
            share = (level - safe.violated) / (lean.violated - safe.violated)
            hours = safe.instance_hours + share * (lean.instance_hours - safe.instance_hours)
            found.append((hours, f"{lean.knob} to {safe.knob}"))
    return min(found, default=None)


def _left_out(groups: Mapping[str, Group]) -> Iterable[str]:
    """Yield what the knob's position, chosen on the other traces, is worth on the one left out."""
    if not groups:
        return
    yield from ("## One trace left out", "", *WHAT_LEAVING_OUT_SAYS, "")
    yield from head(["group", "left out", "chosen on the others", "on it", "balanced on it"])
    for group, traces in groups.items():
        applied, goal = list[Score](), GOALS[group]
        for index, trace in enumerate(traces):
            knob = chosen([*traces[:index], *traces[index + 1 :]], goal.promised.harmed)
            score = trace["tidegate", knob]
            applied.append(score)
            yield row([group, score.trace, knob, figure(score), figure(trace[OURS])])
        found = mean(applied)
        yield row([group, "mean", "", f"{found}, {verdict(found, goal)}", mean([trace[OURS] for trace in traces])])
    yield ""


def chosen(traces: Group, limit: float) -> str:
    """Return the cheapest position of the knob whose mean violations are within a limit, else the safest."""
    means = {score.knob: mean([trace["tidegate", score.knob] for trace in traces]) for score in _positions(traces[0])}
    able = {knob: each.cost or 0.0 for knob, each in means.items() if each.harmed <= limit}
    return min(able, key=able.__getitem__) if able else min(means, key=lambda knob: means[knob].harmed)


def _positions(trace: Mapping[tuple[str, str], Score]) -> list[Score]:
    return [score for (policy, _), score in trace.items() if policy == "tidegate"]
