"""`tidegate survey`: what an account has, and what is unsafe about it."""

from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Only, Region, clients
from cli.output import FAILED, print_json

app = typer.Typer()


@app.command(name="survey")
def survey_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    endpoints: Only = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if anything unsafe is found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show every endpoint of an account in a Region, what scales it, and what is unsafe about that.

    Reads and changes nothing; docs/permissions.md lists the rights it needs. Each finding has a code that scripts may
    match, a sentence why, and what to do about it.

    \b
    Examples:
      tidegate survey --region eu-central-1
      tidegate survey orders papers --profile production
      tidegate survey --json | jq '.findings[] | select(.unsafe)'
      tidegate survey --strict > /dev/null || echo "something is unsafe"
    """
    from cli import survey
    from cli.findings import findings_of
    from core.aws import clock

    estate = survey.read_with_progress(clients(context, region, profile, endpoint_url), clock.now(), endpoints or ())
    findings = findings_of(estate)
    if as_json:
        print_json(survey.document_of(estate, findings))
    else:
        survey.show(estate, findings)
    if strict and any(each.unsafe for each in findings):
        raise typer.Exit(FAILED)
