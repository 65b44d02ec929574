"""A small fleet's morning, told so that its passes make every call there is; each is kept with the world before it.

What moves: `orders` gets a rush and loses it again, `ranks` answers too slowly, `documents` wakes from zero and falls
idle, `nightly` has a window, `chat` refuses requests for want of a copy. Somebody deploys, somebody overrides, one
policy disappears, and at the end half of the fleet leaves, one by its tag. `orders`, `ranks` and `nightly` get a forecast, which
raises their target values; all but `ranks` lose it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from core.aws.store import Table
from core.learning.fit import fit
from core.model import Learned, Observation, Option, Point, ScalableTarget
from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload
from tests.builders import ASYNC, COMPONENT, REALTIME
from tests.chaos.cloud import TABLE, CloudAccount, Snapshot
from tests.chaos.passes import Ran, invoke
from tests.chaos.wire import Call, the_wire
from tests.rights import REGION

START = datetime(2026, 11, 18, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGO = 3
"""Minutes that a stale read is old."""

GAPS = {"FleetSync": 5, "Override": 2}
"""Minutes until the same function is invoked again: a killed pass's lease is over by then (1 minute for the others)."""

SOON = {"stabilization": "5m"}
DOCUMENT: Mapping[str, Any] = {
    "version": 1,
    "profiles": {
        "shop": {**REALTIME, **SOON},
        "rank": {**REALTIME, **SOON, "objectives": {**REALTIME["objectives"], "latency_p95": "800ms"}},
        "read": {**ASYNC, **SOON},
        "score": {
            "kind": "batch",
            "min_capacity": 1,
            "max_capacity": 10,
            "objectives": {"requests_per_instance": 600},
            "windows": [{"name": "morning", "start": "09:00", "duration": "1h", "min_capacity": 5, "max_capacity": 6}],
        },
        "talk": COMPONENT,
    },
    "endpoints": [
        {"name": "orders", "profile": "shop"},
        {"name": "ranks", "profile": "rank", "adopt": True},
        {"name": "documents", "profile": "read"},
        {"name": "nightly", "profile": "score"},
        {"name": "llm", "inference_component": "chat", "profile": "talk"},
    ],
}
TAGGED = "scans"
"""An asynchronous endpoint that is enrolled by its tag."""

TARGETS = (
    *(ScalableTarget.variant(name, "AllTraffic") for name in ("orders", "ranks", "documents", "nightly", TAGGED)),
    ScalableTarget.component("chat"),
)


def _minutes(*parts: tuple[int, int]) -> list[int]:
    """Return `(minutes, value)` after each other."""
    return [value for count, value in parts for _ in range(count)]


def _account() -> SimulatedAccount:
    account = SimulatedAccount(START, region=REGION, record_calls=False)
    rush = _minutes((40, 1500), (20, 6000), (240, 900))
    account.add_endpoint(
        name="orders",
        workload=RealtimeWorkload(per_minute_requests=rush, capacity_per_instance=1200),
        instance_count=2,
        tags={"team": "search"},
    )
    account.add_endpoint(
        name="ranks",
        workload=RealtimeWorkload(per_minute_requests=_minutes((70, 500), (230, 1490)), capacity_per_instance=500),
        instance_count=3,
    )
    for name in ("documents", TAGGED):
        items = _minutes((40, 0), (5, 40), (300, 0))
        account.add_endpoint(
            name=name,
            workload=AsyncWorkload(
                per_minute_requests=items,
                per_minute_work_seconds=[15.0 * n for n in items],
                objective=timedelta(minutes=15),
            ),
            instance_count=0,
            asynchronous=True,
            tags={"tidegate:profile": "read"} if name == TAGGED else {},
        )
    account.add_endpoint(
        name="nightly",
        workload=RealtimeWorkload(per_minute_requests=[40] * 300, capacity_per_instance=600),
        instance_count=1,
    )
    account.add_endpoint(name="llm", workload=NoWorkload(), instance_count=0, managed=Managed(minimum=0, maximum=6))
    talk = _minutes((40, 0), (20, 70), (240, 0))
    account.add_component(
        name="chat",
        endpoint="llm",
        workload=ComponentWorkload(per_minute_requests=talk, capacity_per_instance=30),
        copies=0,
    )
    _others_policy(account)
    return account


def _others_policy(account: SimulatedAccount) -> None:
    """Somebody scales `ranks` already; the policy file says `adopt: true`."""
    names = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/ranks/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    call = account.call
    call("application-autoscaling", "RegisterScalableTarget", {**names, "MinCapacity": 3, "MaxCapacity": 5})
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    tracking = {"TargetValue": 400.0, "PredefinedMetricSpecification": metric}
    policy = {"PolicyName": "by-hand", "PolicyType": "TargetTrackingScaling"}
    body = {"TargetTrackingScalingPolicyConfiguration": tracking}
    call("application-autoscaling", "PutScalingPolicy", {**names, **policy, **body})
    nights = {"Schedule": "cron(0 20 * * ? *)", "ScalableTargetAction": {"MinCapacity": 1}}
    call("application-autoscaling", "PutScheduledAction", {**names, "ScheduledActionName": "nights", **nights})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """A pass that is about to begin: `past` is the world some minutes ago, which stale reads show."""

    name: str
    function: str
    event: Mapping[str, Any]
    before: Snapshot
    past: Snapshot
    calls: tuple[Call, ...]

    @property
    def gap(self) -> int:
        """Minutes until the function is invoked again."""
        return GAPS.get(self.function, 1)


class _Teller:
    def __init__(self) -> None:
        self.cloud = CloudAccount(account=_account(), document=DOCUMENT)
        self.moments: list[Moment] = []
        self._pasts = [self.cloud.save()]
        self._seen: set[tuple[str, tuple[str, ...]]] = set()

    def until(self, minute: int, *, ticking: bool = True) -> None:
        """Play up to this minute of the morning, the owners ticking every other minute."""
        account = self.cloud.account
        while account.now < START + minute * MINUTE:
            account.advance()
            self._pasts = [*self._pasts[-AGO:], self.cloud.save()]
            for owner in ("RealtimeTarget", "AsyncQueue", "BatchWindow") if ticking and account.now.minute % 2 else ():
                self.pass_of(owner, {"trigger": "schedule"})

    def pass_of(self, function: str, event: Mapping[str, Any]) -> Ran:
        """Let a pass happen, and keep the moment if it does what none before it did."""
        before = self.cloud.save()
        ran = invoke(self.cloud, function, event)
        if ran.error is not None:
            raise AssertionError(f"{self.cloud.now:%H:%M} {function}") from ran.error
        done = (function, tuple(sorted({c.operation for c in ran.calls if not c.reads})))
        if done not in self._seen:
            self._seen.add(done)
            name = f"{self.cloud.now:%H:%M} {function}"
            past = self._pasts[0]
            self.moments.append(
                Moment(name=name, function=function, event=event, before=before, past=past, calls=ran.calls)
            )
        return ran

    def learn(self, name: str, option: Option) -> None:
        """FleetSync finds that something orders ahead for an endpoint best."""
        now, wire = self.cloud.now, the_wire()
        learned = replace(fitted(), fitted_at=now, chosen=option)
        with wire.to(self.cloud, "FleetSync"):
            Table(wire.clients["dynamodb"], TABLE).put_learned(ScalableTarget.variant(name, "AllTraffic"), learned)

    def override(self, action: str, ends_in: int, **what: Any) -> None:
        """An operator overrides."""
        ends = self.cloud.now + ends_in * MINUTE
        said = {"reason": "campaign", "requested_by": "maria", "request_id": f"{action}-{self.cloud.now:%H%M}"}
        end = {} if action == "resume" else {"expires_at": ends.isoformat()}
        self.pass_of("Override", {**said, "action": action, **end, **what})


@cache
def fitted() -> Learned:
    """What four days of one load make learned."""
    found = fit(Observation(tuple(Point(START - n * MINUTE, 900.0) for n in range(4 * 1440, 0, -1))), 1000)
    assert found is not None
    return found


@cache
def moments() -> tuple[Moment, ...]:
    """Play the morning and return each pass that made other calls than those before it."""
    teller = _Teller()
    account = teller.cloud.account
    hourly = {"trigger": "schedule"}
    teller.until(AGO, ticking=False)
    teller.pass_of("FleetSync", hourly)
    teller.until(30, ticking=False)
    teller.pass_of("FleetSync", hourly)
    teller.until(39, ticking=False)
    teller.until(62)
    teller.override("pin", 90, target="orders", capacity=6)
    teller.override("ceiling", 30, tag="team=search", capacity=4)
    teller.until(75)
    teller.override("resume", 0, target="orders")
    teller.override("floor", 10, fleet=True, capacity=3, dry_run=True)
    teller.until(100)
    account.deploy("orders", 1)
    teller.learn("orders", Option.FORECAST)
    teller.learn("ranks", Option.FORECAST)
    teller.learn("nightly", Option.FORECAST)
    teller.until(110)
    teller.learn("orders", Option.GUARD)
    teller.learn("nightly", Option.GUARD)
    teller.pass_of("FleetSync", _endpoint_news("orders"))
    names = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/documents/variant/AllTraffic"}
    names["ScalableDimension"] = "sagemaker:variant:DesiredInstanceCount"
    policy = next(iter(account.snapshot("documents")["policies"]))
    account.call("application-autoscaling", "DeleteScalingPolicy", {**names, "PolicyName": policy})
    teller.pass_of("FleetSync", hourly)
    teller.until(125)
    stay = [e for e in DOCUMENT["endpoints"] if e["name"] not in {"ranks", "nightly"}]
    teller.cloud.document = {**DOCUMENT, "endpoints": stay}
    account.endpoint(TAGGED).tags.clear()
    teller.pass_of("FleetSync", hourly)
    return tuple(teller.moments)


def _endpoint_news(name: str) -> Mapping[str, Any]:
    return {"detail-type": "SageMaker Endpoint State Change", "detail": {"EndpointName": name}}


def replayed(moment: Moment) -> CloudAccount:
    """Return the world right before a moment."""
    return CloudAccount.of(moment.before)
