"""`tidegate override`: hold a capacity by hand for a while."""

from typing import Annotated
from uuid import uuid4

import typer

from cli.options import TARGET_HELP, AwsProfile, EndpointUrl, Region, Stack, clients
from cli.output import print_json
from core.model import OverrideAction

app = typer.Typer()


@app.command(name="override")
def override_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    action: Annotated[OverrideAction, typer.Argument(help="What is asked for; resume ends the others of its scope.")],
    target: Annotated[str, typer.Argument(help=TARGET_HELP)],
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
    """Hold a capacity by hand for a while, through the deployed Override function.

    Exit status 2 if the function refuses the request, 1 if it fails; nothing is changed by a request it refuses.

    \b
    Examples:
      tidegate override pin orders 6 --for 2h --reason "campaign mail" --stack tidegate
      tidegate override floor tag:team=search 4 --until 2026-11-18T12:00Z --reason "load test" --dry-run --stack dev
      tidegate override pause fleet:all --for 30m --reason "incident 4711" --stack tidegate
      tidegate override resume orders --reason "all done" --stack tidegate
    """
    from cli import overrides, tables
    from cli.delivery import outputs_of

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
    options = {
        "duration": ("--for", lasting),
        "expires_at": ("--until", until),
        "reason": ("--reason", reason),
        "requested_by": ("--requested-by", requested_by),
        "request_id": ("--request-id", request_id),
    }
    said = overrides.typed(target, capacity, options)
    answer = overrides.invoke(aws.of("lambda"), names["function"], request, said)
    if as_json:
        print_json(answer)
        return
    tables.console().print(overrides.table_of(answer))
    for line in overrides.lines_of(answer, stack):
        typer.echo(line)
