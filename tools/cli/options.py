"""What several commands take, and the AWS clients some of it leads to."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config

from cli.overrides import RefusedError
from simulator.cases import Mode

File = Annotated[Path, typer.Argument(help="Policy file, YAML or JSON.")]
FleetFile = Annotated[Path, typer.Option("--file", help="Policy file, YAML or JSON.")]
Several = Annotated[
    str | None, typer.Argument(help="An endpoint, endpoint/variant or component:NAME; all if none is given.")
]
Single = Annotated[str, typer.Argument(help="An endpoint, endpoint/variant or component:NAME.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Stack = Annotated[str, typer.Option(envvar="TIDEGATE_STACK", help="CloudFormation stack of Tidegate.")]
Region = Annotated[str | None, typer.Option(envvar="AWS_REGION", help="AWS region; default as for the AWS CLI.")]
"""boto3 itself does not look at AWS_REGION; the AWS CLI does."""

AwsProfile = Annotated[str | None, typer.Option(help="AWS profile; default as for the AWS CLI.")]
EndpointUrl = Annotated[str | None, typer.Option(help="Other AWS endpoint, such as an emulator's.")]
Csv = Annotated[Path | None, typer.Argument(help="Trace: timestamp,requests[,work_seconds]; UTC, gzip too.")]
OfEndpoint = Annotated[str | None, typer.Option(help="Instead of a file: this endpoint's CloudWatch history.")]
OfVariant = Annotated[str, typer.Option(help="Its variant.")]
LoadMode = Annotated[Mode, typer.Option(help="How the load meets the endpoint.")]
Use = Annotated[str | None, typer.Option(help="Profile of the policy file.")]
PerInstance = Annotated[float | None, typer.Option(min=1e-6, help="Requests/min an instance serves in time.")]
Minimum = Annotated[int | None, typer.Option("--min", min=0, help="Fewest instances.")]
Maximum = Annotated[int | None, typer.Option("--max", min=1, help="Most instances.")]
Provisioning = Annotated[int, typer.Option(min=0, help="Minutes from an order until instances serve.")]
Price = Annotated[float | None, typer.Option(min=0, help="Of an instance-hour, in any currency.")]

PRICING = "us-east-1"
"""One of the few Regions that answer for the prices of all (docs/facts.md, section 8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """boto3 clients where the options say, each made when it is first asked for."""

    region: str | None
    profile: str | None
    endpoint_url: str | None

    def of(self, service: str) -> Any:  # noqa: ANN401 - one function for clients of all services
        """Return a client; a call waits for as long as the slowest function may take."""
        return _client(service, PRICING if service == "pricing" else self.region, self.profile, self.endpoint_url)

    def sleep(self, seconds: float) -> None:
        """Wait: for what AWS does in the meantime."""
        time.sleep(seconds)


@cache
def _client(service: str, region: str | None, profile: str | None, endpoint_url: str | None) -> Any:  # noqa: ANN401 - as above
    session = boto3.Session(region_name=region, profile_name=profile)
    # Who reads a whole account is throttled now and then; a function is not to be waited for eight times.
    attempts = 3 if service == "lambda" else 8
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, read_timeout=330)
    try:
        return session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]  # any service
    except ValueError as error:  # neither of botocore's own exceptions
        raise RefusedError(f"--endpoint-url or --region: {error}") from error


def clients(context: typer.Context, region: str | None, profile: str | None, endpoint_url: str | None) -> Clients:
    """Return where clients come from: what the caller of the command line brought, or boto3."""
    return context.obj or Clients(region=region, profile=profile, endpoint_url=endpoint_url)
