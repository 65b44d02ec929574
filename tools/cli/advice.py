"""What a policy file may say and still should not: each remark names the consequence and the fix."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from core.metrics import METRICS
from core.policy import Profile
from core.policy_scaling import CloudWatchMetric, StepScaling, TargetTracking

Remark = tuple[tuple[str | int, ...], str]
"""Where inside the profile, and what to say."""

LONGEST_COOLDOWN = timedelta(minutes=10)
"""An instance serves 3 to 10 minutes after the order (facts 7), and AAS counts ordered capacity meanwhile."""

KEPT = frozenset({"memory", "gpu_memory"})
"""Many model servers never give it back."""

READABLE = 2
"""Minutes until what happened in one can be read (algorithms 1)."""

EVALUATED_EACH = timedelta(minutes=1)


def advice(profile: Profile) -> Iterator[Remark]:
    """Yield every remark on a profile."""
    for rule in RULES:
        yield from rule(profile)


def _tracking(profile: Profile) -> Iterator[tuple[int, TargetTracking]]:
    for index, policy in enumerate(profile.policies or ()):
        if isinstance(policy, TargetTracking):
            yield index, policy


def _same_thing_twice(profile: Profile) -> Iterator[Remark]:
    followed = {policy.metric for _, policy in _tracking(profile)}
    for index, policy in _tracking(profile):
        if policy.catalogued and isinstance(policy.custom, CloudWatchMetric):
            unit = next(iter(METRICS[policy.catalogued].values())).unit
            yield ("policies", index, "custom"), f": this is the metric {policy.catalogued} ({unit}): write that"
        if policy.metric == "concurrent_requests" and profile.request_metric in followed:
            text = (
                f": {profile.request_metric} follows the same requests; the larger capacity always wins and scale-in "
                "waits for both. Keep concurrent_requests where requests differ in length, the other where they do not"
            )
            yield ("policies", index, "metric"), text
    for index, declared in enumerate(profile.policies or ()):
        if _takes_away(declared) and declared.metric in followed:
            text = (
                f" = {declared.metric}: target tracking follows it already and scales in once every policy agrees; "
                "these steps ask none of them, and what they take away may have to come back. Keep one of the two"
            )
            yield ("policies", index, "metric"), text


def _takes_away(policy: TargetTracking | StepScaling) -> bool:
    return isinstance(policy, StepScaling) and any(step.change < 0 for step in policy.steps)


def _never_in(profile: Profile) -> Iterator[Remark]:
    tracking = list(_tracking(profile))
    steps_in = any(_takes_away(policy) for policy in profile.policies or ())
    empties = profile.queued and profile.min_capacity == 0
    if profile.min_capacity == profile.max_capacity:
        return
    if profile.policies is not None and not tracking and not steps_in and not empties:
        text = (
            ": none of them scales in, and Tidegate takes nothing away that no policy tracks, so nothing ever scales "
            "in and the highest load is paid on. Add target tracking, or leave policies out"
        )
        yield ("policies",), text
    if tracking and not steps_in and all(policy.disable_scale_in for _, policy in tracking):
        alone = "only Tidegate scales in, and not while it is away"
        who = alone if profile.settling_target is not None else "nothing ever scales in and the highest load is paid on"
        text = f" = True: on every tracking policy, so {who}. Set it to false on one of them"
        yield ("policies", tracking[0][0], "disable_scale_in"), text


def _cooldowns(profile: Profile) -> Iterator[Remark]:
    for index, policy in _tracking(profile):
        where = ("policies", index, "scale_out_cooldown")
        if policy.scale_out_cooldown > LONGEST_COOLDOWN:
            text = (
                ": begins once new instances serve, and holds the next scale-out of the same size back; capacity on "
                "order counts anyway. More than 10m only adds overload: use 1m to 5m"
            )
            yield where, text
        elif policy.scale_out_cooldown < EVALUATED_EACH and policy.metric != "concurrent_requests":
            text = ": has no effect below 1m, for AAS looks at this metric once a minute. Use 1m, or leave it out"
            yield where, text


def _memory_that_stays(profile: Profile) -> Iterator[Remark]:
    for index, policy in _tracking(profile):
        if policy.metric in KEPT and not policy.disable_scale_in:
            text = (
                f" = {policy.metric}: many model servers never give memory back, and scale-in waits for every policy. "
                "If yours is one, set disable_scale_in: true here"
            )
            yield ("policies", index, "metric"), text


def _zero_without_queue(profile: Profile) -> Iterator[Remark]:
    followed = {policy.metric for policy in profile.policies or ()}
    if profile.policies and profile.queued and profile.min_capacity == 0 and "backlog_per_instance" not in followed:
        text = (
            f": without an instance there is no {' and no '.join(sorted(followed))} to act on, so AAS by itself leaves "
            "zero with one instance and waits for that. Add target tracking on backlog_per_instance, or min_capacity: 1"
        )
        yield ("policies",), text


def _late_from_zero(profile: Profile) -> Iterator[Remark]:
    """Nothing that starts from zero when the first item is seen can be in time (algorithms 9)."""
    rate, start = profile.objectives.items_per_minute, profile.provisioning_from_zero / EVALUATED_EACH
    at_once = profile.objectives.items_per_instance is not None
    if not profile.works_off_a_queue or profile.min_capacity or rate is None or at_once:
        return
    within = profile.objectives.finish_within(rate)
    if within < start + READABLE + 2:
        text = (
            f" = 0: a start from zero takes {start:g} minutes and is seen to be needed after {READABLE}, so the first "
            f"items of each burst are later than {within:g} minutes. Set min_capacity: 1, or promise "
            f"{start + READABLE + 2:g}m or more"
        )
        yield ("min_capacity",), text


RULES: tuple[Callable[[Profile], Iterator[Remark]], ...] = (
    _same_thing_twice,
    _never_in,
    _cooldowns,
    _memory_that_stays,
    _zero_without_queue,
    _late_from_zero,
)


def proposal(profile: Profile) -> list[dict[str, Any]]:
    """Return policies that do what is meant and leave nothing to remark, as the file writes them.

    Empty if there was nothing to remark, or if the remedy needs what only the reader knows.
    """
    tracked = {policy.metric for _, policy in _tracking(profile)}
    kept = [
        _mended(policy)
        for policy in profile.policies or ()
        if not (_takes_away(policy) and policy.metric in tracked)
        and not (policy.metric == "concurrent_requests" and profile.request_metric in tracked)
    ]
    tracking = [policy for policy in kept if isinstance(policy, TargetTracking)]
    if tracking and all(policy.disable_scale_in for policy in tracking):
        leads = next((policy for policy in tracking if policy.metric not in KEPT), tracking[0])
        kept[kept.index(leads)] = leads.model_copy(update={"disable_scale_in": False})
    if next(_zero_without_queue(profile), None):
        target = profile.backlog_target
        kept.append(TargetTracking(type="target_tracking", metric="backlog_per_instance", target=target))
    better = profile.model_copy(update={"policies": tuple(kept)})
    if not any(advice(profile)) or any(advice(better)):
        return []
    return [policy.model_dump(mode="json", exclude_unset=True) for policy in kept]


def _mended(policy: TargetTracking | StepScaling) -> TargetTracking | StepScaling:
    """Return a policy with the default where what is said does harm or nothing, and under the catalogue's name."""
    if isinstance(policy, StepScaling):
        return policy
    said = policy.model_dump(mode="json", exclude_unset=True)
    if policy.catalogued and next(iter(METRICS[policy.catalogued].values())).per is None:  # else its unit differs
        said = {name: value for name, value in said.items() if name != "custom"} | {"metric": policy.catalogued}
    quick = policy.scale_out_cooldown < EVALUATED_EACH and policy.metric != "concurrent_requests"
    if quick or policy.scale_out_cooldown > LONGEST_COOLDOWN:
        del said["scale_out_cooldown"]
    if policy.metric in KEPT:
        said["disable_scale_in"] = True
    return TargetTracking.model_validate(said)
