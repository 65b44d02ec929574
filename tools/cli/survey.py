"""`tidegate survey`: what an account has, and what is unsafe about it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import typer
from rich.table import Table

from cli import tables
from cli.estate import STEPS, Endpoint, Estate, Hosted, Policy, Source, measured, read_estate
from cli.findings import PUBLISHED, Finding
from cli.output import count, log, watched
from cli.targets import spelled
from core.model import Capacity, ScalableTarget, Serving

KINDS = {Serving.REALTIME: "real-time", Serving.ASYNC: "asynchronous", Serving.INFERENCE_COMPONENT: "component"}


def read_with_progress(aws: Source, now: datetime, only: Sequence[str]) -> Estate:
    """Read the estate and show on stderr how far that is."""
    with watched() as (bar, say):
        task = bar.add_task("Reading endpoints", total=None)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            say(f"{done} of {of} endpoints read")

        return read_estate(aws, now, only, told)


def show(estate: Estate, findings: Sequence[Finding]) -> None:
    """Print the table, what was found, and what comes next."""
    for said in estate.unread:
        log(f"not read: {said}")
    tables.console().print(table_of(estate, findings))
    for lines in lines_of(findings):
        typer.echo()
        for line in lines:
            typer.echo(line)
    typer.echo()
    for line in (*summary_of(estate, findings), *next_of(estate)):
        typer.echo(line)


def table_of(estate: Estate, findings: Sequence[Finding]) -> Table:
    """Return a row for each variant and inference component."""
    table = tables.plain("endpoint", "kind", "runs", "bounds", "policies", "scheduled", "alarms", "unsafe")
    for endpoint in estate.endpoints:
        if not endpoint.hosted:
            table.add_row(endpoint.name, endpoint.status, *["-"] * 5, _codes(findings, endpoint.name))
        for each in endpoint.hosted:
            table.add_row(*_row(endpoint, each), _codes(findings, endpoint.name, each.target))
    return table


def _row(endpoint: Endpoint, hosted: Hosted) -> Iterable[str]:
    registration, capacity = hosted.registration, hosted.capacity
    runs = str(capacity.current) if isinstance(capacity, Capacity) else "?"
    yield spelled(hosted.target)
    kind = KINDS.get(hosted.variant.serving, str(hosted.variant.serving))
    yield kind if endpoint.status == "InService" else f"{kind}, {endpoint.status}"
    yield f"{runs} x {hosted.variant.instance_type}" if hosted.variant.instance_type else runs
    if registration is None:
        yield from ("unmanaged" if hosted.unmanaged else "-", "-", "-", "-")
        return
    yield str(registration.bounds)
    yield (
        "\n".join(policy_text(policy) for policy in registration.policies) or "-"
        if not hosted.enrolled
        else "Tidegate's"
    )
    yield "\n".join(f"{each.name} {each.settings.get('Schedule', '')}" for each in registration.actions) or "-"
    states = sorted(alarm.state or "?" for policy in registration.policies for alarm in policy.alarms)
    yield ", ".join(f"{len([*same])} {state}" for state, same in groupby(states)) or "-"


def policy_text(policy: Policy) -> str:
    """Return a policy in one line."""
    if policy.policy_type == STEPS:
        steps = policy.configuration.get("StepAdjustments", ())
        changes = ", ".join(f"{step['ScalingAdjustment']:+d}" for step in steps)
        return f"steps {changes} on {', '.join(measured(alarm.described) for alarm in policy.alarms) or 'nothing'}"
    if policy.metric is None:
        return policy.policy_type
    behind = (metric.name for _, metric in PUBLISHED if metric.predefined == policy.metric)
    return f"{next(behind, policy.metric)} at {policy.configuration.get('TargetValue', 0):g}"


def _codes(findings: Sequence[Finding], endpoint: str, target: ScalableTarget | None = None) -> str:
    ours = [each for each in findings if each.unsafe and (each.endpoint, each.target) == (endpoint, target)]
    return "\n".join(dict.fromkeys(str(each.code) for each in ours)) or "-"


def lines_of(findings: Sequence[Finding]) -> list[list[str]]:
    """Return a block of lines for each code: the remedy once, then whom it concerns and why."""
    return [
        [
            f"{code}{'' if same[0].unsafe else ' (remark)'}: {same[0].do}.",
            *(f"  {_whom(each)}{each.why}" for each in same),
        ]
        for code, same in ((code, [*found]) for code, found in groupby(findings, lambda each: each.code))
    ]


def _whom(finding: Finding) -> str:
    name = spelled(finding.target) if finding.target else finding.endpoint
    return f"{name}: " if name else ""


def summary_of(estate: Estate, findings: Sequence[Finding]) -> list[str]:
    """Return how many endpoints there are, and how much was found."""
    unsafe = sum(each.unsafe for each in findings)
    registered = sum(each.registration is not None for _, each in estate.hosted)
    there = f"{count(len(estate.endpoints), 'endpoint')} in {estate.region}, {count(registered, 'target')} registered"
    lines = [f"{there}: {count(unsafe, 'finding')} unsafe, {count(len(findings) - unsafe, 'remark')}."]
    if quota := estate.quota:
        said = "" if quota.known else " (the usual quota; the account's own could not be read)"
        lines.append(f"{quota.left} more scalable targets may be registered, of {quota.limit}{said}.")
    return lines


def next_of(estate: Estate) -> list[str]:
    """Return what comes next."""
    if estate.endpoints and all(endpoint.trouble for endpoint in estate.endpoints):
        return ["Nothing is known of what these endpoints host: see NotRead."]
    if not any(each.unmanaged is None for _, each in estate.hosted):
        return ["There is nothing to scale here; is this the right account and --region?"]
    return [
        "Next: tidegate backtest --account            what two weeks of this load would have cost under each policy",
        "      tidegate import --output my-fleet.yaml   this set-up as a policy file, in shadow: nothing changes by it",
    ]


def document_of(estate: Estate, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return all of it for programs."""
    quota = estate.quota
    return {
        "region": estate.region,
        "read_at": estate.read_at.isoformat(),
        "endpoints": [_endpoint(endpoint) for endpoint in estate.endpoints],
        "strays": [{"target": each.target.resource_id, "bounds": str(each.bounds)} for each in estate.strays],
        "quota": quota and {"limit": quota.limit, "used": quota.used, "known": quota.known},
        "unread": [*estate.unread],
        "findings": [
            {"code": each.code, "unsafe": each.unsafe, "endpoint": each.endpoint}
            | {"target": each.target and each.target.resource_id}
            | {"why": each.why, "do": each.do}
            for each in findings
        ],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    created, modified = (at and at.isoformat() for at in (endpoint.created_at, endpoint.modified_at))
    return {
        "name": endpoint.name,
        "arn": endpoint.arn,
        "status": endpoint.status,
        "kind": endpoint.kind,
        "created_at": created,
        "modified_at": modified,
        "tags": dict(endpoint.tags),
        "trouble": endpoint.trouble,
        "targets": [_target(each) for each in endpoint.hosted],
    }


def _target(hosted: Hosted) -> dict[str, Any]:
    capacity, registration = hosted.capacity, hosted.registration
    counts = (capacity.current, capacity.desired) if isinstance(capacity, Capacity) else (None, None)
    return {
        "target": hosted.target.resource_id,
        "dimension": hosted.target.dimension,
        "serving": hosted.variant.serving,
        "instance_type": hosted.variant.instance_type,
        "current": counts[0],
        "desired": counts[1],
        "managed_minimum": hosted.variant.managed_minimum,
        "unmanaged": hosted.unmanaged,
        "registration": registration
        and {
            "min_capacity": registration.bounds.floor,
            "max_capacity": registration.bounds.ceiling,
            "suspended": [*registration.suspended],
            "policies": [
                {"name": each.name, "type": each.policy_type, "configuration": dict(each.configuration)}
                | {"alarms": [{"name": alarm.name, "state": alarm.state} for alarm in each.alarms]}
                for each in registration.policies
            ],
            "scheduled_actions": [
                {"name": each.name}
                | {k: v.isoformat() if isinstance(v, datetime) else v for k, v in each.settings.items()}
                for each in registration.actions
            ],
        },
    }
