"""`tidegate backtest --account`: every endpoint under what it has now, plain AAS at its best, and Tidegate."""

from __future__ import annotations

import os
import re
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from signal import SIG_DFL, SIGINT, signal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.table import Table

from cli.backtest import Wanted, harmed, page_of, told
from cli.cloudwatch_history import KEPT, NoHistoryError, read_history
from cli.errors import MisusedError
from cli.estate import read_estate
from cli.output import watched
from cli.own_policies import OWN, play
from cli.queue_history import queue_case, read_queue
from cli.tables import console
from cli.targets import refuse_unknown
from core.aws.cloudwatch import CloudWatch
from core.errors import TidegateError
from core.fields import duration
from core.fleet import PROFILE_TAG
from core.instances import vcpus_of
from core.model import Capacity, Serving
from core.policy import LEAST_RATE
from simulator.cases import DAY, Case, Mode, Scale, case_from
from simulator.judge import joining, judge
from simulator.oracle import clairvoyant
from simulator.report import Judged, Outcome, Overview, write_report
from simulator.report.fleet import NAMES, total
from simulator.scores import score
from simulator.service import ServiceError
from simulator.traces import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from cli.cloudwatch_history import History
    from cli.estate import Endpoint, Estate, Hosted, Source
    from cli.policy_file import PolicyFile
    from cli.prices import Prices
    from simulator.scores import Score

LEAST_DAYS = 2
"""Less history is not judged: a day to warm up, and one to look at."""

GUIDE = 0.5
"""Share of what an instance can serve that AWS's guide recommends as a target to begin with."""

PROVEN = 0.995
"""Quantile of the loads of an instance that is taken for what it can serve where nothing else is known."""

SPARE = 1.25
"""An endpoint without bounds may have so many times what its peak needs."""

FROM_ZERO = 2
"""Minutes that a start from zero takes longer, as in the bench."""

HEAVY = 0.2
"""Share of what an instance can serve from which on its CPU says something of the load."""

UNLIKE = 0.15
"""Share of the real instance-hours by which a replay may be off before that is said."""

SMALL_HOURS, SMALL_SHARE = 0.02, 0.0005
"""Less of the instance-hours, and of the requests, is no difference to change anything for."""

HELPS, LEAVE, CHANGE, TRADE = "Tidegate helps", "Leave it as it is", "Change its policy", "A trade"


class Sized(NamedTuple):
    """Requests a minute an instance serves in time, and how that is known."""

    capacity: float
    known: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One endpoint to be judged; small enough to be handed to another process."""

    name: str
    case: Case
    hosted: Hosted
    count: int
    cpu_at_capacity: float | None
    profile: Mapping[str, Any] | None
    price: float | None
    ran: float | None
    """Instance-hours that CloudWatch knows of in the judged minutes."""

    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says beside the account."""

    capacities: Mapping[str, float]
    policy: PolicyFile | None
    prices: Prices
    provisioning: int
    objective: int
    """Minutes from arrival to result, of queues whose profile says nothing else."""


def given_capacities(options: Sequence[str]) -> dict[str, float]:
    """Return `--sized NAME=REQUESTS` by endpoint.

    Raises:
        MisusedError: every part that is not of this form.
    """
    found, wrong = {}, []
    for option in options:
        name, _, value = option.rpartition("=")
        if name and re.fullmatch(r"\d+(\.\d+)?", value) and float(value) > 0:
            found[name] = float(value)
        else:
            wrong.append(f"--sized {option}: must be NAME=REQUESTS, requests a minute above 0 that one instance serves")
    if wrong:
        raise MisusedError("\n".join(wrong))
    return found


# ---- what is judged ----------------------------------------------------------------------------------------------


def subjects(aws: Source, estate: Estate, asked: Asked, now: datetime) -> Iterator[Subject | tuple[str, str]]:
    """Read each endpoint's history; yield what can be judged, and of the others their name and why not."""
    cloudwatch = CloudWatch(aws.of("cloudwatch"))
    for endpoint in estate.endpoints:
        if endpoint.trouble:
            yield endpoint.name, endpoint.trouble
        for hosted in endpoint.hosted:
            name = _named(endpoint, hosted)
            if why := hosted.unmanaged or _unplayable(hosted):
                yield name, why
                continue
            rate = None
            try:
                if hosted.variant.serving is Serving.ASYNC:
                    history, rate, _ = read_queue(cloudwatch, hosted.target, now, KEPT)
                else:
                    history = read_history(cloudwatch, hosted.target, now, KEPT)
            except NoHistoryError as error:
                yield name, f"no history: {error}"
                continue
            days = len(history.trace.requests) / DAY
            if days < LEAST_DAYS:
                yield name, f"{days * 24:.0f} hours of history; {LEAST_DAYS} days are needed"
            elif not history.trace.requests.any():
                yield name, f"no request in {days:.0f} days: nothing to scale; can it be deleted?"
            elif hosted.variant.serving is Serving.ASYNC and not (rate or name in asked.capacities):
                yield name, f"it was never busy for long, so nothing tells its rate; give it with --sized {name}=ITEMS"
            else:
                yield _subject(name, endpoint, hosted, history, asked, rate)


def _named(endpoint: Endpoint, hosted: Hosted) -> str:
    return endpoint.name if len(endpoint.hosted) == 1 else f"{endpoint.name}/{hosted.name}"


def _unplayable(hosted: Hosted) -> str | None:
    if hosted.enrolled:
        return "Tidegate scales it already: bounds and targets are those of this minute, and no set-up to judge"
    match hosted.variant.serving:
        case Serving.REALTIME | Serving.ASYNC:
            return (
                None if isinstance(hosted.capacity, Capacity) else f"its capacity is not known: {hosted.capacity.why}"
            )
        case other:
            return f"{other.value}: not replayed yet"


def _subject(  # noqa: PLR0913, PLR0917 - what is known of an endpoint comes from that many places
    name: str, endpoint: Endpoint, hosted: Hosted, history: History, asked: Asked, rate: float | None
) -> Subject:
    profile = _profile(endpoint, hosted, asked.policy)
    if hosted.variant.serving is Serving.ASYNC:
        known = "as --sized says" if name in asked.capacities else "in the minutes in which more waited than was done"
        sized = Sized(asked.capacities.get(name, rate or 0.0), known)
        within = (profile or {}).get("objectives", {}).get("drain_within")
        objective = asked.objective if within is None else max(1, round(duration(within) / MINUTE))
        case = queue_case(name, history.trace, sized.capacity, objective)
        serves = f"An instance is taken to finish {sized.capacity:,.4g} items a minute, all alike: {sized.known}."
    else:
        sized = _sized(name, hosted, history, profile, asked)
        case = case_from(name, history.trace, Mode.REALTIME, Scale(capacity=sized.capacity))
        serves = f"An instance is taken to serve {sized.capacity:,.4g} requests a minute in time: {sized.known}."
    low, high, bounds = _bounds(hosted, case)
    case = replace(
        case,
        minimum=low,
        maximum=high,
        provisioning=asked.provisioning,
        provisioning_from_zero=asked.provisioning + (FROM_ZERO if case.mode is Mode.ASYNC else 0),
    )
    ran = history.instances[~np.isnan(history.instances)]
    begun = int(ran[0]) if ran.size else _count(hosted)
    lately = history.instances[case.judged]
    return Subject(
        name=name,
        case=case,
        hosted=hosted,
        count=begun if hosted.registration else _count(hosted),
        cpu_at_capacity=_cpu_at_capacity(hosted, history, sized.capacity),
        profile=profile,
        price=asked.prices.of(hosted.variant.instance_type),
        ran=None if np.isnan(lately).all() else float(np.nanmean(lately) * len(lately) / 60),
        notes=(serves, bounds, *told(history)),
    )


def _count(hosted: Hosted) -> int:
    return hosted.capacity.desired if isinstance(hosted.capacity, Capacity) else 1


def _profile(endpoint: Endpoint, hosted: Hosted, policy: PolicyFile | None) -> Mapping[str, Any] | None:
    """Return the profile the policy file has for the endpoint, by its name or its tag; None if it has none."""
    if policy is None:
        return None
    entry = policy.fleet.targets.get(hosted.target)
    chosen = entry.profile if entry else endpoint.tags.get(PROFILE_TAG)
    profile: Mapping[str, Any] | None = policy.document["profiles"].get(chosen)
    kind = "async" if hosted.variant.serving is Serving.ASYNC else "realtime"
    return profile if profile and profile["kind"] == kind else None


def _sized(name: str, hosted: Hosted, history: History, profile: Mapping[str, Any] | None, asked: Asked) -> Sized:
    """Return what one instance serves: as said, as the policy file or the own target implies, or as was seen."""
    if name in asked.capacities:
        return Sized(asked.capacities[name], "as --sized says")
    if stated := (profile or {}).get("objectives", {}).get("requests_per_instance"):
        return Sized(float(stated), "as the policy file says")
    for policy in hosted.registration.policies if hosted.registration else ():
        if policy.metric == "SageMakerVariantInvocationsPerInstance":
            target = float(policy.configuration["TargetValue"])
            return Sized(target / GUIDE, f"its target is {target:,.4g}, which AWS's guide puts at half of it")
    each = history.trace.requests / np.where(history.instances > 0, history.instances, np.nan)
    seen = each[~np.isnan(each)]
    most = float(np.quantile(seen, PROVEN)) if seen.size else 0.0
    if most > 0:
        return Sized(
            max(most, LEAST_RATE),
            "the most that one was seen to serve in these days; name the real figure with --sized",
        )
    peak = float(np.quantile(history.trace.requests, PROVEN)) or float(history.trace.requests.max())
    return Sized(
        max(peak / max(1, _count(hosted)), LEAST_RATE), "its peak over what runs now; name the real figure with --sized"
    )


def _bounds(hosted: Hosted, case: Case) -> tuple[int, int, str]:
    """Return the bounds that Tidegate and plain AAS play in, and how they are known."""
    registration = hosted.registration
    if registration:
        moved = [action.settings.get("ScalableTargetAction", {}) for action in registration.actions]
        low = min([registration.bounds.floor, *(each["MinCapacity"] for each in moved if "MinCapacity" in each)])
        high = max([registration.bounds.ceiling, *(each["MaxCapacity"] for each in moved if "MaxCapacity" in each)])
        if low < high:
            return low, high, f"Bounds {low} to {high}, as registered."
    high = max(_count(hosted), int(np.ceil(SPARE * case.needed.max())), 1)
    low = 0 if case.mode is Mode.ASYNC else 1
    had = "its bounds are equal" if registration else "it is not registered"
    return low, high, f"It cannot scale now: {had}. Tidegate and plain AAS were played from {low} to {high} instances."


def _cpu_at_capacity(hosted: Hosted, history: History, capacity: float) -> float | None:
    """Return the share of its CPU that is busy at capacity, from the minutes with load; None if they do not tell."""
    vcpus = vcpus_of(hosted.variant.instance_type or "")
    if vcpus is None:
        return None
    load = history.trace.requests / (np.where(history.instances > 0, history.instances, np.nan) * capacity)
    busy = history.cpu / (100 * vcpus)
    telling = (load > HEAVY) & ~np.isnan(busy)
    return float(np.clip(np.median(busy[telling] / load[telling]), 0.01, 1.0)) if telling.any() else None


# ---- judging -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one endpoint."""

    subject: str
    instance_type: str | None
    days: float
    requests: int
    now: Score
    best: Score
    tidegate: Score
    advice: str
    why: str
    notes: tuple[str, ...]
    page: str | None


def judged(subject: Subject, folder: Path | None) -> Line:
    """Play one endpoint under everything, and write its page into the folder if there is one."""
    case = subject.case
    own = play(case, subject.hosted, count=subject.count, cpu_at_capacity=subject.cpu_at_capacity)
    verdict = judge(case, subject.profile, joins=joining(case), price=subject.price)
    now = score(case, own.course, clairvoyant(case), price_per_hour=subject.price)
    ours = next(each for each in verdict.scores if each.policy == "tidegate")
    best = at_its_best([each for each in verdict.scores if each.policy.startswith("aas-")], ours)
    advice, why = advised(now, best, ours)
    notes = (*subject.notes, *_trusted(subject.ran, float(own.course.ready[case.judged].sum() / 60)), *own.remarks)
    page = None
    if folder is not None:
        page = page_name(subject.name)
        verdict = replace(
            verdict,
            scores=(*verdict.scores, now),
            courses={**verdict.courses, (OWN, ""): own.course},
        )
        wanted = Wanted(profile=subject.profile, price=subject.price, notes=notes)
        run = page_of(verdict, wanted, beside=(OWN, ""), called="what it has now")
        write_report(replace(run, lines=[f"{advice}. {why}"]), folder / page, of_fleet=True)
    return Line(
        subject=subject.name,
        instance_type=subject.hosted.variant.instance_type,
        days=case.judged_minutes / DAY,
        requests=now.requests,
        now=now,
        best=best,
        tidegate=ours,
        advice=advice,
        why=why,
        notes=notes,
        page=page,
    )


def _trusted(ran: float | None, replayed: float) -> Iterator[str]:
    """Say how near the replay of what it has now comes to what was really in service, in instance-hours."""
    if ran is None:
        yield "CloudWatch does not tell what ran, so nothing shows how true the replay of what it has now is."
        return
    yield f"In the judged days {ran:,.1f} instance-hours were in service, {replayed:,.1f} where it is replayed."
    if abs(replayed - ran) > UNLIKE * ran:
        yield "They differ much: somebody changed it in these days, or a policy follows what is not replayed."


def page_name(endpoint: str) -> str:
    """Return the file of an endpoint's page; names of endpoints are letters, digits and hyphens."""
    return f"endpoint-{endpoint.replace('/', '-variant-')}.html"


def at_its_best(plain: Sequence[Score], ours: Score) -> Score:
    """Return the cheapest of those that violate no more than Tidegate, or the one that violates least."""
    as_good = [each for each in plain if harmed(each) <= harmed(ours)]
    if as_good:
        return min(as_good, key=lambda each: each.instance_hours)
    return min(plain, key=lambda each: (harmed(each), each.instance_hours))


def advised(now: Score, best: Score, ours: Score) -> tuple[str, str]:
    """Return what to do in a few words, and why with the figures; losing is said as plainly as winning."""
    traded = _compared(ours, now) == "mixed" and _compared(best, now) == "better"
    helps = not traded and _compared(ours, best) not in {"worse", "same"}
    chosen, who = (ours, "Tidegate") if helps else (best, f"plain AAS ({best.policy} {best.knob})")
    without = "" if helps else f" Tidegate would {'be a trade' if traded else 'not help'}: {_figures(ours)}."
    also = f" Plain AAS ({best.policy} {best.knob}) is a choice too: {_figures(best)}."
    match _compared(chosen, now):
        case "better":
            beside = also if helps and _compared(ours, best) == "mixed" else without
            return HELPS if helps else CHANGE, f"Under {who} {_figures(chosen)} instead of {_figures(now)}.{beside}"
        case "mixed":
            dearer = chosen.instance_hours > now.instance_hours
            does = "costs more and violates less" if dearer else "costs less and violates more"
            return TRADE, f"{who[0].upper()}{who[1:]} {does}: {_figures(chosen)}; now it is {_figures(now)}.{without}"
        case _:
            return LEAVE, f"Tidegate would not help: {_figures(ours)}; now it is {_figures(now)}."


def _compared(one: Score, other: Score) -> str:
    """Return `better` or `worse` if hours or violations are and neither contradicts, else `same` or `mixed`."""
    hours = one.instance_hours / other.instance_hours - 1 if other.instance_hours else 0.0
    harm = harmed(one) - harmed(other)
    signs = {int(np.sign(value)) for value, small in ((hours, SMALL_HOURS), (harm, SMALL_SHARE)) if abs(value) > small}
    return {frozenset(): "same", frozenset({-1}): "better", frozenset({1}): "worse"}.get(frozenset(signs), "mixed")


def _figures(each: Score) -> str:
    return (
        f"{each.instance_hours:,.1f} instance-hours, {harmed(each):.2%} {'violated' if each.queue is None else 'late'}"
    )


def tried(subject: Subject, folder: Path | None) -> Line | tuple[str, str]:
    """Judge one endpoint, or return its name and why it cannot be: one that cannot must not cost the others."""
    try:
        return judged(subject, folder)
    except (TidegateError, ServiceError) as error:
        return subject.name, f"it could not be replayed: {error}"


def judge_all(todo: Sequence[Subject], folder: Path | None) -> tuple[list[Line], list[tuple[str, str]]]:
    """Judge endpoints side by side on all cores, with progress on stderr; figures do not depend on it.

    Returns:
        What became of them, in their order, and the names of those that could not be judged, with the reason.
    """
    found: dict[str, Line | tuple[str, str]] = {}
    with watched() as (bar, say):
        task = bar.add_task("endpoints judged", total=len(todo))
        at_once = min(os.cpu_count() or 1, max(1, len(todo)))
        # Ctrl-C ends each process; Python's own handler would end one endpoint, and the next would have its turn.
        with ProcessPoolExecutor(at_once, initializer=signal, initargs=(SIGINT, SIG_DFL)) as pool:
            running = {pool.submit(tried, each, folder): each.name for each in todo}
            for done in as_completed(running):
                found[running[done]] = done.result()
                bar.advance(task)
                say(f"{len(found)} of {len(todo)} endpoints judged")
    ordered = [found[each.name] for each in todo]
    return [each for each in ordered if isinstance(each, Line)], [each for each in ordered if isinstance(each, tuple)]


def read_all(
    aws: Source, asked: Asked, now: datetime, only: Sequence[str]
) -> tuple[Estate, list[Subject], list[tuple[str, str]]]:
    """Read the account, and say what can be judged and what cannot, with progress on stderr."""
    found: list[Subject] = []
    skipped: list[tuple[str, str]] = []
    with watched() as (bar, say):
        task = bar.add_task("endpoints read", total=None)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            say(f"{done} of {of} endpoints read")

        estate = read_estate(aws, now, only, told)
        names = [_named(*each) for each in estate.hosted]
        refuse_unknown(asked.capacities, names, "what is judged (--sized)")
        total_hosted = len(estate.hosted)
        task = bar.add_task("histories read", total=total_hosted)
        asked.prices.region = asked.prices.region or estate.region
        for number, each in enumerate(subjects(aws, estate, asked, now), start=1):
            bar.advance(task)
            say(f"{number} of {total_hosted} histories read")
            if isinstance(each, Subject):
                found.append(each)
            else:
                skipped.append(each)
    return estate, found, skipped


# ---- saying it ---------------------------------------------------------------------------------------------------


def overview(estate: Estate, lines: Sequence[Line], skipped: list[tuple[str, str]], prices: Prices) -> Overview:
    """Return the page of the fleet."""
    rows = [
        Judged(
            name=line.subject,
            about=f"{line.instance_type}, {line.days:.3g} days judged",
            requests=line.requests,
            outcomes={way: _outcome(getattr(line, way)) for way in NAMES},
            advice=line.advice,
            why=line.why,
            page=line.page,
        )
        for line in lines
    ]
    return Overview(
        title=f"What Tidegate would make of the endpoints in {estate.region}",
        lines=comes_to(rows, skipped),
        judged=rows,
        skipped=skipped,
        facts={
            "Region": estate.region,
            "read at": f"{estate.read_at:%Y-%m-%d %H:%M} UTC",
            "prices": prices.source,
            "what it has now": "its own registration, policies and scheduled actions, replayed by one model of AAS",
            "plain AAS at its best": "the cheapest of AAS's policies that violates no more than Tidegate, else the one "
            "that violates least; chosen in hindsight, which nobody can beforehand",
            "violated": "requests of minutes with more load than the ready instances serve; late items of queues",
        },
    )


def _outcome(each: Score) -> Outcome:
    return Outcome(instance_hours=each.instance_hours, violated=harmed(each) * each.requests, cost=each.cost)


def comes_to(rows: list[Judged], skipped: list[tuple[str, str]]) -> list[str]:
    """Say in sentences what the fleet comes to."""
    lines = []
    if rows:
        sums = total(rows)
        now, ours = sums["now"], sums["tidegate"]
        requests = max(1, sum(each.requests for each in rows))  # all of it may have come before the judged days
        money = ""
        if now.cost is not None and ours.cost is not None:
            money = f" (at these prices {ours.cost:,.2f} instead of {now.cost:,.2f})"
        change = f"{ours.instance_hours / now.instance_hours - 1:+.1%}" if now.instance_hours else "as many"
        lines.append(
            f"All of it under Tidegate: {ours.instance_hours:,.1f} instance-hours instead of "
            f"{now.instance_hours:,.1f}, {change}{money}; {ours.violated / requests:.2%} of requests violated instead "
            f"of {now.violated / requests:.2%}."
        )
    groups = {advice: [each.name for each in rows if each.advice == advice] for advice in (HELPS, TRADE, CHANGE, LEAVE)}
    groups["Not judged"] = [name for name, _ in skipped]
    return [*lines, *(f"{title}: {', '.join(names)}." for title, names in groups.items() if names)]


def as_json(estate: Estate, lines: Sequence[Line], skipped: list[tuple[str, str]], prices: Prices) -> dict[str, Any]:
    """Return what `--json` prints."""
    page = overview(estate, lines, skipped, prices)
    return {
        "region": estate.region,
        "read_at": f"{estate.read_at:%Y-%m-%dT%H:%M:%SZ}",
        "prices": prices.source,
        "endpoints": [
            {
                "name": line.subject,
                "instance_type": line.instance_type,
                "judged_days": line.days,
                "requests": line.requests,
                **{way: getattr(line, way).row() for way in NAMES},
                "advice": line.advice,
                "why": line.why,
                "notes": list(line.notes),
            }
            for line in lines
        ],
        "fleet": {way: asdict(outcome) for way, outcome in total(page.judged).items()},
        "not_judged": [{"name": name, "why": why} for name, why in skipped],
        "comes_to": page.lines,
    }


def show(page: Overview) -> None:
    """Print the table and what it comes to."""
    priced = any(outcome.cost is not None for each in page.judged for outcome in each.outcomes.values())
    if page.judged:
        table = Table(title=page.title, title_justify="left")
        for name in ("endpoint", "scaled by"):
            table.add_column(name)
        for name in ("instance-hours", *(["cost"] if priced else []), "violated"):
            table.add_column(name, justify="right")
        for each in page.judged:
            for index, (way, outcome) in enumerate(each.outcomes.items()):
                cells = [each.name if index == 0 else "", NAMES[way], f"{outcome.instance_hours:,.1f}"]
                cells += ["-" if outcome.cost is None else f"{outcome.cost:,.2f}"] if priced else []
                table.add_row(*cells, f"{outcome.violated / each.requests:.2%}" if each.requests else "-")
            table.add_section()
        console().print(table)
    for each in page.judged:
        print(f"{each.name}: {each.advice}. {each.why}")
    for name, why in page.skipped:
        print(f"{name}: not judged. {why}")
    for line in page.lines:
        print(line)
    print(f"Prices: {page.facts['prices']}.")
