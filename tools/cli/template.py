"""A CloudFormation template, so also what `cdk synth` writes, as the estate that it would make.

What only a deployment knows has a word in its place, such as `unknown-AWS-Region`; where one is part of a name, the
estate's `remarks` say so.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from cli.errors import RefusedError
from cli.estate import Alarm, Endpoint, Estate, Hosted, Policy, Registration, parts_of
from core.aws.application_autoscaling import SCHEDULE
from core.model import Capacity, Dimension, Envelope, Missing, ScalableTarget, Serving
from core.ports import ScheduledAction, Variant

NAMED_BY = {
    "AWS::SageMaker::Endpoint": "EndpointName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
    "AWS::SageMaker::InferenceComponent": "InferenceComponentName",
    "AWS::CloudWatch::Alarm": "AlarmName",
}
"""The property that names a resource; without it CloudFormation does."""

NUMBERS = frozenset(
    {
        *("MinCapacity", "MaxCapacity", "TargetValue", "ScaleInCooldown", "ScaleOutCooldown", "Cooldown", "Threshold"),
        *("ScalingAdjustment", "MetricIntervalLowerBound", "MetricIntervalUpperBound", "MinAdjustmentMagnitude"),
        *("Period", "EvaluationPeriods", "DatapointsToAlarm", "InitialInstanceCount", "ProvisionedConcurrency"),
        *("MinInstanceCount", "MaxInstanceCount", "CopyCount", "MaxConcurrentInvocationsPerInstance"),
    }
)
"""CloudFormation takes these as text, too."""

OF_QUEUES = ("ApproximateBacklogSize", "HasBacklogWithoutCapacity", "ApproximateAgeOfOldestRequest")


class _Loader(yaml.SafeLoader):
    """Reads `!Ref x` as {Ref: x} and `!Sub x` as {Fn::Sub: x}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]  # the third and last kind of node
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def read_template(file: Path, parameters: Mapping[str, str], now: datetime) -> Estate:
    """Return what a template would make.

    Args:
        file: JSON or YAML, intrinsic functions in the long or the short form.
        parameters: values of the template's parameters, before their defaults.
        now: what the clock shows.

    Raises:
        RefusedError: it is no template or one that cannot be deployed, or a parameter that matters has no value.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RefusedError(f"{file}: is no template: {' '.join(str(error).split())}") from error
    if not isinstance(document, Mapping) or not isinstance(document.get("Resources"), Mapping):
        raise RefusedError(f"{file}: is no template: it has no Resources")
    if odd := [
        name
        for name, each in document["Resources"].items()
        if not isinstance(each, Mapping) or not isinstance(each.get("Properties", {}), Mapping)
    ]:
        raise RefusedError(
            f"{file}: Resources.{', '.join(map(str, odd))}: must be mappings; of a loop (Fn::ForEach) give what it "
            "makes: `aws cloudformation get-template --template-stage Processed`"
        )
    if unknown := [
        name for name in parameters if not name.startswith("AWS::") and name not in document.get("Parameters", {})
    ]:
        has = ", ".join(document.get("Parameters", {})) or "none"
        raise RefusedError(
            f"--parameter {', '.join(unknown)}: must be a parameter of {file} ({has}) or AWS::Region and its like"
        )
    with deployable(file):
        template = _Template(document, parameters)
        estate = template.estate(now)
    if template.missing:
        wanted = ", ".join(sorted(template.missing))
        raise RefusedError(f"{file}: not known: {wanted}; say --parameter NAME=VALUE, of AWS::Region and its like too")
    return estate


@contextmanager
def deployable(file: Path) -> Iterator[None]:
    """Refuse a template in which something is missing or of another type than its resource has it.

    Policies and alarms are in AWS's own shape, so some of that is met only where an estate is made use of.

    Raises:
        RefusedError: naming what.
    """
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise RefusedError(f"{file}: is no template that CloudFormation would deploy ({why})") from error


class _Template:
    """One template with its parameters, intrinsic functions and conditions."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._document = document
        declared = document.get("Parameters", {})
        self._known = {
            name: _given(parameters.get(name, None if _kept(each) else each.get("Default")), str(each.get("Type")))
            for name, each in declared.items()
        } | {name: value for name, value in parameters.items() if name not in declared}
        self._stand_ins: dict[str, str] = {}
        self.missing: set[str] = set()
        self.remarks: dict[str, None] = {}

    # ---- the estate -------------------------------------------------------------------------------------------------

    def estate(self, now: datetime) -> Estate:
        """Return what the template would make."""
        registrations = {each.target: each for each in self._registrations()}
        endpoints = [
            self._endpoint(logical, properties, registrations)
            for logical, properties in self._of("SageMaker::Endpoint")
        ]
        hosted = {each.target for endpoint in endpoints for each in endpoint.hosted}
        for target, each in registrations.items():
            if target not in hosted:
                endpoints.append(_bare(each))
                self.remarks[f"{target.resource_id} is registered here and made elsewhere: its kind is inferred"] = None
        names = {name for endpoint in endpoints for name in (endpoint.name, *(each.name for each in endpoint.hosted))}
        for word, stands_for in self._stand_ins.items():
            for name in sorted(each for each in names if word in each):
                if stands_for in self._document.get("Parameters", {}):
                    self.missing.add(stands_for)
                self.remarks[f"{name}: {word} stands for {stands_for}: write the deployed name into its entry"] = None
        return Estate(region="", read_at=now, endpoints=tuple(endpoints), remarks=tuple(self.remarks))

    def _endpoint(
        self, logical: str, properties: Mapping[str, Any], registrations: Mapping[ScalableTarget, Registration]
    ) -> Endpoint:
        name = self._name(logical)
        wanted = properties.get("EndpointConfigName")
        configs = {self._name(each): config for each, config in self._of("SageMaker::EndpointConfig")}
        config = configs.get(_last(str(wanted)), {})
        queued = "AsyncInferenceConfig" in config
        hosted = []
        for each in config.get("ProductionVariants", ()):
            variant = _variant(name, each, queued=queued)
            hosted.append(_hosted(variant, int(each.get("InitialInstanceCount", 0)), registrations))
            own = [
                (self._name(component), said)
                for component, said in self._of("SageMaker::InferenceComponent")
                if _last(str(said.get("EndpointName"))) == name
                and said.get("VariantName", each["VariantName"]) == each["VariantName"]
            ]
            for component, said in own:
                copies = Variant(
                    target=ScalableTarget.component(component),
                    instance_type=variant.instance_type,
                    serving=Serving.INFERENCE_COMPONENT,
                    managed_minimum=variant.managed_minimum,
                )
                hosted.append(_hosted(copies, int(said.get("RuntimeConfig", {}).get("CopyCount", 0)), registrations))
        tags = {each["Key"]: each["Value"] for each in properties.get("Tags", ())}
        return Endpoint(name=name, arn="", status="InService", tags=tags, hosted=tuple(hosted))

    def _registrations(self) -> Iterator[Registration]:
        for logical, said in self._of("ApplicationAutoScaling::ScalableTarget"):
            if said.get("ServiceNamespace") != "sagemaker":
                continue
            resource = str(said["ResourceId"])
            if not re.fullmatch(r"endpoint/[^/]+/variant/[^/]+|inference-component/[^/]+", resource):
                self.remarks[f"scalable target {logical}: {resource} names no variant and no inference component"] = (
                    None
                )
                continue
            target = ScalableTarget(resource, Dimension(said["ScalableDimension"]))
            suspended = said.get("SuspendedState", {})
            yield Registration(
                target=target,
                bounds=Envelope(int(said["MinCapacity"]), int(said["MaxCapacity"])),
                suspended=tuple(name.removesuffix("Suspended") for name, on in suspended.items() if on),
                policies=tuple(self._policies(logical, target)),
                actions=tuple(
                    ScheduledAction(
                        each["ScheduledActionName"], {name: each[name] for name in SCHEDULE if name in each}
                    )
                    for each in said.get("ScheduledActions", ())
                ),
            )

    def _policies(self, registered: str, target: ScalableTarget) -> Iterator[Policy]:
        for logical, said in self._of("ApplicationAutoScaling::ScalingPolicy"):
            named = (said.get("ResourceId"), said.get("ScalableDimension")) == (target.resource_id, target.dimension)
            if named or said.get("ScalingTargetId") == self._reference(registered):
                kind = said["PolicyType"]
                yield Policy(
                    name=str(said.get("PolicyName", logical)),
                    policy_type=kind,
                    configuration=said.get(f"{kind}PolicyConfiguration", {}),
                    alarms=tuple(
                        Alarm(name=self._name(name), described=alarm)
                        for name, alarm in self._of("CloudWatch::Alarm")
                        if self._reference(logical) in alarm.get("AlarmActions", ())
                    ),
                )

    def _of(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each resource of a type that would be made: its logical ID and its properties, resolved."""
        for logical, each in self._document["Resources"].items():
            if each.get("Type") == f"AWS::{kind}" and ("Condition" not in each or self._holds(each["Condition"])):
                yield logical, self._typed(self._resolved(each.get("Properties", {})))

    def _typed(self, value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON
        """Return numbers and truth values as such where CloudFormation takes text for them."""
        if isinstance(value, Mapping):
            return {name: self._typed(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._typed(each, key) for each in value]
        if not isinstance(value, str):
            return value
        if key in NUMBERS and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return float(value) if "." in value else int(value)
        if key in NUMBERS:
            self.missing.add(self._stand_ins.get(value, value))
            return 10_000 if key == "MaxCapacity" else 0  # as bounds they hold until all that is missing is told
        return {"true": True, "false": False}.get(value, value)

    def _resource(self, logical: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._document["Resources"].get(logical, {})
        return found

    def _name(self, logical: str) -> str:
        """Return a resource's name: its own, or its logical ID where CloudFormation makes one up."""
        resource = self._resource(logical)
        said = resource.get("Properties", {}).get(NAMED_BY.get(resource.get("Type", ""), ""))
        if said is None and resource.get("Type") in {"AWS::SageMaker::Endpoint", "AWS::SageMaker::InferenceComponent"}:
            self.remarks[f"{logical} has no name in the template: write the deployed one into its entry"] = None
        return logical if said is None else str(self._resolved(said))

    # ---- intrinsic functions ----------------------------------------------------------------------------------------

    def _resolved(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, list):
            return [each for each in map(self._resolved, value) if each is not None]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if function := self._functions.get(name):
                return function(self, argument)
            if str(name).startswith("Fn::"):
                return self._stand_in(name)
        found = {key: self._resolved(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None}

    def _ref(self, name: str) -> Any:  # noqa: ANN401 - a parameter may be a list
        if name in self._document["Resources"]:
            return self._reference(name)
        if self._known.get(name) is not None:
            return self._known[name]
        if name == "AWS::NoValue":
            return None
        return self._stand_in(name)

    def _stand_in(self, stands_for: str) -> str:
        """Return a word in place of what only a deployment knows."""
        word = "-".join(["unknown", *re.findall(r"[a-zA-Z0-9]+", stands_for)])
        self._stand_ins[word] = stands_for
        return word

    def _reference(self, logical: str) -> str:
        """Return what Ref gives of a resource, as far as anything here refers to it."""
        resource = self._resource(logical)
        kind = resource.get("Type", "")
        if kind == "AWS::CloudWatch::Alarm":
            return self._name(logical)
        if kind in NAMED_BY:  # the others of SageMaker give their ARN
            return f"arn:aws:sagemaker:region:account:{kind.rpartition(':')[2].lower()}/{self._name(logical)}"
        return self._stand_in(logical)

    def _get_att(self, argument: Sequence[str] | str) -> str:
        logical, attribute = (str(each) for each in (argument.split(".", 1) if isinstance(argument, str) else argument))
        kind = self._resource(logical).get("Type", "")
        if attribute == NAMED_BY.get(kind):
            return self._name(logical)
        if attribute in {"Arn", "Id"}:  # of policies and scalable targets, as Ref gives it
            return self._reference(logical)
        return self._stand_in(f"{logical}.{attribute}")

    def _join(self, argument: Sequence[Any]) -> str:
        separator, parts = argument
        return str(separator).join(_text(each) for each in self._resolved(parts))

    def _sub(self, argument: Any) -> str:  # noqa: ANN401 - text, or text and its values
        text, given = (argument, {}) if isinstance(argument, str) else argument

        def value(found: re.Match[str]) -> str:
            name = found[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"  # a literal, as CloudFormation has it
            if name in given:
                return _text(self._resolved(given[name]))
            return _text(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]*)\}", value, str(text))

    def _select(self, argument: Sequence[Any]) -> Any:  # noqa: ANN401 - JSON
        index, values = int(self._resolved(argument[0])), self._resolved(argument[1])
        known = isinstance(values, list) and index < len(values)
        return values[index] if known else self._stand_in(f"Fn::Select {index}")

    def _split(self, argument: Sequence[Any]) -> list[str]:
        return str(self._resolved(argument[1])).split(str(argument[0]))

    def _find_in_map(self, argument: Sequence[Any]) -> Any:  # noqa: ANN401 - JSON
        names = [str(self._resolved(each)) for each in argument[:3]]
        found: Any = self._document.get("Mappings", {})
        for name in names:
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        if found == {}:
            otherwise = argument[3].get("DefaultValue") if len(argument) > len(names) else None
            return (
                self._stand_in(f"Fn::FindInMap {' '.join(names)}") if otherwise is None else self._resolved(otherwise)
            )
        return found

    def _if(self, argument: Sequence[Any]) -> Any:  # noqa: ANN401 - JSON
        return self._resolved(argument[1] if self._holds(argument[0]) else argument[2])

    def _holds(self, condition: Any) -> bool:  # noqa: ANN401 - a name or a function
        """Whether a condition holds; one that is not understood is taken to."""
        if isinstance(condition, str):
            return self._holds(self._document.get("Conditions", {}).get(condition, {}))
        said: list[tuple[str, Any]] = [*condition.items()] or [("", None)]
        name, argument = said[0]
        functions: Mapping[str, Callable[[], bool]] = {
            "Condition": lambda: self._holds(argument),
            "Fn::Equals": lambda: len({_text(self._resolved(each)) for each in argument}) == 1,
            "Fn::Not": lambda: not self._holds(argument[0]),
            "Fn::And": lambda: all(map(self._holds, argument)),
            "Fn::Or": lambda: any(map(self._holds, argument)),
        }
        return functions.get(name, lambda: True)()

    def _import_value(self, argument: Any) -> str:  # noqa: ANN401 - JSON
        return self._stand_in(f"Fn::ImportValue {self._resolved(argument)}")

    _functions: Mapping[str, Callable[["_Template", Any], Any]] = {
        "Ref": _ref,
        "Fn::GetAtt": _get_att,
        "Fn::Join": _join,
        "Fn::Sub": _sub,
        "Fn::Select": _select,
        "Fn::Split": _split,
        "Fn::FindInMap": _find_in_map,
        "Fn::If": _if,
        "Fn::ImportValue": _import_value,
    }


def _kept(parameter: Mapping[str, Any]) -> bool:
    """Whether its default names where Parameter Store keeps the value, and is not the value."""
    return str(parameter.get("Type")).startswith("AWS::SSM::Parameter::Value<")


def _given(value: Any, kind: str) -> Any:  # noqa: ANN401 - text or a list of it
    """Return a parameter's value as Ref gives it: those of a list are written with commas between them."""
    listed = "List<" in kind or kind == "CommaDelimitedList"
    return [each.strip() for each in _text(value).split(",")] if listed and value is not None else value


def _text(value: object) -> str:
    """Return a value as CloudFormation writes it: YAML's `true` is "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _last(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _variant(endpoint: str, said: Mapping[str, Any], *, queued: bool) -> Variant:
    serving = Serving.SERVERLESS if "ServerlessConfig" in said else Serving.ASYNC if queued else Serving.REALTIME
    managed = said.get("ManagedInstanceScaling", {})
    return Variant(
        target=ScalableTarget.variant(endpoint, str(said["VariantName"]), serving.dimension),
        instance_type=said.get("InstanceType"),
        serving=serving,
        managed_minimum=int(managed.get("MinInstanceCount", 1)) if managed.get("Status") == "ENABLED" else None,
    )


def _hosted(variant: Variant, count: int, registrations: Mapping[ScalableTarget, Registration]) -> Hosted:
    capacity = Capacity(count, count, "InService")
    return Hosted(variant=variant, capacity=capacity, registration=registrations.get(variant.target))


def _bare(registration: Registration) -> Endpoint:
    """Return the endpoint of a registration as far as that tells: the template does not make it."""
    target = registration.target
    by_dimension = {Dimension.COPIES: Serving.INFERENCE_COMPONENT, Dimension.CONCURRENCY: Serving.SERVERLESS}
    measured = [part for policy in registration.policies for part in _parts(policy)]
    queued = (
        any(str(part.get("MetricName")).startswith(OF_QUEUES) for part in measured) or not registration.bounds.floor
    )
    serving = by_dimension.get(target.dimension, Serving.ASYNC if queued else Serving.REALTIME)
    variant = Variant(target=target, instance_type=None, serving=serving, managed_minimum=None)
    name = next(iter(target.names.values()))
    hosted = Hosted(variant=variant, capacity=Missing("not in the template"), registration=registration)
    return Endpoint(name=name, arn="", status="", hosted=(hosted,))


def _parts(policy: Policy) -> Iterator[Mapping[str, Any]]:
    yield from parts_of(policy.configuration.get("CustomizedMetricSpecification", {}))
    for alarm in policy.alarms:
        yield from parts_of(alarm.described)
