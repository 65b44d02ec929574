"""The controller with one deliberately unsafe change each: what the harness must catch, or it proves nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from typing_extensions import override

from core.aws.cloudwatch import CloudWatch
from core.aws.policies import AppConfigPolicies
from core.aws.store import Table
from core.context import Context, Decision, Enrolment
from core.errors import ObservationError
from core.model import Envelope, Missing, Observation, Point, ScalableTarget
from core.model import Override as Wish
from core.plan import Action, PutExpiry, PutFallback, SetBounds
from core.policy import Fleet
from core.ports import MetricQuery
from core.reconcile import Outcome, Pass, Ports, Reconciler
from handlers.wiring import LambdaContext, Runtime, summary
from tests.chaos.check import Cell
from tests.chaos.cloud import TABLE, CloudAccount
from tests.chaos.passes import Build, Patience, policies, runtime
from tests.chaos.wire import the_wire


class Blind(CloudWatch):
    """What cannot be read is zero."""

    @override
    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        try:
            return super().fetch(queries, now, span)
        except ObservationError:
            newest = now.replace(second=0) - timedelta(minutes=2)
            silence = tuple(Point(newest - timedelta(minutes=i), 0.0) for i in reversed(range(span // MINUTE)))
            return dict.fromkeys(queries, Observation(silence))


MINUTE = timedelta(minutes=1)


class Hasty(Reconciler):
    """Lowers first and lets it expire afterwards."""

    @override
    def carry_out(self, decision: Decision, actions: tuple[Action, ...], when: Pass) -> Outcome:
        late = sorted(actions, key=lambda action: isinstance(action, PutExpiry))
        return super().carry_out(decision, tuple(late), when)


class Bold(Reconciler):
    """Raises a target first and lets it fall back afterwards."""

    @override
    def carry_out(self, decision: Decision, actions: tuple[Action, ...], when: Pass) -> Outcome:
        late = sorted(actions, key=lambda action: isinstance(action, PutFallback))
        return super().carry_out(decision, tuple(late), when)


class Boundless(Reconciler):
    """Forgets the policy's maximum."""

    @override
    def carry_out(self, decision: Decision, actions: tuple[Action, ...], when: Pass) -> Outcome:
        wide = Envelope(decision.envelope.floor, 2 * decision.envelope.ceiling)
        return super().carry_out(decision, (*actions, SetBounds(wide, "unsafe")), when)


class Fragile(Reconciler):
    """One target's failure ends the pass."""

    @override
    def look(
        self,
        enrolments: Sequence[Enrolment],
        when: Pass,
        extra: Sequence[Wish] = (),
        settle: Callable[[Context, Pass], Outcome] | None = None,
    ) -> tuple[Outcome, ...]:
        seen = self.observe(enrolments, when.now, extra)
        return tuple(each if isinstance(each, Outcome) else (settle or self._settle)(each, when) for each in seen)


class Clinging(Table):
    """Its leases outlive the invocation."""

    @override
    def claim(self, target: ScalableTarget, version: int, holder: str, now: datetime, until: datetime) -> bool:
        return super().claim(target, version, holder, now, until + timedelta(hours=1))


class Proud(Runtime):
    """Never admits a failure."""

    @override
    def finish(self, context: LambdaContext, outcomes: tuple[Outcome, ...], *, asked: bool = False) -> dict[str, Any]:
        return {"targets": [summary(replace(outcome, error=None)) | {"status": "changed"} for outcome in outcomes]}


class Forgetful(Reconciler):
    """Takes a target whose state was lost for a new one."""

    @override
    def recovered(self, ctx: Context) -> Context:
        return replace(ctx, memory=replace(ctx.memory, enrolled=True))


class Strict(AppConfigPolicies):
    """Has no document but the newest."""

    @override
    def fleet(self) -> Fleet:
        return self._parse(self._content())


def strict() -> AppConfigPolicies:
    """Return the policy source of a fresh execution environment."""
    return policies(Table(the_wire().clients["dynamodb"], TABLE), Strict)


def with_parts(
    kind: type[Reconciler] = Reconciler, made: type[Runtime] = Runtime, **ports: Callable[[], object]
) -> Build:
    """Return the deployed runtime with one part replaced."""

    def build(cloud: CloudAccount, patience: Patience) -> Runtime:
        usual = runtime(cloud, patience)
        own: Ports = replace(usual.reconciler.ports, **{name: make() for name, make in ports.items()})  # type: ignore[arg-type]
        reconciler = kind(own, stage=usual.reconciler.stage, mode=usual.reconciler.mode)
        return made(reconciler=reconciler, clock=usual.clock, tell=usual.tell, sleep=usual.sleep)

    return build


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsafe:
    """One unsafe change, the cells that show it, and how their problem begins."""

    name: str
    build: Build
    shows: Callable[[Cell], bool]
    problem: str


def _is(cell: Cell, kind: str, *operations: str) -> bool:
    return (cell.kind.name if cell.kind else "killed") == kind and cell.call.operation in operations


CHANGES = (
    Unsafe(
        name="what cannot be read is zero",
        build=with_parts(metrics=lambda: Blind(the_wire().clients["cloudwatch"])),
        shows=lambda c: _is(c, "5xx", "GetMetricData") and c.moment.function == "RealtimeTarget",
        problem="lowers",
    ),
    Unsafe(
        name="lowers before it lets expire",
        build=with_parts(Hasty),
        shows=lambda c: _is(c, "killed", "PutScheduledAction") and c.moment.function in {"BatchWindow", "AsyncQueue"},
        problem="expiry",
    ),
    Unsafe(
        name="raises a target before it lets it fall back",
        build=with_parts(Bold),
        shows=lambda c: _is(c, "killed", "UpdateSchedule"),
        problem="expiry",
    ),
    Unsafe(
        name="forgets the maximum",
        build=with_parts(Boundless),
        shows=lambda c: _is(c, "throttled once", "RegisterScalableTarget"),
        problem="bounds",
    ),
    Unsafe(
        name="a lease outlives its pass",
        build=with_parts(store=lambda: Clinging(the_wire().clients["dynamodb"], TABLE)),
        shows=lambda c: _is(c, "killed", "RegisterScalableTarget") and c.moment.function == "RealtimeTarget",
        problem="converges",
    ),
    Unsafe(
        name="never admits a failure",
        build=with_parts(made=Proud),
        shows=lambda c: _is(c, "access denied", "RegisterScalableTarget"),
        problem="true",
    ),
    Unsafe(
        name="one failure ends the pass",
        build=with_parts(Fragile),
        shows=lambda c: _is(c, "throttled", "UpdateItem") and c.moment.function == "AsyncQueue",
        problem="others",
    ),
)
