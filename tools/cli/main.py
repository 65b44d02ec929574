"""`tidegate`: deliver the policy file, override, explain and replay decisions, backtest a load, refresh the catalogue.

Results go to stdout, everything else to stderr. Exit status: 0 fine, 1 failed, 2 misused or refused.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from botocore.exceptions import BotoCoreError, ClientError

import core
from cli import backtest, decisions, forecast, overrides, tables, windows
from cli.catalogue import derived, written
from cli.delivery import LIVE, Delivery, DeliveryError, find_stack, outputs_of
from cli.options import (
    AwsProfile,
    Clients,
    Csv,
    EndpointUrl,
    File,
    LoadMode,
    Maximum,
    Minimum,
    OfEndpoint,
    OfVariant,
    PerInstance,
    Price,
    Provisioning,
    Region,
    Single,
    Stack,
    Use,
    clients,
)
from cli.overrides import InvocationError, RefusedError
from cli.policy_file import Finding, PolicyFile, PolicyFileError, fleet_schema, read_policy_file
from core.aws import clock
from core.aws.cloudwatch import CloudWatch
from core.errors import ConfigError, ObservationError
from core.fields import DAYS, duration_text
from core.model import OverrideAction
from core.policy import Profile
from core.policy_scaling import StepScaling, TargetTracking
from core.policy_windows import Window
from simulator.cases import Mode
from simulator.report import write_report
from simulator.traces import TraceError

FAILED, REFUSED = 1, 2

app = typer.Typer(
    name="tidegate",
    help="Keep Amazon SageMaker endpoints at the right capacity.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
policy_app = typer.Typer(help="Check and deliver the policy file.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(policy_app, name="policy")
catalogue_app = typer.Typer(help="The catalogue of instance types.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(catalogue_app, name="catalogue")
windows_app = typer.Typer(help="Batch windows.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(windows_app, name="windows")
CATALOGUE = Path(core.__file__).with_name("instance_types.json")


@catalogue_app.callback()
def _catalogue() -> None:
    """The catalogue of instance types."""


@app.callback()
def _tidegate() -> None:
    """Keep Amazon SageMaker endpoints at the right capacity."""


@policy_app.command()
def check(
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings and the summary as JSON.")] = False,
) -> None:
    r"""Check a policy file and show what it comes to; needs no AWS account.

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
            _print_json({"ok": False, "problems": [_as_json(f) for f in refusal.findings], "warnings": []})
        else:
            for finding in refusal.findings:
                typer.echo(finding.shown(file))
        _log(f"{_count(len(refusal.findings), 'problem')}; docs/policy.md says what each field may be.")
        raise typer.Exit(REFUSED) from refusal
    if as_json:
        _print_json({"ok": True, "problems": [], "warnings": [_as_json(f) for f in read.warnings]} | _summary(read))
        return
    _warn(read, file)
    _print_table(read)


@policy_app.command()
def push(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    file: File,
    *,
    stack: Stack,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
    wait: Annotated[bool, typer.Option(help="Wait until AppConfig has finished watching the alarms.")] = True,
) -> None:
    r"""Check a policy file and deliver it to a deployed stack.

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
        for finding in refusal.findings:
            _log(finding.shown(file))
        _log(f"{_count(len(refusal.findings), 'problem')}; nothing was delivered.")
        raise typer.Exit(REFUSED) from refusal
    _warn(read, file)
    with _said_plainly():
        aws = clients(context, region, profile, endpoint_url)
        found = find_stack(aws.of("cloudformation"), stack)
        delivery = Delivery(stack=found, appconfig=aws.of("appconfig"), functions=aws.of("lambda"), sleep=time.sleep)
        deliver(delivery, read, wait=wait)


@policy_app.command()
def schema() -> None:
    r"""Print the policy file's JSON Schema, for editors.

    \b
    Example:
      tidegate policy schema > docs/fleet.schema.json
    """
    _print_json(fleet_schema())


@catalogue_app.command()
def refresh(
    *, file: Annotated[Path, typer.Option(help="Where it goes; default the one that is deployed.")] = CATALOGUE
) -> None:
    r"""Write the catalogue of instance types anew, from the installed botocore and moto.

    Types of which the source says nothing are listed; endpoints on them state `vcpus` and `gpus` in the policy file.

    \b
    Example:
      tidegate catalogue refresh
    """
    try:
        catalogue, unknown = derived(time.strftime("%Y-%m-%d", time.gmtime()))
    except ModuleNotFoundError as error:
        _log("error: moto, the source of the figures, is not installed: run `make check` once, which installs it.")
        raise typer.Exit(FAILED) from error
    file.write_text(written(catalogue), encoding="utf-8")
    typer.echo(f"{_count(len(catalogue['types']), 'instance type')} in {file}.")
    for name in unknown:
        typer.echo(f"unknown: {name}")


@app.command(name="backtest")
def backtest_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    csv: Csv = None,
    *,
    endpoint: OfEndpoint = None,
    variant: OfVariant = "AllTraffic",
    mode: LoadMode = Mode.REALTIME,
    policy: Annotated[Path | None, typer.Option(help="Policy file, with --use: what Tidegate plays under.")] = None,
    use: Use = None,
    capacity: PerInstance = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    provisioning: Provisioning = 6,
    objective: Annotated[int, typer.Option(min=1, help="Queues: minutes from arrival to result.")] = 15,
    concurrency: Annotated[int, typer.Option(min=1, help="Queues: items an instance works on at once.")] = 1,
    price: Price = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and results as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts there.")] = None,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Show what Tidegate and every other policy would have done with a load, and what it would have cost.

    The load is a file, or the last 14 days of an endpoint, which are read from CloudWatch and nothing else. Tidegate
    plays through the very code that Lambda runs; the first 7 days warm up, the rest is judged.

    \b
    Examples:
      tidegate backtest traces/servegen_small_c31.csv --html out.html
      tidegate backtest traces/servegen_large_c48.csv --mode async --objective 30 --price 1.41
      tidegate backtest --endpoint orders --capacity 400 --min 2 --max 20 --json
      tidegate backtest traces/servegen_small_c31.csv --policy fleet.yaml --use chat-realtime
    """
    load = backtest.Load(
        csv=csv,
        endpoint=endpoint,
        variant=variant,
        mode=mode,
        policy=policy,
        use=use,
        capacity=capacity,
        minimum=minimum,
        maximum=maximum,
        provisioning=provisioning,
        objective=objective,
        concurrency=concurrency,
    )
    with _said_plainly(policy):
        case, wanted = load.case(clients(context, region, profile, endpoint_url), price)
        verdict = backtest.judged(case, wanted)
    if as_json:
        typer.echo(backtest.dumped(backtest.document(verdict, wanted)))
    else:
        backtest.show(verdict, wanted)
    if html is not None:
        write_report(backtest.page_of(verdict, wanted), html)
        _log(f"Page: {html}")


@windows_app.callback()
def _windows() -> None:
    """Batch windows."""


@windows_app.command(name="propose")
def propose_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    csv: Csv = None,
    *,
    endpoint: OfEndpoint = None,
    variant: OfVariant = "AllTraffic",
    mode: LoadMode = Mode.REALTIME,
    policy: Annotated[Path | None, typer.Option(help="Policy file, with --use: what windows join.")] = None,
    use: Use = None,
    capacity: PerInstance = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    provisioning: Provisioning = 6,
    timezone: Annotated[str, typer.Option(help="IANA zone whose clock the jobs go by.")] = "UTC",
    price: Price = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and proposals as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Propose windows for load that comes at about one time on most days, and say what each would have been worth.

    The load is a file, or the last 14 days of an endpoint, which are read from CloudWatch and nothing else. Nothing is
    switched on: paste what you want under a profile's `windows`. The figures are of the days after the first 7.

    \b
    Examples:
      tidegate windows propose traces/servegen_large_c149.csv --capacity 23
      tidegate windows propose --endpoint scoring --policy fleet.yaml --use nightly --timezone Europe/Berlin --json
    """
    load = backtest.Load(
        csv=csv,
        endpoint=endpoint,
        variant=variant,
        mode=mode,
        policy=policy,
        use=use,
        capacity=capacity,
        minimum=minimum,
        maximum=maximum,
        provisioning=provisioning,
    )
    with _said_plainly(policy):
        zone = windows.zone_of(timezone)
        case, wanted = load.case(clients(context, region, profile, endpoint_url), price)
        windows.refuse_unsized(load, case, wanted)
        found = windows.proposals(case, wanted, zone)
    if as_json:
        typer.echo(backtest.dumped(windows.document(case, found, wanted)))
    else:
        windows.show(case, found, wanted)


@app.command(name="override")
def override_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    action: Annotated[OverrideAction, typer.Argument(help="What is asked for; resume ends the others of its scope.")],
    target: Annotated[str, typer.Argument(help=overrides.TARGET_HELP)],
    capacity: Annotated[int | None, typer.Argument(min=0, help="For pin, floor and ceiling.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="For those who read the decisions later.")],
    stack: Stack,
    until: Annotated[str | None, typer.Option(help="When it ends: 2026-11-18T12:00Z; without offset, local.")] = None,
    lasting: Annotated[str | None, typer.Option("--for", help="Or how long it lasts: 90m, 2h, 1d.")] = None,
    requested_by: Annotated[str | None, typer.Option(help="Who asks; default your ARN, as STS says it.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Sent twice it is done once; default a new one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; store and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Hold a capacity by hand for a while, through the deployed Override function.

    Exit status 2 if the function refuses the request, 1 if it fails; nothing is changed by a request it refuses.

    \b
    Examples:
      tidegate override pin orders 6 --for 2h --reason "campaign mail" --stack tidegate
      tidegate override floor tag:team=search 4 --until 2026-11-18T12:00Z --reason "load test" --dry-run --stack dev
      tidegate override pause fleet:all --for 30m --reason "incident 4711" --stack tidegate
      tidegate override resume orders --reason "all done" --stack tidegate
    """
    with _said_plainly():
        aws = clients(context, region, profile, endpoint_url)
        request = overrides.request_of(
            action.value,
            target,
            capacity,
            until=until,
            lasting=lasting,
            request_id=request_id or f"cli-{uuid4()}",
            reason=reason,
            requested_by=requested_by or aws.of("sts").get_caller_identity()["Arn"],
            dry_run=dry_run,
        )
        names = outputs_of(aws.of("cloudformation"), stack, {"function": "OverrideFunctionName"})
        answer = overrides.invoke(aws.of("lambda"), names["function"], request)
    if as_json:
        _print_json(answer)
        return
    tables.console().print(overrides.table_of(answer))
    for line in overrides.lines_of(answer, stack):
        typer.echo(line)


@app.command()
def explain(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Single,
    *,
    stack: Stack,
    at: Annotated[str | None, typer.Option(help="The decision in force then, not the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, which `tidegate replay` reads.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Say why a target has the bounds it has: who asked for what, and what each rule made of it.

    Decisions are recorded when they change something, and kept for 90 days.

    \b
    Examples:
      tidegate explain orders --stack tidegate
      tidegate explain component:chat-8b --at 2026-11-18T09:30Z --stack tidegate --json > decision.json
    """
    with _said_plainly():
        aws = clients(context, region, profile, endpoint_url)
        moment = _time(at)
        found = _recorded(target, moment, stack, aws)
        done = decisions.activities_of(aws.of("application-autoscaling"), found.decision.context.target, moment)
    if as_json:
        _print_json(decisions.document_of(found, done))
        return
    for line in decisions.heading_of(found):
        typer.echo(line)
    tables.show(decisions.asked_of(found.decision), decisions.rules_of(found.decision), decisions.did_of(done))


@app.command()
def replay(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    decision: Annotated[
        str, typer.Argument(help="What explain calls it, TARGET@TIME, or a file it wrote with --json.")
    ],
    *,
    stack: Annotated[str | None, typer.Option(help="CloudFormation stack of Tidegate; not for a file.")] = None,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Decide again what was recorded, from what was seen then and with the code of this checkout.

    Exit status 1 if it comes out otherwise.

    \b
    Examples:
      tidegate replay decision.json
      tidegate replay endpoint/orders/variant/AllTraffic@2026-11-18T09:00:00.000+00:00 --stack tidegate
    """
    with _said_plainly():
        if stack is None:
            found = decisions.read_file(Path(decision))
        else:
            target, _, at = decision.rpartition("@")
            aws = clients(context, region, profile, endpoint_url)
            found = _recorded(target or decision, _time(at) if target else None, stack, aws)
        others = decisions.differences(found.decision)
    if not others:
        typer.echo(f"{found.name}: decided the same today: {found.decision.envelope}, {found.decision.reason}.")
        return
    table = tables.plain("", "then", "today")
    for row in others:
        table.add_row(*row)
    typer.echo(f"{found.name}: decided otherwise today.")
    tables.console().print(table)
    raise typer.Exit(FAILED)


@app.command(name="forecast")
def forecast_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Single,
    *,
    stack: Stack,
    hours: Annotated[int, typer.Option(min=1, max=24, help="How far ahead.")] = 3,
    replays: Annotated[bool, typer.Option("--replay/--no-replay", help="Play the knob's positions; minutes.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Show what load is expected, what is ordered for it, and what that was worth last week.

    The next hours are as the days before, scaled to the last minutes. Last week is what CloudWatch knows of it; what
    the knob's positions would have come to is played with the very code that Lambda runs.

    \b
    Examples:
      tidegate forecast orders --stack tidegate
      tidegate forecast component:chat-8b --stack tidegate --hours 6 --no-replay --json
    """
    with _said_plainly():
        aws = clients(context, region, profile, endpoint_url)
        seen = _recorded(target, None, stack, aws).decision.context
        names = outputs_of(aws.of("cloudformation"), stack, {"table": "TableName"})
        metrics = CloudWatch(aws.of("cloudwatch"))
        source = forecast.Source(seen, aws.of("dynamodb"), names["table"], metrics)
        found = forecast.outlook_of(source, clock.now(), hours=hours, told=_log if replays else None)
    if as_json:
        _print_json(forecast.document_of(found))
        return
    for line in forecast.lines_of(found):
        typer.echo(line)
    tables.show(forecast.ahead_of(found), forecast.options_of(found), forecast.played_of(found))


def _time(said: str | None) -> datetime | None:
    """Read a time; one without an offset is local."""
    try:
        return None if said is None else datetime.fromisoformat(said).astimezone(UTC)
    except ValueError as error:
        raise RefusedError(f"{said!r}: must be a time such as 2026-11-18T12:00Z") from error


def _recorded(target: str, at: datetime | None, stack: str, aws: Clients) -> decisions.Recorded:
    """Return the newest decision about a target, at or before a time."""
    names = outputs_of(aws.of("cloudformation"), stack, {"table": "TableName"})
    found = decisions.newest_of(aws.of("dynamodb"), names["table"], target, at)
    if found is None:
        at_or_before = "" if at is None else f" at or before {at:%Y-%m-%dT%H:%MZ}"
        raise RefusedError(f"{target}: no decision is recorded{at_or_before}")
    return found


@contextmanager
def _said_plainly(policy: Path | None = None) -> Iterator[None]:
    """End with a message and an exit status instead of a traceback; `policy` is the file that findings are about."""
    try:
        yield
    except RefusedError as refusal:
        _log(f"refused: {refusal}")
        raise typer.Exit(REFUSED) from refusal
    except (TraceError, ConfigError, PolicyFileError, backtest.MisusedError) as refusal:
        for line in backtest.said(refusal, policy):
            _log(line)
        raise typer.Exit(REFUSED) from refusal
    except (DeliveryError, InvocationError, ObservationError, BotoCoreError, ClientError, OSError) as error:
        _log(f"error: {error}{_advice(error)}")
        raise typer.Exit(FAILED) from error


def deliver(delivery: Delivery, read: PolicyFile, *, wait: bool) -> None:
    """Create a version, deploy it, enrol, and say so."""
    version = delivery.create_version(read.document)
    deployment = delivery.start(version)
    typer.echo(f"Version {version} of the policy: deployment {deployment} started.")
    enrolled, said = False, ""
    for progress in delivery.watch(deployment):
        if progress.state != said:
            said = progress.state
            _log(f"{progress.state} ({progress.percent:.0f}%){': ' * bool(progress.last_event)}{progress.last_event}")
        if progress.state in LIVE and not enrolled:
            delivery.enrol()
            enrolled = True
            named = _count(len(read.fleet.endpoints), "endpoint")
            typer.echo(f"Version {version} is in force; FleetSync enrols what it names ({named}).")
            if not wait:
                typer.echo("AppConfig still watches the alarms and rolls back if they go off.")
                return
    typer.echo("Complete. Next: the stack's LogsCommand output shows each decision as it is made.")


def _advice(error: Exception) -> str:
    """Say what to do about the errors that happen most."""
    if not isinstance(error, ClientError):
        return ""
    code = error.response.get("Error", {}).get("Code", "")
    advice = {
        "ConflictException": "Another deployment is running: wait for it, or stop it in the AppConfig console.",
        "ValidationError": "Is the stack deployed in this region? Try --region or --stack.",
        "AccessDenied": "These credentials may not do that; docs/policy.md lists the calls that push makes.",
        "AccessDeniedException": "These credentials may not do that; docs/policy.md lists the calls that push makes.",
        "ExpiredToken": "Log in again.",
        "ExpiredTokenException": "Log in again.",
        "BadRequestException": "The stack's validator refused it: is the deployed version older than this checkout?",
    }
    return f"\n{advice[code]}" if code in advice else ""


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
    typer.echo(f"\nFine: {_count(profiles, 'profile')}, {_count(endpoints, 'endpoint')}.")


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


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _warn(read: PolicyFile, file: Path) -> None:
    for finding in read.warnings:
        _log(f"warning: {finding.shown(file)}")


def _log(text: str) -> None:
    typer.echo(text, err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def run() -> None:
    """Run the command line."""
    app()
