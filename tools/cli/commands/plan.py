"""`tidegate plan`: what a policy file would change, and why, before it is delivered."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, FleetFile, Region, Stack, clients
from cli.output import FAILED, print_json, working

app = typer.Typer()


@app.command(name="plan")
def plan_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    *,
    stack: Stack,
    file: FleetFile = Path("fleet.yaml"),
    check: Annotated[bool, typer.Option("--check", help="End with status 1 if it would change anything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show what a policy file would change on each endpoint, and why, compared with what stands in the account.

    Nothing is written. The plan is a dry run of the pass that enrols, repairs and releases, once under this file and
    once under the document in force: what both do is told apart, and what a profile in shadow does not write. Exit
    status 1 if some endpoint cannot be planned; with --check also if there are changes.

    \b
    Examples:
      tidegate plan --stack tidegate
      tidegate plan --file fleet.yaml --stack tidegate-prod --check
      tidegate plan --stack tidegate --json | jq '.targets[] | select(.what != "no change")'
    """
    from cli import tables
    from cli.planning import lines_of, plan_of, table_of
    from cli.policy_file import read_policy_file
    from cli.stack import DeployedStack
    from core.aws import clock

    read = read_policy_file(file)
    with working("Planning over what stands in the account"):
        found = DeployedStack.read(clients(context, region, profile, endpoint_url), stack, clock.now)
        plan = plan_of(found, read.document, clock.now())
    if as_json:
        print_json(plan.as_json())
    else:
        tables.show(table_of(plan))
        for line in lines_of(plan):
            typer.echo(line)
    if plan.failed or (check and plan.changes):
        raise typer.Exit(FAILED)
