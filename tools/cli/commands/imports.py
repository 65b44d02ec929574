"""`tidegate import`: what scales an account's endpoints, as a policy file."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import RefusedError
from cli.options import AwsProfile, EndpointUrl, Only, Region, clients
from cli.output import check_writable, count, log, print_json

if TYPE_CHECKING:
    from cli.estate import Estate

app = typer.Typer()


@app.command(name="import")
def import_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    endpoints: Only = None,
    *,
    template: Annotated[
        Path | None, typer.Option(help="Not the account but this CloudFormation template, such as cdk synth writes.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of a template's parameter; default its own.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there, not to stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document and what it leaves out as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Write what scales an account's endpoints as a policy file that reproduces it.

    Equal profiles become one. All are in mode shadow: Tidegate decides and records, and writes nothing. What is odd
    stands beside it as a comment, with the code that survey gives it; so does all that a policy file cannot say.
    Nothing in the account is changed.

    \b
    Examples:
      tidegate import --region eu-central-1 > fleet.yaml
      tidegate import orders papers --output fleet.yaml
      tidegate import --template cdk.out/Models.template.json --parameter Stage=prod > fleet.yaml
      tidegate import --json | jq .left_out
    """
    from cli import adoption, survey
    from cli.findings import findings_of
    from cli.template import deployable
    from core.aws import clock

    if output and output.exists() and not force:
        raise RefusedError(f"{output} exists: --force writes over it")
    if output:
        check_writable("--output", output)
    if output and as_json:
        raise RefusedError("--json prints to stdout and goes without --output, which writes the policy file")
    if parameter and not template:
        raise RefusedError("--parameter goes with --template")
    now = clock.now()
    if template:
        estate, rates = of_template(template, parameter or (), now, endpoints or ()), {}
    else:
        aws = clients(context, region, profile, endpoint_url)
        estate = survey.read_with_progress(aws, now, endpoints or ())
        rates = adoption.measured_rates(aws, estate, now)
    with deployable(template) if template else nullcontext():
        found = adoption.imported(estate, findings_of(estate), rates)
    for said in (*(f"not read: {each}" for each in estate.unread), *estate.remarks):
        log(said)
    if as_json:
        left = [
            {"target": name, "what": each.what, "why": each.why, "aws": each.document} for name, each in found.left_out
        ]
        print_json({"fleet": found.document, "left_out": left})
        return
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(found.text, encoding="utf-8")
    else:
        typer.echo(found.text, nl=False)
    said = f"{count(len(found.document['endpoints']), 'target')} in {count(len(found.document['profiles']), 'profile')}"
    log(f"{said}; {count(len(found.left_out), 'setting')} left out, each as a comment with its reason.")
    if not found.document["endpoints"]:
        log("There is nothing to take over; delivered, this file would release what Tidegate scales.")
        return
    file = output or Path("fleet.yaml")
    log(f"Next: tidegate policy check {file}               what Tidegate itself would remark")
    log(f"      tidegate plan --file {file} --stack NAME   what delivering it would change: in shadow, nothing")


def of_template(file: Path, parameters: Sequence[str], now: datetime, only: Sequence[str]) -> "Estate":
    """Return what a template would make, of these endpoints if any are named.

    Raises:
        RefusedError: a parameter is not NAME=VALUE, the template cannot be read, or has no endpoint of a name.
    """
    from cli.targets import refuse_unknown
    from cli.template import read_template

    if wrong := [each for each in parameters if "=" not in each]:
        raise RefusedError(f"--parameter {wrong[0]}: must be NAME=VALUE")
    estate = read_template(file, dict(each.split("=", 1) for each in parameters), now)
    refuse_unknown(only, [endpoint.name for endpoint in estate.endpoints], str(file))
    kept = tuple(endpoint for endpoint in estate.endpoints if not only or endpoint.name in only)
    return replace(estate, endpoints=kept)
