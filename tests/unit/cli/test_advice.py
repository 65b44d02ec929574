"""What `tidegate policy check` advises: allowed, and still not what anyone means."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.advice import advice, proposal
from cli.main import app
from core.policy import Profile

REALTIME: dict[str, Any] = {"kind": "realtime", "min_capacity": 1, "max_capacity": 8}
ASYNC: dict[str, Any] = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 8,
    "objectives": {"items_per_minute": 4},
}
IN: dict[str, Any] = {
    "type": "step",
    "metric": "cpu",
    "steps": [{"upper": 30, "change": -1}, {"lower": 30, "change": 0}],
}
OUT_STEP: dict[str, Any] = {"type": "step", "metric": "cpu", "steps": [{"lower": 90, "change": 2}]}
OWN_CPU: dict[str, Any] = {"namespace": "/aws/sagemaker/Endpoints", "name": "CPUUtilization"}


def track(metric: str, **fields: Any) -> dict[str, Any]:
    return {"type": "target_tracking", "metric": metric, "target": 50, **fields}


OUT = {"disable_scale_in": True}
CASES: list[tuple[str, dict[str, Any], list[dict[str, Any]], list[tuple[str, str]]]] = [
    ("nothing to say", REALTIME, [track("cpu"), track("requests_per_instance")], []),
    ("no policies", REALTIME, [], [("policies", "nothing ever scales in and the highest load is paid on")]),
    ("no policies, and what an instance serves is known", REALTIME | {"objectives": {"requests_per_instance": 9}}, [],
     [("policies", "Add target tracking, or leave policies out")]),
    ("no policies of a queue that empties to zero", ASYNC, [], []),
    ("no policies of one that keeps an instance", ASYNC | {"min_capacity": 1}, [], [("policies", "nothing ever")]),
    ("no policies, and nothing that they could move", REALTIME | {"min_capacity": 2, "max_capacity": 2}, [], []),
    ("steps that only add, by themselves", REALTIME, [OUT_STEP], [("policies", "none of them scales in")]),
    ("steps that scale in, by themselves", REALTIME, [IN], []),
    ("a catalogue metric as one's own", REALTIME, [track("custom", custom=OWN_CPU)],
     [("policies.0.custom", ": this is the metric cpu (percent per core): write that")]),
    ("steps on a metric that is tracked", REALTIME, [track("cpu"), IN],
     [("policies.1.metric", "target tracking follows it already and scales in once every policy agrees")]),
    ("requests counted twice", REALTIME, [track("requests_per_instance"), track("concurrent_requests")],
     [("policies.1.metric", "requests_per_instance follows the same requests")]),
    ("nothing scales in", REALTIME, [track("cpu", **OUT), track("disk", **OUT)],
     [("policies.0.disable_scale_in", "nothing ever scales in and the highest load is paid on")]),
    ("only we scale in", REALTIME, [track("requests_per_instance", **OUT)],
     [("policies.0.disable_scale_in", "only Tidegate scales in, and not while it is away")]),
    ("steps that only add", REALTIME, [track("cpu"), OUT_STEP], []),
    ("one scales in", REALTIME, [track("cpu", **OUT), track("disk")], []),
    ("steps scale in", REALTIME, [track("disk", **OUT), IN], []),
    ("a cooldown beyond any start", REALTIME, [track("cpu", scale_out_cooldown="15m")],
     [("policies.0.scale_out_cooldown", "use 1m to 5m")]),
    ("10 minutes hold", REALTIME, [track("cpu", scale_out_cooldown="10m")], []),
    ("a cooldown below a minute", REALTIME, [track("cpu", scale_out_cooldown="30s")],
     [("policies.0.scale_out_cooldown", "AAS looks at this metric once a minute")]),
    ("unless it is looked at more often", REALTIME, [track("concurrent_requests", scale_out_cooldown="30s")], []),
    ("memory that stays", REALTIME, [track("cpu"), track("memory")],
     [("policies.1.metric", "set disable_scale_in: true here")]),
    ("memory that only scales out", REALTIME, [track("cpu"), track("memory", **OUT)], []),
    ("cpu from zero", ASYNC, [track("cpu")], [("policies", "there is no cpu to act on")]),
    ("cpu from one", ASYNC | {"min_capacity": 1}, [track("cpu")], []),
    ("cpu beside the queue", ASYNC, [track("cpu"), track("backlog_per_instance")], []),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "policies", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_advice(profile: dict[str, Any], policies: list[dict[str, Any]], said: list[tuple[str, str]]) -> None:
    remarks = list(advice(Profile.model_validate({**profile, "policies": policies})))
    assert [".".join(map(str, where)) for where, _ in remarks] == [where for where, _ in said]
    for (_, text), (_, part) in zip(remarks, said, strict=True):
        assert part in text


OWN_MEMORY = {"namespace": "/aws/sagemaker/Endpoints", "name": "MemoryUtilization"}
PROPOSED: list[tuple[str, dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("nothing to remark", REALTIME, [track("cpu")], []),
    ("tracking instead of steps", REALTIME, [track("cpu"), IN], [track("cpu")]),
    ("requests instead of requests twice", REALTIME, [track("requests_per_instance"), track("concurrent_requests")],
     [track("requests_per_instance")]),
    ("one that scales in", REALTIME, [track("cpu", **OUT), track("disk", **OUT)],
     [track("cpu", disable_scale_in=False), track("disk", **OUT)]),
    ("not memory", REALTIME, [track("memory", **OUT), track("cpu", **OUT)],
     [track("memory", **OUT), track("cpu", disable_scale_in=False)]),
    ("memory adds only", REALTIME, [track("cpu"), track("memory")], [track("cpu"), track("memory", **OUT)]),
    ("the default cooldown", REALTIME, [track("cpu", scale_out_cooldown="15m")], [track("cpu")]),
    ("one's own name of it", REALTIME, [track("cpu"), track("custom", custom=OWN_MEMORY, **OUT)],
     [track("cpu"), track("memory", **OUT)]),
    ("its unit is not known", REALTIME, [track("custom", custom=OWN_CPU)], []),  # percent over all cores
    ("memory alone", REALTIME, [track("memory")], []),  # what else limits it, only the reader knows
    ("the queue wakes", ASYNC, [track("cpu")],  # 0.5 * 4 a minute * 15 minutes
     [track("cpu"), {"type": "target_tracking", "metric": "backlog_per_instance", "target": 30.0}]),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "policies", "better"), [c[1:] for c in PROPOSED], ids=[c[0] for c in PROPOSED])
def test_what_is_proposed(
    profile: dict[str, Any], policies: list[dict[str, Any]], better: list[dict[str, Any]]
) -> None:
    assert proposal(Profile.model_validate({**profile, "policies": policies})) == better


@pytest.mark.parametrize(("profile", "policies"), [c[1:3] for c in [*CASES, *PROPOSED]])
def test_a_proposal_can_be_pasted_and_passes_without_remark(
    tmp_path: Path, profile: dict[str, Any], policies: list[dict[str, Any]]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "profiles": {"p": {**profile, "policies": policies}}}))
    said = CliRunner().invoke(app, ["policy", "check", str(file)]).stderr
    if "paste them over the others" in said:
        pasted = yaml.safe_load(said.split("paste them over the others:\n")[1])
        file.write_text(yaml.safe_dump({"version": 1, "profiles": {"p": {**profile, **pasted}}}))
        result = CliRunner().invoke(app, ["policy", "check", str(file)])
        assert (result.exit_code, result.stderr) == (0, "")


def test_a_remark_is_a_warning_with_its_line_and_no_refusal(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "profiles": {"p": ASYNC | {"policies": [track("cpu")]}}}))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {file}:8  profiles.p.policies: without an instance there is no cpu")


@pytest.mark.parametrize(
    ("changes", "remarked"),
    [
        ({"objectives": {"items_per_minute": 4, "drain_within": "12m"}}, False),  # 8 + 2 + 2
        ({"objectives": {"items_per_minute": 4, "drain_within": "11m"}}, True),
        ({"provisioning_from_zero": "12m"}, True),  # 16 minutes for a promise of 15
        ({"objectives": {"items_per_minute": 4, "items_per_instance": 5}, "provisioning_from_zero": "1h"}, False),
        ({"min_capacity": 1, "provisioning_from_zero": "12m"}, False),
        ({"kind": "realtime", "serving": "inference_component", "queue": {"sqs": "jobs"}, "provisioning": "14m"}, True),
    ],
)
def test_a_promise_that_no_start_from_zero_can_keep(changes: dict[str, Any], remarked: bool) -> None:
    said = [text for where, text in advice(Profile.model_validate(ASYNC | changes)) if where == ("min_capacity",)]
    assert bool(said) is remarked
    assert all("Set min_capacity: 1" in text for text in said)


@pytest.mark.parametrize(
    ("queues", "warned"),
    [
        (("jobs", "jobs"), [1]),  # by itself either would be given all the instances that the messages need
        (("jobs", "jobs", "jobs"), [1, 2]),
        (("jobs", "other"), []),
        (("jobs", None), []),
        ((None, None), []),
    ],
)
def test_two_endpoints_that_work_off_one_queue(
    tmp_path: Path, queues: tuple[str | None, ...], warned: list[int]
) -> None:
    own = {name: {"queue": {"sqs": name}} for name in queues if name}
    profiles = {"none": REALTIME} | {name: ASYNC | {"kind": "realtime", "min_capacity": 1} | own[name] for name in own}
    entries = [{"name": f"render-{at}", "profile": name or "none"} for at, name in enumerate(queues)]
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "profiles": profiles, "endpoints": entries}))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0
    said = [line for line in result.stderr.splitlines() if "works off the queue" in line]
    assert len(said) == len(warned)
    for line, at in zip(said, warned, strict=True):
        assert f"endpoints[{at}].profile = jobs: works off the queue jobs as render-0 does" in line
