"""`tidegate history`: what changed on a target, when and why."""

from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Json, Region, Single, Stack, clients
from cli.output import count, print_json, working

app = typer.Typer()


@app.command()
def history(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Single,
    *,
    stack: Stack,
    since: Annotated[str, typer.Option(help="From when on: 12h, 7d, or 2026-11-18T09:00Z.")] = "1d",
    as_json: Json = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show what changed on a target, when and why, in one time line.

    Decisions that changed something, overrides, windows, deployments, and what AWS scaled. Decisions are kept for 90
    days, scaling activities for six weeks. What a shadow wishes minute after minute is one row of the table.

    \b
    Examples:
      tidegate history orders --stack tidegate
      tidegate history orders/blue --since 7d --stack tidegate --json
    """
    from cli import tables, timeline
    from cli.stack import DeployedStack
    from cli.targets import spelled
    from core.aws import clock

    aws = clients(context, region, profile, endpoint_url)
    now = clock.now()
    begun = timeline.since_of(since, now)
    with working("Reading decisions, overrides and scaling activities"):
        deployed = DeployedStack.read(aws, stack, clock.now)
        chosen = timeline.told_of(deployed, target)
        events = timeline.timeline_of(deployed, chosen, begun, now)
    if as_json:
        said = {"target": chosen.resource_id, "since": f"{begun:%Y-%m-%dT%H:%MZ}"}
        print_json({**said, "events": [event.as_json() for event in events]})
        return
    if events:
        tables.console().print(timeline.table_of(events))
    typer.echo(f"{count(len(events), 'change')} of {spelled(chosen)} since {begun:%Y-%m-%dT%H:%MZ}.")
