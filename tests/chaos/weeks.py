"""Random weeks: fleets, demand, faults, overrides, deployments, policy edits, skewed clocks, nights that clocks change.

What must hold is looked at each minute, in what Application Auto Scaling holds and in what was decided:
policy minimum <= floor <= ceiling <= maximum; an expired override does not act; what is unknown lowers nothing; every
lowering has its expiry, a target value that a forecast raised too. hypothesis shortens what does not hold: `python -m tests.chaos.weeks --lives 100 --steps 50`.
A life is two weeks long (`--days`): between what happens some hours go by.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from typing_extensions import override

from core.errors import ConfigError, TidegateError
from core.model import ScalableTarget
from core.plan import expiry_name
from core.ports import Autoscaling, Hosting, Metrics
from core.reconcile import Outcome, Status
from simulator.account import SimulatedAccount
from simulator.direct import DirectAutoscaling, DirectMetrics, DirectServing
from simulator.in_memory import InMemoryStore, StaticPolicies
from simulator.service import ServiceError
from simulator.stack import SimulatedStack
from simulator.workload import AsyncWorkload, RealtimeWorkload, Workload
from tests.builders import ASYNC, REALTIME
from tests.chaos.story import fitted

MINUTE = timedelta(minutes=1)
BERLIN = {"timezone": "Europe/Berlin"}
STARTS = [
    datetime(2026, 3, 28, 21, 0, tzinfo=UTC),
    datetime(2026, 10, 24, 20, 0, tzinfo=UTC),
    datetime(2026, 11, 18, tzinfo=UTC),
]
"""In the first two nights clocks change: windows open at hours that are not, or are twice."""

PROFILES: Mapping[str, dict[str, Any]] = {
    "shop": {**REALTIME, "stabilization": "5m"},
    "rank": {
        **REALTIME,
        "windows": [{"name": "night", "start": "02:30", "duration": "1h", "min_capacity": 7, **BERLIN}],
    },
    "read": {**ASYNC, "stabilization": "5m"},
    "score": {
        "kind": "batch",
        "min_capacity": 1,
        "max_capacity": 10,
        "windows": [{"name": "early", "start": "01:45", "duration": "90m", "min_capacity": 5, **BERLIN}],
    },
}
SILENT = ("Invocations", "InvocationsPerInstance")
STRUCK = {
    "DescribeScalableTargets": "application-autoscaling",
    "RegisterScalableTarget": "application-autoscaling",
    "PutScheduledAction": "application-autoscaling",
    "GetMetricData": "cloudwatch",
    "DescribeAlarms": "cloudwatch",
}
DAYS = 28
"""Longest that a life can be; after it there is no demand."""

SEEN_BY, HELD = 5, 55
"""Minutes of silence after which nobody can know the load any more, and until which the last demand is held at least."""

COUNTED: Counter[str] = Counter()
"""What all lives together saw."""


class Edited(StaticPolicies):
    """The port `PolicySource` over a document that somebody edits."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        self.document = document


class Life(SimulatedStack):
    """The deployed stack, whose clock may go wrong."""

    skew = timedelta(0)
    memory: ClassVar[type[InMemoryStore]] = InMemoryStore

    @override
    def now(self) -> datetime:
        return self.account.now + self.skew

    @override
    def _adapters(self) -> tuple[Metrics, Autoscaling, Hosting]:
        return DirectMetrics(self.account), DirectAutoscaling(self.account), DirectServing(self.account)

    @override
    def _try(self, function: str, event: dict[str, Any]) -> None:
        try:
            self.invoke(function, event)
        except TidegateError:  # anything else is a fault of ours
            COUNTED["failed passes"] += 1


@dataclass
class Watched:
    """One target, and what may be expected of it."""

    target: ScalableTarget
    profile: str
    demand: list[int]
    policies: list[tuple[int, int]]
    """Bounds that may be in force: the policy's, and those of before an edit until a pass has gone well."""

    overrides: list[datetime] = field(default_factory=list)
    """When each that was accepted ends; those that no pass has ended yet."""

    disturbed: datetime = STARTS[0]
    """When somebody last did what may lower a floor, whatever the load is."""

    silent: datetime | None = None
    was: tuple[int, int] | None = None
    held: tuple[int, float] | None = None
    """Floor and target value when the load had become unknown."""

    @property
    def name(self) -> str:
        return next(iter(self.target.names.values()))


class Weeks(RuleBasedStateMachine):
    """A fleet's life. `life` is the stack; unsafe ones are put in its place."""

    life: ClassVar[type[Life]] = Life
    apart: ClassVar[int] = 0
    """Minutes that go by after each step, beside those that it takes itself."""

    @initialize(
        start=st.sampled_from(STARTS),
        profiles=st.lists(st.sampled_from(sorted(PROFILES)), min_size=1, max_size=4, unique=True),
        seed=st.integers(0, 2**32),
    )
    def begin(self, start: datetime, profiles: list[str], seed: int) -> None:
        """Enrol a fleet."""
        account = SimulatedAccount(start, record_calls=False)
        self.watched: list[Watched] = []
        for name in profiles:
            kept = (PROFILES[name]["min_capacity"], PROFILES[name]["max_capacity"])
            demand = _demand(Random(f"{seed} {name}"), peak=30 if name == "read" else 7000)  # noqa: S311 - no secret
            queued, least = name == "read", max(1, kept[0])
            count = 0 if queued else least
            account.add_endpoint(name=name, workload=_workload(name, demand), instance_count=count, asynchronous=queued)
            self.watched.append(Watched(ScalableTarget.variant(name, "AllTraffic"), name, demand, [kept]))
        chosen = {name: deepcopy(PROFILES[name]) for name in profiles}
        places = [{"name": name, "profile": name} for name in profiles]
        self.policies = Edited({"version": 1, "profiles": chosen, "endpoints": places})
        self.stack = self.life(account, self.policies, store=self.life.memory(keep_decisions=False))
        self.said = 0
        if "shop" in profiles:
            self.stack.store.put_learned(
                ScalableTarget.variant("shop", "AllTraffic"), replace(fitted(), fitted_at=start)
            )
        self.stack.invoke("FleetSync", {"trigger": "policy"})
        self.look()
        COUNTED["lives"] += 1

    # ---- what happens ------------------------------------------------------------------------------------------------

    @rule(minutes=st.integers(5, 480))
    def wait(self, minutes: int) -> None:
        """Nothing does, for some time."""
        self._live(minutes)

    @rule(which=st.integers(0, 3), times=st.floats(0, 4), minutes=st.integers(5, 300))
    def demand(self, which: int, times: float, minutes: int) -> None:
        """More or fewer come than usually."""
        demand, first = self._any(which).demand, self._minute()
        demand[first : first + minutes] = [round(times * n) for n in demand[first : first + minutes]]
        COUNTED["rushes and lulls"] += 1

    @rule(
        which=st.one_of(st.none(), st.integers(0, 3)),
        action=st.sampled_from(["pin", "floor", "ceiling", "pause", "resume"]),
        capacity=st.integers(0, 12),
        minutes=st.integers(1, 240),
    )
    def override(self, which: int | None, action: str, capacity: int, minutes: int) -> None:
        """An operator overrides one target or all."""
        concerned = self.watched if which is None else [self._any(which)]
        self.said += 1
        ends = self.stack.now() + minutes * MINUTE
        request: dict[str, Any] = {
            "action": action,
            "request_id": f"r-{self.said}",
            "reason": "rehearsal",
            "requested_by": "maria",
        }
        request |= {"fleet": True} if which is None else {"target": concerned[0].name}
        request |= {} if action in {"pause", "resume"} else {"capacity": capacity}
        request |= {} if action == "resume" else {"expires_at": ends.isoformat()}
        before = [(watched, list(watched.overrides)) for watched in concerned]
        for watched in concerned:
            watched.overrides.append(ends)
            watched.disturbed = ends
        try:
            self.stack.invoke("Override", request)
            COUNTED["overrides"] += 1
        except ConfigError:
            for watched, kept in before:
                watched.overrides = kept
            COUNTED["overrides refused"] += 1
        except TidegateError:
            COUNTED["failed passes"] += 1
        self.look()

    @rule(which=st.integers(0, 3), low=st.integers(0, 4), more=st.integers(0, 8))
    def edit(self, which: int, low: int, more: int) -> None:
        """Somebody edits the policy."""
        watched, document = self._any(which), deepcopy(self.policies.document)
        document["profiles"][watched.profile] |= {"min_capacity": low, "max_capacity": low + more}
        try:
            self.policies.__init__(document)  # type: ignore[misc]  # the same source, another document
        except ConfigError:
            COUNTED["edits refused"] += 1
            return
        watched.policies.append((low, low + more))
        watched.disturbed = self.stack.account.now
        self.stack._try("FleetSync", {"trigger": "policy"})  # noqa: SLF001 - as EventBridge does
        COUNTED["edits"] += 1
        self.look()

    @rule(which=st.integers(0, 3), count=st.integers(1, 6))
    def deploy(self, which: int, count: int) -> None:
        """Somebody deploys with another count."""
        try:
            self.stack.account.deploy(self._any(which).name, count)
            COUNTED["deployments"] += 1
        except ServiceError:
            COUNTED["deployments refused"] += 1

    @rule(which=st.integers(0, 3))
    def silence(self, which: int) -> None:
        """Metrics of a target stop, or come again."""
        watched = self._any(which)
        for metric in SILENT:
            switch = self.stack.account.silence if watched.silent is None else self.stack.account.unsilence
            switch("AWS/SageMaker", metric, watched.name)
        watched.silent = self.stack.account.now if watched.silent is None else None
        watched.held = None
        COUNTED["silences"] += watched.silent is not None

    @rule(operation=st.sampled_from(sorted(STRUCK)), times=st.integers(1, 6))
    def strike(self, operation: str, times: int) -> None:
        """The next calls of an operation fail."""
        for _ in range(times):
            self.stack.account.fail_next(STRUCK[operation], operation, "ThrottlingException", "Rate exceeded")
        COUNTED["struck calls"] += times

    @rule(seconds=st.integers(-90, 90))
    def skew(self, seconds: int) -> None:
        """The functions' clock is wrong from now on."""
        self.stack.skew = timedelta(seconds=seconds)
        COUNTED["skewed clocks"] += 1

    @rule(minutes=st.integers(1, 200))
    def outage(self, minutes: int) -> None:
        """No function runs for some time."""
        self.stack.alive = False
        for watched in self.watched:
            watched.disturbed = self.stack.account.now + minutes * MINUTE
        self._live(minutes)
        self.stack.alive = True
        COUNTED["outages"] += 1

    @invariant()
    def life_goes_on(self) -> None:
        """Between two steps hours go by."""
        self._live(self.apart)

    def _live(self, minutes: int) -> None:
        before = self._offset()
        for _ in range(minutes):
            self.stack.minute()
            COUNTED["minutes"] += 1
            self.look()
        COUNTED["changes of clocks"] += self._offset() != before

    def _offset(self) -> timedelta | None:
        """How far Berlin's clocks are from UTC."""
        return self.stack.account.now.astimezone(ZoneInfo(BERLIN["timezone"])).utcoffset()

    # ---- what holds --------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look at what was decided and at what stands."""
        outcomes = [outcome for _, outcome in self.stack.outcomes]
        self.stack.outcomes.clear()
        for watched in self.watched:
            for outcome in outcomes:
                if outcome.target == watched.target:
                    self._decided(watched, outcome)
            registered = self.stack.account.autoscaling.targets.get(watched.target.resource_id)
            if registered is None:
                continue
            bounds = (registered.minimum, registered.maximum)
            self._within(watched, bounds)
            if watched.was and (bounds[0] < watched.was[0] or bounds[1] < watched.was[1]):
                self._expires(watched, bounds)
            watched.was = bounds
            if watched.profile != "read":
                self._unknown(watched, bounds[0])
            if watched.profile == "shop":
                self._falls_back(watched)

    def _decided(self, watched: Watched, outcome: Outcome) -> None:
        """An expired override is in no decision; a pass that went well ends what was before."""
        now = self.stack.now()
        alive = [ends for ends in watched.overrides if now < ends]
        steps = outcome.decision.steps if outcome.decision else ()
        acting = [step.reason for step in steps if step.reason.startswith("Override")]
        assert alive or not acting, f"expired override: {watched.name} at {now:%d %H:%M:%S} by {acting}"
        serving = self.stack.account.endpoint(watched.name).status == "InService"
        if outcome.status in {Status.CHANGED, Status.UNCHANGED} and outcome.decision and serving and not alive:
            watched.overrides, watched.policies = [], watched.policies[-1:]

    def _within(self, watched: Watched, bounds: tuple[int, int]) -> None:
        """Policy minimum <= floor <= ceiling <= maximum; overrides alone may go below the minimum."""
        low = min(low for low, _ in watched.policies)
        lowest = min(low, 0 if watched.profile == "read" else 1) if watched.overrides else low
        high = max(high for _, high in watched.policies)
        told = f"{watched.name} at {self.stack.account.now:%d %H:%M} has {bounds}, the policy {watched.policies}"
        assert lowest <= bounds[0] <= bounds[1] <= high, f"bounds: {told}"

    def _expires(self, watched: Watched, bounds: tuple[int, int]) -> None:
        """What was lowered to anything but the policy's own expires to that."""
        if bounds in watched.policies:
            return
        actions = self.stack.account.autoscaling.targets[watched.target.resource_id].actions
        expiry = actions.get(expiry_name(self.stack.stage))
        restored = expiry and expiry.request["ScalableTargetAction"]
        found = restored and (restored["MinCapacity"], restored["MaxCapacity"])
        told = f"{watched.name} at {self.stack.account.now:%d %H:%M} was lowered to {bounds}, and expires to {found}"
        assert found in watched.policies, f"expiry: {told}"

    def _falls_back(self, watched: Watched) -> None:
        """What tracks more than half of what an instance serves is taken back if nobody lives."""
        account, half = self.stack.account, REALTIME["objectives"]["requests_per_instance"] / 2
        if max(_targets(account, watched), default=0) <= half:
            return
        COUNTED["minutes with a raised target"] += 1
        made = [each for each in account.scheduler.schedules.values() if watched.target.resource_id in str(each)]
        soon = f"at({account.now + timedelta(minutes=22):%Y-%m-%dT%H:%M:%S})"  # clocks are up to 90 s wrong
        told = f"{watched.name} at {account.now:%d %H:%M} is raised, and falls back by {made}"
        assert any(each["ScheduleExpression"] <= soon for each in made), f"expiry: {told}"

    def _unknown(self, watched: Watched, floor: int) -> None:
        """While the load is unknown no floor falls and no target value rises, unless somebody says so."""
        now = self.stack.account.now
        windows = PROFILES[watched.profile].get("windows")
        if watched.silent is None or windows or watched.disturbed + HELD * MINUTE > watched.silent:
            return
        silent = (now - watched.silent) // MINUTE
        if not SEEN_BY <= silent <= HELD:
            return
        target = max(_targets(self.stack.account, watched), default=math.inf)
        watched.held = watched.held or (floor, target)
        told = f"{watched.name} after {silent} silent minutes has floor {floor}, target value {target}"
        assert (floor, -target) >= (watched.held[0], -math.inf), f"unknown: {told}, not {watched.held}"
        assert target <= watched.held[1], f"unknown: {told}, not {watched.held}"

    def _any(self, which: int) -> Watched:
        return self.watched[which % len(self.watched)]

    def _minute(self) -> int:
        workload: Any = self.stack.account.endpoint(self.watched[0].name).workload
        return int(workload.minute)


def _targets(account: SimulatedAccount, watched: Watched) -> Iterator[float]:
    policies = account.autoscaling.targets[watched.target.resource_id].policies.values()
    return (policy.tracking["TargetValue"] for policy in policies if policy.tracking)


def _demand(chance: Random, peak: int) -> list[int]:
    """Return days of traffic: a daily wave of its own height and hour, and noise."""
    height, hour = chance.uniform(0.1, 1) * peak, chance.uniform(0, 24)
    waves = (1 + math.cos(math.tau * (minute / 1440 - hour / 24)) for minute in range(DAYS * 1440))
    return [max(0, round(height * wave / 2 * chance.gauss(1, 0.1))) for wave in waves]


def _workload(name: str, demand: list[int]) -> Workload:
    if name == "read":
        work = [15.0 * n for n in demand]
        return AsyncWorkload(per_minute_requests=demand, per_minute_work_seconds=work, objective=15 * MINUTE)
    return RealtimeWorkload(per_minute_requests=demand, capacity_per_instance=1000, vcpus=4)


def lived(lives: int, steps: int, machine: type[Weeks] = Weeks, *, seeded: bool = True, shrink: bool = True) -> None:
    """Let so many lives of at most so many steps pass. Raises AssertionError with the shortest that does not hold."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            derandomize=seeded,
            phases=phases,
            suppress_health_check=slow,
            database=None,
            report_multiple_bugs=False,
        ),
    )


def main() -> None:
    """Live long, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50, help="of a life, at most")
    parser.add_argument("--days", type=int, default=14, help="that a life lasts beside what its steps take")
    given = parser.parse_args()
    Weeks.apart = math.ceil(given.days * 1440 / given.steps)
    began = time.monotonic()
    lived(given.lives, given.steps)
    minutes = COUNTED.pop("minutes")
    told = ", ".join(f"{count:,} {what}" for what, count in COUNTED.items())
    print(f"{minutes / 10080:.1f} weeks in {(time.monotonic() - began) / 60:.1f} min: {told}: nothing found")  # noqa: T201


if __name__ == "__main__":
    main()
