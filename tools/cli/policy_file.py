"""The policy file as a person wrote it: YAML with line numbers, every problem at once."""

import ast
import inspect
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

from cli.advice import advice, proposal
from cli.calendars import CALENDAR, HOLIDAYS, resolved
from cli.errors import PolicyFileError
from cli.window_advice import window_advice
from core import policy, policy_scaling, policy_windows
from core.errors import ConfigError
from core.fields import Duration
from core.policy import Fleet, parse_fleet


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem or oddity and where it stands; `line` counts from 1, None where there is none to point at."""

    line: int | None
    path: str
    text: str

    def shown(self, file: Path) -> str:
        """Return it as compilers do: file, line, field, what is wrong."""
        where = f"{file}:{self.line}" if self.line else f"{file}"
        return f"{where}  {self.path}{self.text}" if self.path else f"{where}  {self.text}"


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file that holds: what it says, and the same as types."""

    document: dict[str, Any]
    fleet: Fleet
    warnings: list[Finding]


def read_policy_file(file: Path, today: date | None = None) -> PolicyFile:
    """Read and check a policy file.

    Args:
        file: YAML or JSON.
        today: from which on windows are looked at, and from whose year on public holidays become dates.

    Raises:
        PolicyFileError: the file cannot be read, is not YAML, or breaks a rule of `core.policy`.
    """
    today = today or date(*time.gmtime()[:3])
    root, written = _parsed(file)
    findings = [*_duplicates(root)] if root is not None else []
    document, unknown = resolved(written, today.year)
    findings += [_finding(root, written, *problem) for problem in unknown]
    try:
        fleet = parse_fleet(document)
    except ConfigError as error:
        findings += [_finding(root, document, p.path, p.seen, p.allowed) for p in error.problems]
        raise PolicyFileError(file, sorted(findings, key=lambda f: f.line or 0)) from error
    if findings:
        raise PolicyFileError(file, findings)
    plain = json.loads(json.dumps(document, default=str))  # YAML has dates, AppConfig's JSON has not
    return PolicyFile(document=plain, fleet=fleet, warnings=[*_warnings(root, fleet, today)])


class _Loader(yaml.SafeLoader):
    """Numbers and truths as YAML 1.2 has them, and editors: 22:30 is no 1350, 010 no 8, and `no` no 0."""


_TRUTH, _INTEGER = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [found for found in resolvers if found[0] not in {_TRUTH, _INTEGER}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_TRUTH, re.compile("(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INTEGER, re.compile("[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))


def _parsed(file: Path) -> tuple[yaml.Node | None, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PolicyFileError(file, [Finding(None, "", f"cannot be read: {error.strerror}; check the path")]) from error
    except UnicodeDecodeError as error:
        raise PolicyFileError(file, [Finding(None, "", "is not text in UTF-8; save it as such")]) from error
    try:
        with suppress(ValueError, RecursionError):
            json.loads(text)
            text = text.replace("\t", " ")  # JSON may be indented by tabs, and has none within its strings
        return yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise PolicyFileError(file, [Finding(line, "", f"is not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a control character; a date such as 2026-99-99
        raise PolicyFileError(file, [Finding(None, "", f"is not YAML: {' '.join(str(error).split())}")]) from error


def _duplicates(root: yaml.Node) -> Iterator[Finding]:
    """Find keys said twice: YAML lets the last one win in silence."""
    seen: set[int] = set()
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:  # an alias, perhaps to itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{i}]", item) for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                name = str(key.value)
                here = f"{path}.{name}" if path else name
                if name in first:
                    yield Finding(key.start_mark.line + 1, here, f": said twice, first in line {first[name]}")
                first.setdefault(name, key.start_mark.line + 1)
                waiting.append((here, value))


def _finding(
    root: yaml.Node | None, document: object, loc: tuple[str | int, ...], seen: object, allowed: str
) -> Finding:
    """Turn a problem of `core.policy` into a line of this file."""
    path = _path_in(document, loc)
    said = "" if seen is None else f" = {_short(seen)}"
    return Finding(_line(root, path), _dotted(path), f"{said}: {allowed}")


def _path_in(document: object, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Drop what pydantic puts into a path beside the document's own keys: union tags, and `[key]`."""
    path: list[str | int] = []
    node = document
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if (isinstance(node, Mapping) and part in node) or (isinstance(node, list) and part in range(len(node))):
            node = node[part]  # type: ignore[index]  # either a key of a mapping or a position of a list
        elif not last or part == "[key]":
            continue
        path.append(part)
    return tuple(path)


def _line(root: yaml.Node | None, path: tuple[str | int, ...]) -> int | None:
    """Return the line of a field, or of what it is missing from."""
    if root is None:
        return None
    node, line = root, root.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == str(part)), None)
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "document"


def _short(seen: object, width: int = 60) -> str:
    text = repr(seen)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _warnings(root: yaml.Node | None, fleet: Fleet, today: date) -> Iterator[Finding]:
    """Point at what is allowed and has no effect, or not the one that was meant."""
    for name, profile in fleet.profiles.items():
        if profile.max_capacity > fleet.max_capacity:
            text = f" = {profile.max_capacity}: the fleet's max_capacity ({fleet.max_capacity}) wins"
            yield _warning(root, ("profiles", name, "max_capacity"), text)
        if "idle_after" in profile.model_fields_set and profile.min_capacity > 0 and not profile.followed_queue:
            text = f": no effect, for min_capacity is {profile.min_capacity} and not 0"
            yield _warning(root, ("profiles", name, "idle_after"), text)
        for where, text in chain(advice(profile), window_advice(profile, today)):
            yield _warning(root, ("profiles", name, *where), text)
        if better := proposal(profile):
            written = yaml.safe_dump({"policies": better}, sort_keys=False, default_flow_style=None, width=110)
            pasted = "\n".join(f"    {line}" for line in written.splitlines())
            text = f": these do what is meant with nothing to remark; paste them over the others:\n{pasted}"
            yield _warning(root, ("profiles", name, "policies"), text)
    first: dict[str, str] = {}
    for at, entry in enumerate(fleet.endpoints):
        queue = fleet.profiles[entry.profile].queue
        if queue is not None and queue.sqs in first:
            text = (
                f" = {entry.profile}: works off the queue {queue.sqs} as {first[queue.sqs]} does: each is given "
                "instances for all its messages, and takes what both get done for its own; let one do it, or split it"
            )
            yield _warning(root, ("endpoints", at, "profile"), text)
        elif queue is not None:
            first[queue.sqs] = entry.name


def _warning(root: yaml.Node | None, path: tuple[str | int, ...], text: str) -> Finding:
    return Finding(_line(root, path), _dotted(path), text)


def fleet_schema() -> dict[str, Any]:
    """Return the policy file's JSON Schema, for editors: it cannot say all that `core.policy` checks."""
    schema = Fleet.model_json_schema()
    described = _docstrings()
    for definition in [schema, *schema["$defs"].values()]:
        for field, spec in definition.get("properties", {}).items():
            model = _models()[definition["title"]]
            name = next(n for n, info in model.model_fields.items() if field in {n, info.alias})
            if text := described.get((definition["title"], name)):
                spec["description"] = text
            if "default" in spec:
                spec["default"] = _as_written(model.model_fields[name].default)
    schema["$defs"]["Window"]["properties"][HOLIDAYS] = {
        "type": "string",
        "description": CALENDAR,
        "examples": ["DE", "DE-BY"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Tidegate fleet",
        "description": "The policy file: profiles, and the endpoints that use them.",
    }


def _as_written(default: object) -> object:
    """Return a default as a file would say it; pydantic writes durations in ISO 8601."""
    return TypeAdapter(Duration if isinstance(default, timedelta) else Any).dump_python(default, mode="json")


def _models() -> dict[str, type[BaseModel]]:
    written = chain.from_iterable(vars(module).values() for module in (policy, policy_scaling, policy_windows))
    return {each.__name__: each for each in written if isinstance(each, type) and issubclass(each, BaseModel)}


def _docstrings() -> dict[tuple[str, str], str]:
    """Return what stands under each field of the models; read here because it would cost the Lambdas start-up time."""
    found: dict[tuple[str, str], str] = {}
    for name, model in _models().items():
        body = ast.parse(inspect.getsource(model)).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in pairwise(statements):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=attribute)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name, attribute] = inspect.cleandoc(said)
                case _:
                    pass
    return found
