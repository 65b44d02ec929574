"""The tutorial's policies on three sorts of models, beside what docs/guides/from-cdk.md puts in their place.

`python -m bench.tutorial [--no-replay]`. The policies are those of `examples/cdk/before.template.json`; Tidegate plays
under the profiles of `examples/from-cdk/fleet.yaml`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import own_policies
from cli.backtest import Load, harmed
from cli.estate import Hosted, Policy
from cli.options import Clients
from cli.tables import console, plain
from cli.template import read_template
from simulator.baselines import run
from simulator.cases import Case, Course, Mode
from simulator.oracle import clairvoyant
from simulator.replay import replay
from simulator.scores import score

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "examples/from-cdk/fleet.yaml"
TEMPLATE = ROOT / "examples/cdk/before.template.json"
ONE_CORE = "ml.c8g.medium"
"""On it CPU means what the policies seem to say."""

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
    yield "the tutorial's policies", lambda: tutorial(case)
    yield "the same, CPU per core", lambda: tutorial(case, ONE_CORE)
    yield "requests at 1,000 alone", lambda: tutorial(case, kept=lambda policy: "Requests" in policy.name)
    if case.mode is Mode.ASYNC:
        yield "AWS's guide, 5 items an instance", lambda: run("aas-async-guide", "5", case)
    else:
        yield "requests at half of what is served", lambda: run("aas-target-tracking", "0.5", case)
    if profile is not None:
        yield "Tidegate", lambda: replay(case, profile).course


def tutorial(case: Case, instance_type: str = "", *, kept: Callable[[Policy], bool] = lambda _policy: True) -> Course:
    """Let the template's policies, or those that are kept, run an endpoint over a whole case.

    Args:
        case: load and clockwork.
        instance_type: other than the template's.
        kept: which policies are made.
    """
    found = hosted(case.start)
    assert found.registration is not None  # noqa: S101 - the template has one
    policies = tuple(policy for policy in found.registration.policies if kept(policy))
    variant = replace(found.variant, instance_type=instance_type or found.variant.instance_type)
    found = replace(found, variant=variant, registration=replace(found.registration, policies=policies))
    played = own_policies.play(case, found, count=1)
    assert played.remarks == (), played.remarks  # noqa: S101 - all of it is played
    return played.course


def hosted(now: datetime) -> Hosted:
    """Return what the template makes: a variant, and what scales it."""
    ((found,),) = (endpoint.hosted for endpoint in read_template(TEMPLATE, {}, now).endpoints)
    return found


if __name__ == "__main__":
    typer.run(main)
