"""What scales an endpoint today, played on a case: its own bounds, policies, alarms and scheduled actions.

They are put into the simulated account (`simulator.account`) in AAS's own words, so nothing is translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.estate import STEPS, parts_of
from core.instances import gpus_of, vcpus_of
from simulator.account import SimulatedAccount
from simulator.cases import Course, Mode
from simulator.metrics import metric_key
from simulator.replay import workload_of
from simulator.service import ServiceError
from simulator.workload import RealtimeWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cli.estate import Hosted, Policy, Registration
    from simulator.cases import Case

OWN = "as-it-is"
"""What the course is called."""

CHUNK = 24 * 60
"""Minutes between two reports of progress."""

ALARM = (
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "Metrics",
)
"""What PutMetricAlarm takes of DescribeAlarms' answer."""


@dataclass(frozen=True, slots=True)
class Played:
    """A course, and what of the policies could not be played."""

    course: Course
    remarks: tuple[str, ...]


def play(
    case: Case,
    hosted: Hosted,
    *,
    count: int,
    cpu_at_capacity: float | None = None,
    progress: Callable[[int], None] = lambda _minutes: None,
) -> Played:
    """Let what is registered run the endpoint over the whole case; without a registration its count stays.

    Args:
        case: load and clockwork.
        hosted: the variant, as the estate has it.
        count: instances to begin with.
        cpu_at_capacity: share of the CPU that is busy at the load just served in time; None for the usual one.
        progress: told how many minutes were played, once a simulated day.
    """
    account = SimulatedAccount(case.start, record_calls=False)
    account.cloudwatch.lag = timedelta(minutes=case.lag)
    kind = hosted.variant.instance_type or ""
    workload = workload_of(case)
    workload.vcpus, workload.gpus = vcpus_of(kind) or workload.vcpus, gpus_of(kind) or 0
    if isinstance(workload, RealtimeWorkload) and cpu_at_capacity is not None:
        workload.cpu_at_capacity = cpu_at_capacity
    names = hosted.target.names
    endpoint = account.add_endpoint(
        name=names["EndpointName"],
        variant=names["VariantName"],
        workload=workload,
        instance_count=count,
        asynchronous=case.mode is Mode.ASYNC,
        provisioning_delay=timedelta(minutes=case.provisioning),
        provisioning_from_zero=timedelta(minutes=case.provisioning_from_zero),
        removal_delay=timedelta(minutes=case.removal),
    )
    remarks = [*set_up(account, hosted.registration)] if hosted.registration else []
    desired = []
    for minute in range(len(case.requests)):
        desired.append(endpoint.desired_count)
        account.advance()
        if (minute + 1) % CHUNK == 0:
            progress(minute + 1)
    if hosted.registration:
        remarks += _silent(account, hosted.registration)
    ready, wanted = np.array(workload.history.ready, np.int64), np.array(workload.history.desired, np.int64)
    orders = np.flatnonzero(np.diff(desired, prepend=count)).astype(np.int64)
    course = Course(policy=OWN, knob="", ready=ready, billed=np.maximum(ready, wanted), orders=orders)
    return Played(course, tuple(remarks))


def set_up(account: SimulatedAccount, registration: Registration) -> Iterator[str]:
    """Register everything; yield what the account refuses."""
    target, bounds = registration.target, registration.bounds
    resource = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target.resource_id,
        "ScalableDimension": target.dimension.value,
    }
    suspended = {f"{name}Suspended": True for name in registration.suspended}
    params = {**resource, "MinCapacity": bounds.floor, "MaxCapacity": bounds.ceiling}
    account.call("application-autoscaling", "RegisterScalableTarget", {**params, "SuspendedState": suspended})
    called: dict[str, list[str]] = {}
    for policy in registration.policies:
        try:
            arn = _put(account, resource, policy)
        except ServiceError as refusal:
            yield f"policy {policy.name} was not played: {refusal}"
            continue
        for alarm in policy.alarms if policy.policy_type == STEPS else ():
            called.setdefault(alarm.name, []).append(arn)
    described = {alarm.name: alarm.described for policy in registration.policies for alarm in policy.alarms}
    for name, arns in called.items():
        try:
            own = {key: described[name][key] for key in ALARM if key in described[name]}
            account.call("cloudwatch", "PutMetricAlarm", {**own, "AlarmName": name, "AlarmActions": arns})
        except ServiceError as refusal:
            yield f"alarm {name} was not played: {refusal}"
    for action in registration.actions:
        try:
            said = {**resource, "ScheduledActionName": action.name, **action.settings}
            account.call("application-autoscaling", "PutScheduledAction", said)
        except ServiceError as refusal:
            yield f"scheduled action {action.name} was not played: {refusal}"


def _put(account: SimulatedAccount, resource: Mapping[str, str], policy: Policy) -> str:
    said: dict[str, Any] = {
        **resource,
        "PolicyName": policy.name,
        "PolicyType": policy.policy_type,
        f"{policy.policy_type}PolicyConfiguration": policy.configuration,
    }
    return str(account.call("application-autoscaling", "PutScalingPolicy", said)["PolicyARN"])


def _silent(account: SimulatedAccount, registration: Registration) -> Iterator[str]:
    """Yield the policies that follow what the simulated endpoint never published: they cannot have acted."""
    newest = account.cloudwatch.newest_minute
    for policy in registration.policies:
        specs = [alarm.described for alarm in policy.alarms if policy.policy_type == STEPS]
        specs += [policy.configuration.get("CustomizedMetricSpecification", {})]
        for part in (part for spec in specs for part in parts_of(spec)):
            key = metric_key(part["Namespace"], part["MetricName"], part.get("Dimensions", []))
            if not account.cloudwatch.store.series(key, "SampleCount", range(newest - CHUNK, newest + 1), newest):
                yield f"policy {policy.name} follows {part['MetricName']}, which a replay does not know: it never acted"
