"""What several commands take, and the AWS clients some of it leads to."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import RefusedError

TARGET_HELP = "An endpoint, endpoint/variant, component:NAME, tag:KEY=VALUE, profile:NAME or fleet:all."

File = Annotated[Path, typer.Argument(help="Policy file, YAML or JSON.")]
FleetFile = Annotated[Path, typer.Option("--file", help="Policy file, YAML or JSON.")]
Several = Annotated[
    str | None, typer.Argument(help="An endpoint, endpoint/variant or component:NAME; all if none is given.")
]
Only = Annotated[list[str] | None, typer.Argument(help="Only these endpoints.", metavar="ENDPOINT")]
Single = Annotated[str, typer.Argument(help="An endpoint, endpoint/variant or component:NAME.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Stack = Annotated[str, typer.Option(envvar="TIDEGATE_STACK", help="CloudFormation stack of Tidegate.")]
Region = Annotated[str | None, typer.Option(envvar="AWS_REGION", help="AWS region; default as for the AWS CLI.")]
"""boto3 itself does not look at AWS_REGION; the AWS CLI does."""

AwsProfile = Annotated[str | None, typer.Option(help="AWS profile; default as for the AWS CLI.")]
EndpointUrl = Annotated[str | None, typer.Option(help="Other AWS endpoint, such as an emulator's.")]

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
    import boto3  # noqa: PLC0415 - half a second that help, and what needs no account, do without
    from botocore.config import Config  # noqa: PLC0415 - as above

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
