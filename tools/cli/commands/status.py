"""`tidegate status`: how each managed target stands now."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Json, Region, Several, Stack, clients
from cli.output import log, print_json, working

app = typer.Typer()


@app.command(name="status")
def status_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Several = None,
    *,
    stack: Stack,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until interrupted.")] = False,
    every: Annotated[int, typer.Option(min=5, help="Seconds between refreshes, with --watch.")] = 15,
    as_json: Json = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show each managed target: what runs, which bounds are in force and why, what ends when, and what is wrong.

    Bounds are those registered with AWS; the reason is what a pass decides now, which is read and decided as a pass
    does and not written. Each look reads the metrics of a pass from CloudWatch once. Watched as JSON, a look is a line.

    \b
    Examples:
      tidegate status --stack tidegate
      tidegate status orders --stack tidegate --json
      tidegate status --stack tidegate --watch --every 30
    """
    from cli import status, tables
    from cli.stack import DeployedStack
    from cli.targets import meant
    from core.aws import clock

    aws = clients(context, region, profile, endpoint_url)

    def look() -> status.Look:
        deployed = DeployedStack.read(aws, stack, clock.now)
        return status.look(deployed, clock.now(), meant(target, deployed.roster()) if target else None)

    if watch:
        with suppress(KeyboardInterrupt):
            if as_json:
                for seen in status.looks(look, ticks(every, aws.sleep)):
                    if isinstance(seen, Exception):
                        log(f"not refreshed: {seen}")
                    else:
                        typer.echo(json.dumps(seen.as_json()))
            status.watch(lambda: status.rendered(look()), ticks(every, aws.sleep), tables.console())
        return
    with working("Reading the table, Application Auto Scaling, SageMaker and CloudWatch"):
        seen = look()
    if as_json:
        print_json(seen.as_json())
    else:
        tables.console().print(status.rendered(seen))


def ticks(seconds: int, sleep: Callable[[float], None]) -> Iterator[None]:
    """Yield at once and then after each wait."""
    while True:
        yield
        sleep(seconds)
