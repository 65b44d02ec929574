"""`tidegate deploy-guard`: hold an endpoint still while a pipeline deploys to it."""

from typing import Annotated

import typer

from cli.options import AwsProfile, EndpointUrl, Region, Stack, clients
from cli.output import log, print_json

SNIPPET = """
\b
In a pipeline, whatever the deployment itself is made with:
  tidegate deploy-guard begin "$ENDPOINT" --id "$RUN_ID" --for 90m --stack tidegate
  aws sagemaker update-endpoint --endpoint-name "$ENDPOINT" --endpoint-config-name "$CONFIG" \\
      --retain-all-variant-properties
  aws sagemaker wait endpoint-in-service --endpoint-name "$ENDPOINT"
  tidegate deploy-guard end "$ENDPOINT" --stack tidegate    # also when the steps before failed
"""

app = typer.Typer(
    name="deploy-guard",
    help=f"Hold an endpoint still while a pipeline deploys to it.\n{SNIPPET}",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Endpoint = Annotated[str, typer.Argument(help="The endpoint; all of it that is enrolled is held.")]
Reason = Annotated[str, typer.Option(help="For those who read the decisions later.")]


@app.command(name="begin")
def begin_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    endpoint: Endpoint,
    *,
    stack: Stack,
    lasting: Annotated[str, typer.Option("--for", help="When it ends by itself: 90m, 2h.")] = "1h",
    reason: Reason = "a deployment",
    key: Annotated[str | None, typer.Option("--id", help="Of the pipeline's run; default the time.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although somebody else's override holds it.")] = False,
    deregister: Annotated[bool, typer.Option("--deregister", help="For another instance type.")] = False,
    if_enrolled: Annotated[bool, typer.Option("--if-enrolled", help="Else hold nothing, and be content.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Wait until the endpoint is at rest, and hold it: nothing scales in, and Tidegate writes nothing.

    The hold is a floor at what runs and a pause on top, which end by themselves after --for. A second `begin` finds the
    first one's hold and changes nothing. AAS may still scale out; a deployment that meets that is refused by SageMaker
    and tried again. --deregister takes the scalable target away, for SageMaker refuses another instance type while it
    is registered; `end` puts it back. Exit status 2 if nothing of the endpoint is enrolled (a pipeline that also
    deploys what nobody scales says --if-enrolled) or somebody else's override holds it, 1 if it does not come to rest.

    \b
    Examples:
      tidegate deploy-guard begin orders --id build-4711 --for 90m --stack tidegate
      tidegate deploy-guard begin orders --deregister --reason "ml.g5 to ml.g6" --stack tidegate
      tidegate deploy-guard begin "$ENDPOINT" --if-enrolled --stack tidegate
    """
    from cli.errors import RefusedError
    from cli.guarding import Guard
    from cli.stack import DeployedStack
    from core.aws import clock

    aws = clients(context, region, profile, endpoint_url)
    found = DeployedStack.read(aws, stack, clock.now)
    asks = aws.of("sts").get_caller_identity()["Arn"]
    guard = Guard(stack=found, endpoint=endpoint, requested_by=asks, sleep=aws.sleep)
    if guard.unknown and not if_enrolled:
        raise RefusedError(f"{guard.unknown} (--if-enrolled deploys it without a hold)")
    until = guard.begin(lasting=lasting, reason=reason, key=key, force=force, deregister=deregister)
    if as_json:
        ends = None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}"
        print_json({"endpoint": endpoint, "targets": [t.resource_id for t in guard.targets], "until": ends})
    elif until is None:
        log(f"Nothing is held. {guard.unknown}")
    else:
        typer.echo(f"{endpoint} is at rest and held until {until:%Y-%m-%dT%H:%MZ}. After the deployment:")
        typer.echo(f"  tidegate deploy-guard end {endpoint} --stack {stack}")


@app.command(name="end")
def end_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    endpoint: Endpoint,
    *,
    stack: Stack,
    reason: Reason = "the deployment is over",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Lift what `begin` holds, and look at the endpoint at once: what the load needs now is ordered.

    While it still updates the pass waits; the event of its end brings the next one. What is not held stays as it is, so
    this may be the last step of every run, failed ones too.

    \b
    Example:
      tidegate deploy-guard end orders --stack tidegate
    """
    from cli.guarding import Guard, lines_of
    from cli.stack import DeployedStack
    from core.aws import clock

    aws = clients(context, region, profile, endpoint_url)
    found = DeployedStack.read(aws, stack, clock.now)
    asks = aws.of("sts").get_caller_identity()["Arn"]
    guard = Guard(stack=found, endpoint=endpoint, requested_by=asks, sleep=aws.sleep)
    answers = guard.end(reason)
    if as_json:
        print_json({"endpoint": endpoint, "targets": answers})
        return
    if not answers:
        log(guard.unknown or f"Nothing holds {endpoint}.")
    for line in lines_of(answers):
        typer.echo(line)
