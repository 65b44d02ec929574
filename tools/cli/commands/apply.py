"""`tidegate apply`: show the plan, ask, deliver, and wait for the first pass."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import AwsProfile, EndpointUrl, FleetFile, Region, Stack, clients
from cli.output import REFUSED, log, print_json, working

app = typer.Typer()


@app.command(name="apply")
def apply_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    *,
    stack: Stack,
    file: FleetFile = Path("fleet.yaml"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until AppConfig has finished watching the alarms.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan and outcome as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show what a policy file would change, ask, deliver it, and say what the first pass did.

    A profile with `mode: shadow` is decided and recorded, and nothing of it is written: begin with that, read
    `tidegate shadow-report` after some days, then remove the line and apply again. AppConfig watches Tidegate's error
    alarms for ten minutes and rolls the document back if they go off. Exit status 2 if some endpoint cannot be planned;
    nothing is delivered then.

    \b
    Examples:
      tidegate apply --stack tidegate
      tidegate apply --file fleet.yaml --stack tidegate-prod --yes --no-wait
    """
    from cli import planning, rollout, tables
    from cli.errors import RefusedError
    from cli.policy_file import read_policy_file
    from cli.stack import DeployedStack
    from core.aws import clock

    read = read_policy_file(file)
    aws = clients(context, region, profile, endpoint_url)
    with working("Planning over what stands in the account"):
        found = DeployedStack.read(aws, stack, clock.now)
        before = found.document()
        plan = planning.plan_of(found, read.document, clock.now())
    if not as_json:
        tables.show(planning.table_of(plan))
        for line in planning.lines_of(plan):
            typer.echo(line)
    if plan.failed:
        if as_json:
            print_json({"plan": plan.as_json(), "targets": []})
        log("refused: FleetSync would fail on that, and AppConfig roll it back; nothing was delivered.")
        raise typer.Exit(REFUSED)
    if before == read.document:
        done: dict[str, Any] = {"targets": []}
        log("This document is in force already: nothing to deliver.")
    else:
        if not yes:
            typer.confirm("Deliver it?", abort=True, err=True)
        if found.document() != before:
            raise RefusedError("somebody else's document came into force meanwhile: see what this one changes now")
        done = rollout.deliver(found, read.document, aws.sleep, wait=wait)
    if as_json:
        print_json({"plan": plan.as_json(), **done})
        return
    tables.show(rollout.table_of(done))
    for line in rollout.next_steps(found, read.fleet):
        typer.echo(line)
