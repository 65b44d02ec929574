"""`tidegate deploy-guard`: an endpoint held still around its deployment, by overrides that end by themselves.

A floor at what runs keeps AAS from scaling in, a pause on top keeps Tidegate from writing: what changes the count makes
the endpoint `Updating`, and SageMaker refuses UpdateEndpoint then. AAS itself may still scale out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zlib import crc32

from cli import overrides, rollout
from cli.errors import DeliveryError, RefusedError
from cli.output import log
from cli.stack import DeployedStack
from cli.targets import nearest
from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.sagemaker import SageMaker
from core.model import Capacity, Missing, Override, ScalableTarget, Scope
from core.overrides import in_force
from core.plan import foreign

PREFIX = "deploy-guard:"
"""What the IDs of our overrides begin with."""

POLL_SECONDS = 15.0
POLLS = 120
"""Half an hour, far beyond what a change of AAS's takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One endpoint, between the beginning and the end of its deployment."""

    stack: DeployedStack
    endpoint: str
    requested_by: str
    sleep: Callable[[float], None]

    @property
    def targets(self) -> list[ScalableTarget]:
        """Return what of the endpoint is enrolled."""
        return sorted(target for target, place in self.stack.roster().items() if place.endpoint == self.endpoint)

    def held(self, target: ScalableTarget) -> list[Override]:
        """Return the overrides of this very target that are in force, the one that has its way first."""
        found = in_force(self.stack.table.overrides(), self.stack.ports.clock())
        return [each for each in found if each.place == (Scope.TARGET, target.resource_id)]

    @property
    def unknown(self) -> str:
        """Say that nothing of the endpoint is enrolled, and what is; empty if something is."""
        if self.targets:
            return ""
        names = {place.endpoint for place in self.stack.roster().values()}
        return f"{self.endpoint}: nothing of it is enrolled; {nearest(self.endpoint, names)}"

    def begin(self, *, lasting: str, reason: str, key: str | None, force: bool, deregister: bool) -> datetime | None:
        """Hold every target of the endpoint; return until when, None if nothing of it is enrolled.

        Args:
            lasting: how long, as a duration of the policy file.
            reason: for those who read the decisions later.
            key: of the pipeline's run; the time if there is none.
            force: although somebody else's override holds a target; it ends with the guard.
            deregister: from AAS, where SageMaker refuses another instance type otherwise.

        Raises:
            RefusedError: somebody else's override holds a target, or what is registered is not ours to remove.
            DeliveryError: the endpoint does not come to rest.
        """
        ends: list[datetime] = []
        for target in self.targets:
            standing = self.held(target)
            others = [each for each in standing if not each.override_id.startswith(PREFIX)]
            if others and not force:
                said = "; ".join(f"{o.override_id} by {o.requested_by}: {o.reason}" for o in others)
                raise RefusedError(f"{target.resource_id} is held already ({said}); --force ends that with the guard")
            if len(standing) == len(others):
                count = self.at_rest(target)
                name = f"{PREFIX}{key or format(self.stack.ports.clock(), '%Y%m%dT%H%M%S')}:{_short(target)}"
                if count:
                    self._ask(target, "floor", f"{name}:floor", reason, duration=lasting, capacity=count)
                self._ask(target, "pause", f"{name}:pause", reason, duration=lasting)
            if deregister:
                self._deregister(target)
            self.at_rest(target)
            ends.append(min(o.expires_at for o in self.held(target) if o.override_id.startswith(PREFIX)))
        return min(ends, default=None)

    def end(self, reason: str) -> list[dict[str, Any]]:
        """Lift what holds the endpoint and look at it at once; return what each pass did.

        Raises:
            DeliveryError: FleetSync fails to register what was deregistered.
        """
        guarded = [t for t in self.targets if any(o.override_id.startswith(PREFIX) for o in self.held(t))]
        now = format(self.stack.ports.clock(), "%Y%m%dT%H%M%S")
        answers = [self._ask(t, "resume", f"{PREFIX}{now}:{_short(t)}:resume", reason) for t in guarded]
        if any(each["status"] == "not_enrolled" for answer in answers for each in answer["targets"]):
            synced = rollout.synced(self.stack)
            if "errorMessage" in synced:
                raise DeliveryError(f"FleetSync: {synced['errorMessage']}")
            mine = {target.resource_id for target in guarded}
            answers = [{"targets": [each for each in synced["targets"] if each["target"] in mine]}]
        return [each for answer in answers for each in answer["targets"]]

    def at_rest(self, target: ScalableTarget) -> int:
        """Wait until the endpoint is InService without a change under way; return the count.

        Raises:
            DeliveryError: it is gone, or not at rest after half an hour.
        """
        hosting = SageMaker(lambda: self.stack.aws.of("sagemaker"), lambda: None)  # type: ignore[arg-type, return-value]  # no tags are asked for
        seen: Capacity | Missing = Missing("not looked at")
        for _ in range(POLLS):
            seen = hosting.capacity(target)
            if isinstance(seen, Missing):
                break
            if seen.settled:
                return seen.desired
            log(f"{target.resource_id}: {seen.status}, {seen.current} of {seen.desired}; waiting until it is at rest.")
            self.sleep(POLL_SECONDS)
        raise DeliveryError(
            f"{target.resource_id} does not come to rest: {seen}; it stays held until the guard expires"
        )

    def _deregister(self, target: ScalableTarget) -> None:
        client = self.stack.aws.of("application-autoscaling")
        adapter = ApplicationAutoScaling(client)
        if not adapter.registered([target]):
            return
        made = [policy.name for policy in foreign(adapter.policies(target), self.stack.stage)]
        made += [action.name for action in foreign(adapter.scheduled_actions(target), self.stack.stage)]
        if made:
            raise RefusedError(f"{target.resource_id}: --deregister would delete what others made ({', '.join(made)})")
        adapter.deregister(target)

    def _ask(self, target: ScalableTarget, action: str, name: str, reason: str, **more: object) -> dict[str, Any]:
        names = target.names
        if "InferenceComponentName" in names:
            place = {"inference_component": names["InferenceComponentName"]}
        else:
            place = {"target": names["EndpointName"], "variant": names["VariantName"]}
        request = {"request_id": name, "action": action, "reason": reason, "requested_by": self.requested_by}
        functions = self.stack.aws.of("lambda")
        return overrides.invoke(functions, self.stack.outputs["override"], {**request, **place, **more})


def _short(target: ScalableTarget) -> str:
    """Tell the targets of an endpoint apart within the 100 characters of a request ID."""
    return format(crc32(target.resource_id.encode()), "08x")


def lines_of(answers: Sequence[dict[str, Any]]) -> list[str]:
    """Say what the first pass after a guard did to each target."""
    return [
        f"{each['target']}: {each['status']}"
        + (f", {each['min_capacity']}..{each['max_capacity']} by {each['reason']}" if "reason" in each else "")
        + (f"; {each['error']}" if "error" in each else "")
        for each in answers
    ]
