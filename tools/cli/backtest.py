"""`tidegate backtest`: what each policy would have made of a load, Tidegate among them, and at what cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.cloudwatch_history import KEPT, read_history
from cli.errors import MisusedError
from cli.output import watched
from cli.policy_file import read_policy_file
from cli.tables import console
from core.aws import clock
from core.aws.cloudwatch import CloudWatch
from core.model import ScalableTarget
from simulator.cases import Mode, Scale, case_from, case_of
from simulator.judge import judge
from simulator.report import Compared, FleetRun, Mark, Series, TargetRun, Totals
from simulator.traces import MINUTE, TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cli.cloudwatch_history import History
    from cli.options import Clients
    from simulator.cases import Case, Course
    from simulator.judge import Verdict
    from simulator.replay import Change
    from simulator.scores import Score

MOVES = ("set bounds", "scale in", "put policy")
"""Beginnings of those actions that a reader looks for; renewals of the expiry are not among them."""

PLAIN = {Mode.REALTIME: ("aas-target-tracking", "0.5"), Mode.WINDOW: ("aas-target-tracking", "0.5")}
QUEUED = ("aas-async-guide", "5")
"""What AWS's guides start with (facts 5.1 and 7): the page draws it beside Tidegate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Where the load comes from, and the endpoint it is to meet; None is the case's own default."""

    csv: Path | None = None
    endpoint: str | None = None
    variant: str = "AllTraffic"
    mode: Mode = Mode.REALTIME
    policy: Path | None = None
    use: str | None = None
    capacity: float | None = None
    minimum: int | None = None
    maximum: int | None = None
    provisioning: int = 6
    objective: int = 15
    concurrency: int = 1

    def case(self, aws: Clients, price: float | None) -> tuple[Case, Wanted]:
        """Read the load and bring it to the endpoint.

        Raises:
            MisusedError: file and endpoint both or neither, a policy file without its profile, or no trace.
            PolicyFileError, ConfigError: what is wrong with policy file or bounds.
            ObservationError: CloudWatch has no history.
        """
        self._refuse_misuse()
        profile = self._profile()
        mode = _mode_of(profile) if profile else self.mode
        capacity = self.capacity or _capacity_of(profile)
        queued = mode is Mode.ASYNC
        if queued and self.endpoint is not None:
            said = f"--use {self.use}, of kind async," if profile else "--mode async"
            raise MisusedError(f"{said} needs a trace file with work_seconds: CloudWatch does not tell the work")
        scale = Scale(capacity=None if queued else capacity, objective=self.objective, concurrency=self.concurrency)
        notes: tuple[str, ...] = ()
        if self.csv is not None:
            case = _traced(self.csv, mode, scale)
        else:
            target = ScalableTarget.variant(str(self.endpoint), self.variant)
            history = read_history(CloudWatch(aws.of("cloudwatch")), target, clock.now(), KEPT)
            case = case_from(str(self.endpoint), history.trace, mode, scale)
            notes = tuple(told(history))
        minimum, maximum = self.minimum, self.maximum
        if profile:
            minimum, maximum = profile["min_capacity"], profile["max_capacity"]
        case = replace(
            case,
            provisioning=self.provisioning,
            provisioning_from_zero=self.provisioning,
            minimum=(0 if queued else case.minimum) if minimum is None else minimum,
            maximum=case.maximum if maximum is None else maximum,
        )
        if case.minimum > case.maximum:
            raise MisusedError(f"--min {case.minimum} must not be above --max {case.maximum}")
        return case, Wanted(profile=profile, price=price, notes=notes)

    def _refuse_misuse(self) -> None:
        if (self.csv is None) == (self.endpoint is None):
            raise MisusedError("give either a trace file or --endpoint NAME; --help shows both")
        if (self.policy is None) != (self.use is None):
            raise MisusedError("--policy FILE and --use PROFILE go together: the profile Tidegate plays under")
        if self.use is not None and (self.minimum, self.maximum) != (None, None):
            raise MisusedError(f"--min and --max go without --use: profile {self.use} says how many may run")

    def _profile(self) -> dict[str, Any] | None:
        """Return the chosen profile as the policy file writes it."""
        if self.policy is None or self.use is None:
            return None
        profiles = read_policy_file(self.policy).document["profiles"]
        if self.use not in profiles:
            raise MisusedError(f"--use {self.use!r} must be a profile of {self.policy} ({', '.join(sorted(profiles))})")
        return dict(profiles[self.use])


def _traced(csv: Path, mode: Mode, scale: Scale) -> Case:
    try:
        return case_of(csv, mode, scale)
    except TraceError as error:
        raise MisusedError(str(error)) from error


def _mode_of(profile: Mapping[str, Any]) -> Mode:
    return {"realtime": Mode.REALTIME, "async": Mode.ASYNC, "batch": Mode.WINDOW}[profile["kind"]]


def _capacity_of(profile: Mapping[str, Any] | None) -> float | None:
    objectives: Mapping[str, float] = (profile or {}).get("objectives", {})
    return objectives.get("requests_per_instance")


def told(history: History) -> Iterator[str]:
    """Say what the endpoint's own history shows beside its load."""
    if history.instance_hours is not None:
        yield f"In these days the endpoint itself ran {history.instance_hours:,.1f} instance-hours."
    known = history.latency_p95[~np.isnan(history.latency_p95)]
    if known.size:
        usual, slow = 1000 * np.quantile(known, [0.5, 0.95])
        yield f"Its ModelLatency p95 was {usual:,.0f} ms in the median minute, in one of twenty above {slow:,.0f} ms."
    if history.unknown:
        yield f"{history.unknown} minutes without data were played as silence; Tidegate would have held its floor."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for beside the load."""

    profile: Mapping[str, Any] | None
    """Fields of the policy file that Tidegate plays under, where they differ from the case's."""

    price: float | None
    notes: tuple[str, ...] = ()


def judged(case: Case, wanted: Wanted) -> Verdict:
    """Let every policy play, showing progress on stderr."""
    with watched(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as (bar, say):
        task = bar.add_task("clairvoyant", total=None)

        def told(policy: str, share: float) -> None:
            now = f"{policy} {share:.0%}" if share else policy
            bar.update(task, description=now)
            say(f"playing {now}")

        return judge(case, wanted.profile, price=wanted.price, progress=told)


def document(verdict: Verdict, wanted: Wanted) -> dict[str, Any]:
    """Return what `--json` prints: `settings`, and one row a policy and knob as `make bench` writes them."""
    return {"settings": settings(verdict.case), "results": [score.row() for score in verdict.scores]} | (
        {"notes": list(wanted.notes)} if wanted.notes else {}
    )


def settings(case: Case) -> dict[str, Any]:
    """Return everything beside the load that the figures depend on."""
    series = {"requests", "work_seconds", "start", "mode"}
    fields = {name: value for name, value in _fields(case).items() if name not in series}
    return {"mode": case.mode.value, "start": f"{case.start:%Y-%m-%dT%H:%MZ}", "judged": case.judged_part} | fields


def _fields(case: Case) -> dict[str, Any]:
    shown = replace(case, requests=np.empty(0, np.int64), work_seconds=None)
    return asdict(shown)


def show(verdict: Verdict, wanted: Wanted) -> None:
    """Print the table and what it comes to."""
    case, priced = verdict.case, wanted.price is not None
    queued = case.mode is Mode.ASYNC
    table = Table(title=f"{case.trace}: {case.judged_part}", title_justify="left")
    table.add_column("policy")
    names = ["cost ÷ clairvoyant", "late" if queued else "violated", "instance-hours", "changes a day"]
    names += ["wait p95", "starts from zero"] if queued else []
    for name in [*names, *(["cost"] if priced else [])]:
        table.add_column(name, justify="right")
    for score in sorted(verdict.scores, key=lambda each: each.instance_hours):
        style = "bold" if score.policy == "tidegate" else None
        table.add_row(*_cells(score, priced=priced), style=style)
    console().print(table)
    for line in (_taken(case), *comes_to(verdict), *wanted.notes):
        print(line)


def _taken(case: Case) -> str:
    """Say what the figures stand on, and where nobody said it, by which option to."""
    items = "items" if case.mode is Mode.ASYNC else "requests"
    said = "" if case.mode is Mode.ASYNC else " (--capacity)"
    return (
        f"Taken: an instance finishes {case.capacity:,.4g} {items} a minute{said}, {case.minimum} to {case.maximum} "
        f"run (--min, --max), each serves {case.provisioning} minutes after its order (--provisioning)."
    )


def _cells(score: Score, *, priced: bool) -> list[str]:
    ratio = "-" if score.cost_ratio is None else f"{score.cost_ratio:.2f}"
    cells = [
        f"{score.policy} {score.knob}".rstrip(),
        ratio,
        f"{harmed(score):.2%}",
        f"{score.instance_hours:,.1f}",
        f"{score.changes_per_day:.1f}",
    ]
    if score.queue is not None:
        cells += [f"{score.queue.wait_p95_s / 60:.0f} min", f"{score.queue.starts_from_zero}"]
    return [*cells, f"{score.cost:,.2f}"] if priced else cells


def harmed(score: Score) -> float:
    """Return the share of requests that were not served as promised."""
    return score.queue.late_share if score.queue is not None else score.violated_share


def comes_to(verdict: Verdict) -> list[str]:
    """Say in sentences what the table means, losing included."""
    ours = [score for score in verdict.scores if score.policy == "tidegate"]
    others = [score for score in verdict.scores if score.policy not in {"tidegate", "clairvoyant"}]
    word = "late" if verdict.case.mode is Mode.ASYNC else "violated"
    lines = []
    for score in ours:
        better = [o for o in others if harmed(o) <= harmed(score) and o.instance_hours <= score.instance_hours]
        worse = [o for o in others if harmed(o) >= harmed(score) and o.instance_hours >= score.instance_hours]
        if better:
            offered = [each for each in better if each.policy.startswith(("aas", "static"))]
            best = min(offered or better, key=lambda each: each.instance_hours)
            name = f"{best.policy} {best.knob}" + ("" if offered else " (which AWS does not offer)")
            lines.append(
                f"Tidegate ({score.knob}) would not help here: {name} has {harmed(best):.2%} {word} "
                f"for {best.instance_hours:,.1f} instance-hours, Tidegate {harmed(score):.2%} for "
                f"{score.instance_hours:,.1f}."
            )
        else:
            lines.append(
                f"Tidegate ({score.knob}): {harmed(score):.2%} {word} for {score.instance_hours:,.1f} instance-hours; "
                f"better at both than {len(worse)} of {len(others)} others, and none is better at both than it."
            )
    return lines


def page_of(
    verdict: Verdict, wanted: Wanted, *, beside: tuple[str, str] | None = None, called: str = "plain AAS"
) -> FleetRun:
    """Return what the HTML page shows: the judged minutes, every policy, every decision that moved something."""
    case = verdict.case
    plain = verdict.courses[beside or PLAIN.get(case.mode, QUEUED)]
    scores = {(score.policy, score.knob): score for score in verdict.scores}
    ours = verdict.replayed.course
    target = TargetRun(
        name=case.trace,
        kind=case.mode.value,
        unit="items queued" if case.mode is Mode.ASYNC else "requests/min",
        capacity_per_instance=case.capacity * (case.objective if case.mode is Mode.ASYNC else 1),
        tidegate=_series(verdict, ours),
        plain=_series(verdict, plain),
        totals=_totals(scores[ours.policy, ours.knob], ours, case),
        plain_totals=_totals(scores[plain.policy, plain.knob], plain, case),
        marks=[_mark(change) for change in _moves(verdict)],
        notes=[*([] if beside else [f"Plain AAS here is {plain.policy} {plain.knob}."]), *wanted.notes],
        beside=called,
    )
    return FleetRun(
        title=f"Backtest of {case.trace}",
        start=case.start + case.warmup * MINUTE,
        hours=case.judged_minutes / 60,
        targets=[target],
        lines=comes_to(verdict),
        facts={
            name.replace("_", " "): f"{value:,.4g}" if isinstance(value, float) else str(value)
            for name, value in settings(case).items()
        },
        compared=[
            Compared(
                policy=score.policy,
                knob=score.knob,
                cost_ratio=score.cost_ratio or 0.0,
                harmed_share=harmed(score),
                instance_hours=score.instance_hours,
                changes_per_day=score.changes_per_day,
                money=score.cost,
            )
            for score in sorted(verdict.scores, key=lambda each: each.instance_hours)
        ],
    )


def _series(verdict: Verdict, course: Course) -> Series:
    """Return the judged minutes of one course; what only Tidegate knows is there for its own alone."""
    case, told = verdict.case, verdict.replayed
    ours, part = course is told.course, case.judged
    backlog = verdict.backlog(course)
    demand = case.requests if backlog is None else backlog
    nothing: list[int | None] = [None] * case.judged_minutes
    violated = verdict.violations(course)
    return Series(
        minutes=[case.start + minute * MINUTE for minute in range(case.warmup, len(case.requests))],
        demand=demand[part].astype(float).tolist(),
        ready=course.ready[part].tolist(),
        desired=course.billed[part].tolist(),
        floor=told.floor[part].tolist() if ours else nothing,
        ceiling=told.ceiling[part].tolist() if ours else nothing,
        harmed=violated[part].astype(float).tolist(),
        target=[None if np.isnan(value) else float(value) for value in told.target[part]] if ours else [],
    )


def _totals(score: Score, course: Course, case: Case) -> Totals:
    return Totals(
        requests=score.requests,
        harmed=harmed(score) * score.requests,
        instance_hours=score.instance_hours,
        changes=int((course.orders >= case.warmup).sum()),
    )


def _moves(verdict: Verdict) -> list[Change]:
    begin = verdict.case.start + verdict.case.warmup * MINUTE
    return [
        change
        for change in verdict.replayed.changes
        if change.at >= begin and any(action.startswith(MOVES) for action in change.said.get("actions", ()))
    ]


def _mark(change: Change) -> Mark:
    actions = [action for action in change.said["actions"] if action.startswith(MOVES)]
    seen = ", ".join(
        f"{name.replace('_', ' ')} {value:,.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in change.said.get("seen", {}).items()
    )
    return Mark(at=change.at, reason=str(change.said["reason"]), text="; ".join(actions) + f" ({seen})" * bool(seen))
