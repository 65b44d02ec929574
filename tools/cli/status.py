"""`tidegate status`: how each managed target stands now, by core's own pass over it as a dry run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.decisions import figures
from cli.output import count
from cli.stack import DeployedStack, Given
from cli.tables import plain
from cli.targets import spelled
from core.context import Context, Decision
from core.decide import RULES
from core.errors import TidegateError
from core.model import ALWAYS_TOLD, Capacity, Missing, Mode, Reason, ScalableTarget
from core.overrides import in_force
from core.policy import Fleet, parse_fleet
from core.reconcile import REMEMBER_EVERY, Outcome, Pass, Reconciler, Status
from core.signals.window import needs

STALE = 2 * REMEMBER_EVERY
"""A pass that measures demand says so in the table at least this often; then the alarm on heartbeats rings too."""

WRONG = (Reason.CAPACITY_REFUSED, *ALWAYS_TOLD)
"""Reasons of steps that somebody should know of, whatever else decides."""

_MINUTE = "%Y-%m-%dT%H:%MZ"
_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target."""

    target: ScalableTarget
    profile: str = "-"
    kind: str = "-"
    mode: str = "-"
    """The more cautious of the stack's and the profile's."""

    running: int | None = None
    desired: int | None = None
    in_force: str | None = None
    """What is registered, as floor..ceiling."""

    wanted: str | None = None
    """What is decided from what is seen now."""

    reason: str | None = None
    figures: str = ""
    rule: str = ""
    """The sentence of the rule that decides."""

    demand: float | None = None
    """Requests of the newest minute, or items that wait."""

    unit: str = ""
    used: float | None = None
    """Share of what the running instances serve in time that the newest minute's requests take."""

    until: tuple[str, ...] = ()
    """The override in force and the windows that are open or pre-warming, and when they end."""

    passed_at: datetime | None = None
    """When a pass last wrote down what it measured: at least every ten minutes."""

    following: tuple[str, ...] = ()
    """What the next pass of its owner writes; in shadow what it would."""

    wrong: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        at = f"{self.passed_at:{_MINUTE}}" if self.passed_at else None
        return asdict(self) | {"target": self.target.resource_id, "name": spelled(self.target), "passed_at": at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A stack at one time."""

    stack: str
    mode: str
    at: datetime
    rows: tuple[Row, ...]
    alarms: Mapping[str, str]
    """The alarms on Tidegate itself that ring, each with what to do."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        rows = [row.as_json() for row in self.rows]
        return {
            "stack": self.stack, "mode": self.mode, "at": f"{self.at:{_MINUTE}}", "alarms": dict(self.alarms),
            "targets": rows,
        }  # fmt: skip


def look(stack: DeployedStack, now: datetime, only: Iterable[ScalableTarget] | None = None) -> Look:
    """Observe and decide as a pass does that writes nothing, and read beside it what passes left in the table.

    Args:
        stack: the deployed stack.
        now: the time of the look.
        only: these targets; None for all.

    Raises:
        ObservationError, ConfigError: table, document or registrations cannot be read.
    """
    fleet = parse_fleet(stack.document())
    chosen = None if only is None else set(only)
    reconciler = Reconciler(replace(stack.ports, policies=Given(fleet)), stage=stack.stage, mode=stack.mode)
    when = Pass(now=now, deadline=now + timedelta(hours=1), holder="status", dry_run=True, tunes=True)
    outcomes = reconciler.run(lambda each: chosen is None or each.target in chosen, when)
    rows = [_row(stack, outcome, now) for outcome in outcomes]
    rows += [] if chosen is not None else _absent(fleet, stack)
    alarms = stack.ports.metrics.alarms(f"tidegate-ops-{stack.stage}-")
    ringing = {name: a.get("AlarmDescription", "") for name, a in alarms.items() if a.get("StateValue") == "ALARM"}
    by_name = sorted(rows, key=lambda row: row.target.resource_id)
    return Look(stack=stack.name, mode=stack.mode.value, at=now, rows=tuple(by_name), alarms=ringing)


def _absent(fleet: Fleet, stack: DeployedStack) -> Iterator[Row]:
    """Yield what the document names and FleetSync has not enrolled."""
    for target, entry in fleet.targets.items():
        if target not in stack.roster():
            profile = fleet.profiles[entry.profile]
            wrong = ("not enrolled: FleetSync has not found it; `tidegate drift` says why",)
            yield Row(target=target, profile=entry.profile, kind=profile.kind.value, wrong=wrong)


def _row(stack: DeployedStack, outcome: Outcome, now: datetime) -> Row:
    decision = outcome.decision
    if decision is None:
        return Row(target=outcome.target, wrong=(outcome.error or outcome.status.value,))
    ctx = decision.context
    capacity = ctx.capacity if isinstance(ctx.capacity, Capacity) else None
    step = decision.deciding_step
    demand, unit = (ctx.waiting, "waiting") if ctx.waiting is not None else (ctx.requests, "a minute")
    return Row(
        target=ctx.target,
        profile=ctx.enrolment.profile_name,
        kind=ctx.profile.kind.value,
        mode=decision.effective_mode(stack.mode).value,
        running=capacity.current if capacity else None,
        desired=capacity.desired if capacity else None,
        in_force=str(ctx.registered) if ctx.registered else None,
        wanted=str(decision.envelope),
        reason=decision.reason.value,
        figures=figures(step.seen),
        rule=next((_sentence(rule.__doc__) for rule in RULES if rule.__name__ == step.rule), ""),
        demand=demand,
        unit="" if demand is None else unit,
        used=_used(ctx),
        until=tuple(_until(ctx)),
        passed_at=ctx.memory.demand_at,
        following=tuple(map(str, outcome.actions)),
        wrong=tuple(_wrong(outcome, decision, now)),
    )


def _used(ctx: Context) -> float | None:
    each, running = ctx.profile.capacity_per_instance, ctx.capacity.current if isinstance(ctx.capacity, Capacity) else 0
    return None if ctx.requests is None or not each or not running else round(ctx.requests / (running * each), 4)


def _until(ctx: Context) -> Iterator[str]:
    for wish in in_force(ctx.overrides, ctx.now)[:1]:
        what = f"{wish.action}{'' if wish.capacity is None else f' {wish.capacity}'}"
        yield f"{what} until {wish.expires_at:{_MINUTE}} by {wish.requested_by}"
    for need in needs(ctx):
        if need.left == 0:  # its work is done, or its load was left to demand
            continue
        begun = "open" if need.opening.start <= ctx.now else "pre-warming"
        yield f"window {need.opening.window.name} {begun} until {need.opening.end:{_MINUTE}}"


def _wrong(outcome: Outcome, decision: Decision, now: datetime) -> Iterator[str]:
    """Yield what somebody should know of, the gravest first."""
    ctx = decision.context
    if outcome.error:
        yield outcome.error
    if isinstance(ctx.capacity, Missing):
        yield ctx.capacity.why
    if outcome.status is Status.NOT_ENROLLED:
        yield "not enrolled: FleetSync comes first, its endpoint failed or others scale it; `tidegate drift` says which"
    for signal, missing in ctx.unknown.items():
        yield f"{signal.value} unknown: {missing.why}"
    seen = ctx.memory.demand_at
    if not ctx.unknown and ctx.memory.enrolled and (seen is None or now - seen > STALE):
        yield "no pass has written down what it measured" + (f" since {seen:{_MINUTE}}" if seen else "")
    for step in decision.steps:
        if step.reason in WRONG:
            yield f"{step.reason.value}: {figures(step.seen)}"


def _sentence(doc: str | None) -> str:
    return (doc or "").partition("\n")[0]


def table_of(seen: Look) -> Table:
    """Return a row a target."""
    table = plain("target", "kind", "mode", "runs", "bounds", "because", "demand", "used", "until", "measured")
    for column in table.columns:
        column.no_wrap = column.header not in {"target", "because", "until"}
    for row in seen.rows:
        stale = row.passed_at is not None and seen.at - row.passed_at > STALE
        table.add_row(
            spelled(row.target),
            row.kind,
            row.mode,
            _runs(row),
            row.in_force or "-",
            ": ".join(filter(None, (row.reason or "-", row.figures))),
            "-" if row.demand is None else f"{row.demand:,.0f} {row.unit}",
            "-" if row.used is None else f"{row.used:.0%}",
            "\n".join(row.until) or "-",
            Text(ago(seen.at, row.passed_at), style="yellow" if stale else ""),
        )
    return table


def _runs(row: Row) -> str:
    if row.running is None:
        return "?"
    return f"{row.running}" if row.running == row.desired else f"{row.running} -> {row.desired}"


def ago(now: datetime, at: datetime | None) -> str:
    """Return how long ago a time was; what is long ago as the time itself."""
    if at is None:
        return "never"
    minutes = max(0, int((now - at) / timedelta(minutes=1)))  # a pass may end while the table is read
    return f"{minutes} min ago" if minutes < 120 else f"{at:{_MINUTE}}"  # noqa: PLR2004 - two hours


def lines_of(seen: Look) -> Iterator[Text]:
    """Yield what the table comes to, what the next passes write, what is wrong, and which of our own alarms ring."""
    wrong = sum(bool(row.wrong) for row in seen.rows)
    shadow = "; the stack is in shadow and writes nothing" if seen.mode == Mode.SHADOW else ""
    targets = count(len(seen.rows), "target")
    yield Text(f"{targets} of {seen.stack} at {seen.at:{_MINUTE}}, {wrong} with something wrong{shadow}.")
    for row in seen.rows:
        would = "next" if row.mode == Mode.ACTIVE else "if active"
        if row.following:
            yield Text(f"{spelled(row.target)}, {would}: {'; '.join(row.following)}")
        for each in row.wrong:
            yield Text(f"{spelled(row.target)}, wrong: {each}", style="red")
    for name, what in seen.alarms.items():
        yield Text(f"ALARM {name}: {what}", style="red")


def rendered(seen: Look) -> RenderableType:
    """Return table and lines as one."""
    return Group(table_of(seen), "", *lines_of(seen))


def looks(look: Callable[[], _Seen], ticks: Iterable[object]) -> Iterator[_Seen | Exception]:
    """Yield what is seen at each tick, or why a look failed: a later one may not.

    Raises:
        TidegateError, ClientError, BotoCoreError: the first look fails.
    """
    begun = False
    for _ in ticks:
        try:
            yield look()
            begun = True
        except (TidegateError, ClientError, BotoCoreError) as error:
            if not begun:
                raise
            yield error


def watch(shown: Callable[[], RenderableType], ticks: Iterable[object], console: Console) -> None:
    """Show anew at each tick; a look that fails leaves the last one standing and says why.

    Raises:
        TidegateError, ClientError, BotoCoreError: the first look fails.
    """
    last: RenderableType = ""
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        for seen in looks(shown, ticks):
            if isinstance(seen, Exception):
                said: RenderableType = Group(last, Text(f"not refreshed: {seen}", style="red"))
            else:
                last = said = seen
            live.update(said, refresh=True) if console.is_terminal else console.print(said)
