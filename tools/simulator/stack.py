"""The deployed stack without AWS: the real handlers, in-process, fed with events in AWS's format.

Only transport is replaced: clients answer from a `SimulatedAccount`, the table is in memory and the policy document
is given, unless the caller brings others. Rules and schedules route as `template.yaml` says
(the embedded account asks the deployed ones).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from typing_extensions import override

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.sagemaker import SageMaker
from core.aws.scheduler import Scheduler
from core.model import Kind, Mode
from core.ports import Autoscaling, Events, Hosting, Metrics, PolicySource, Schedules, StateStore
from core.reconcile import Outcome, Ports, Reconciler
from handlers import async_queue, batch_window, fleet_sync, realtime_target
from handlers import override as override_handler
from handlers.wiring import LambdaHandler, Runtime
from simulator.account import SimulatedAccount
from simulator.direct import DirectAutoscaling, DirectMetrics, DirectServing, PlainClient
from simulator.in_memory import InMemoryEvents, InMemoryStore, StaticPolicies

MAKERS: Mapping[str, Callable[[Callable[[], Runtime]], LambdaHandler]] = {
    "RealtimeTarget": realtime_target.make_handler,
    "AsyncQueue": async_queue.make_handler,
    "BatchWindow": batch_window.make_handler,
    "FleetSync": fleet_sync.make_handler,
    "Override": override_handler.make_handler,
}
OWNERS = {Kind.REALTIME: "RealtimeTarget", Kind.ASYNC: "AsyncQueue", Kind.BATCH: "BatchWindow"}

FALLBACK_ROLE = "arn:aws:iam::123456789012:role/tidegate-fallback"


@dataclass(frozen=True, slots=True)
class Invocation:
    """Lambda's context object, as far as handlers look at it."""

    function_name: str
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the time-out of an owner function, in milliseconds."""
        return 50_000


class SimulatedStack:
    """Tidegate deployed into a simulated account.

    Args:
        account: where the endpoints are.
        fleet: the policy document, or where it comes from.
        stage: part of every name.
        mode: of the stack.
        store: what is remembered; dictionaries if none is given.
        events: who is told of overrides; a list if none is given.
        direct: True asks the account without botocore in between, in a third of the time.
    """

    def __init__(  # noqa: PLR0913 - all but two have a default
        self,
        account: SimulatedAccount,
        fleet: Mapping[str, Any] | PolicySource,
        *,
        stage: str = "local",
        mode: Mode = Mode.ACTIVE,
        store: StateStore | None = None,
        events: Events | None = None,
        direct: bool = False,
    ) -> None:
        self.account = account
        self._direct = direct
        self.stage = stage
        self.store: StateStore = store or InMemoryStore()
        self.events: Events = events or InMemoryEvents()
        self.policies: PolicySource = StaticPolicies(fleet) if isinstance(fleet, Mapping) else fleet
        self.outcomes: list[tuple[str, Outcome]] = []
        self.invocations: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.listener: Callable[[datetime, str, dict[str, Any]], None] = lambda _at, _function, _reply: None
        self.alive = True
        self.ticking = tuple(OWNERS.values())
        metrics, autoscaling, serving = self._adapters()
        ports = Ports(
            policies=self.policies,
            store=self.store,
            metrics=metrics,
            autoscaling=autoscaling,
            schedules=self._schedules(),
            serving=serving,
            events=self.events,
            clock=self.now,
        )
        self.reconciler = Reconciler(ports, stage=stage, mode=mode)
        runtime = Runtime(
            reconciler=self.reconciler,
            clock=self.now,
            tell=self.tell,
            sleep=lambda _: None,
        )
        self._handlers = {name: make(lambda: runtime) for name, make in MAKERS.items()}

    def now(self) -> datetime:
        """Return what the functions' clock shows."""
        return self.account.now

    def _adapters(self) -> tuple[Metrics, Autoscaling, Hosting]:
        if self._direct:
            return DirectMetrics(self.account), DirectAutoscaling(self.account), DirectServing(self.account)
        client = self.account.client
        sagemaker = SageMaker(lambda: client("sagemaker"), lambda: client("resourcegroupstaggingapi"))
        return CloudWatch(client("cloudwatch")), ApplicationAutoScaling(client("application-autoscaling")), sagemaker

    def _schedules(self) -> Schedules:
        return Scheduler(lambda: PlainClient(self.account, "scheduler"), self.stage, FALLBACK_ROLE)

    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:
        """Keep every outcome, failed passes' too."""
        self.outcomes += [(function, outcome) for outcome in outcomes]

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke one function as Lambda would; an exception is a failed invocation."""
        self.invocations[function] += 1
        context = Invocation(function, f"{self.account.now:%Y%m%d%H%M%S}-{self.invocations.total()}")
        self.account.caller = function
        try:
            reply = self._handlers[function](event, context)
        finally:
            self.account.caller = ""
        self.listener(self.account.now, function, reply)
        return reply

    def minute(self) -> list[dict[str, Any]]:
        """Let one minute pass: AWS moves, its events are delivered, the schedules tick. Returns the events."""
        events = self.account.advance()
        if self.alive:
            for event in events:
                self.deliver(event)
            self.tick()
        return events

    def deliver(self, event: dict[str, Any]) -> None:
        """Hand an event to the function whose rule matches, as EventBridge does."""
        for function in self.matching(event):
            self._try(function, event)

    def matching(self, event: Mapping[str, Any]) -> list[str]:
        """Return the functions whose rules in `template.yaml` match the event."""
        if wakes_fleet_sync(event):
            return ["FleetSync"]
        detail = event.get("detail", {})
        name = detail.get("alarmName", "") if detail.get("state", {}).get("value") in {"ALARM", "OK"} else ""
        return [owner for kind, owner in OWNERS.items() if name.startswith(f"tidegate-target-{self.stage}-{kind}-")]

    def tick(self) -> None:
        """Fire the schedules that are due: the owners each minute, FleetSync on the hour."""
        payload = {"trigger": "schedule", "scheduled_time": f"{self.account.now:%Y-%m-%dT%H:%M:%SZ}"}
        if self.account.now.minute == 0:
            self._try("FleetSync", payload)
        for owner in self.ticking:
            self._try(owner, payload)

    def stop(self) -> None:
        """Kill the controller: no function is invoked any more; AWS goes on."""
        self.alive = False

    def _try(self, function: str, event: dict[str, Any]) -> None:
        try:
            self.invoke(function, event)
        except Exception as err:  # noqa: BLE001 - a failed invocation ends here, as it does in Lambda
            self.failures.append((function, str(err)))


class DirectStack(SimulatedStack):
    """The same for replays of weeks: no botocore between adapters and account, and no record of outcomes.

    Owners that the policy document gives nothing to do are not asked: it does not change.

    Args:
        account: as for `SimulatedStack`.
        fleet: the policy document.
        store: what is remembered.
    """

    def __init__(self, account: SimulatedAccount, fleet: Mapping[str, Any], *, store: StateStore) -> None:
        super().__init__(account, fleet, store=store, direct=True)
        profiles = self.policies.fleet().profiles.values()
        busy = {profile.kind for profile in profiles} | {Kind.BATCH for profile in profiles if profile.windows}
        self.ticking = tuple(owner for kind, owner in OWNERS.items() if kind in busy)

    @override
    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:
        """Forget them."""


def wakes_fleet_sync(event: Mapping[str, Any]) -> bool:
    """Whether the rule on endpoints in `template.yaml` matches: that one begins to update is no news."""
    news = event.get("detail-type") == "SageMaker Endpoint State Change"
    return news and event["detail"]["EndpointStatus"] != "UPDATING"
