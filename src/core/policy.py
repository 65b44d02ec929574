"""The policy file as types: profiles, and the endpoints that use them.

Defaults stand here and nowhere else. `parse_fleet` reports every problem of a document at once.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from core.fields import AtLeastMin, Duration, Name, NoTruth, Rate, Strict, Whole, Zone, between, duration_text, parsed
from core.metrics import METRICS, QUEUE, SQS, MetricName
from core.model import Kind, Mode, ScalableTarget, Serving, Signal, Starts, Tracked, usual
from core.policy_scaling import DeclaredPolicy, StepScaling, TargetTracking
from core.policy_windows import Window
from core.times import DAY, MINUTE

MARGIN = 0.85
"""Share of a queue's objective that is planned with; the rest is for what cannot be known (`sf`, algorithms 9)."""

USUAL_START = timedelta(minutes=6)
"""From an order until instances serve, where nobody said anything else (facts 7)."""

LONGEST_START, LONGEST_FROM_ZERO = timedelta(hours=24), timedelta(hours=2)
"""Starts are not planned with as longer; the alarms that wake a queue and let it idle do not look back for ever."""

FORECAST_TARGET, RESTING_TARGET = 0.9, 0.5
"""Share of what an instance serves at which tracking stands by a forecast; without Tidegate it is all there is."""

LEAST_RATE = 0.02
"""Requests a minute that an instance serves at least; what takes longer is a queue's work."""

Spelled = BeforeValidator(lambda seen: {True: "on", False: "off"}[seen] if isinstance(seen, bool) else seen)
"""Reads `on` and `off`, which YAML 1.1 takes for true and false."""


class Objectives(Strict):
    """What the endpoint promises its users, in terms of what one instance can do."""

    requests_per_instance: Annotated[float, Field(ge=LEAST_RATE, le=1e9, allow_inf_nan=False), NoTruth] | None = None
    """Requests a minute one instance, copy or unit of concurrency serves within its latency objective (`c`)."""

    items_per_minute: Rate | None = None
    """Items one instance finishes in a minute (`mu`). Asynchronous."""

    concurrency: Whole = Field(default=1, ge=1, le=1000)
    """Items one instance works on at a time: MaxConcurrentInvocationsPerInstance, or what a worker of yours takes."""

    drain_within: Annotated[Duration, between("1s", "14d")] | None = None
    """How long after its arrival a queued item may be finished (`T`); else 15m, or until it expires."""

    oldest_age_at_most: Annotated[Duration, between("1s", "14d")] | None = None
    """How long a queued item may wait until work on it begins."""

    items_per_instance: Rate | None = None
    """Backlog an instance may have, as in AWS's guide: as many instances as that needs, at once."""

    expires_after: Annotated[Duration, between("1m", "14d")] = timedelta(hours=6)
    """After so long a queued item is lost: RequestTTLSeconds, or what your queue keeps messages."""

    latency_p95: Annotated[Duration, between("1ms", "1h")] | None = None
    """p95 of ModelLatency that the endpoint promises. Real-time, batch."""

    concurrent_requests: Annotated[int, Field(ge=1, le=100_000), NoTruth] | None = None
    """Requests one instance has in flight at most, those waiting in the container included. Real-time, batch."""

    @field_validator("oldest_age_at_most", "items_per_instance", "expires_after")
    @classmethod
    def _one_objective_before_the_loss(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - of any field
        said = [name for name in ("drain_within", "oldest_age_at_most") if info.data.get(name) is not None]
        if said and info.field_name != "expires_after" and value is not None:
            raise ValueError(f"not together with {said[0]}: a queue has one objective")
        if said and info.field_name == "expires_after" and value < info.data[said[0]]:
            promised = duration_text(info.data[said[0]])
            raise ValueError(f"must be at least the objective ({promised}), or items are lost in time")
        return value

    def finish_within(self, rate: float) -> float:
        """Return the minutes from arrival to result that are promised, where an instance finishes `rate` a minute."""
        if self.oldest_age_at_most is not None:
            return self.oldest_age_at_most / MINUTE + self.concurrency / rate
        return min(self.drain_within or timedelta(minutes=15), self.expires_after) / MINUTE

    def per_minute(self, serving: Serving | None) -> float | None:
        """What one instance gets done in a minute, in requests or items of a queue; None if it is not stated."""
        queued = serving is Serving.ASYNC
        return self.items_per_minute if queued else self.requests_per_instance or self.items_per_minute


def _idle(start: timedelta) -> timedelta:
    return max(start - timedelta(minutes=3), MINUTE)


def _of_queue(data: Mapping[str, Any]) -> bool:
    """Whether a profile's capacity follows a queue."""
    return data.get("kind") is Kind.ASYNC or data.get("queue") is not None


def _measurable(data: Mapping[str, Any]) -> bool:
    """Whether load of an instance and latency are published, and latency is promised."""
    serving = data.get("serving") in {Serving.REALTIME, Serving.INFERENCE_COMPONENT}
    objectives: Objectives = data.get("objectives", Objectives())
    return data.get("kind") is Kind.REALTIME and serving and objectives.latency_p95 is not None


def _learns_by_default(data: dict[str, Any]) -> Literal["off", "recommend", "on"]:
    """Return `on` where latency is promised, but only `recommend` where somebody declared the targets."""
    if not _measurable(data):
        return "off"
    return "on" if data.get("policies") is None else "recommend"


class Queue(Strict):
    """A queue of your own that the endpoint works off."""

    sqs: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}(\.fifo)?$")]
    """Name of the SQS queue."""


def _start(starts: Sequence[timedelta]) -> timedelta | None:
    """Return what starts took (`usual`), less AAS's minute to notice."""
    took = usual(starts)
    return took and max(math.ceil(took / MINUTE) - 1, 1) * MINUTE


class Profile(Strict):
    """How endpoints of one sort are scaled."""

    kind: Kind
    serving: Serving = Field(
        default_factory=lambda data: Serving.ASYNC if data.get("kind") is Kind.ASYNC else Serving.REALTIME
    )
    """What serves the requests: `async` goes with kind async, the others with kind realtime, any with kind batch."""

    mode: Mode = Mode.ACTIVE
    """The more cautious of this and the stack's mode wins."""

    min_capacity: Whole = Field(ge=0, le=10_000)
    max_capacity: Annotated[Whole, AtLeastMin] = Field(ge=1, le=10_000)
    queue: Queue | None = None
    """Whose items count; None means the asynchronous endpoint's own queue."""

    objectives: Objectives = Objectives()
    provisioning: Annotated[Duration, between("1s", "24h")] | None = None
    """What an instance takes from its order until it serves. Cooldowns and leads shorter than that are refused."""

    policies: tuple[DeclaredPolicy, ...] | None = None
    """Native policies; None means the right one for the kind (`native_policies`)."""

    forecast: Annotated[Literal["off", "economy", "balanced", "strict", "critical"], Spelled] = Field(
        default_factory=lambda data: "economy" if data.get("kind") is Kind.BATCH else "balanced"
    )
    """How dear an instance may be that only a forecast asks for (`forecast_price`); for a batch nobody waits."""

    by_tag: bool = True
    """Whether endpoints may enrol in this profile by their tag."""

    timezone: Zone = "UTC"
    """The clock by which the load repeats, for the forecast."""

    learn: Annotated[Literal["off", "recommend", "on"], Spelled] = Field(default_factory=_learns_by_default)
    """Whether `c` is learned from latency, and whether it is then used (`rated`) or only told."""

    scale_in: Literal["direct", "native"] = "direct"
    stabilization: Annotated[Duration, between("1m", "2h")] = Field(
        default_factory=lambda data: timedelta(minutes=3 if _of_queue(data) else 10)
    )
    """Scale-in follows the highest recommendation of the last so long."""

    provisioning_from_zero: Annotated[Duration, between("1s", "2h")] = Field(
        default_factory=lambda data: min((data.get("provisioning") or USUAL_START) + 2 * MINUTE, LONGEST_FROM_ZERO)
    )
    """The same where none runs (`D0`); of a queue."""

    idle_after: Annotated[Duration, between("1m", "2h")] = Field(
        default_factory=lambda data: _idle(data.get("provisioning_from_zero", USUAL_START))
    )
    """Silence after which AAS takes the last instances of an empty queue.

    With the minutes until it is seen and the instance is gone (3), as much as a start bills.
    """

    windows: tuple[Window, ...] = ()

    @field_validator("serving", "min_capacity", "queue", "objectives", "learn")
    @classmethod
    def _goes_with_those_before(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - of any field
        """Refuse what endpoints of this kind cannot do (facts 1.1, 3)."""
        kind, serving = info.data.get("kind"), info.data.get("serving")
        queued = serving is Serving.ASYNC or info.data.get("queue") is not None
        match info.field_name:
            case "serving" if kind in {Kind.ASYNC, Kind.REALTIME} and (kind is Kind.ASYNC) != (value is Serving.ASYNC):
                why = f"no endpoint of kind {kind} serves so: async goes with kind async or batch, only it does"
            case "min_capacity" if serving and value < serving.lowest:
                why = "must be at least 1: only asynchronous endpoints and inference components can go to zero"
            case "queue" if value is not None and kind is Kind.BATCH:
                why = "a batch profile looks at no load: only kinds realtime and async work off a queue"
            case "objectives" if _of_queue(info.data) and value.items_per_minute is None:
                who = "an async profile" if kind is Kind.ASYNC else "a profile with a queue"
                why = f"{who} needs items_per_minute: the items one instance finishes in a minute"
            case "objectives" if queued and (value.latency_p95 or value.concurrent_requests) is not None:
                why = "latency_p95 and concurrent_requests are of real-time endpoints: a queue answers later"
            case "objectives" if serving is Serving.SERVERLESS and value.concurrent_requests is not None:
                why = "concurrent_requests is not measured on serverless variants: each unit serves one request"
            case "learn" if value != "off" and not _measurable(info.data):
                why = "needs objectives.latency_p95 of a real-time endpoint or an inference component, or be off"
            case _:
                return value
        raise ValueError(why)

    @field_validator("policies")
    @classmethod
    def _metrics_exist_and_differ(
        cls, value: tuple[DeclaredPolicy, ...] | None, info: ValidationInfo
    ) -> tuple[DeclaredPolicy, ...] | None:
        """Refuse metrics the endpoint never publishes (facts 3.4) and two policies of a type on one metric (2.4)."""
        serving: Serving = info.data.get("serving", Serving.REALTIME)
        nameless = "{variant}" if serving is Serving.INFERENCE_COMPONENT else "{inference_component}"
        takes: timedelta | None = info.data.get("provisioning")
        for index, policy in enumerate(value or ()):
            tracking = policy if isinstance(policy, TargetTracking) else None
            stated = tracking and "scale_in_cooldown" in tracking.model_fields_set  # a default makes room by itself
            why = None
            if policy.metric != "custom" and serving not in METRICS[policy.metric]:
                why = f"this kind of endpoint never publishes {policy.metric}; the policy would block scale-in"
            elif tracking and any(nameless in each for own in tracking.own_metrics for each in own.dimensions.values()):
                why = f"{nameless} is no name of a target that serves as {serving}"
            elif tracking and stated and takes and tracking.scale_in_cooldown < takes:
                cooldown = duration_text(tracking.scale_in_cooldown)
                why = (
                    f"scale_in_cooldown {cooldown} is shorter than provisioning ({duration_text(takes)}): "
                    "what is removed cannot be back before the next is removed"
                )
            if why is not None:
                raise ValueError(f"policy {index}: {why}")
        keys = [(p.type, (isinstance(p, TargetTracking) and p.catalogued) or p.followed) for p in value or ()]
        if len(set(keys)) < len(keys):
            raise ValueError("at most one policy of a type may use a metric")
        return value

    @field_validator("windows")
    @classmethod
    def _windows_fit(cls, value: tuple[Window, ...], info: ValidationInfo) -> tuple[Window, ...]:
        high, takes = info.data.get("max_capacity", math.inf), info.data.get("provisioning") or timedelta(0)
        serving, objectives = info.data.get("serving", Serving.ASYNC), info.data.get("objectives")
        why, names = [], [window.name for window in value]
        for index, window in enumerate(value):
            if (window.min_capacity or 0) > high:
                why.append(f"window {index} needs {window.min_capacity}, above max_capacity ({high})")
            if isinstance(window.lead, timedelta) and window.lead < takes:
                lead, start = duration_text(window.lead), duration_text(takes)
                why.append(
                    f"window {index} begins with cold instances: lead {lead} is shorter than provisioning ({start})"
                )
            if window.max_capacity == 0 and serving.lowest > 0:
                why.append(f"window {index} closes to 0, which only asynchronous endpoints and components can do")
            judged = window.min_capacity is None or window.hand_over is not None
            if judged and objectives and objectives.per_minute(serving) is None:
                rate = "items_per_minute" if serving is Serving.ASYNC else "requests_per_instance"
                why.append(f"window {index} needs objectives.{rate}: what an instance gets done")
            if window.name in names[:index]:
                why.append(f"window {index} is named {window.name!r} like window {names.index(window.name)}")
        if info.data.get("kind") is Kind.BATCH and not value:
            why.append("a batch profile needs at least one window")
        if why:
            raise ValueError("; ".join(why))
        return value

    @property
    def queued(self) -> bool:
        """Whether the endpoint is an asynchronous one."""
        return self.serving is Serving.ASYNC

    @property
    def start(self) -> timedelta:
        """What is planned with from an order until instances serve (`D`)."""
        return self.provisioning or USUAL_START

    def start_of(self, starts: Starts) -> timedelta:
        """Return `start` as these starts have it where nobody states it."""
        return self.provisioning or _start(starts.running) or USUAL_START

    def started(self, starts: Starts) -> "Profile":
        """Return the profile of a queue with what starts took where it states nothing, less AAS's minute to notice.

        Who knows only one of `provisioning` and `provisioning_from_zero` takes the other to differ by 2 minutes.
        """
        said, apart = self.model_fields_set, timedelta(minutes=2)
        running, zero = map(_start, starts)
        if not self.works_off_a_queue or not (running or zero):
            return self
        running = self.provisioning or min(running or max((zero or timedelta(0)) - apart, MINUTE), LONGEST_START)
        zero = min(zero or running + apart, LONGEST_FROM_ZERO)
        zero = self.provisioning_from_zero if "provisioning_from_zero" in said else zero
        idle = self.idle_after if "idle_after" in said else _idle(zero)
        return self.model_copy(update={"provisioning": running, "provisioning_from_zero": zero, "idle_after": idle})

    @property
    def wake_after(self) -> timedelta:
        """How long the first item may wait before AAS leaves zero: as long as one instance is in time, at least 1m.

        Tidegate plans with the margin and so comes first: AAS knows no number but 1, and a change blocks the next.
        """
        rate = self.objectives.items_per_minute
        if rate is None or self.objectives.items_per_instance is not None:
            return timedelta(minutes=2)  # as AWS's guide has it
        left = timedelta(minutes=self.objectives.finish_within(rate) - 3) - self.provisioning_from_zero
        return min(max(left, MINUTE), DAY)  # no alarm on minutes looks back further

    @property
    def works_off_a_queue(self) -> bool:
        """Whether its capacity follows a queue, the endpoint's or your own."""
        return _of_queue({"kind": self.kind, "queue": self.queue})

    @cached_property
    def native_policies(self) -> tuple[TargetTracking | StepScaling, ...]:
        """The declared policies, or the default of the kind.

        Requests at half of what an instance can serve, AWS's own starting point (facts 7): without a forecast the
        room above it carries the minutes an instance takes to start. A queue at half of what an instance drains
        within the objective (algorithms 9). Without a known capacity, CPU at 70 % per core, or GPU for a component.
        Provisioned concurrency at half in use, AWS's own example (facts 3.5), but not with its cooldowns of a second:
        what was added shows only minutes later, and would be added again. All with AAS's own cooldowns (2.3): shorter
        ones cost more than they save (docs/algorithms.md 14).
        """
        if self.policies is not None:
            return self.policies
        if self.followed_queue:
            return ()  # `core.native` makes the steps
        metric: MetricName
        rate = self.objectives.requests_per_instance
        if self.queued and self.objectives.items_per_minute is None:
            return ()
        if self.queued:
            metric, target = "backlog_per_instance", self.backlog_target
        elif self.serving is Serving.SERVERLESS:
            metric, target = "provisioned_concurrency", 0.5
        elif rate is not None:
            metric, target = self.request_metric, round(RESTING_TARGET * rate, 2)
        else:
            metric, target = ("gpu" if self.serving is Serving.INFERENCE_COMPONENT else "cpu"), 70.0
        return (TargetTracking(type="target_tracking", metric=metric, target=target),)

    @property
    def backlog_target(self) -> float:
        """Backlog at which AAS holds an instance: as stated, or half of what one drains in time (algorithms 9)."""
        rate, stated = self.objectives.items_per_minute, self.objectives.items_per_instance
        return max(round(stated or (0.5 * rate * self.objectives.finish_within(rate) if rate else 0), 2), 1.0)

    @property
    def followed_queue(self) -> Queue | None:
        """The queue of your own that AAS by itself follows; an asynchronous endpoint has a backlog for that."""
        return None if self.queued or self.policies is not None else self.queue

    @property
    def forecast_price(self) -> float:
        """Instance-minutes worth one instance-minute of requests served in time (`lambda`, algorithms 5)."""
        return {"off": 0.0, "economy": 12.0, "balanced": 32.0, "strict": 64.0, "critical": 128.0}[self.forecast]

    @cached_property
    def forecasting(self) -> "Profile | None":
        """The profile while a forecast keeps the room for what comes, and tracking only stands by; None: no forecast.

        There is one where requests are measured and divided by what an instance serves, and tracking is not declared.
        """
        each = self.objectives.requests_per_instance
        if self.forecast == "off" or self.queued or self.policies is not None or self.settling_target is None:
            return None
        if each is None:
            return None
        target = round(FORECAST_TARGET * each, 2)
        standing_by = tuple(policy.model_copy(update={"target": target}) for policy in self.native_policies)
        return self._but(policies=standing_by)

    @cached_property
    def resting(self) -> "Profile":
        """The profile that `forecasting` was made of."""
        return self._but(policies=None)

    def left_behind(self, before: Tracked | None) -> "Profile":
        """Return the profile as it tracks requests when nobody lives: as the user did before adoption, if lower.

        With the user's cooldowns: at the same target, others have other instances in a rush (ADR 0005).
        """
        if self.policies is not None or before is None or all(p.target <= before.target for p in self.request_targets):
            return self
        room = max(before.scale_in_cooldown, self.provisioning or timedelta(0))
        user = before._replace(scale_in_cooldown=room)._asdict()
        return self._but(policies=tuple(p.model_copy(update=user) for p in self.native_policies))

    def rated(self, capacity: float | None, share: float) -> "Profile":
        """Return the profile for instances that serve so many requests a minute; declared targets move with that.

        Args:
            capacity: what was learned, None for what is stated.
            share: of that, what latency allows.
        """
        stated = self.objectives.requests_per_instance
        factor = share * (capacity / stated if capacity and stated else 1)
        each = capacity or stated
        if factor == 1 and each == stated:
            return self
        rate = each and max(round(each * share, 4), LEAST_RATE)
        objectives = self.objectives.model_copy(update={"requests_per_instance": rate})
        policies = self.policies and tuple(
            p.model_copy(update={"target": round(p.target * factor, 4)}) if p in self.request_targets else p
            for p in self.policies
        )
        return self._but(objectives=objectives, policies=policies)

    def _but(self, **changes: object) -> "Profile":
        """Return the profile with some fields changed."""
        return Profile.model_validate({name: getattr(self, name) for name in Profile.model_fields} | changes)

    @property
    def request_metric(self) -> MetricName:
        """Requests divided by what is counted; nobody publishes it for serverless variants or queues."""
        return "requests_per_copy" if self.serving is Serving.INFERENCE_COMPONENT else "requests_per_instance"

    @property
    def request_targets(self) -> list[TargetTracking]:
        """The policies that track requests."""
        tracking = (p for p in self.native_policies if isinstance(p, TargetTracking))
        return [p for p in tracking if p.metric == self.request_metric]

    @cached_property
    def capacity_per_instance(self) -> float | None:
        """Requests a minute one instance serves: the objective, else the declared request target, else unknown."""
        if self.objectives.requests_per_instance is not None:
            return self.objectives.requests_per_instance
        return next((p.target for p in self.request_targets), None)

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """What a pass must measure: what says how much capacity the load needs, where one instance's is known."""
        queue = tuple(SQS if self.queue else QUEUE) if self.works_off_a_queue else ()
        if self.queued:
            return queue
        refused = (Signal.NO_CAPACITY,) if self.min_capacity == 0 else ()
        requests = (Signal.REQUESTS,) if self.capacity_per_instance is not None else ()
        return (*requests, *refused, *queue)

    @cached_property
    def settling_target(self) -> float | None:
        """Load per instance at which native tracking comes to rest; None if direct scale-in must not judge.

        Only load that does not depend on the instance count may be judged from outside. Where CPU or memory hold
        capacity too scale-in is left to the native policies.
        """
        if self.scale_in == "native" or not self.signals:
            return None
        wanted = {"requests_per_instance", "requests_per_copy", "backlog_per_instance"}
        if any(p.metric not in wanted for p in self.native_policies):
            return None
        return next((p.target for p in self.native_policies if isinstance(p, TargetTracking)), None)


class Endpoint(Strict):
    """One endpoint, enrolled by name."""

    name: Name
    profile: str
    variant: Name = "AllTraffic"
    inference_component: Name | None = None
    """The component of this endpoint to scale, by its copies; then `variant` says nothing."""

    vcpus: Annotated[int, Field(ge=1, le=1024), NoTruth] | None = None
    """Only where the instance type is one the catalogue does not know."""

    gpus: Annotated[int, Field(ge=1, le=64), NoTruth] | None = None
    """Likewise."""

    adopt: bool = False
    """Replace scaling policies and scheduled actions that others made (they are saved first)."""

    @field_validator("profile")
    @classmethod
    def _profile_exists(cls, value: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("profiles")
        if known is not None and value not in known:
            names = ", ".join(sorted(map(str, known)))  # as YAML reads them: 7 is no text
            raise ValueError(f"must name a profile of this file ({names or 'there are none'})")
        return value

    def target(self, serving: Serving) -> ScalableTarget:
        """Return what the entry scales."""
        if self.inference_component is not None:
            return ScalableTarget.component(self.inference_component)
        return ScalableTarget.variant(self.name, self.variant, serving.dimension)


class Fleet(Strict):
    """The whole policy document."""

    version: Literal[1]
    max_capacity: Whole = Field(default=100, ge=1, le=10_000)
    """No target of the fleet may exceed this, whatever its profile or an override says."""

    scalable_targets: Whole = Field(default=500, ge=1, le=1_000_000)
    """The Region's quota of scalable targets for SageMaker, others' included: nothing is enrolled above it."""

    longest_override: Annotated[Duration, between("1m", "366d")] = timedelta(days=14)
    """How far ahead an override may end."""

    profiles: dict[Name, Profile] = Field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()

    @field_validator("endpoints")
    @classmethod
    def _entries_fit(cls, value: tuple[Endpoint, ...], info: ValidationInfo) -> tuple[Endpoint, ...]:
        keys = [e.inference_component or f"{e.name}/{e.variant}" for e in value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"each variant or inference component may be listed once ({', '.join(twice)})")
        profiles: Mapping[str, Profile] = info.data.get("profiles", {})
        for entry in value:
            serving = profiles[entry.profile].serving if entry.profile in profiles else None
            if serving and (serving is Serving.INFERENCE_COMPONENT) != (entry.inference_component is not None):
                needs = "takes no" if entry.inference_component is not None else "needs"
                because = f"profile {entry.profile} has serving {serving}"
                raise ValueError(f"{entry.name} {needs} inference_component: {because}")
        return value

    @property
    def targets(self) -> Mapping[ScalableTarget, Endpoint]:
        """What the entries scale."""
        return {entry.target(self.profiles[entry.profile].serving): entry for entry in self.endpoints}


def parse_fleet(document: object) -> Fleet:
    """Return the document as types.

    Args:
        document: what JSON or YAML gave.

    Raises:
        ConfigError: with one problem for each wrong field: path, value seen, allowed range.
    """
    profiles = document.get("profiles") if isinstance(document, Mapping) else None
    return parsed(Fleet, document, {"profiles": set(profiles) if isinstance(profiles, Mapping) else set()})
