"""`tidegate policy`: check the policy file, deliver it, print its schema."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import tables
from cli.delivery import Delivery, find_stack
from cli.options import AwsProfile, EndpointUrl, File, Json, Region, Stack, clients
from cli.output import REFUSED, count, log, print_json
from cli.policy_file import Finding, PolicyFile, PolicyFileError, fleet_schema, read_policy_file
from core.fields import DAYS, duration_text
from core.policy import Profile
from core.policy_scaling import StepScaling, TargetTracking
from core.policy_windows import Window

app = typer.Typer(name="policy", help="Check and deliver the policy file.", no_args_is_help=True)


@app.command()
def check(
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings and the summary as JSON.")] = False,
) -> None:
    """Check a policy file and show what it comes to; needs no AWS account.

    Every problem is reported at once, with its line. Exit status 2 if there is one.

    \b
    Examples:
      tidegate policy check fleet.yaml
      tidegate policy check fleet.yaml --json | jq .problems
    """
    try:
        read = read_policy_file(file)
    except PolicyFileError as refusal:
        if as_json:
            print_json({"ok": False, "problems": [_as_json(f) for f in refusal.findings], "warnings": []})
        else:
            typer.echo(str(refusal))
        log(f"{count(len(refusal.findings), 'problem')}; docs/policy.md says what each field may be.")
        raise typer.Exit(REFUSED) from refusal
    if as_json:
        print_json({"ok": True, "problems": [], "warnings": [_as_json(f) for f in read.warnings]} | _summary(read))
        return
    _warn(read, file)
    _print_table(read)


@app.command()
def push(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    file: File,
    *,
    stack: Stack,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
    wait: Annotated[bool, typer.Option(help="Wait until AppConfig has finished watching the alarms.")] = True,
    as_json: Json = False,
) -> None:
    """Check a policy file and deliver it to a deployed stack.

    The document becomes a new version in AppConfig, which rolls it back if Tidegate's error alarms go off. As soon as
    it is in force the endpoints it names are enrolled.

    \b
    Examples:
      tidegate policy push fleet.yaml --stack tidegate
      tidegate policy push fleet.yaml --stack tidegate-prod --region eu-central-1 --no-wait
    """
    try:
        read = read_policy_file(file)
    except PolicyFileError as refusal:
        log(str(refusal))
        log(f"{count(len(refusal.findings), 'problem')}; nothing was delivered.")
        raise typer.Exit(REFUSED) from refusal
    _warn(read, file)
    aws = clients(context, region, profile, endpoint_url)
    found = find_stack(aws.of("cloudformation"), stack)
    delivery = Delivery(stack=found, appconfig=aws.of("appconfig"), functions=aws.of("lambda"), sleep=aws.sleep)
    say = log if as_json else typer.echo

    def enrol(version: int) -> None:
        delivery.enrol()
        named = count(len(read.fleet.endpoints), "endpoint")
        say(f"Version {version} is in force; FleetSync enrols what it names ({named}).")

    done = delivery.deliver(read.document, enrol, wait=wait, say=say)
    if as_json:
        print_json(done)
    elif wait:
        say("Complete. Next: the stack's LogsCommand output shows each decision as it is made.")
    else:
        say("AppConfig still watches the alarms and rolls back if they go off.")


@app.command()
def schema() -> None:
    """Print the policy file's JSON Schema, for editors.

    \b
    Example:
      tidegate policy schema > docs/fleet.schema.json
    """
    print_json(fleet_schema())


def _summary(read: PolicyFile) -> dict[str, Any]:
    fleet = read.fleet
    return {
        "max_capacity": fleet.max_capacity,
        "profiles": {
            name: {
                "kind": profile.kind.value,
                "mode": profile.mode.value,
                "min_capacity": profile.min_capacity,
                "max_capacity": profile.max_capacity,
                "policies": [policy.model_dump(mode="json") for policy in profile.native_policies],
                "policies_by_default": profile.policies is None,
                "windows": [window.model_dump(mode="json") for window in profile.windows],
            }
            for name, profile in fleet.profiles.items()
        },
        "endpoints": [endpoint.model_dump(mode="json") for endpoint in fleet.endpoints],
    }


def _print_table(read: PolicyFile) -> None:
    table = tables.plain("profile", "kind", "capacity", "native policies", "windows", "endpoints")
    for column in table.columns:
        column.no_wrap = column.header not in {"native policies", "windows"}
    for name, profile in read.fleet.profiles.items():
        mode = f" ({profile.mode.value})" if profile.mode.value != "active" else ""
        table.add_row(
            name,
            profile.kind.value + mode,
            f"{profile.min_capacity}..{profile.max_capacity}",
            _policies(profile),
            "\n".join(_window(window) for window in profile.windows) or "-",
            "\n".join(e.name for e in read.fleet.endpoints if e.profile == name) or "-",
        )
    tables.console().print(table)
    profiles, endpoints = len(read.fleet.profiles), len(read.fleet.endpoints)
    typer.echo(f"\nFine: {count(profiles, 'profile')}, {count(endpoints, 'endpoint')}.")


def _policies(profile: Profile) -> str:
    by_default = " (default)" if profile.policies is None else ""
    return "\n".join(f"{_policy(policy)}{by_default}" for policy in profile.native_policies) or "-"


def _policy(policy: TargetTracking | StepScaling) -> str:
    if isinstance(policy, TargetTracking):
        return f"{policy.followed} at {policy.target:g}"
    return f"{policy.metric} steps {', '.join(f'{step.change:+d}' for step in policy.steps)}"


def _window(window: Window) -> str:
    """Return one line: when it is open, and what it needs."""
    when = f" {' '.join(window.days)}" if window.days != DAYS else f" {window.rrule}" if window.rrule else ""
    when += f" {', '.join(map(str, window.dates))}" if window.dates else ""
    length = duration_text(window.duration) if window.duration else f"until {window.until or window.finish_by}"
    need = f"at least {window.min_capacity}"
    if window.min_capacity is None:
        need = f"{window.items:,} items" if window.items else f"{window.requests_per_minute:g} a minute"
    most = "" if window.max_capacity is None else f", at most {window.max_capacity}"
    return f"{window.name}: {window.start} {window.timezone}{when}, {length}, {need}{most}"


def _as_json(finding: Finding) -> dict[str, Any]:
    return {"line": finding.line, "path": finding.path, "message": finding.text.lstrip(": ")}


def _warn(read: PolicyFile, file: Path) -> None:
    for finding in read.warnings:
        log(f"warning: {finding.shown(file)}")
