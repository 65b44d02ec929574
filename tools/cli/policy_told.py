"""A policy file in words: what it comes to, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli import tables
from cli.output import count, log
from core.fields import DAYS, duration_text
from core.policy_scaling import StepScaling, TargetTracking

if TYPE_CHECKING:
    from pathlib import Path

    from cli.policy_file import Finding, PolicyFile
    from core.policy import Profile
    from core.policy_windows import Window


def summary(read: PolicyFile) -> dict[str, Any]:
    """Return what the file comes to, for programs."""
    fleet = read.fleet
    return {
        "max_capacity": fleet.max_capacity,
        "profiles": {
            name: {
                "kind": profile.kind.value,
                "mode": profile.mode.value,
                "min_capacity": profile.min_capacity,
                "max_capacity": profile.max_capacity,
                "policies": [policy.model_dump(mode="json") for policy in profile.native_policies],
                "policies_by_default": profile.policies is None,
                "windows": [window.model_dump(mode="json") for window in profile.windows],
            }
            for name, profile in fleet.profiles.items()
        },
        "endpoints": [endpoint.model_dump(mode="json") for endpoint in fleet.endpoints],
    }


def show(read: PolicyFile) -> None:
    """Print what the file comes to, a row a profile."""
    table = tables.plain("profile", "kind", "capacity", "native policies", "windows", "endpoints")
    for column in table.columns:
        column.no_wrap = column.header not in {"native policies", "windows"}
    for name, profile in read.fleet.profiles.items():
        mode = f" ({profile.mode.value})" if profile.mode.value != "active" else ""
        table.add_row(
            name,
            profile.kind.value + mode,
            f"{profile.min_capacity}..{profile.max_capacity}",
            _policies(profile),
            "\n".join(_window(window) for window in profile.windows) or "-",
            "\n".join(e.name for e in read.fleet.endpoints if e.profile == name) or "-",
        )
    tables.console().print(table)
    profiles, endpoints = len(read.fleet.profiles), len(read.fleet.endpoints)
    typer.echo(f"\nFine: {count(profiles, 'profile')}, {count(endpoints, 'endpoint')}.")


def _policies(profile: Profile) -> str:
    by_default = " (default)" if profile.policies is None else ""
    return "\n".join(f"{_policy(policy)}{by_default}" for policy in profile.native_policies) or "-"


def _policy(policy: TargetTracking | StepScaling) -> str:
    if isinstance(policy, TargetTracking):
        return f"{policy.followed} at {policy.target:g}"
    return f"{policy.metric} steps {', '.join(f'{step.change:+d}' for step in policy.steps)}"


def _window(window: Window) -> str:
    """Return one line: when it is open, and what it needs."""
    when = f" {' '.join(window.days)}" if window.days != DAYS else f" {window.rrule}" if window.rrule else ""
    when += f" {', '.join(map(str, window.dates))}" if window.dates else ""
    length = duration_text(window.duration) if window.duration else f"until {window.until or window.finish_by}"
    need = f"at least {window.min_capacity}"
    if window.min_capacity is None:
        need = f"{window.items:,} items" if window.items else f"{window.requests_per_minute:g} a minute"
    most = "" if window.max_capacity is None else f", at most {window.max_capacity}"
    return f"{window.name}: {window.start} {window.timezone}{when}, {length}, {need}{most}"


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a finding, for programs."""
    return {"line": finding.line, "path": finding.path, "message": finding.text.lstrip(": ")}


def warn(read: PolicyFile, file: Path) -> None:
    """Say on stderr what the file may be, and hardly ever is meant to be."""
    for finding in read.warnings:
        log(f"warning: {finding.shown(file)}")
