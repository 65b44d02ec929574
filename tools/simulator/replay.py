"""A case played through the controller as Lambda runs it: what Tidegate would have done, minute by minute.

Handlers, reconciler, rules and native policies are the real ones (`SimulatedStack`); only botocore is left out
(`direct`). What it was worth is `simulator.scores`' business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from core.model import ScalableTarget
from core.policy import USUAL_START
from simulator.account import SimulatedAccount
from simulator.cases import HIDDEN_ABOVE, Course, Mode
from simulator.in_memory import InMemoryStore
from simulator.stack import DirectStack, SimulatedStack
from simulator.workload import AsyncWorkload, RealtimeWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from simulator.cases import Case

ENDPOINT = "replayed"
TARGET = ScalableTarget.variant(ENDPOINT, "AllTraffic")
CHUNK = 24 * 60
"""Minutes between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one pass changed, as its log line says it (`handlers.wiring.summary`)."""

    at: datetime
    function: str
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A course, and how it came about. Series have a value a minute, as it stood when the minute began."""

    course: Course
    floor: NDArray[np.int64]
    ceiling: NDArray[np.int64]
    target: NDArray[np.float64]
    """Value of the first target-tracking policy; NaN while there is none."""

    changes: tuple[Change, ...]
    failures: tuple[tuple[str, str], ...]
    """Function and error of each invocation that failed."""


def profile_of(case: Case, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the profile a case is played under, in the words of the policy file.

    Args:
        case: says kind, bounds and objectives.
        given: fields that replace these, or add to them. A window without its `windows` is played as real-time.
    """
    if case.mode is Mode.ASYNC:
        objectives = {
            "items_per_minute": case.capacity,
            "concurrency": case.concurrency,
            "drain_within": f"{case.objective}m",
            "expires_after": f"{max(case.ttl, case.objective)}m",
        }
    else:
        objectives = {"requests_per_instance": case.capacity}
    kind = {Mode.REALTIME: "realtime", Mode.ASYNC: "async", Mode.WINDOW: "batch"}[case.mode]
    if case.mode is Mode.WINDOW and not (given or {}).get("windows"):
        kind = "realtime"
    fields: dict[str, Any] = {"min_capacity": case.minimum, "max_capacity": case.maximum, "objectives": objectives}
    if case.mode is Mode.ASYNC and timedelta(minutes=case.provisioning) != USUAL_START:
        fields |= {"provisioning": f"{case.provisioning}m"}
        fields |= {"provisioning_from_zero": f"{case.provisioning_from_zero}m"}
    return {"kind": kind, **fields, **(given or {})}


def replay(
    case: Case,
    profile: Mapping[str, Any] | None = None,
    *,
    knob: str = "balanced",
    joins: int = 0,
    progress: Callable[[int], None] = lambda _minutes: None,
) -> Replayed:
    """Play a case from its first minute to its last.

    Args:
        case: load and clockwork.
        profile: fields of the policy file that are not as `profile_of` has them.
        knob: what the course is called.
        joins: minutes before Tidegate is deployed, in which the endpoint runs what their largest needs.
        progress: told how many minutes were played, once a simulated day.

    Raises:
        ConfigError: if the profile is none.
    """
    played = Replay(case, profile, knob=knob, joins=joins)
    while played.minute < len(case.requests):
        played.run(CHUNK)
        progress(played.minute)
    return played.result()


class Replay:
    """A replay that can be stopped after any minute and taken up again.

    Args:
        case: as for `replay`.
        profile: as for `replay`.
        knob: as for `replay`.
        joins: as for `replay`.
        direct: False asks through botocore, which is the reference and takes much longer.
        before: share of what an instance serves at which a policy of the user's kept it until Tidegate adopted it.
    """

    def __init__(  # noqa: PLR0913 - all but one have a default
        self,
        case: Case,
        profile: Mapping[str, Any] | None = None,
        *,
        knob: str = "balanced",
        joins: int = 0,
        direct: bool = True,
        before: float | None = None,
    ) -> None:
        self.case = case
        self.knob = knob
        self.joins = joins
        self.minute = 0
        self.account = SimulatedAccount(case.start, record_calls=False)
        self.account.cloudwatch.lag = timedelta(minutes=case.lag)
        self.endpoint = self.account.add_endpoint(
            name=ENDPOINT,
            workload=workload_of(case),
            instance_count=case.first_count(joins),
            asynchronous=case.mode is Mode.ASYNC,
            provisioning_delay=timedelta(minutes=case.provisioning),
            provisioning_from_zero=timedelta(minutes=case.provisioning_from_zero),
            removal_delay=timedelta(minutes=case.removal),
        )
        document = {
            "version": 1,
            "max_capacity": case.maximum,
            "profiles": {ENDPOINT: profile_of(case, profile)},
            "endpoints": [{"name": ENDPOINT, "profile": ENDPOINT, "adopt": before is not None}],
        }
        if before is not None:
            self._scale_by_hand(before * case.capacity)
        store = InMemoryStore(keep_decisions=False)
        self.stack = (DirectStack if direct else SimulatedStack)(self.account, document, store=store)
        self.stack.listener = self._hear
        self._log = _Log(self.endpoint.desired_count)
        self._deploy()

    def run(self, minutes: int) -> None:
        """Play so many minutes more, fewer where the case ends."""
        for _ in range(min(minutes, len(self.case.requests) - self.minute)):
            self._note()
            if self.minute < self.joins:
                self.account.advance()
            else:
                self.stack.minute()
            self.minute += 1
            self._deploy()

    def _scale_by_hand(self, requests: float) -> None:
        """Let AAS track this many requests a minute and instance, by a policy of the user's."""
        names = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": TARGET.resource_id,
            "ScalableDimension": TARGET.dimension.value,
        }
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        tracking = {"TargetValue": requests, "PredefinedMetricSpecification": metric}
        aas = self.account.autoscaling
        aas.register_scalable_target({**names, "MinCapacity": self.case.minimum, "MaxCapacity": self.case.maximum})
        policy = {"PolicyName": "by-hand", "PolicyType": "TargetTrackingScaling"}
        aas.put_scaling_policy({**names, **policy, "TargetTrackingScalingPolicyConfiguration": tracking})

    def _deploy(self) -> None:
        if self.minute == self.joins:
            self.stack.invoke("FleetSync", {"trigger": "policy"})

    def _note(self) -> None:
        """Write down what stands at the beginning of the minute: what was decided on all that is over."""
        log, desired = self._log, self.endpoint.desired_count
        if desired != log.desired:
            log.orders.append(self.minute)
            log.desired = desired
        registered = self.account.autoscaling.targets.get(self.endpoint.resource_id)
        if registered is None:  # Tidegate is not there yet
            for series in (log.floor, log.ceiling):
                series.append(desired)
            log.target.append(math.nan)
            return
        log.floor.append(registered.minimum)
        log.ceiling.append(registered.maximum)
        tracking = (policy.tracking for policy in registered.policies.values())
        log.target.append(next((each["TargetValue"] for each in tracking if each), math.nan))

    def result(self) -> Replayed:
        """Return what was played so far."""
        history, log = self.endpoint.workload.history, self._log
        ready, desired = np.array(history.ready, np.int64), np.array(history.desired, np.int64)
        course = Course(
            policy="tidegate",
            knob=self.knob,
            ready=ready,
            billed=np.maximum(ready, desired),
            orders=np.array(log.orders, np.int64),
        )
        return Replayed(
            course=course,
            floor=np.array(log.floor, np.int64),
            ceiling=np.array(log.ceiling, np.int64),
            target=np.array(log.target, np.float64),
            changes=tuple(log.changes),
            failures=tuple(self.stack.failures),
        )

    def _hear(self, at: datetime, function: str, reply: Mapping[str, Any]) -> None:
        self._log.changes += [Change(at, function, said) for said in reply["targets"] if said["status"] == "changed"]


@dataclass(slots=True)
class _Log:
    """What is noted while playing."""

    desired: int
    orders: list[int] = field(default_factory=list)
    floor: list[int] = field(default_factory=list)
    ceiling: list[int] = field(default_factory=list)
    target: list[float] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def workload_of(case: Case) -> RealtimeWorkload | AsyncWorkload:
    """Return the traffic of a case, and what instances make of it."""
    requests = case.requests.tolist()
    if case.mode is not Mode.ASYNC:
        most = HIDDEN_ABOVE if case.hidden else math.inf
        return RealtimeWorkload(
            per_minute_requests=requests, capacity_per_instance=case.capacity, turned_away_above=most
        )
    work = case.work_seconds
    if work is None:  # all alike: each fills its share of an instance's minute
        work = (case.requests * (60.0 * case.concurrency / case.capacity)).astype(np.float64)
    return AsyncWorkload(
        per_minute_requests=requests,
        per_minute_work_seconds=work.tolist(),
        objective=timedelta(minutes=case.objective),
        concurrency=case.concurrency,
    )
