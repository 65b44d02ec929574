"""`tidegate drift`: what stands in AWS otherwise than Tidegate last left it."""

from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Json, Region, Several, Stack, clients
from cli.output import FAILED, print_json, working

app = typer.Typer()


@app.command(name="drift")
def drift_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Several = None,
    *,
    stack: Stack,
    check: Annotated[bool, typer.Option("--check", help="End with status 1 if there is any.")] = False,
    as_json: Json = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show what stands in AWS otherwise than Tidegate left it, and what the next pass of FleetSync does about it.

    Policies and scheduled actions of others, bounds and policies that somebody changed, missing alarms, and what is
    suspended. Found by a dry run of the pass that enrols and repairs; nothing is written. Targets in shadow have none.

    \b
    Examples:
      tidegate drift --stack tidegate
      tidegate drift orders --stack tidegate --check
      tidegate drift --stack tidegate --json | jq '.targets[].differences[].what'
    """
    from cli import drift, tables
    from cli.stack import DeployedStack
    from cli.targets import meant
    from core.aws import clock

    aws = clients(context, region, profile, endpoint_url)
    with working("Comparing what stands with what is wanted"):
        deployed = DeployedStack.read(aws, stack, clock.now)
        found = drift.drift_of(deployed, clock.now(), meant(target, deployed.roster()) if target else None)
    if as_json:
        print_json({"drift": bool(found), "targets": [each.as_json() for each in found]})
    else:
        if found:
            tables.console().print(drift.table_of(found))
        typer.echo(drift.line_of(found))
    if check and found:
        raise typer.Exit(FAILED)
