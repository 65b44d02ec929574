"""`tidegate release`: give a target back as it was, or leave it to native scaling."""

from typing import Annotated

import typer

from cli.errors import RefusedError
from cli.options import AwsProfile, EndpointUrl, Region, Stack, clients
from cli.output import FAILED, log, print_json, working

app = typer.Typer()


@app.command(name="release")
def release_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(help="An endpoint, endpoint/variant or component:NAME.")] = None,
    *,
    stack: Stack,
    everything: Annotated[
        bool, typer.Option("--all", help="All that is enrolled, before the stack is deleted.")
    ] = False,
    keep_native: Annotated[
        bool, typer.Option("--keep-native", help="Leave Tidegate's native policies scaling.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be restored; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until AppConfig has finished watching the alarms.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Give a target back exactly as it was before Tidegate came: bounds, policies, scheduled and alarm actions.

    The target leaves the document in force (or loses its tag), the deployed FleetSync puts back what it saved, and what
    stands then is compared with what stood before, byte by byte. Take it out of your own file as well, or the next
    `tidegate apply` enrols it again. With --keep-native nothing is put back: Tidegate's native policies go on scaling
    within the policy's own bounds. Exit status 1 if something differs in the end, 2 if nothing of the name is enrolled.

    \b
    Examples:
      tidegate release orders --dry-run --stack tidegate
      tidegate release component:chat-8b --keep-native --yes --stack tidegate
      tidegate release --all --stack tidegate
    """
    from cli import releasing
    from cli.stack import DeployedStack
    from core.aws import clock

    if (target is None) != everything:
        raise RefusedError("name one TARGET, or --all")
    aws = clients(context, region, profile, endpoint_url)
    with working("Reading what stands, and what stood before"):
        found = DeployedStack.read(aws, stack, clock.now)
        leaving = releasing.leaving(found, target, keep_native=keep_native)
    say = log if as_json else typer.echo
    for each in leaving:
        for line in releasing.told(each, clock.now(), keep_native=keep_native):
            say(line)
    unlike: dict[str, list[str]] = {}
    if dry_run or not leaving:
        log("A dry run: nothing was changed." if leaving else "Nothing is enrolled.")
    else:
        if not yes:
            typer.confirm("Release?", abort=True, err=True)
        releasing.release(found, leaving, aws.sleep, keep_native=keep_native, wait=wait)
        after = DeployedStack.read(aws, stack, clock.now)
        for each in leaving:
            unlike[each.target.resource_id] = [*releasing.differences(after, each, keep_native=keep_native)]
    for line in releasing.outcome_of(unlike, leaving, keep_native=keep_native):
        say(line)
    if as_json:
        print_json({"targets": [{**e.as_json(), "differences": unlike.get(e.target.resource_id)} for e in leaving]})
    if any(unlike.values()):
        raise typer.Exit(FAILED)
