"""`make demo`: the deployed template scales a fleet under hours of real traffic, beside plain AAS."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.errors import PolicyFileError
from cli.output import in_lines
from cli.policy_file import read_policy_file
from core.policy import parse_fleet
from local_account.account import LocalAccount
from simulator.account import SimulatedAccount
from simulator.fleet_run import FLEET, Plan, Result, Scenario, Stack, Told, account_with, run, serving
from simulator.report import FleetRun, TargetRun, Totals, write_report
from simulator.stack import OWNERS, SimulatedStack

ROOT = Path(__file__).resolve().parents[2]
TRACES = ROOT / "traces"
DEFAULT_START = datetime(2025, 4, 9)  # noqa: DTZ001 - as a person types it; read as UTC
STORY_EACH = 5  # lines an endpoint
WIDTH = 112  # what the summary needs, where no terminal says otherwise
err = Console(stderr=True)
out = Console() if Console().is_terminal else Console(width=WIDTH)


def demo(  # noqa: PLR0913 - one argument an option
    *,
    hours: Annotated[float, typer.Option(help="Simulated hours.", min=1, max=72)] = 12,
    start: Annotated[
        datetime, typer.Option(help="First minute of the traces to replay (1 to 14 April 2025, UTC).")
    ] = DEFAULT_START,
    endpoint: Annotated[list[str] | None, typer.Option(help="Only this endpoint; may be repeated.")] = None,
    policy: Annotated[Path, typer.Option(help="Policy file.")] = ROOT / "fleet.yaml",
    kill_at: Annotated[
        float | None, typer.Option(help="Stop the controller after so many hours; AAS and the expiry actions go on.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = ROOT / "out" / "demo.html",
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
    in_process: Annotated[
        bool, typer.Option(help="Run the handlers in this process instead of deploying them: the same, faster.")
    ] = False,
    sam: Annotated[Path, typer.Option(help="SAM CLI, which builds and deploys.")] = ROOT / ".tools/sam/bin/sam",
    ministack_python: Annotated[Path, typer.Option(help="Interpreter of the emulator's environment.")] = (
        ROOT / ".tools/ministack/bin/python"
    ),
) -> None:
    """Replay real traffic and show what Tidegate decided and why.

    template.yaml is deployed into an embedded account on this machine; alarms and schedules invoke the built Lambdas.

    Examples:
      make demo
      make demo ARGS="--hours 24 --endpoint chat-prod"
      make demo ARGS="--kill-at 9"
    """
    scenarios = [s for s in FLEET if endpoint is None or s.endpoint in endpoint]
    document = _document(policy)
    _check(scenarios, endpoint, document)
    scenarios = [scenario.under(parse_fleet(document)) for scenario in scenarios]
    first = start.replace(tzinfo=UTC)
    plan = Plan(
        traces=TRACES,
        start=first,
        hours=hours,
        override_at=first + timedelta(minutes=round(hours * 30)),
        kill_at=None if kill_at is None else first + timedelta(minutes=round(kill_at * 60)),
    )
    document["endpoints"] = [e for e in document["endpoints"] if e["name"] in {s.endpoint for s in scenarios}]
    try:
        account = account_with(scenarios, TRACES, plan.start, plan.hours)
    except ValueError as error:  # the traces do not cover the hours asked for
        err.print(f"[red]error:[/] {error}")
        raise typer.Exit(2) from error
    if in_process:
        simulated = SimulatedStack(account, document, direct=True)
        result = _replay(scenarios, simulated, plan, lambda heard: setattr(simulated, "listener", heard), quiet=as_json)
    else:
        result = _deployed(
            scenarios=scenarios,
            account=account,
            document=document,
            plan=plan,
            sam=sam,
            ministack_python=ministack_python,
            quiet=as_json,
        )
    runs = [result.target_run(scenario) for scenario in scenarios]
    lines = _story(result, scenarios, plan)
    write_report(_report(runs, lines, plan, policy), report)
    if as_json:
        out.print_json(json.dumps(_json(runs, result)))
    else:
        _print(runs, lines, result, report)
    if result.stack.failures:
        function, why = result.stack.failures[0]
        err.print(f"[red]{len(result.stack.failures)} invocations failed[/], the first of {function}: {why}")
        raise typer.Exit(1)


def _document(path: Path) -> dict[str, Any]:
    """Read the policy file; `tidegate policy check` says more about a broken one."""
    try:
        return read_policy_file(path).document
    except PolicyFileError as error:
        err.print(
            f"error: {path} cannot be used:\n{error}\nTry: tidegate policy check {path}", soft_wrap=True, markup=False
        )
        raise typer.Exit(2) from error


def _check(scenarios: Sequence[Scenario], asked: list[str] | None, document: dict[str, Any]) -> None:
    known = [s.endpoint for s in FLEET]
    problems = [
        f"--endpoint = {name!r}: must be one of {', '.join(known)}" for name in asked or [] if name not in known
    ]
    named = {e["name"] for e in document.get("endpoints", ())}
    problems += [f"policy file: the demo needs an endpoint {s.endpoint}" for s in scenarios if s.endpoint not in named]
    if problems:
        for problem in problems:
            err.print(f"[red]error:[/] {problem}")
        raise typer.Exit(2)


class DeployedStack:
    """The embedded account's stack, with a controller that can be killed."""

    def __init__(self, local: LocalAccount) -> None:
        self._local = local
        self.account = local.account
        self.alive = True
        self.invocations = local.invocations
        self.failures = local.failures

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke a deployed Lambda."""
        return self._local.invoke(function, event)

    def minute(self) -> list[dict[str, Any]]:
        """Let a minute pass; once the controller is dead, only AWS moves in it."""
        if self.alive:
            return self._local.minute()
        with self._local.plant.lock:
            return self.account.advance()

    def stop(self) -> None:
        """Invoke nothing any more."""
        self.alive = False

    def listen(self, heard: Callable[[datetime, str, dict[str, Any]], None]) -> None:
        """Let a function hear of each finished invocation."""
        self._local.pump.listener = lambda call: heard(call.at, call.function, call.reply or {})


def _deployed(  # noqa: PLR0913 - it passes on what the command line said
    *,
    scenarios: Sequence[Scenario],
    account: SimulatedAccount,
    document: dict[str, Any],
    plan: Plan,
    sam: Path,
    ministack_python: Path,
    quiet: bool,
) -> Result:
    """Deploy template.yaml into an embedded account and replay there."""
    began = time.monotonic()

    def say(text: str) -> None:
        err.print(f"{time.monotonic() - began:5.1f} s  {text}", highlight=False, soft_wrap=True)

    with LocalAccount(account, sam=sam, ministack_python=ministack_python, say=say) as local:
        local.push_policy(document)
        stack = DeployedStack(local)
        say(f"{plan.hours:g} simulated hours begin")
        result = _replay(scenarios, stack, plan, stack.listen, quiet=quiet)
        say("done; the embedded account is taken down")
    return result


def _replay(
    scenarios: Sequence[Scenario],
    stack: Stack,
    plan: Plan,
    listen: Callable[[Callable[[datetime, str, dict[str, Any]], None]], None],
    *,
    quiet: bool,
) -> Result:
    """Run the simulation behind a live table."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn()
    )
    task = bar.add_task("replaying", total=round(plan.hours * 60))
    newest: dict[str, Told] = {}
    say = None if err.is_terminal else in_lines()
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        if quiet:
            live.stop()

        def progress(now: datetime, result: Result) -> None:
            bar.advance(task)
            if say:
                say(f"{now:%H:%M} of the simulated time, {(now - plan.start) / timedelta(hours=plan.hours):.0%}")
            if now.minute % 5 == 0:
                newest.update({told.endpoint: told for told in result.told[-20:]})
                live.update(Group(_live_table(now, scenarios, stack, newest), bar))

        return run(scenarios, stack, plan, listen, progress)


def _live_table(now: datetime, scenarios: Sequence[Scenario], stack: Stack, newest: dict[str, Told]) -> Table:
    table = Table(title=f"{now:%Y-%m-%d %H:%M} UTC (simulated)" + ("" if stack.alive else "  controller stopped"))
    for name in ("endpoint", "kind"):
        table.add_column(name, min_width=8)
    for name in ("demand", "serving", "asked for", "bounds"):
        table.add_column(name, justify="right", min_width=8)
    table.add_column("why", min_width=20)
    for scenario in scenarios:
        endpoint = serving(stack.account, scenario)
        history = endpoint.workload.history
        demand = history.backlog[-1] if scenario.queued else history.demand[-1]
        low, high = stack.account.snapshot(scenario.endpoint).get("bounds", ("-", "-"))
        seen = newest.get(scenario.endpoint)
        table.add_row(
            scenario.endpoint,
            scenario.kind,
            f"{demand} {'queued' if scenario.queued else '/min'}",
            str(endpoint.current_count),
            str(endpoint.desired_count),
            f"{low}..{high}",
            str(seen.said.get("reason", seen.said["status"])) if seen else "",
        )
    return table


def _story(result: Result, scenarios: Sequence[Scenario], plan: Plan) -> list[str]:
    """Return about a dozen lines of what was decided and why: of each endpoint and reason the largest change."""
    told: list[tuple[datetime, str]] = []
    for scenario in scenarios:
        largest: dict[str, tuple[int, datetime, str]] = {}
        for told_of in result.changes(scenario.endpoint):
            change = _change(told_of)
            if change is None:
                continue
            key, size, line = change
            if key not in largest or size > largest[key][0]:
                largest[key] = (size, told_of.at, line)
        told += [(at, line) for _, at, line in sorted(largest.values(), reverse=True)[:STORY_EACH]]
    lines = [line for _, line in sorted(told)]
    if plan.kill_at is not None:
        lines += _after_the_kill(result, scenarios, plan.kill_at)
    return lines


def _change(told: Told) -> tuple[str, int, str] | None:
    """Return what kind of change it was, how large, and a line about it; None for mere renewals."""
    said, head = told.said, f"{told.at:%H:%M} {told.endpoint}:"
    why = f"{said['reason']}{f' ({told.figures})' if told.figures else ''}"
    natives = [action.rpartition("-local-")[2] for action in said["actions"] if action.startswith("put policy")]
    if natives:
        return "enrolled", 0, f"{head} enrolled, native policies {', '.join(natives)}"
    if said["scale_in_to"] is not None:
        size = said["running"] - said["scale_in_to"]
        return "direct", size, f"{head} scaled in directly from {said['running']} to {said['scale_in_to']}; {why}"
    floor, wanted = int(str(said["registered"]).partition("..")[0]), int(said["min_capacity"])
    if floor == wanted:
        return None
    way = "up" if wanted > floor else "down"
    line = f"{head} floor {floor} -> {wanted} of at most {said['max_capacity']}; {why}"
    return f"{said['reason']} {way}", abs(wanted - floor), line


def _after_the_kill(result: Result, scenarios: Sequence[Scenario], killed: datetime) -> list[str]:
    """Say what became of the bounds the dead controller left, and whether AAS went on."""
    lines = [f"{killed:%H:%M} the controller was stopped; from here on only AWS acts"]
    watch, account = result.tidegate, result.stack.account
    for scenario in scenarios:
        bounds = watch.bounds[scenario.endpoint]
        at = watch.minutes.index(killed)
        back = next(
            (m for m, pair in zip(watch.minutes[at:], bounds[at:], strict=True) if pair == scenario.bounds), None
        )
        since = [
            activity
            for activity in account.client("application-autoscaling").describe_scaling_activities(
                ServiceNamespace="sagemaker", ResourceId=scenario.target.resource_id
            )["ScalingActivities"]
            if activity["StartTime"] > killed
        ]
        left = bounds[at]
        lines.append(
            f"      {scenario.endpoint}: bounds {left[0] if left else '-'}..{left[1] if left else '-'} were left; "
            + (
                f"back at the policy's {scenario.bounds[0]}..{scenario.bounds[1]} at {back:%H:%M}"
                if back
                else "NOT BACK"
            )
            + f"; {len(since)} scaling activities of AAS since"
        )
    return lines


def _summary(runs: Sequence[TargetRun]) -> Table:
    table = Table(title="The same traffic, with Tidegate and under plain AAS policies")
    for name in ("endpoint", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("requests", "violated", "(plain)", "instance-hours", "(plain)", "changes", "(plain)"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in runs:
        ours, theirs = each.totals, each.plain_totals
        table.add_row(
            each.name,
            each.kind,
            f"{ours.requests:,.0f}",
            _share(ours.harmed_share),
            _share(theirs.harmed_share),
            f"{ours.instance_hours:.1f}",
            f"{theirs.instance_hours:.1f}",
            str(ours.changes),
            str(theirs.changes),
        )
    requests = sum(each.totals.requests for each in runs)
    table.add_section()
    shares, hours = map(_share, _harmed(runs)), (f"{each:.1f}" for each in _hours(runs))
    table.add_row("all", "", f"{requests:,.0f}", *shares, *hours, style="bold")
    return table


def _harmed(runs: Sequence[TargetRun]) -> tuple[float | None, float | None]:
    """Return the share of all requests that were violated, with Tidegate and under plain AAS."""
    requests = sum(each.totals.requests for each in runs)
    ours, plain = (sum(t.harmed for t in side) for side in _sides(runs))
    return (ours / requests, plain / requests) if requests else (None, None)


def _hours(runs: Sequence[TargetRun]) -> tuple[float, float]:
    ours, plain = (sum(t.instance_hours for t in side) for side in _sides(runs))
    return ours, plain


def _sides(runs: Sequence[TargetRun]) -> tuple[list[Totals], list[Totals]]:
    return [each.totals for each in runs], [each.plain_totals for each in runs]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _print(runs: Sequence[TargetRun], lines: Sequence[str], result: Result, report: Path) -> None:
    out.print("What was decided, and why:", style="bold")
    for line in lines:
        out.print(f"  {line}", highlight=False, soft_wrap=True)
    if result.override_reply is not None:
        target = result.override_reply["targets"][0]
        out.print(f"  The override was answered at once: {target['status']}, {target['reason']}.", highlight=False)
    out.print()
    out.print(_summary(runs))
    out.print(
        "violated: requests in a minute with more load than ready capacity; for the queue, items finished late.\n"
        "(plain): target tracking at half of what an instance serves; for queue and component, AWS's guides for them.\n"
        "instance-hours are counted from the order to the removal.",
        style="dim",
        highlight=False,
    )
    calls = result.stack.invocations
    counts = ", ".join(f"{name} {count}" for name, count in sorted(calls.items()))
    out.print(f"{calls.total():,} Lambda invocations: {counts}.", highlight=False)
    out.print(_ticks(result), highlight=False)
    shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
    out.print(f"Report: {shown}", highlight=False, soft_wrap=True)


def _ticks(result: Result) -> str:
    """Say whether every owner was invoked in every minute."""
    minutes = len(result.tidegate.minutes)
    missed = {owner: minutes - result.stack.invocations[owner] for owner in OWNERS.values()}
    late = ", ".join(f"{owner} {count}" for owner, count in missed.items() if count > 0)
    return f"Minutes without a tick: {late}." if late else f"No tick of {minutes} minutes was skipped."


def _report(runs: list[TargetRun], lines: list[str], plan: Plan, policy: Path) -> FleetRun:
    traces = {s.endpoint: s for s in FLEET}
    facts = {
        f"{each.name}": f"{traces[each.name].trace}, {traces[each.name].capacity:g} "
        f"{'items' if traces[each.name].queued else 'requests'} a minute and instance"
        for each in runs
    }
    facts |= {
        "Policy file": policy.name,
        "Timing": "metrics readable after 2 minutes, instances serve 6 minutes after the order, one change at a time",
        "Plain AAS": "target tracking at 0.5 of an instance's capacity; asynchronous guide: 5 per instance and a step",
        "Override": f"floor 5 on chat-prod from {plan.override_at:%H:%M} for 90 minutes",
    }
    (ours, plain), (hours, plain_hours) = _harmed(runs), _hours(runs)
    verdict = (
        f"Under Tidegate {_share(ours)} of requests were violated (of the queue's, late) instead of {_share(plain)}, "
        f"for {hours:,.1f} instance-hours instead of {plain_hours:,.1f}."
    )
    title = f"{plan.hours:g} hours of real traffic"
    return FleetRun(
        title=title, start=plan.start, hours=plan.hours, targets=runs, lines=[verdict], story=lines, facts=facts
    )


def _json(runs: Sequence[TargetRun], result: Result) -> dict[str, Any]:
    def totals(each: Totals) -> dict[str, Any]:
        return {
            "requests": each.requests,
            "violated": each.harmed,
            "instance_hours": round(each.instance_hours, 2),
            "changes": each.changes,
        }

    return {
        "targets": {r.name: {"tidegate": totals(r.totals), "plain": totals(r.plain_totals)} for r in runs},
        "invocations": dict(result.stack.invocations),
        "failures": result.stack.failures,
    }


if __name__ == "__main__":
    typer.run(demo)
