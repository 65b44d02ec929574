"""`tidegate explain` and `tidegate replay`: recorded decisions."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Json, Region, Single, Stack, clients
from cli.output import FAILED, print_json, working

app = typer.Typer()


@app.command()
def explain(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Single,
    *,
    stack: Stack,
    at: Annotated[str | None, typer.Option(help="The decision in force then (or at the end of that minute).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, which `tidegate replay` reads.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Say why a target has the bounds it has: who asked for what, and what each rule made of it.

    Decisions are recorded when they change something, and kept for 90 days.

    \b
    Examples:
      tidegate explain orders --stack tidegate
      tidegate explain component:chat-8b --at 2026-11-18T09:30Z --stack tidegate --json > decision.json
    """
    from cli import decisions, tables

    aws = clients(context, region, profile, endpoint_url)
    moment = decisions.until_of(at)
    with working("Reading the decision and scaling activities"):
        found = decisions.recorded_in(stack, aws, target, moment)
        done = decisions.activities_of(aws.of("application-autoscaling"), found.decision.context.target, moment)
    if as_json:
        print_json(decisions.document_of(found, done))
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
    stack: Annotated[str | None, typer.Option(help="CloudFormation stack that recorded it; none: a file.")] = None,
    as_json: Json = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Decide again what was recorded, from what was seen then and with the code of this checkout.

    Exit status 1 if it comes out otherwise.

    \b
    Examples:
      tidegate replay decision.json
      tidegate replay endpoint/orders/variant/AllTraffic@2026-11-18T09:00:00.000+00:00 --stack tidegate
    """
    from cli import decisions, tables

    if stack is None:
        found = decisions.read_file(Path(decision))
    else:
        target, _, at = decision.rpartition("@")
        aws = clients(context, region, profile, endpoint_url)
        found = decisions.recorded_in(
            stack, aws, target or decision, decisions.time_of(at, "TARGET@TIME") if target else None
        )
    others = decisions.differences(found.decision)
    if as_json:
        rows = [{"what": what, "then": then, "today": today} for what, then, today in others]
        print_json({"id": found.name, "same": not others, "differences": rows})
        raise typer.Exit(FAILED if others else 0)
    if not others:
        typer.echo(f"{found.name}: decided the same today: {found.decision.envelope}, {found.decision.reason}.")
        return
    table = tables.plain("", "then", "today")
    for row in others:
        table.add_row(*row)
    typer.echo(f"{found.name}: decided otherwise today.")
    tables.console().print(table)
    raise typer.Exit(FAILED)
