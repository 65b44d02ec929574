"""`tidegate shadow-report`: what shadow decisions would have been worth."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Json, Region, Several, Stack, clients
from cli.output import check_writable, log, print_json, working

app = typer.Typer()


@app.command(name="shadow-report")
def shadow_report_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    target: Several = None,
    *,
    stack: Stack,
    since: Annotated[str, typer.Option(help="From when on: 12h, 7d, or 2026-11-18T09:00Z.")] = "7d",
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts there.")] = None,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Compare what targets in shadow would have been held at with what really ran and what the load needed.

    Reads the recorded decisions and CloudWatch, and ends with a plain verdict for each target. `covered` are minutes in
    which too little ran and Tidegate's floors were enough, `missed` the other way round. Instances of Tidegate's serve
    after what starts took on this endpoint. Of asynchronous endpoints `late` items are told (beside others under
    `violated`), and how they were woken from zero. The page shows what ran beside the floors, and each wish with its
    reason.

    \b
    Examples:
      tidegate shadow-report --stack tidegate
      tidegate shadow-report orders --since 14d --stack tidegate --json
      tidegate shadow-report --html out/shadow.html --stack tidegate
    """
    from cli import shadow, shadow_told, tables
    from cli.stack import DeployedStack
    from cli.targets import meant
    from cli.timeline import since_of
    from core.aws import clock
    from simulator.report import write_report

    if html is not None:
        check_writable("--html", html)
    now = clock.now()
    begun = since_of(since, now)
    with working("Reading decisions and metrics") as told_so_far:
        found = DeployedStack.read(clients(context, region, profile, endpoint_url), stack, clock.now)
        targets = sorted(found.roster()) if target is None else meant(target, found.roster())
        answers = []
        for answer in shadow.compared(found, targets, begun, now):
            answers.append(answer)
            told_so_far(f"{len(answers)} of {len(targets)} targets")
    told = [each for each in answers if isinstance(each, shadow.Compared)]
    untold = [each for each in answers if isinstance(each, str)]
    if html is not None and told:
        write_report(shadow_told.page_of(found.name, told), html)
    if html is not None:
        log(f"Page: {html}" if told else "No page was written: nothing could be compared.")
    if as_json:
        print_json({"targets": [shadow_told.as_json(each) for each in told], "untold": untold})
        return
    tables.show(shadow_told.table_of(told))
    for line in shadow_told.lines_of(told):
        typer.echo(line)
    for line in untold:
        log(line)
    if not answers:
        log("Nothing is enrolled.")
