"""`tidegate forecast`: what load is expected, and what is ordered for it."""

from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Region, Single, Stack, clients
from cli.output import print_json, working

app = typer.Typer()


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
    """Show what load is expected, what is ordered for it, and what that was worth last week.

    The next hours are as the days before, scaled to the last minutes. Last week is what CloudWatch knows of it; what
    the knob's positions would have come to is played with the very code that Lambda runs.

    \b
    Examples:
      tidegate forecast orders --stack tidegate
      tidegate forecast component:chat-8b --stack tidegate --hours 6 --no-replay --json
    """
    from cli import forecast, tables
    from cli.decisions import recorded_in
    from cli.delivery import outputs_of
    from core.aws import clock
    from core.aws.cloudwatch import CloudWatch

    aws = clients(context, region, profile, endpoint_url)
    with working("Reading two weeks of CloudWatch") as told:
        seen = recorded_in(stack, aws, target).decision.context
        names = outputs_of(aws.of("cloudformation"), stack, {"table": "TableName"})
        metrics = CloudWatch(aws.of("cloudwatch"))
        source = forecast.Source(seen, aws.of("dynamodb"), names["table"], metrics)
        found = forecast.outlook_of(source, clock.now(), hours=hours, told=told if replays else None)
    if as_json:
        print_json(forecast.document_of(found))
        return
    for line in forecast.lines_of(found):
        typer.echo(line)
    tables.show(forecast.ahead_of(found), forecast.options_of(found), forecast.played_of(found))
