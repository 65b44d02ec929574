"""An estate as a `fleet.yaml` that reproduces it, with comments on what is odd and on what it cannot say."""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from statistics import median
from typing import Any

import yaml

from cli.declared import Declared, LeftOut, declare
from cli.estate import Endpoint, Estate, Hosted, Source
from cli.findings import REMEDIES, Code, Finding
from cli.targets import spelled
from core.aws.cloudwatch import CloudWatch
from core.context import Enrolment
from core.errors import ConfigError, ObservationError
from core.instances import gpus_of, vcpus_of
from core.metrics import TIMES
from core.model import ENOUGH, Missing, ScalableTarget, Serving, Signal
from core.native import native_policies
from core.policy import Fleet, parse_fleet
from core.ports import MetricQuery

WIDTH = 118
LOOKED_BACK = timedelta(days=3)
"""For how long an item takes: minutes enough, and one read."""

EVERYWHERE = Code.BLOCKS_DEPLOYMENT
"""Said once, for it goes with every registration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The file, what it says, and what it does not."""

    text: str
    document: dict[str, Any]
    left_out: tuple[tuple[str, LeftOut], ...]
    """Each with the target's label."""


@dataclass(slots=True)
class _Drafted:
    """One target on its way into the file."""

    endpoint: Endpoint
    hosted: Hosted
    declared: Declared
    profile: str = ""
    comments: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return spelled(self.hosted.target)

    @property
    def entry(self) -> dict[str, Any]:
        said: dict[str, Any] = {"name": self.endpoint.name}
        if self.hosted.variant.serving is Serving.INFERENCE_COMPONENT:
            said["inference_component"] = self.hosted.name
        elif self.hosted.name != "AllTraffic":
            said["variant"] = self.hosted.name
        registration = self.hosted.registration
        others = registration is not None and bool(registration.policies or registration.actions)
        return {**said, "profile": self.profile, **({"adopt": True} if others else {})}


def imported(
    estate: Estate, findings: Sequence[Finding], rates: Mapping[ScalableTarget, Mapping[str, Any]] | None = None
) -> Imported:
    """Return the estate as a policy file.

    Args:
        estate: what there is.
        findings: about it; they become comments.
        rates: what was measured of queues, as `objectives` say it (`measured_rates`).
    """
    drafts = [_drafted(endpoint, hosted, rates or {}) for endpoint, hosted in estate.hosted if importable(hosted)]
    by_profile = _named(drafts)
    ceilings = [each.declared.profile["max_capacity"] for each in drafts]
    document = {
        "version": 1,
        "max_capacity": max(ceilings, default=1),
        "profiles": {name: same[0].declared.profile for name, same in by_profile.items()},
        "endpoints": [draft.entry for draft in drafts],
    }
    for draft in drafts:
        draft.comments = _comments(draft, findings, document)
    text = (
        "\n".join([*_head(estate, findings), *_body(document, by_profile, drafts), *_others(estate, findings)]) + "\n"
    )
    left_out = tuple((draft.label, each) for draft in drafts for each in draft.declared.left_out)
    return Imported(text=text, document=document, left_out=left_out)


def importable(hosted: Hosted) -> bool:
    """Whether there is a set-up to import: somebody registered it, and not Tidegate."""
    return hosted.registration is not None and hosted.unmanaged is None and not hosted.enrolled


def _drafted(endpoint: Endpoint, hosted: Hosted, rates: Mapping[ScalableTarget, Mapping[str, Any]]) -> _Drafted:
    objectives: dict[str, Any] = {}
    notes: list[str] = []
    if hosted.variant.serving is Serving.ASYNC:
        measured = rates.get(hosted.target)
        objectives = {"items_per_minute": 1, **(measured or {})}
        notes.append(
            "items_per_minute is measured: what an item took in the last 3 days, without its wait"
            if measured and "items_per_minute" in measured
            else "items_per_minute: 1 is ASSUMED, for no item was seen; state what one instance finishes in a minute"
        )
    if hosted.registration is None:
        raise ValueError(f"{hosted.target.resource_id}: nothing is registered")
    declared = declare(endpoint, hosted, hosted.registration, objectives)
    declared.notes[:0] = notes
    for policy in declared.profile["policies"]:
        if policy["metric"] == "backlog_per_instance" and policy["type"] == "target_tracking":
            declared.profile["objectives"]["items_per_instance"] = policy["target"]  # as in AWS's guide: at once
    return _Drafted(endpoint, hosted, declared)


def _named(drafts: Sequence[_Drafted]) -> dict[str, list[_Drafted]]:
    """Merge equal profiles and name them: by their one target, by what their endpoints' names share, or by kind."""
    same: dict[str, list[_Drafted]] = {}
    for draft in drafts:
        same.setdefault(json.dumps(draft.declared.profile, sort_keys=True), []).append(draft)
    found: dict[str, list[_Drafted]] = {}
    for group in same.values():
        wanted = _profile_name(group)
        name = next(
            each for each in [wanted, *(f"{wanted}-{n}" for n in range(2, len(drafts) + 2))] if each not in found
        )
        found[name] = group
        for draft in group:
            draft.profile = name
    return found


def _profile_name(group: Sequence[_Drafted]) -> str:
    words = [re.split(r"[^a-zA-Z0-9]+", draft.label.removeprefix("component:")) for draft in group]
    shared = "-".join(each[0] for each in takewhile(lambda each: len({*each}) == 1, zip(*words, strict=False)))
    if shared:
        return shared[:60].rstrip("-")
    profile = group[0].declared.profile
    metrics = [str(policy["metric"]).replace("_", "-") for policy in profile["policies"]]
    return "-".join(dict.fromkeys([str(profile.get("serving", profile["kind"])).replace("_", "-"), *metrics]))[
        :60
    ].rstrip("-")


def _comments(draft: _Drafted, findings: Sequence[Finding], document: Mapping[str, Any]) -> list[str]:
    """Return what is to be said of a target, each paragraph for itself."""
    ours = [each for each in findings if each.target == draft.hosted.target and each.code is not EVERYWHERE]
    found = [
        f"{code}: {'; '.join(each.why for each in same)}. To do: {REMEDIES[code]}"
        for code, same in ((code, [*same]) for code, same in groupby(ours, lambda each: each.code))
    ]
    return [*draft.declared.notes, *found, *_unknown_devices(draft, parse_fleet(document))]


def _unknown_devices(draft: _Drafted, fleet: Fleet) -> list[str]:
    """Say what Tidegate cannot do until the endpoint's entry states its vCPUs or GPUs."""
    instance_type = draft.hosted.variant.instance_type or ""
    profile = fleet.profiles[draft.profile]
    enrolment = Enrolment(
        target=draft.hosted.target,
        profile_name=draft.profile,
        profile=profile,
        endpoint=draft.endpoint.name,
        vcpus=vcpus_of(instance_type),
        gpus=gpus_of(instance_type),
    )
    try:
        native_policies(enrolment, "import")
    except ConfigError as err:
        where = instance_type or "its instance type, which is not known here"
        return [
            f"state {' and '.join(str(p.path[-1]) for p in err.problems)} in its entry: the catalogue lacks {where}"
        ]
    return []


# ---- the text -------------------------------------------------------------------------------------------------------


def _head(estate: Estate, findings: Sequence[Finding]) -> list[str]:
    concerned = [spelled(each.target) for each in findings if each.code is EVERYWHERE and each.target]
    where = f" in {estate.region}" if estate.region else ""
    return [
        *_comment(
            f"What scales the endpoints{where}, as tidegate import found it at {estate.read_at:%Y-%m-%dT%H:%MZ}.",
            "Mode shadow: Tidegate decides and records, and writes nothing. Change it profile by profile.",
            "adopt: true lets it replace what is registered once the mode is active; what stood there is saved before, "
            "and given back when the endpoint leaves this file.",
            *estate.remarks,
            *([f"{EVERYWHERE} ({', '.join(concerned)}): {REMEDIES[EVERYWHERE]}"] if concerned else []),
        ),
    ]


def _body(
    document: Mapping[str, Any], by_profile: Mapping[str, Sequence[_Drafted]], drafts: Sequence[_Drafted]
) -> Iterable[str]:
    yield f"version: {document['version']}"
    yield f"max_capacity: {document['max_capacity']}"
    yield "" if by_profile else "profiles: {}"
    if by_profile:
        yield "profiles:"
    for name, same in by_profile.items():
        for draft in same:
            yield from _comment(*(f"{draft.label}: {said}" for said in draft.comments), indent=2)
            for each in draft.declared.left_out:
                yield from _left_out(draft.label, each)
        yield from textwrap.indent(_dumped({name: document["profiles"][name]}), "  ").splitlines()
        yield ""
    yield "endpoints:" if drafts else "endpoints: []"
    yield from (f"  - {_flow(draft.entry)}" for draft in drafts)


def _left_out(name: str, each: LeftOut) -> Iterable[str]:
    shown = ". AWS has it as" if each.document else ""
    yield from _comment(f"{name}: NotExpressible: {each.what}: {each.why}{shown}", indent=2)
    if each.document:
        yield from (f"  #     {line}".rstrip() for line in _dumped(_plain(each.document)).splitlines())


def _others(estate: Estate, findings: Sequence[Finding]) -> list[str]:
    """Return what is in the account and not in the file."""
    said = [
        f"{endpoint.name}: it is {endpoint.status}, and hosts nothing"
        for endpoint in estate.endpoints
        if endpoint.status != "InService" and not endpoint.hosted and not endpoint.trouble
    ]
    for _, hosted in estate.hosted:
        if not importable(hosted):
            why = hosted.unmanaged or ("Tidegate scales it already" if hosted.enrolled else "nothing is registered")
            said.append(f"{spelled(hosted.target)}: {why}")
    said += [
        f"{each.code}: {each.endpoint} {each.why}" for each in findings if not each.target or each.code is Code.STRAY
    ]
    return ["", *_comment("Not in this file:", *said)] if said else []


def _comment(*paragraphs: str, indent: int = 0) -> list[str]:
    lead = " " * indent + "# "
    return [
        line.rstrip()
        for said in paragraphs
        for line in textwrap.wrap(
            " ".join(said.split()),
            WIDTH,
            initial_indent=lead,
            subsequent_indent=f"{lead}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def _dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def _flow(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10**6).strip()


def _plain(value: object) -> object:
    """Return it without what YAML has no words for."""
    return json.loads(json.dumps(value, default=str))


# ---- what one instance of a queue works off -------------------------------------------------------------------------


def measured_rates(aws: Source, estate: Estate, now: datetime) -> dict[ScalableTarget, dict[str, Any]]:
    """Return of each queue what its endpoint works on at a time, and its items a minute where some were seen.

    An item's own time is what it took less what it waited (facts 3.4); the median minute counts.

    Args:
        aws: where clients come from.
        estate: what was read.
        now: what the clock shows.
    """
    found: dict[ScalableTarget, dict[str, Any]] = {}
    metrics = CloudWatch(aws.of("cloudwatch"))
    for endpoint, hosted in estate.hosted:
        if hosted.variant.serving is not Serving.ASYNC or not importable(hosted):
            continue
        described = aws.of("sagemaker").describe_endpoint(EndpointName=endpoint.name)
        client = described.get("AsyncInferenceConfig", {}).get("ClientConfig", {})
        concurrency = int(client.get("MaxConcurrentInvocationsPerInstance", 1))
        said: dict[str, Any] = {} if concurrency == 1 else {"concurrency": concurrency}
        if minutes := _own_minutes(metrics, hosted.target, now):
            said = {"items_per_minute": float(f"{concurrency / minutes:.3g}"), **said}
        found[hosted.target] = said
    return found


def _own_minutes(metrics: CloudWatch, target: ScalableTarget, now: datetime) -> float | None:
    queries = {
        signal: replace(MetricQuery.of(metric, target), sparse=True)  # a day without an item does not hide the others
        for signal, metric in TIMES.items()
    }
    try:
        seen = metrics.fetch([*queries.values()], now, LOOKED_BACK)
    except ObservationError:
        return None
    took, waited = (seen[queries[signal]] for signal in (Signal.TURNAROUND, Signal.WAITED))
    if isinstance(took, Missing) or isinstance(waited, Missing):
        return None
    wait = {point.at: point.value for point in waited.points}
    own = [each.value - wait[each.at] for each in took.points if each.value > wait.get(each.at, 0) > 0]
    return median(own) / 60_000 if len(own) >= ENOUGH else None  # milliseconds
