"""`make account`: an embedded account that stays up, in which a small fleet serves real traffic in fast time."""

import json
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cli.errors import PolicyFileError
from cli.policy_file import read_policy_file
from local_account.account import Invocation, LocalAccount
from local_account.emulator import EmulatorError
from local_account.environment import UV
from local_account.sam import ROOT, STACK, SamError
from simulator.fleet_run import FLEET, account_with

DEFAULT_START = datetime(2025, 4, 9)  # noqa: DTZ001 - as a person types it; read as UTC
TRACE_HOURS = 24.0
ENDPOINT = FLEET[0].endpoint
DRY_RUN = {
    "request_id": "look-1",
    "action": "pin",
    "target": ENDPOINT,
    "capacity": 7,
    "duration": "90m",
    "reason": "what would a pin do?",
    "requested_by": "you@example.com",
    "dry_run": True,
}


def play(  # noqa: PLR0913 - one argument an option
    *,
    sam: Annotated[Path, typer.Option(help="The SAM CLI.")],
    ministack_python: Annotated[Path, typer.Option(help="Interpreter of the environment that has MiniStack.")],
    speed: Annotated[float, typer.Option(help="Simulated minutes a real minute; 1 is real time.", min=0.1)] = 60,
    start: Annotated[datetime, typer.Option(help="Where the traffic begins, 1 to 13 April 2025.")] = DEFAULT_START,
    policy: Annotated[Path, typer.Option(help="Policy file to deliver first.")] = ROOT / "fleet.yaml",
    minutes: Annotated[int | None, typer.Option(help="Stop after so many simulated minutes.", min=1)] = None,
    artefact: Annotated[Path | None, typer.Option(help="Built for this machine already; else it is built.")] = None,
) -> None:
    """Deploy template.yaml into an embedded account and let time pass there until Ctrl-C.

    Examples:
      make account
      make account ARGS="--speed 1"
      make account ARGS="--policy my-fleet.yaml"
    """
    try:
        document = read_policy_file(policy).document
    except PolicyFileError as refusal:
        _say(str(refusal))
        raise typer.Exit(2) from refusal
    signal.signal(signal.SIGTERM, _stop)
    account = account_with(FLEET, ROOT / "traces", start.replace(tzinfo=UTC), TRACE_HOURS)
    try:
        with LocalAccount(account, sam=sam, ministack_python=ministack_python, say=_say, artefact=artefact) as local:
            local.push_policy(document)
            local.pump.listener = _tell
            local.invoke("FleetSync", {"trigger": "policy"})
            print(instructions(local, sam, speed), flush=True)
            _run(local, speed, minutes)
    except KeyboardInterrupt:
        _say("stopped; nothing is left behind")
    except (EmulatorError, SamError) as error:
        _say(f"error: {error}")
        raise typer.Exit(1) from error


def instructions(local: LocalAccount, sam: Path, speed: float) -> str:
    """Return what to paste into another terminal."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(local.environment.items()))
    executable = shlex.quote(str(sam))
    overrides = shlex.quote(local.sam.overrides(local.parameters))
    return f"""
The embedded account is up: {local.endpoint_url} (platform), {local.plant.url} (SageMaker, Auto Scaling, CloudWatch).
It is {local.account.now:%Y-%m-%d %H:%M} UTC there, and {speed:g} minutes pass in one. Ctrl-C ends it.
Folder with logs: {local.folder}

Paste into another terminal; no tool there reaches a real account then:

unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy
{exports}
export PATH={shlex.quote(str(Path(sys.executable).parent))}:{shlex.quote(str(UV))}:"$PATH"

Look around:

aws application-autoscaling describe-scalable-targets --service-namespace sagemaker
aws cloudwatch describe-alarms --state-value ALARM
aws dynamodb scan --table-name {local.outputs["TableName"]} --max-items 5
aws scheduler list-schedules; aws events list-rules
{executable} list resources --stack-name {STACK}
{executable} logs --stack-name {STACK}

Interfere, and see why:

tidegate override floor {ENDPOINT} 5 --for 90m --reason "somebody plays here" --stack {STACK}
tidegate explain {ENDPOINT} --stack {STACK}
{executable} remote invoke OverrideFunction --stack-name {STACK} --event '{json.dumps(DRY_RUN)}'
{executable} remote invoke FleetSyncFunction --stack-name {STACK} --event '{{"trigger": "policy"}}'
tidegate policy push fleet.yaml --stack {STACK} --no-wait

Change the source or the template, and deploy it again (schedules, rules and alarms are read again at once):

{executable} build --config-env local --parameter-overrides {overrides}
{executable} deploy --config-env local --parameter-overrides {overrides}
"""


def _run(local: LocalAccount, speed: float, minutes: int | None) -> None:
    """Let time pass at `speed`; a stack that somebody updated is taken over again."""
    due = time.monotonic()
    while minutes is None or minutes > 0:
        local.minute()
        while local.failures:
            function, why = local.failures.pop(0)
            _say(f"{local.account.now:%H:%M} {function} failed: {why}")
        if local.take_over_if_updated():
            _say("the stack was updated; its schedules, rules and alarms were read again")
        minutes = None if minutes is None else minutes - 1
        due = max(due + 60 / speed, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def _tell(call: Invocation) -> None:
    for target in (call.reply or {}).get("targets", ()):
        if target["status"] == "changed":
            bounds = f"{target.get('min_capacity')}..{target.get('max_capacity')}"
            _say(f"{call.at:%H:%M} {call.function}: {target['target']}: {target.get('reason')}: bounds {bounds}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(play)
