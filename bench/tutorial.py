"""The tutorial's policies on three sorts of models, beside what docs/guides/from-cdk.md puts in their place.

`python -m bench.tutorial [--no-replay]`. The policies are those of `examples/cdk/before.template.json`, put into the
simulated AAS as CloudFormation would put them; Tidegate plays under the profiles of `examples/from-cdk/fleet.yaml`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from cli.backtest import Load, harmed
from cli.options import Clients
from cli.tables import console, plain
from simulator.account import SimulatedAccount
from simulator.baselines import run
from simulator.cases import Case, Course, Mode
from simulator.oracle import clairvoyant
from simulator.replay import replay, workload_of
from simulator.scores import score

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "examples/from-cdk/fleet.yaml"
RESOURCES: Mapping[str, Any] = json.loads((ROOT / "examples/cdk/before.template.json").read_text())["Resources"]
VCPUS = 8
"""Of the template's ml.c5.2xlarge."""

TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ranker/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
NO_ACCOUNT = Clients(region=None, profile=None, endpoint_url=None)
LOADS = {
    "ranking": Load(csv=ROOT / "traces/servegen_small_c31.csv"),
    "documents": Load(csv=ROOT / "traces/servegen_large_c48.csv"),
    "nightly": Load(csv=ROOT / "traces/servegen_large_c149.csv"),
}
"""The trace that each profile of the policy file meets."""


def main(
    *, replays: Annotated[bool, typer.Option("--replay/--no-replay", help="Let Tidegate play too; minutes.")] = True
) -> None:
    """Play them and print what came out."""
    for profile, load in LOADS.items():
        case, wanted = replace(load, policy=POLICY, use=profile).case(
            Clients(region=None, profile=None, endpoint_url=None), None
        )
        ideal = clairvoyant(case)
        table = plain(f"{profile} ({case.trace})", "late" if case.mode is Mode.ASYNC else "violated", "instance-hours")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, play in plays(case, wanted.profile if replays else None):
            found = score(case, play(), ideal)
            table.add_row(name, f"{harmed(found):.2%}", f"{found.instance_hours:,.1f}")
        console().print(table)
        console().print()


def plays(case: Case, profile: Mapping[str, Any] | None) -> Iterator[tuple[str, Callable[[], Course]]]:
    """Yield who plays a case, in the order of the table."""
    yield "the tutorial's policies", lambda: tutorial(case, VCPUS)
    yield "the same, CPU per core", lambda: tutorial(case, 1)
    yield "requests at 1,000 alone", lambda: tutorial(case, VCPUS, lambda name: "Requests" in name)
    if case.mode is Mode.ASYNC:
        yield "AWS's guide, 5 items an instance", lambda: run("aas-async-guide", "5", case)
    else:
        yield "requests at half of what is served", lambda: run("aas-target-tracking", "0.5", case)
    if profile is not None:
        yield "Tidegate", lambda: replay(case, profile).course


def tutorial(case: Case, vcpus: int, kept: Callable[[str], bool] = lambda _name: True) -> Course:
    """Let the template's policies run an endpoint over a whole case.

    Args:
        case: load and clockwork.
        vcpus: over which CloudWatch sums the CPU; with 1 the policies mean what they seem to say.
        kept: which of the template's resources are made, by their name.
    """
    account = SimulatedAccount(case.start, record_calls=False)
    account.cloudwatch.lag = timedelta(minutes=case.lag)
    workload = workload_of(case)
    workload.vcpus = vcpus
    endpoint = account.add_endpoint(
        name="ranker",
        workload=workload,
        instance_count=1,
        asynchronous=case.mode is Mode.ASYNC,
        provisioning_delay=timedelta(minutes=case.provisioning),
        removal_delay=timedelta(minutes=case.removal),
    )
    set_up(account, case.maximum, kept)
    desired = []
    for _ in case.requests:
        desired.append(endpoint.desired_count)
        account.advance()
    ready, wanted = np.array(workload.history.ready, np.int64), np.array(workload.history.desired, np.int64)
    orders = np.flatnonzero(np.diff(desired, prepend=1)).astype(np.int64)
    return Course(policy="tutorial", knob="", ready=ready, billed=np.maximum(ready, wanted), orders=orders)


def set_up(account: SimulatedAccount, maximum: int, kept: Callable[[str], bool]) -> None:
    """Make the template's policies, and the alarms that call them, between 1 and `maximum` instances."""
    aas = "application-autoscaling"
    account.call(aas, "RegisterScalableTarget", TARGET | {"MinCapacity": 1, "MaxCapacity": maximum})
    made = {name: each for name, each in RESOURCES.items() if kept(name)}
    arns = {}
    for name, each in made.items():
        if each["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy":
            own = {key: value for key, value in each["Properties"].items() if key != "ScalingTargetId"}
            arns[name] = account.call(aas, "PutScalingPolicy", TARGET | own)["PolicyARN"]
    for name, each in made.items():
        if each["Type"] == "AWS::CloudWatch::Alarm":
            called = [arns[action["Ref"]] for action in each["Properties"]["AlarmActions"]]
            own = each["Properties"] | {"AlarmName": name, "AlarmActions": called}
            account.call("cloudwatch", "PutMetricAlarm", own)


if __name__ == "__main__":
    typer.run(main)
