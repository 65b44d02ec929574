"""`tidegate deploy-guard`: an endpoint held still around its deployment, by overrides that end by themselves.

A floor at what runs keeps AAS from scaling in, a pause on top keeps Tidegate from writing: what changes the count makes
the endpoint `Updating`, and SageMaker refuses UpdateEndpoint then. AAS itself may still scale out.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
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
from core.errors import ObservationError
from core.fields import duration
from core.model import Missing, Override, OverrideAction, ScalableTarget, Scope
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
            key: of the pipeline's run, for those who read the IDs; a run that is run again has the same.
            force: although somebody else's override holds a target; it ends with the guard.
            deregister: from AAS, where SageMaker refuses another instance type otherwise.

        Raises:
            RefusedError: somebody else's override holds a target, or what is registered is not ours to remove.
            DeliveryError: the endpoint does not come to rest.
        """
        said = {"duration": ("--for", lasting), "reason": ("--reason", reason), "request_id": ("--id", key)}
        run = f"{key}:" * bool(key) + format(self.stack.ports.clock(), "%Y%m%dT%H%M%S")
        free = [target for target in self.targets if not self._lasts(target, lasting)]
        for target in self.targets:  # what is refused is refused before anybody waits, and before anything is held
            self._refuse_held(target, force=force)
            if deregister:
                self._refuse_foreign(target)
            if target in free:
                name = f"{PREFIX}{run}:{_short(target)}:pause"
                self._ask(target, "pause", name, reason, said, duration=lasting, dry_run=True)
        for target in self.targets:
            if target in free:
                count, name = self.at_rest(target), f"{PREFIX}{run}:{_short(target)}"
                if count:
                    self._ask(target, "floor", f"{name}:floor", reason, said, duration=lasting, capacity=count)
                self._ask(target, "pause", f"{name}:pause", reason, said, duration=lasting)
            if deregister:
                ApplicationAutoScaling(self.stack.aws.of("application-autoscaling")).deregister(target)
            self.at_rest(target)
        ends = [max((each.expires_at for each in self._ours(target)), default=None) for target in self.targets]
        return min((end for end in ends if end is not None), default=None)

    def _lasts(self, target: ScalableTarget, lasting: str) -> bool:
        """Whether it is held for as long as is asked: what a run that died left may end too early or lack its pause."""
        with suppress(ValueError, OverflowError):  # else the function refuses it, in its own words
            until = self.stack.ports.clock() + duration(lasting)
            return any(o.action is OverrideAction.PAUSE and o.expires_at >= until for o in self._ours(target))
        return False

    def _ours(self, target: ScalableTarget) -> list[Override]:
        return [each for each in self.held(target) if each.override_id.startswith(PREFIX)]

    def _refuse_held(self, target: ScalableTarget, *, force: bool) -> None:
        others = [each for each in self.held(target) if not each.override_id.startswith(PREFIX)]
        if others and not force:
            said = "; ".join(f"{o.override_id} by {o.requested_by}: {o.reason}" for o in others)
            raise RefusedError(f"{target.resource_id} is held already ({said}); --force ends that with the guard")

    def _refuse_foreign(self, target: ScalableTarget) -> None:
        adapter = ApplicationAutoScaling(self.stack.aws.of("application-autoscaling"))
        made = [policy.name for policy in foreign(adapter.policies(target), self.stack.stage)]
        made += [action.name for action in foreign(adapter.scheduled_actions(target), self.stack.stage)]
        if made:
            raise RefusedError(f"{target.resource_id}: --deregister would delete what others made ({', '.join(made)})")
        found = adapter.registered([target]).get(target)
        if found and found.suspended:
            said = ", ".join(found.suspended)
            raise RefusedError(
                f"{target.resource_id}: --deregister would end what is suspended ({said}): resume it first"
            )

    def end(self, reason: str) -> list[dict[str, Any]]:
        """Lift what holds the endpoint and look at it at once; return what each pass did.

        Raises:
            DeliveryError: FleetSync fails to register what was deregistered.
        """
        guarded = [target for target in self.targets if self._ours(target)]
        now, said = format(self.stack.ports.clock(), "%Y%m%dT%H%M%S"), {"reason": ("--reason", reason)}
        answers = [self._ask(t, "resume", f"{PREFIX}{now}:{_short(t)}:resume", reason, said) for t in guarded]
        waits = any(each["status"] == "not_enrolled" for answer in answers for each in answer["targets"])
        if waits or self._bare():  # deregistered under a guard that ended before: the hourly pass left it so
            synced = rollout.synced(self.stack)
            if "errorMessage" in synced:
                raise DeliveryError(f"FleetSync: {synced['errorMessage']}")
            mine = {target.resource_id for target in self.targets}
            answers = [{"targets": [each for each in synced["targets"] if each["target"] in mine]}]
        return [each for answer in answers for each in answer["targets"]]

    def _bare(self) -> bool:
        """Whether something that FleetSync had put in order is not registered."""
        with suppress(ObservationError):  # who deregisters nothing needs no right to read this
            registered = ApplicationAutoScaling(self.stack.aws.of("application-autoscaling")).registered(self.targets)
            memories = self.stack.table.memories(self.targets)
            return any(memory.enrolled and target not in registered for target, memory in memories.items())
        return False

    def at_rest(self, target: ScalableTarget) -> int:
        """Wait until the endpoint is InService without a change under way; return the count.

        Raises:
            DeliveryError: it is gone, or not at rest after half an hour.
        """
        hosting = SageMaker(lambda: self.stack.aws.of("sagemaker"), lambda: None)  # type: ignore[arg-type, return-value]  # no tags are asked for
        state = "nobody has looked"
        for _ in range(POLLS):
            seen = hosting.capacity(target)
            if isinstance(seen, Missing):
                state = seen.why
                break
            if seen.settled:
                return seen.desired
            if state != (state := f"{seen.status}, {seen.current} of {seen.desired} instances"):
                log(f"{target.resource_id}: {state}; waiting until it is at rest.")
            self.sleep(POLL_SECONDS)
        held = "; it stays held until the guard expires" * bool(self._ours(target))
        raise DeliveryError(f"{target.resource_id} does not come to rest: {state}{held}")

    def _ask(
        self, target: ScalableTarget, action: str, name: str, reason: str, said: overrides.Typed, **more: object
    ) -> dict[str, Any]:
        names = target.names
        if "InferenceComponentName" in names:
            place = {"inference_component": names["InferenceComponentName"]}
        else:
            place = {"target": names["EndpointName"], "variant": names["VariantName"]}
        request = {"request_id": name, "action": action, "reason": reason, "requested_by": self.requested_by}
        functions = self.stack.aws.of("lambda")
        return overrides.invoke(functions, self.stack.outputs["override"], {**request, **place, **more}, said)


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
