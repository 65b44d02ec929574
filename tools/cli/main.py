"""`tidegate`: every command, and what becomes of an exception.

Results go to stdout, everything else to stderr. Exit status: 0 fine, 1 failed, 2 misused or refused.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from typer._click import Context, HelpFormatter
from typer.core import TyperGroup
from typing_extensions import override

from cli.backtest import MisusedError
from cli.delivery import DeliveryError
from cli.output import FAILED, REFUSED, log
from cli.overrides import InvocationError, RefusedError
from cli.policy_file import PolicyFileError
from core.errors import ConfigError, TidegateError
from simulator.traces import TraceError

COMMANDS = (
    "survey",
    "imports",
    "policy",
    "plan",
    "apply",
    "shadow_report",
    "status",
    "explain",
    "history",
    "drift",
    "override",
    "forecast",
    "windows",
    "release",
    "deploy_guard",
    "backtest",
    "catalogue",
)
"""Modules of `cli.commands`, each with its `app`, in the order in which help lists them."""

ADVICE = {
    "ConflictException": "Another deployment is running: wait for it, or stop it in the AppConfig console.",
    "ValidationError": "Is the stack deployed in this region? Try --region or --stack.",
    "AccessDenied": "These credentials may not do that; docs/permissions.md lists what each command needs.",
    "AccessDeniedException": "These credentials may not do that; docs/permissions.md lists what each command needs.",
    "ExpiredToken": "Log in again.",
    "ExpiredTokenException": "Log in again.",
    "NoCredentialsError": "Log in (`aws configure`, `aws sso login`), or name a profile: --profile.",
    "NoRegionError": "Name one: --region, or AWS_REGION.",
    "BadRequestException": "The stack's validator refused it: is the deployed version older than this checkout?",
}
"""What to do about the errors of AWS that happen most, by code, and of its client, by name."""


class Commands(TyperGroup):
    """Lists commands with whole sentences, and ends with a message and an exit status instead of a traceback."""

    @override
    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what each command does; in the shape of Click, which would cut it off at the end of the line."""
        with formatter.section("Commands"):
            paragraphs = ((name, (self.commands[name].help or "").partition("\n\n")[0]) for name in self.commands)
            formatter.write_dl([(name, " ".join(first.split())) for name, first in paragraphs])

    @override
    def invoke(self, ctx: Context) -> object:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read the output has seen enough of it
        except RefusedError as refusal:
            log(f"refused: {refusal}")
            raise typer.Exit(REFUSED) from refusal
        except PolicyFileError as refusal:
            log(str(refusal))
            raise typer.Exit(REFUSED) from refusal
        except (TraceError, ConfigError, MisusedError) as refusal:
            for line in str(refusal).splitlines():
                log(f"error: {line}")
            raise typer.Exit(REFUSED) from refusal
        except (DeliveryError, InvocationError, TidegateError, BotoCoreError, ClientError, OSError) as error:
            answer = error.response if isinstance(error, ClientError) else {}
            code = answer.get("Error", {}).get("Code", type(error).__name__)
            log("\n".join(filter(None, (f"error: {error}", ADVICE.get(code)))))
            raise typer.Exit(FAILED) from error


app = typer.Typer(
    name="tidegate",
    cls=Commands,
    help="Keep Amazon SageMaker endpoints at the right capacity.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for name in COMMANDS:
    app.add_typer(import_module(f"cli.commands.{name}").app)


def _version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if asked:
        typer.echo(f"tidegate {version('tidegate')}")
        raise typer.Exit


@app.callback()
def _tidegate(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Keep Amazon SageMaker endpoints at the right capacity."""


def run() -> None:
    """Run the command line."""
    app()
