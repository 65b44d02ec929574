"""`tidegate policy`: check the policy file, deliver it, print its schema."""

from typing import Annotated

import typer

from cli.errors import PolicyFileError
from cli.options import AwsProfile, EndpointUrl, File, Json, Region, Stack, clients
from cli.output import REFUSED, count, log, print_json

app = typer.Typer(name="policy", help="Check and deliver the policy file.", no_args_is_help=True)


@app.command()
def check(
    file: File,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings and the summary as JSON.")] = False,
) -> None:
    """Check a policy file and show what it comes to; needs no AWS account.

    Every problem is reported at once, with its line. Exit status 2 if there is one.

    \b
    Examples:
      tidegate policy check fleet.yaml
      tidegate policy check fleet.yaml --json | jq .problems
    """
    from cli import policy_told
    from cli.policy_file import read_policy_file

    try:
        read = read_policy_file(file)
    except PolicyFileError as refusal:
        if as_json:
            print_json(
                {"ok": False, "problems": [policy_told.finding_json(f) for f in refusal.findings], "warnings": []}
            )
        else:
            typer.echo(str(refusal))
        log(f"{count(len(refusal.findings), 'problem')}; docs/policy.md says what each field may be.")
        raise typer.Exit(REFUSED) from refusal
    if as_json:
        print_json(
            {"ok": True, "problems": [], "warnings": [policy_told.finding_json(f) for f in read.warnings]}
            | policy_told.summary(read)
        )
        return
    policy_told.warn(read, file)
    policy_told.show(read)


@app.command()
def push(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    file: File,
    *,
    stack: Stack,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
    wait: Annotated[bool, typer.Option(help="Wait until AppConfig has finished watching the alarms.")] = True,
    as_json: Json = False,
) -> None:
    """Check a policy file and deliver it to a deployed stack.

    The document becomes a new version in AppConfig, which rolls it back if Tidegate's error alarms go off. As soon as
    it is in force the endpoints it names are enrolled.

    \b
    Examples:
      tidegate policy push fleet.yaml --stack tidegate
      tidegate policy push fleet.yaml --stack tidegate-prod --region eu-central-1 --no-wait
    """
    from cli import policy_told
    from cli.delivery import Delivery, find_stack
    from cli.policy_file import read_policy_file

    try:
        read = read_policy_file(file)
    except PolicyFileError as refusal:
        log(str(refusal))
        log(f"{count(len(refusal.findings), 'problem')}; nothing was delivered.")
        raise typer.Exit(REFUSED) from refusal
    policy_told.warn(read, file)
    aws = clients(context, region, profile, endpoint_url)
    found = find_stack(aws.of("cloudformation"), stack)
    delivery = Delivery(stack=found, appconfig=aws.of("appconfig"), functions=aws.of("lambda"), sleep=aws.sleep)
    say = log if as_json else typer.echo

    def enrol(version: int) -> None:
        delivery.enrol()
        named = count(len(read.fleet.endpoints), "endpoint")
        say(f"Version {version} is in force; FleetSync enrols what it names ({named}).")

    done = delivery.deliver(read.document, enrol, wait=wait, say=say)
    if as_json:
        print_json(done)
    elif wait:
        say("Complete. Next: the stack's LogsCommand output shows each decision as it is made.")
    else:
        say("AppConfig still watches the alarms and rolls back if they go off.")


@app.command()
def schema() -> None:
    """Print the policy file's JSON Schema, for editors.

    \b
    Example:
      tidegate policy schema > docs/fleet.schema.json
    """
    from cli.policy_file import fleet_schema

    print_json(fleet_schema())
