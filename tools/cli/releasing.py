"""`tidegate release`: what an endpoint had before it was adopted, given back and compared."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter

from cli import rollout
from cli.errors import DeliveryError, RefusedError
from cli.estate import Source
from cli.output import log
from cli.stack import TAGGING, DeployedStack
from cli.targets import meant, spelled
from core.fleet import PROFILE_TAG
from core.model import Envelope, Mode, ScalableTarget
from core.native import owned_prefix
from core.policy import Fleet, parse_fleet
from core.ports import NativePolicy, Original, Place, ScheduledAction
from core.reconcile import Outcome, Status
from core.times import MINUTE
from simulator.aas import ScheduledAction as Simulated
from simulator.schedule import parse

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient

A_MONTH = timedelta(days=32)

LOOKS, ASKED, BETWEEN = 90, 10, 30.0
"""Looks at the roster, so many seconds apart; each so many looks FleetSync is asked: a tag must be gone in two of its
own looks half an hour apart."""

TRIES = 3
"""How often an alarm is given its action back."""

_ORIGINALS = TypeAdapter(Original)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A target that is to be given back: what stood before, and what FleetSync will do."""

    target: ScalableTarget
    place: Place
    saved: Original | None
    original: Original | None
    """What was saved, within the bounds that its scheduled actions would have set since."""

    outcome: Outcome

    @property
    def known(self) -> bool:
        """Whether it is known what stood before."""
        return self.original is not None and self.original.known

    @property
    def moved(self) -> bool:
        """Whether its scheduled actions would have set other bounds by now than were saved."""
        return self.original != self.saved

    @property
    def tagged(self) -> bool:
        """Whether its endpoint has the tag: it enrols what leaves the document anew."""
        return self.place.by_tag or PROFILE_TAG in self.place.tags

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        before = None if self.original is None else json.loads(_ORIGINALS.dump_json(self.original))
        return {
            "target": self.target.resource_id,
            "by_tag": self.place.by_tag,
            "original": before,
            "actions": [*map(str, self.outcome.actions)],
        }


def leaving(stack: DeployedStack, said: str | None, *, keep_native: bool) -> list[Leaving]:
    """Return what of the roster is to be released; `said` as on the command line, None for all.

    Raises:
        RefusedError: nothing of that name is enrolled.
        ObservationError: the account cannot be read.
    """
    roster = stack.roster()
    chosen = sorted(roster) if said is None else meant(said, roster)
    now = stack.ports.clock()
    found = [_leaving(stack, target, roster[target], now, keep_native=keep_native) for target in chosen]
    if failed := [f"{each.target.resource_id}: {each.outcome.error}" for each in found if each.outcome.error]:
        raise RefusedError("; ".join(failed))
    if beside := [*_tagged_beside(roster, chosen)]:
        raise RefusedError("\n".join(beside))
    if stack.mode is Mode.SHADOW and any(each.original is not None for each in found):
        raise RefusedError(
            "the stack is in shadow and writes nothing, so it cannot put back what it replaced when it was active: "
            f"`{rollout.activation(stack)}` first"
        )
    return found


def _leaving(
    stack: DeployedStack, target: ScalableTarget, place: Place, now: datetime, *, keep_native: bool
) -> Leaving:
    saved = original = stack.ports.store.original(target)
    registered = stack.ports.autoscaling.registered([target]).get(target)
    runs = registered is not None and "ScheduledScaling" not in registered.suspended
    if saved and saved.known and saved.scheduled_actions and runs and (adopted := adopted_at(stack, target)):
        original = as_scheduled(saved, adopted, now)
    record = lost(original) if keep_native else original
    outcome = stack.release_of(target, now, record)
    return Leaving(target=target, place=place, saved=saved, original=original, outcome=outcome)


def adopted_at(stack: DeployedStack, target: ScalableTarget) -> datetime | None:
    """Return when a target was first written to since it was seen, None if no decision tells that."""
    first_seen = stack.ports.store.memories([target])[target].first_seen_at
    if first_seen is None:
        return None
    dynamodb: DynamoDBClient = stack.aws.of("dynamodb")
    pages = dynamodb.get_paginator("query").paginate(
        TableName=stack.outputs["table"],
        KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
        FilterExpression="outcome = :changed",
        ProjectionExpression="sk",
        ExpressionAttributeValues={
            ":pk": {"S": f"TARGET#{target.resource_id}#{target.dimension.value}"},
            ":first": {"S": f"DECISION#{first_seen.astimezone(UTC).isoformat(timespec='milliseconds')}"},
            ":last": {"S": "DECISION#~"},
            ":changed": {"S": Status.CHANGED},
        },
    )
    wrote = (datetime.fromisoformat(item["sk"]["S"].split("#")[1]) for page in pages for item in page["Items"])
    return next(wrote, None)


def as_scheduled(saved: Original, since: datetime, now: datetime) -> Original:
    """Return the record within the bounds that its own scheduled actions would have set by now.

    An action sets bounds until the next one sets others (facts 1.6): those saved at night are the night's, and by day
    would take what is running away at once. The last run of each counts, as far as a month back; one whose expression
    is not understood is taken not to have run.
    """
    if saved.envelope is None:
        return saved
    runs = sorted((at, each.name, each) for each in saved.scheduled_actions if (at := _last_run(each, since, now)))
    envelope = saved.envelope
    for _, _, action in runs:
        bounds = action.settings.get("ScalableTargetAction", {})
        low, high = bounds.get("MinCapacity", envelope.floor), bounds.get("MaxCapacity", envelope.ceiling)
        if low <= high:  # else AAS refuses the run
            envelope = Envelope(low, high)
    return replace(saved, envelope=envelope)


def _last_run(action: ScheduledAction, since: datetime, now: datetime) -> datetime | None:
    """Return the newest minute after `since` in which AAS would have run it."""
    settings = action.settings
    try:
        when = parse(settings["Schedule"], settings.get("Timezone", "UTC"), settings.get("StartTime", since))
    except ValueError:
        return None
    simulated = Simulated(arn="", request=dict(settings), created=since, schedule=when)
    newest, oldest = (at.replace(second=0, microsecond=0) for at in (now, max(since, now - A_MONTH)))
    minutes = (newest - MINUTE * back for back in range((newest - oldest) // MINUTE))
    return next((minute for minute in minutes if simulated.due(minute)), None)


def lost(record: Original | None) -> Original | None:
    """Return what is left of a record if what stood before is forgotten: a release leaves the native policies."""
    return record and replace(record, policies=(), scheduled_actions=(), known=False)


def _tagged_beside(roster: Mapping[ScalableTarget, Place], chosen: Sequence[ScalableTarget]) -> Iterator[str]:
    """Say of each endpoint what would leave with these targets unasked, because one tag enrols all of it."""
    for endpoint in sorted({roster[target].endpoint for target in chosen if roster[target].by_tag}):
        others = [spelled(each) for each, place in sorted(roster.items()) if place.endpoint == endpoint]
        if beside := sorted({*others} - {spelled(each) for each in chosen}):
            yield (
                f"TARGET: {endpoint} is enrolled by its tag, which {', '.join(beside)} would lose too: release "
                f"{endpoint} as a whole, or name in the policy file what is to stay"
            )


def told(each: Leaving, now: datetime, *, keep_native: bool) -> Iterator[str]:
    """Say what becomes of one target."""
    yield f"{each.target.resource_id}:"
    for action in each.outcome.actions:
        yield f"  {action}"
    if keep_native:
        yield "  Tidegate's native policies and their alarms stay and go on scaling; what stood before is forgotten."
    elif each.original is None:
        yield "  Nothing was ever replaced: it stays as it is."
    elif not each.known:
        yield "  The record of what stood before was lost: the native policies that stand stay and go on scaling."
    elif each.moved and each.saved:
        yield f"  Bounds are those its scheduled actions would have set by now; {each.saved.envelope} were saved."
    known = each.original if each.known and not keep_native else None
    if over := [action.name for action in (known.scheduled_actions if known else ()) if action.over(now)]:
        yield f"  Scheduled actions whose time has passed are not given back: {', '.join(over)}."
    for alarm, policy in _alarms(each, keep_native=keep_native):
        yield f"  alarm {alarm} calls {policy} again: AWS took that from it when the policy was replaced"
    if each.tagged:
        waits = "; FleetSync waits half an hour first" if each.place.by_tag else ""
        yield f"  endpoint {each.place.endpoint} loses its tag {PROFILE_TAG}{waits}"


def without(document: Mapping[str, Any], fleet: Fleet, targets: Sequence[ScalableTarget]) -> dict[str, Any]:
    """Return a document that does not name these targets."""
    gone = {(e.name, e.variant, e.inference_component) for target, e in fleet.targets.items() if target in targets}
    kept = [
        entry
        for entry in document.get("endpoints", ())
        if (entry["name"], entry.get("variant", "AllTraffic"), entry.get("inference_component")) not in gone
    ]
    return {**document, "endpoints": kept}


def release(
    stack: DeployedStack, found: Sequence[Leaving], sleep: Callable[[float], None], *, keep_native: bool, wait: bool
) -> None:
    """Let the deployed FleetSync release these targets, and wait until it has.

    Raises:
        DeliveryError: the document cannot be delivered, or a target is still enrolled in the end.
    """
    document = stack.document()
    fleet = parse_fleet(document)
    rest = without(document, fleet, [each.target for each in found])
    try:
        for each in found:
            _remember(stack, each.target, lost(each.original) if keep_native else each.original, each.saved)
        _untag(stack, [each.place.endpoint for each in found if each.tagged])
        if rest != document:
            rollout.deliver(stack, rest, sleep, wait=wait)
        else:
            rollout.synced(stack)
        _await(stack, [each.target for each in found], sleep)
    except Exception:
        left = (stack.table.roster() or {}) if keep_native else {}
        for each in found:
            if each.target in left:  # it was not released: the way back to what stood before is still wanted
                _remember(stack, each.target, each.saved, lost(each.original))
        raise
    finally:  # another target's failure is no reason to leave alarms without what they call
        _call_all_again(stack.aws, found, sleep, keep_native=keep_native)


def _call_all_again(
    aws: Source, found: Sequence[Leaving], sleep: Callable[[float], None], *, keep_native: bool
) -> None:
    """Let all their alarms call what they called; one that fails, for CloudWatch takes few writes, is tried again.

    Once its target is released nothing knows of it any more, so what is left in the end is said with what to do.
    """
    left = [(e.target, *called) for e in found for called in _alarms(e, keep_native=keep_native)]
    for tries_left in reversed(range(TRIES)):
        failed = []
        for target, alarm, policy in left:
            try:
                _call_again(aws, target, alarm, policy)
            except (ClientError, BotoCoreError) as err:
                failed.append((target, alarm, policy))
                if not tries_left:
                    log(
                        f"alarm {alarm} does not call {policy} of {target.resource_id} again: {err}\n"
                        f"Put the policy's ARN into the alarm's actions by hand: nothing else scales by it."
                    )
        if not failed:
            return
        left = failed
        if tries_left:
            sleep(BETWEEN)


def _await(stack: DeployedStack, targets: Sequence[ScalableTarget], sleep: Callable[[float], None]) -> None:
    """Ask FleetSync until none of these is enrolled; in shadow it keeps them, and does nothing with them."""
    left = told = ""
    for look in range(1, LOOKS + 1):
        roster = stack.table.roster() or {}
        left = ", ".join(target.resource_id for target in targets if target in roster)
        if not left or stack.mode is Mode.SHADOW:
            return
        if left != told:
            log(f"Still enrolled: {left}; FleetSync is asked again every {ASKED * BETWEEN / 60:g} minutes.")
        told = left
        sleep(BETWEEN)
        if look % ASKED == 0:
            rollout.synced(stack)
    raise DeliveryError(f"still enrolled: {left}; FleetSync's log says why, and it tries again hourly")


def differences(stack: DeployedStack, each: Leaving, *, keep_native: bool) -> Iterator[str]:
    """Compare what stands with what stood before, byte by byte; `stack` was read after the release."""
    autoscaling, target, original = stack.ports.autoscaling, each.target, each.original
    found = autoscaling.registered([target]).get(target)
    bounds = found.envelope if found else None
    standing = autoscaling.policies(target) if bounds else ()
    actions = autoscaling.scheduled_actions(target) if bounds else ()
    if keep_native or original is None or not original.known:
        prefix = owned_prefix(stack.stage)
        if left := [action.name for action in actions if action.name.startswith(prefix)]:
            yield f"scheduled actions of Tidegate are left: {', '.join(left)}"
        return
    if bounds != original.envelope:
        yield f"bounds are {bounds}, were {original.envelope}"
    yield from _unlike("policy", _policies(original.policies), _policies(standing))
    due = [action for action in original.scheduled_actions if not action.over(stack.ports.clock())]
    before, after = ({a.name: dict(a.settings) for a in found} for found in (due, actions))
    yield from _unlike("scheduled action", before, after)
    for policy in original.policies:
        now = next((p for p in standing if p.name == policy.name), None)
        if policy.policy_type == "StepScaling" and now and set(policy.alarm_names) - set(now.alarm_names):
            gone = ", ".join(sorted(set(policy.alarm_names) - set(now.alarm_names)))
            yield f"policy {policy.name} is not called by {gone} any more"


def outcome_of(unlike: Mapping[str, Sequence[str]], left: Sequence[Leaving], *, keep_native: bool) -> Iterator[str]:
    """Say of each released target whether it stands as before, or what differs."""
    unknown = {each.target.resource_id for each in left if each.original is not None and not each.known}
    moved = {e.target.resource_id: e.original.envelope for e in left if e.original and e.moved}
    for name, others in unlike.items():
        yield from (f"{name}: {line}" for line in others)
        if not others:
            standing = (
                f"stands as it stood before, within {moved[name]}"
                if name in moved
                else "stands exactly as it stood before"
            )
            yield f"{name}: released, {'scales natively' if keep_native or name in unknown else standing}."
    if unlike:
        yield "Take it out of your policy file too, or the next `tidegate apply` enrols it again."


def _policies(found: Iterable[NativePolicy]) -> dict[str, Any]:
    return {policy.name: (policy.policy_type, policy.configuration) for policy in found}


def _unlike(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{what} {name} is {after.get(name, 'gone')}, was {before.get(name, 'not there')}"


def _alarms(each: Leaving, *, keep_native: bool) -> Iterator[tuple[str, str]]:
    """Yield the alarms that called step policies which were replaced, with their policies."""
    if keep_native or each.original is None or not each.known:
        return
    for policy in each.original.policies:
        if policy.policy_type == "StepScaling":
            yield from ((name, policy.name) for name in policy.alarm_names)


def _remember(stack: DeployedStack, target: ScalableTarget, record: Original | None, before: Original | None) -> None:
    """Write the record of what stood before in place of another."""
    if record is None or record == before:
        return
    stack.aws.of("dynamodb").update_item(
        TableName=stack.outputs["table"],
        Key={"pk": {"S": f"TARGET#{target.resource_id}#{target.dimension.value}"}, "sk": {"S": "ORIGINAL"}},
        UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"S": _ORIGINALS.dump_json(record).decode()}},
    )


def _untag(stack: DeployedStack, endpoints: Sequence[str]) -> None:
    if not endpoints:
        return
    sagemaker = stack.aws.of("sagemaker")
    arns = [sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointArn"] for endpoint in sorted(set(endpoints))]
    failed = stack.aws.of(TAGGING).untag_resources(ResourceARNList=arns, TagKeys=[PROFILE_TAG])["FailedResourcesMap"]
    if failed:
        raise DeliveryError(f"tag {PROFILE_TAG} cannot be removed: {failed}")


def _call_again(aws: Source, target: ScalableTarget, alarm: str, policy: str) -> None:
    """Let an alarm call a step policy that was made again: AWS removes the action with the policy, and its ARN is new.

    The functions may not write alarms of others; who releases may, with the rights of a person.
    """
    autoscaling: ApplicationAutoScalingClient = aws.of("application-autoscaling")
    cloudwatch: CloudWatchClient = aws.of("cloudwatch")
    made = autoscaling.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=target.resource_id, PolicyNames=[policy]
    )["ScalingPolicies"]
    standing = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    if not made or not standing:
        log(f"alarm {alarm} or policy {policy} is not there: nothing calls the policy")
        return
    arn, found = made[0]["PolicyARN"], dict(standing[0])
    own = f":resource/sagemaker/{target.resource_id}:policyName/{policy}"  # a shared alarm may call others of that name
    called = [action for action in standing[0].get("AlarmActions", []) if not action.endswith(own)]
    if arn in standing[0].get("AlarmActions", []):
        return
    shape = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape
    settable = set(shape.members) if shape else set()
    kept = {key: value for key, value in found.items() if key in settable and value not in ([], "", None)}
    cloudwatch.put_metric_alarm(**{**kept, "AlarmActions": [*called, arn]})  # type: ignore[arg-type]  # its own shape
