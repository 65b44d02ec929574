"""`tidegate`: every command, and what becomes of an exception.

Results go to stdout, everything else to stderr. Exit status: 0 fine, 1 failed, 2 misused or refused.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from typer._click import Command, Context, HelpFormatter
from typer._click.exceptions import BadParameter
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group
from typing_extensions import override

from cli.errors import DeliveryError, InvocationError, MisusedError, PolicyFileError, RefusedError
from cli.output import FAILED, REFUSED, log
from core.errors import ConfigError, TidegateError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "survey": (
        "survey",
        "Show every endpoint of an account in a Region, what scales it, and what is unsafe about that.",
    ),
    "import": ("imports", "Write what scales an account's endpoints as a policy file that reproduces it."),
    "policy": ("policy", "Check and deliver the policy file."),
    "plan": (
        "plan",
        "Show what a policy file would change on each endpoint, and why, compared with what stands in the account.",
    ),
    "apply": ("apply", "Show what a policy file would change, ask, deliver it, and say what the first pass did."),
    "shadow-report": (
        "shadow_report",
        "Compare what targets in shadow would have been held at with what really ran and what the load needed.",
    ),
    "status": (
        "status",
        "Show each managed target: what runs, which bounds are in force and why, what ends when, and what is wrong.",
    ),
    "explain": (
        "explain",
        "Say why a target has the bounds it has: who asked for what, and what each rule made of it.",
    ),
    "replay": (
        "explain",
        "Decide again what was recorded, from what was seen then and with the code of this checkout.",
    ),
    "history": ("history", "Show what changed on a target, when and why, in one time line."),
    "drift": (
        "drift",
        "Show what stands in AWS otherwise than Tidegate left it, and what the next pass of FleetSync does about it.",
    ),
    "override": ("override", "Hold a capacity by hand for a while, through the deployed Override function."),
    "forecast": ("forecast", "Show what load is expected, what is ordered for it, and what that was worth last week."),
    "windows": ("windows", "Find load that recurs, and propose batch windows for it."),
    "release": (
        "release",
        "Give a target back exactly as it was before Tidegate came: bounds, policies, scheduled and alarm actions.",
    ),
    "deploy-guard": ("deploy_guard", "Hold an endpoint still while a pipeline deploys to it."),
    "backtest": (
        "backtest",
        "Show what Tidegate and every other policy would have done with a load, and what it would have cost.",
    ),
    "catalogue": ("catalogue", "Keep the catalogue of instance types (for those who develop Tidegate)."),
}
"""By its name the module of `cli.commands` that has it and the first sentence of its help, in the order of help.

A module is imported when its command is asked for: together they bring numpy, boto3 and the whole simulator.
"""

ADVICE = {
    "ConflictException": "Another deployment is running: wait for it, or stop it in the AppConfig console.",
    "ValidationError": "Is the stack deployed in this region? Try --region or --stack.",
    "AccessDenied": "These credentials may not do that; docs/permissions.md lists what each command needs.",
    "AccessDeniedException": "These credentials may not do that; docs/permissions.md lists what each command needs.",
    "ExpiredToken": "Log in again.",
    "ExpiredTokenException": "Log in again.",
    "NoCredentialsError": "Log in (`aws configure`, `aws sso login`), or name a profile: --profile.",
    "EndpointConnectionError": "Is there such a region (--region), and does the network reach it?",
    "ResponseParserError": "That is no answer of AWS: does a proxy stand between, or something else at --endpoint-url?",
    "NoRegionError": "Name one: --region, or AWS_REGION.",
    "BadRequestException": "The stack's validator refused it: is the deployed version older than this checkout?",
}
"""What to do about the errors of AWS that happen most, by code, and of its client, by name."""

FAILURES = (DeliveryError, InvocationError, TidegateError, BotoCoreError, ClientError, OSError)
UNREADABLE = "ResponseParserError"
"""botocore raises it, no BotoCoreError, of an answer that it cannot read; its module is slow to import."""


@cache
def imported(name: str) -> Command:
    """Return a command with its module."""
    whole = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    whole.add_typer(import_module(f"cli.commands.{COMMANDS[name][0]}").app)
    return get_group(whole).commands[name]


class Commands(TyperGroup):
    """Imports only the command that is named, and ends with a message and an exit status instead of a traceback."""

    def __init__(self, **attrs: Any) -> None:  # noqa: ANN401 - whatever Typer passes
        super().__init__(**attrs)
        self.commands = {name: TyperCommand(name, help=what) for name, (_, what) in COMMANDS.items()}

    @override
    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the command that the first word names, and the words after it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, imported(name) if name else None, rest

    @override
    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what each command does; in the shape of Click, which would cut it off at the end of the line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    @override
    def invoke(self, ctx: Context) -> object:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BadParameter as misuse:
            misuse.message = allowed(misuse)
            raise
        except BrokenPipeError:
            raise  # whoever read the output has seen enough of it
        except RefusedError as refusal:
            log(f"refused: {refusal}")
            raise typer.Exit(REFUSED) from refusal
        except PolicyFileError as refusal:
            log(str(refusal))
            raise typer.Exit(REFUSED) from refusal
        except ProfileNotFound as refusal:
            log(f"error: --profile: {refusal}")
            raise typer.Exit(REFUSED) from refusal
        except (ConfigError, MisusedError) as refusal:
            for line in str(refusal).splitlines():
                log(f"error: {line}")
            raise typer.Exit(REFUSED) from refusal
        except Exception as error:
            if not isinstance(error, FAILURES) and type(error).__name__ != UNREADABLE:
                raise
            cause = error.__cause__ or error  # core tells in words of its own what AWS answered
            answer = cause.response if isinstance(cause, ClientError) else {}
            code = answer.get("Error", {}).get("Code", type(cause).__name__)
            log("\n".join(filter(None, (f"error: {error}", ADVICE.get(code)))))
            raise typer.Exit(FAILED) from error


def allowed(misuse: BadParameter) -> str:
    """Return the value seen of an argument or option and what it may be; Typer's own words lack one or the other."""
    problems: list[Any] = getattr(misuse.__cause__, "errors", list)()
    if not problems:
        return misuse.message
    param: Any = misuse.param
    choices, low, high = param.type_descriptor.choices, param.min, param.max
    if choices:
        what = f"one of {', '.join(str(getattr(each, 'value', each)) for each in choices)}"
    else:
        what = "a whole number" if param.type_descriptor.annotation is int else "a number"
        what += "" if low is None else f" from {low} on" if high is None else f" from {low} to {high}"
    return f"{problems[0]['input']!r}: must be {what}"


app = typer.Typer(
    name="tidegate",
    cls=Commands,
    help="Keep Amazon SageMaker endpoints at the right capacity.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
