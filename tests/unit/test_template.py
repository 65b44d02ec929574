"""What template.yaml promises, read from the template as SAM translates it.

The embedded account silently drops some of this (table expiry, backups, boundaries, encryption), so a green replay
proves nothing about it. Here is where it is held.
"""

import base64
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench.scale import ENVIRONMENT
from core.model import Dimension
from core.reconcile import Status
from env.lint_template import translate
from handlers.wiring import LATE, PowertoolsTelemetry, counts, summary
from simulator.alarms import Point, verdict
from tests.fakes.aws import observed
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
EVENTS = sorted((ROOT / "events").glob("*.json"))
Resource = dict[str, Any]

OWNERS = ("RealtimeTarget", "AsyncQueue", "BatchWindow")
SCHEDULED = (*OWNERS, "FleetSync")
PASSES = (*OWNERS, "Override", "FleetSync")
FUNCTIONS = (*PASSES, "PolicyValidator")

SHARED_VARIABLES = {
    "TIDEGATE_STAGE",
    "TIDEGATE_ALARM_WRITES_PER_SECOND",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_LOG_LEVEL",
}
PASS_VARIABLES = SHARED_VARIABLES | {
    "TIDEGATE_MODE",
    "TIDEGATE_TABLE",
    "TIDEGATE_FALLBACK_ROLE",
    "TIDEGATE_APPCONFIG_APPLICATION",
    "TIDEGATE_APPCONFIG_ENVIRONMENT",
    "TIDEGATE_APPCONFIG_PROFILE",
}

PARTS_VARIABLES = {"TIDEGATE_PARTS_QUEUE", "TIDEGATE_TARGETS_A_PASS"}

# The only actions that may be granted on "*", and why AWS leaves no choice.
UNNARROWABLE = {
    "cloudwatch:GetMetricData": "knows no resources and no condition keys",
    "cloudwatch:DescribeAlarms": "is checked against all alarms of the account",
    "application-autoscaling:DescribeScalableTargets": "knows no resources; the condition keys are for writes",
    "application-autoscaling:DescribeScalingPolicies": "knows no resources; the condition keys are for writes",
    "application-autoscaling:DescribeScalingActivities": "knows no resources; the condition keys are for writes",
    "application-autoscaling:DescribeScheduledActions": "knows no resources; the condition keys are for writes",
    "tag:GetResources": "knows no resources and no condition keys",
    "sagemaker:ListEndpoints": "knows no resources and no condition keys",
    "sagemaker:ListInferenceComponents": "knows no resources and no condition keys",
}


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return translate()


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, Resource]:
    found: dict[str, Resource] = template["Resources"]
    return found


def of_type(resources: dict[str, Resource], kind: str) -> dict[str, Resource]:
    found = {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}
    assert found, f"no {kind} in the template"
    return found


def in_stage(value: object, stage: str = "prod") -> str:
    """Return a name as it is in `stage`."""
    text = value["Fn::Sub"] if isinstance(value, dict) else value
    assert isinstance(text, str)
    return text.replace("${Stage}", stage)


def statements(resources: dict[str, Resource]) -> Iterator[tuple[str, Resource]]:
    """Yield every statement that grants something to a role of ours, with the name of its resource."""
    for name, policy in of_type(resources, "AWS::IAM::ManagedPolicy").items():
        yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def rights_of(resources: dict[str, Resource], function: str) -> set[str]:
    """Return every action that a function's role may call on something."""
    sources = {f"{function}Role"}
    attached = resources[f"{function}Role"]["Properties"].get("ManagedPolicyArns", [])
    sources |= {policy["Ref"] for policy in attached}
    return {action for name, s in statements(resources) if name in sources for action in as_list(s["Action"])}


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return found


# ---- functions ----------------------------------------------------------------------------------------------------


def test_parts_at_once_of_one_is_refused_before_anything_is_made(template: dict[str, Any]) -> None:
    """Lambda's MaximumConcurrency is 2 or more: in the middle of a first deployment its failure leaves the table behind."""
    [check] = template["Rules"]["PartsAtOnceIsNotOne"]["Assertions"]
    assert check["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "PartsAtOnce"}, 1]}]}


def test_the_functions_are_these_and_no_other(resources: dict[str, Resource]) -> None:
    assert set(of_type(resources, "AWS::Lambda::Function")) == {f"{name}Function" for name in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_retries_once_and_never_acts_on_an_old_event(resources: dict[str, Resource], function: str) -> None:
    found = [
        config
        for config in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
        if config["FunctionName"] == {"Ref": f"{function}Function"}
    ]
    assert len(found) == 1
    assert found[0]["MaximumRetryAttempts"] == 1
    assert found[0]["MaximumEventAgeInSeconds"] == (420 if function == "FleetSync" else 120)
    assert found[0]["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert "sqs:SendMessage" in rights_of(resources, function)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_logs_json_into_its_own_group_which_forgets(resources: dict[str, Resource], function: str) -> None:
    properties = resources[f"{function}Function"]["Properties"]
    group = resources[f"{function}LogGroup"]["Properties"]
    assert properties["LoggingConfig"]["LogFormat"] == "JSON"
    # Metrics have no level, which Lambda takes for INFO: above that its filter drops them, heartbeat and all.
    assert properties["LoggingConfig"]["ApplicationLogLevel"] == {"Fn::If": ["Debugs", "DEBUG", "INFO"]}
    assert properties["LoggingConfig"]["LogGroup"] == {"Ref": f"{function}LogGroup"}
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert in_stage(group["LogGroupName"]) == f"/aws/lambda/{in_stage(properties['FunctionName'])}"


def test_a_stage_may_live_in_two_regions_and_two_stages_in_one(resources: dict[str, Resource]) -> None:
    """IAM is global, so nothing there has a name of its own; all else that has one carries the stage."""
    unnamed = {"AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName"}
    named = {"FunctionName", "TableName", "QueueName", "TopicName", "AlarmName", "LogGroupName", "DashboardName"}
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        assert unnamed.get(resource["Type"]) not in properties, name
        for own in named & properties.keys():
            assert "${Stage}" in str(properties[own]) or "Ref" in properties[own] or "Fn::GetAtt" in properties[own], (
                name
            )


def test_nobody_outside_the_account_can_call_or_read_anything(resources: dict[str, Resource]) -> None:
    doors = {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api", "AWS::S3::Bucket"}
    assert not doors & {resource["Type"] for resource in resources.values()}
    callers = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Lambda::Permission"}
    assert callers
    for name, permission in callers.items():
        assert permission["Principal"].endswith(".amazonaws.com"), name
        assert permission.keys() & {"SourceArn", "SourceAccount"}, name
    policies = [
        r["Properties"]["PolicyDocument"]
        for r in resources.values()
        if r["Type"].endswith(("QueuePolicy", "TopicPolicy"))
    ]
    for statement in (each for policy in policies for each in policy["Statement"]):
        assert statement["Effect"] == "Deny" or "Service" in statement["Principal"], statement


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_reserves_concurrency(resources: dict[str, Resource], function: str) -> None:
    assert "ReservedConcurrentExecutions" not in resources[f"{function}Function"]["Properties"]


@pytest.mark.parametrize("function", OWNERS)
def test_a_pass_is_cut_off_before_the_next_tick(resources: dict[str, Resource], function: str) -> None:
    assert resources[f"{function}Function"]["Properties"]["Timeout"] < 60


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_gets_the_variables_it_reads_and_no_other(resources: dict[str, Resource], function: str) -> None:
    declared = set(resources[f"{function}Function"]["Properties"]["Environment"]["Variables"])
    read = SHARED_VARIABLES if function == "PolicyValidator" else PASS_VARIABLES
    assert declared == read | (PARTS_VARIABLES if function in OWNERS else set())


def test_no_code_reads_a_variable_that_the_template_does_not_declare() -> None:
    read = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"[\"'](TIDEGATE_[A-Z_]+)[\"']", path.read_text(encoding="utf-8"))
    }
    assert read <= PASS_VARIABLES | PARTS_VARIABLES


def test_the_speed_of_a_pass_is_measured_with_what_a_pass_reads() -> None:
    """The level of logging has a default."""
    assert PASS_VARIABLES - set(ENVIRONMENT) == {"POWERTOOLS_LOG_LEVEL"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_handler_of_a_function_bears_its_name(resources: dict[str, Resource], function: str) -> None:
    module = re.sub(r"(?<!^)([A-Z])", r"_\1", function).lower()
    properties = resources[f"{function}Function"]["Properties"]
    assert properties["Handler"] == f"handlers.{module}.handler"
    assert in_stage(properties["FunctionName"]) == f"tidegate-prod-{module.replace('_', '-')}"


# ---- rights -------------------------------------------------------------------------------------------------------


def test_no_role_may_call_a_wildcard_action(resources: dict[str, Resource]) -> None:
    wild = [(name, action) for name, s in statements(resources) for action in as_list(s["Action"]) if "*" in action]
    assert wild == []


def test_every_right_on_all_resources_is_one_that_cannot_be_narrower(resources: dict[str, Resource]) -> None:
    open_rights = {a for _, s in statements(resources) if "*" in as_list(s["Resource"]) for a in as_list(s["Action"])}
    assert open_rights == set(UNNARROWABLE)


def test_statements_grant_by_naming_what_they_grant(resources: dict[str, Resource]) -> None:
    for name, statement in statements(resources):
        assert statement["Effect"] == "Allow", name
        assert {"NotAction", "NotResource"}.isdisjoint(statement), name


def test_auto_scaling_writes_reach_what_sagemaker_counts_only(resources: dict[str, Resource]) -> None:
    for name, statement in statements(resources):
        writes = {a for a in as_list(statement["Action"]) if re.match(r"application-autoscaling:(?!Describe)", a)}
        if writes:
            assert statement["Condition"]["StringEquals"] == {
                "application-autoscaling:service-namespace": "sagemaker",
                "application-autoscaling:scalable-dimension": [dimension.value for dimension in Dimension],
            }, f"{name}: {sorted(writes)}"


def test_alarms_are_written_under_our_own_prefix_or_by_aas_itself(resources: dict[str, Resource]) -> None:
    seen = set()
    for _, statement in statements(resources):
        if "cloudwatch:PutMetricAlarm" in as_list(statement["Action"]):
            alarms = [in_stage(each) for each in as_list(statement["Resource"]) if ":alarm:" in in_stage(each)]
            caller = statement.get("Condition", {}).get("StringEquals", {}).get("aws:CalledViaLast")
            seen |= {(alarm.rsplit(":alarm:", 1)[1], caller) for alarm in alarms}
    assert seen == {
        ("tidegate-target-prod-*", None),
        ("TargetTracking*", "application-autoscaling.amazonaws.com"),
        ("", "application-autoscaling.amazonaws.com"),  # asked for before there is an alarm
    }


def test_only_fleet_sync_enrols_and_releases(resources: dict[str, Resource]) -> None:
    enrolment = {
        "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:DeleteScalingPolicy",
        "application-autoscaling:DeregisterScalableTarget",
        "dynamodb:DeleteItem",
        "tag:GetResources",
        "iam:CreateServiceLinkedRole",
    }
    assert enrolment <= rights_of(resources, "FleetSync")
    tuning = {"application-autoscaling:PutScalingPolicy"}  # another request target
    for function in FUNCTIONS:
        if function != "FleetSync":
            shared = enrolment & rights_of(resources, function)
            assert shared == (tuning if function in {"RealtimeTarget", "BatchWindow"} else set()), function


def test_the_validator_may_do_nothing_but_log_and_fail(resources: dict[str, Resource]) -> None:
    assert rights_of(resources, "PolicyValidator") == {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}


def test_every_right_that_aas_uses_is_granted_to_the_functions_it_is_listed_for(resources: dict[str, Resource]) -> None:
    listed = json.loads((ROOT / "docs/aas-probe-rights.json").read_text(encoding="utf-8"))["rights"]
    for right in listed:
        for function in right["functions"]:
            assert right["action"] in rights_of(resources, function), f"{function}: {right['action']}"


def test_every_right_is_explained_on_the_permissions_page(resources: dict[str, Resource]) -> None:
    page = (ROOT / "docs/permissions.md").read_text(encoding="utf-8")
    granted = {a for _, s in statements(resources) for a in as_list(s["Action"])}
    by_service = {"logs", "sqs", "lambda"}  # described in prose: log group, dead-letter queue, invocation
    names = {a.split(":")[1] for a in granted if a.split(":")[0] not in by_service}
    assert {name for name in names if name not in page} == set()


def test_every_role_accepts_the_boundary(resources: dict[str, Resource]) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assert role["PermissionsBoundary"]["Fn::If"][:2] == [
            "HasPermissionsBoundary",
            {"Ref": "PermissionsBoundary"},
        ], name


# ---- triggers -----------------------------------------------------------------------------------------------------


def test_schedules_exist_for_owners_and_fleet_sync(resources: dict[str, Resource]) -> None:
    assert set(of_type(resources, "AWS::Scheduler::Schedule")) == {f"{name}Schedule" for name in SCHEDULED}


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_tick_is_tried_once_and_undelivered_ticks_are_kept(resources: dict[str, Resource], function: str) -> None:
    target = resources[f"{function}Schedule"]["Properties"]["Target"]
    assert target["Arn"] == {"Fn::GetAtt": [f"{function}Function", "Arn"]}
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_tick_says_when_it_was_due(resources: dict[str, Resource], function: str) -> None:
    assert json.loads(resources[f"{function}Schedule"]["Properties"]["Target"]["Input"]) == {
        "trigger": "schedule",
        "scheduled_time": "<aws.scheduler.scheduled-time>",
        "schedule_arn": "<aws.scheduler.schedule-arn>",
        "attempt_number": "<aws.scheduler.attempt-number>",
    }


@pytest.mark.parametrize("function", SCHEDULED)
def test_the_first_tick_finds_a_policy(resources: dict[str, Resource], function: str) -> None:
    assert as_list(resources[f"{function}Schedule"]["DependsOn"]) == ["EmptyFleetDeployment"]


def test_undelivered_events_are_retried_once_and_kept(resources: dict[str, Resource]) -> None:
    for name, rule in of_type(resources, "AWS::Events::Rule").items():
        (target,) = rule["Targets"]
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 120}, name
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}, name
        assert "InputTransformer" not in target, name


def test_every_rule_may_invoke_its_function_and_write_its_dead_letters(resources: dict[str, Resource]) -> None:
    permissions = of_type(resources, "AWS::Lambda::Permission").values()
    allowed = {
        (p["SourceArn"]["Fn::GetAtt"][0], p["FunctionName"]["Fn::GetAtt"][0]) for p in permissions if "SourceArn" in p
    }
    rules = of_type(resources, "AWS::Events::Rule")
    assert allowed == {(name, rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]) for name, rule in rules.items()}
    queue = resources["DeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    assert {arn["Fn::GetAtt"][0] for arn in queue["Condition"]["ArnEquals"]["aws:SourceArn"]} == set(rules)


@pytest.mark.parametrize(
    ("example", "owner"),
    [
        ("realtime-target-alarm", "RealtimeTarget"),
        ("realtime-target-alarm-no-capacity", "RealtimeTarget"),
        ("async-queue-alarm-wake", "AsyncQueue"),
        ("async-queue-alarm-idle", "AsyncQueue"),
        ("batch-window-alarm", "BatchWindow"),
        ("fleet-sync-endpoint-in-service", "FleetSync"),
    ],
)
def test_an_event_reaches_its_owner_and_nobody_else(resources: dict[str, Resource], example: str, owner: str) -> None:
    sent = event(example)
    reached = [
        rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]
        for rule in of_type(resources, "AWS::Events::Rule").values()
        if _matches(rule["EventPattern"], sent)
    ]
    assert reached == [f"{owner}Function"]


def test_that_an_endpoint_begins_to_update_wakes_nobody(resources: dict[str, Resource]) -> None:
    """Each change of capacity begins so, nothing may be written before it ends, and its owner looks each minute."""
    sent = event("fleet-sync-endpoint-in-service")
    rule = resources["EndpointStateRule"]["Properties"]["EventPattern"]
    for status, wakes in {"UPDATING": False, "IN_SERVICE": True, "CREATING": True, "DELETING": True}.items():
        sent["detail"]["EndpointStatus"] = status
        assert _matches(rule, sent) is wakes, status


def test_a_rule_asks_for_its_kind_by_the_whole_prefix(resources: dict[str, Resource]) -> None:
    patterns = [rule["EventPattern"] for rule in of_type(resources, "AWS::Events::Rule").values()]
    alarms = [pattern["detail"] for pattern in patterns if pattern["source"] == ["aws.cloudwatch"]]
    prefixes = [in_stage(one["prefix"]) for detail in alarms for one in detail["alarmName"]]
    assert prefixes == [f"tidegate-target-prod-{kind}-" for kind in ("realtime", "async", "batch")]
    assert all(detail["state"]["value"] == ["ALARM", "OK"] for detail in alarms)


def test_alarms_of_aas_and_of_the_controller_wake_nobody(resources: dict[str, Resource]) -> None:
    for name in ("TargetTracking-endpoint/orders-ranker-prod/variant/AllTraffic-AlarmHigh", "tidegate-ops-prod-errors"):
        sent = event("realtime-target-alarm")
        sent["detail"]["alarmName"] = name
        for rule in of_type(resources, "AWS::Events::Rule").values():
            assert not _matches(rule["EventPattern"], sent)


def _matches(pattern: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Match as EventBridge does, for the forms our rules use: a list of values, a prefix, and anything but some values."""
    for key, wanted in pattern.items():
        if isinstance(wanted, dict):
            if not _matches(wanted, sent.get(key, {})):
                return False
        elif not any(
            (
                sent.get(key) not in one["anything-but"]
                if "anything-but" in one
                else _begins(sent.get(key), one["prefix"])
            )
            if isinstance(one, dict)
            else sent.get(key) == one
            for one in wanted
        ):
            return False
    return True


def _begins(value: object, prefix: Any) -> bool:
    return str(value or "").startswith(in_stage(prefix))


# ---- state and policy delivery ------------------------------------------------------------------------------------


def test_the_table_outlives_the_stack_and_can_be_restored(resources: dict[str, Resource]) -> None:
    table = resources["Table"]
    assert table["DeletionPolicy"] == "Retain"
    assert table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}


def test_the_table_is_keyed_and_expires_as_the_store_expects(resources: dict[str, Resource]) -> None:
    table = resources["Table"]["Properties"]
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_dead_letters_are_encrypted_and_kept_as_long_as_possible(resources: dict[str, Resource]) -> None:
    queue = resources["DeadLetterQueue"]["Properties"]
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["SqsManagedSseEnabled"] is True


def test_a_policy_is_validated_by_our_own_code(resources: dict[str, Resource]) -> None:
    (validator,) = resources["PolicyProfile"]["Properties"]["Validators"]
    assert validator == {"Type": "LAMBDA", "Content": {"Fn::GetAtt": ["PolicyValidatorFunction", "Arn"]}}
    permission = resources["PolicyValidatorPermission"]["Properties"]
    assert permission["Principal"] == "appconfig.amazonaws.com"
    assert permission["FunctionName"] == {"Fn::GetAtt": ["PolicyValidatorFunction", "Arn"]}


def test_a_new_policy_is_watched_by_the_errors_of_every_function_that_runs_by_itself(
    resources: dict[str, Resource],
) -> None:
    monitors = resources["PolicyEnvironment"]["Properties"]["Monitors"]
    watched = {monitor["AlarmArn"]["Fn::GetAtt"][0] for monitor in monitors}
    assert watched == {f"{function}ErrorsAlarm" for function in SCHEDULED}
    for name in watched:  # silence must not roll a policy back
        assert resources[name]["Properties"]["TreatMissingData"] == "notBreaching"
    assert resources["PolicyStrategy"]["Properties"]["FinalBakeTimeInMinutes"] == 10


def test_a_new_stack_manages_nothing(resources: dict[str, Resource]) -> None:
    empty = json.loads(resources["EmptyFleet"]["Properties"]["Content"])
    assert empty == {"version": 1, "profiles": {}, "endpoints": []}
    assert as_list(resources["EmptyFleet"]["DependsOn"]) == ["PolicyValidatorPermission"]


def test_no_update_of_the_stack_deploys_the_empty_fleet_again(resources: dict[str, Resource]) -> None:
    """Every property of a deployment is create-only, so it may hold nothing that could ever differ."""
    assert set(resources["EmptyFleetDeployment"]["Properties"]) == {
        "ApplicationId",
        "EnvironmentId",
        "ConfigurationProfileId",
        "ConfigurationVersion",
        "DeploymentStrategyId",
    }


# ---- alarms and dashboard -----------------------------------------------------------------------------------------


def test_alarms_on_the_controller_bear_their_own_prefix_and_tell_somebody(resources: dict[str, Resource]) -> None:
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert in_stage(alarm["AlarmName"]).startswith("tidegate-ops-prod-"), name
        assert alarm["AlarmActions"] == [{"Ref": "OpsTopic"}], name
        assert len(in_stage(alarm["AlarmDescription"])) > 40, f"{name} should say what to do"


def test_no_alarm_uses_metric_math(resources: dict[str, Resource]) -> None:
    """The embedded account refuses it, and the same template must deploy in both worlds."""
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert "Metrics" not in alarm, name
    assert "AWS::CloudWatch::CompositeAlarm" not in {resource["Type"] for resource in resources.values()}


@pytest.mark.parametrize("function", OWNERS)
def test_a_silent_owner_rings_within_ten_minutes(resources: dict[str, Resource], function: str) -> None:
    alarm = resources[f"{function}HeartbeatAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("Tidegate", "Heartbeat")
    dimensions = {one["Name"]: in_stage(one["Value"]) for one in alarm["Dimensions"]}
    name = in_stage(resources[f"{function}Function"]["Properties"]["FunctionName"])
    assert dimensions == {"service": "tidegate", "function": name}
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 600


@pytest.mark.parametrize("function", PASSES)
@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_errors_and_throttles_ring_for_each_function(
    resources: dict[str, Resource], function: str, metric: str
) -> None:
    alarm = resources[f"{function}{metric}Alarm"]["Properties"]
    name = in_stage(resources[f"{function}Function"]["Properties"]["FunctionName"])
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", metric)
    assert [(one["Name"], in_stage(one["Value"])) for one in alarm["Dimensions"]] == [("FunctionName", name)]
    assert alarm["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        *((owner, "CapacityRefused") for owner in OWNERS),
        *((owner, "DeadlineAtRisk") for owner in OWNERS),
        # Both kinds may work off a queue; what expires is lost, so each minute counts.
        ("RealtimeTarget", "RequestsExpiring"),
        ("AsyncQueue", "RequestsExpiring"),
    ],
)
def test_what_somebody_must_see_to_rings(resources: dict[str, Resource], function: str, metric: str) -> None:
    alarm = resources[f"{function}{metric}Alarm"]["Properties"]
    name = in_stage(resources[f"{function}Function"]["Properties"]["FunctionName"])
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("Tidegate", metric, 1)
    dimensions = {one["Name"]: in_stage(one["Value"]) for one in alarm["Dimensions"]}
    assert dimensions == {"service": "tidegate", "function": name}


@pytest.mark.parametrize("metric", ["Errors", "RequestsExpiring", "DeadlineAtRisk"])
@pytest.mark.parametrize("function", OWNERS)
@pytest.mark.parametrize("minutes", [1, 2, 3, 4, 5])
def test_what_every_pass_says_rings_at_every_rate_and_does_not_flicker(
    template: dict[str, Any], metric: str, function: str, minutes: int
) -> None:
    """A pass that fails is tried again a minute later."""
    if (function, metric) == ("BatchWindow", "RequestsExpiring"):
        return  # what BatchWindow owns has no queue
    kind = re.findall("[A-Z][a-z]+", function)[0]
    alarm = dict(template["Resources"][f"{function}{metric}Alarm"]["Properties"])
    rate = "rate(1 minute)" if minutes == 1 else f"rate({minutes} minutes)"
    slow = template["Conditions"][f"{kind}IsSlow"]["Fn::Or"]
    assert [each["Fn::Equals"][0] for each in slow] == [{"Ref": f"{kind}Rate"}] * 2
    said = {*range(0, 60, minutes)}
    if metric == "Errors":
        name, at_slow, else_ = alarm["DatapointsToAlarm"]["Fn::If"]
        assert name == f"{kind}IsSlow"
        alarm["DatapointsToAlarm"] = at_slow if rate in [each["Fn::Equals"][1] for each in slow] else else_
        said |= {minute + 1 for minute in said}
    rings = [
        verdict(
            [Point(now - age, 1.0 if now - age in said else None) for age in range(alarm["EvaluationPeriods"])], alarm
        )
        for now in range(60)
    ]
    first = next(minute for minute, (state, _) in enumerate(rings) if state == "ALARM")
    assert first <= (4 if metric == "Errors" else 2 * minutes), (
        "AppConfig watches for ten minutes, work for as long as it has"
    )
    assert {state for state, _ in rings[first:]} == {"ALARM"}


@pytest.mark.parametrize("owner", OWNERS)
def test_parts_of_a_large_tick_go_to_the_same_function_and_to_no_other(
    resources: dict[str, Resource], owner: str
) -> None:
    queue, mapping, policy = (resources[f"{owner}Parts{kind}"] for kind in ("", "Mapping", "Policy"))
    assert {each["Condition"] for each in (queue, mapping, policy)} == {"Splits"}, "without it nothing stands or costs"
    settings = queue["Properties"]
    assert settings["SqsManagedSseEnabled"] is True
    assert settings["VisibilityTimeout"] > resources[f"{owner}Function"]["Properties"]["Timeout"]
    assert settings["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    # A message that failed comes back when its visibility time-out is over, and once too often is a dead letter.
    again, tries = timedelta(seconds=settings["VisibilityTimeout"]), settings["RedrivePolicy"]["maxReceiveCount"]
    assert (tries - 1) * again < LATE, "a try that comes late is in vain, and rings twice"
    assert LATE + tries * again <= timedelta(seconds=settings["MessageRetentionPeriod"]), (
        "gone before it is a dead letter"
    )
    assert mapping["Properties"]["FunctionName"] == {"Ref": f"{owner}Function"}
    assert mapping["Properties"]["EventSourceArn"] == {"Fn::GetAtt": [f"{owner}Parts", "Arn"]}
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["Properties"]["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "PartsAtOnce"}}
    assert policy["Properties"]["Roles"] == [{"Ref": f"{owner}Role"}]
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == {"Fn::GetAtt": [f"{owner}Parts", "Arn"]}
    assert set(statement["Action"]) == {
        f"sqs:{action}" for action in ("SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    }


def test_dead_letters_ring(resources: dict[str, Resource]) -> None:
    alarm = resources["DeadLettersAlarm"]["Properties"]
    assert alarm["Threshold"] == 1
    name = in_stage(resources["DeadLetterQueue"]["Properties"]["QueueName"])
    assert [(one["Name"], in_stage(one["Value"])) for one in alarm["Dimensions"]] == [("QueueName", name)]


def widgets_of(resources: dict[str, Resource]) -> list[dict[str, Any]]:
    """The dashboard's widgets, with the stage filled in."""
    found: list[dict[str, Any]] = json.loads(in_stage(resources["Dashboard"]["Properties"]["DashboardBody"]))["widgets"]
    return found


def test_the_dashboard_shows_every_alarm_and_every_measure_of_a_pass(
    resources: dict[str, Resource], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every metric shown is one that the code emits under those dimensions, or one of AWS's own; none is left out."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "tidegate")
    PowertoolsTelemetry().tell("tidegate-prod-realtime-target", ())
    emf = json.loads(capsys.readouterr().out)
    described = emf["_aws"]["CloudWatchMetrics"][0]
    emitted = {(described["Namespace"], name) for name in counts(())}
    shown: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for widget in widgets_of(resources):
        for namespace, name, *rest in (each for each in widget["properties"].get("metrics", ()) if len(each) > 1):
            dimensions = dict(zip(rest[::2], rest[1::2], strict=False))
            shown.setdefault((namespace, name), set()).add(tuple(sorted(dimensions)))
            if namespace == "Tidegate":
                assert dimensions["service"] == emf["service"]
    assert {metric for metric in shown if metric[0] == "Tidegate"} == emitted
    (dimensions_told,) = described["Dimensions"]
    assert all(keys == {tuple(sorted(dimensions_told))} for metric, keys in shown.items() if metric in emitted)
    assert {metric: keys for metric, keys in shown.items() if metric not in emitted} == {
        ("AWS/Lambda", "Duration"): {("FunctionName",)},
        ("AWS/Lambda", "Errors"): {("FunctionName",)},
        ("AWS/Lambda", "Throttles"): {("FunctionName",)},
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {("QueueName",)},
    }
    listed = {arn for widget in widgets_of(resources) for arn in widget["properties"].get("alarms", ())}
    assert listed == {f"${{{name}.Arn}}" for name in of_type(resources, "AWS::CloudWatch::Alarm")}


def test_the_dashboard_asks_the_logs_for_fields_that_are_written(resources: dict[str, Resource]) -> None:
    world = World()
    world.enrolled()
    world.metrics.series["Invocations"] = observed(world.now, *[7000] * 15)
    (changed,) = (summary(outcome) for outcome in world.tick().values())
    assert changed["status"] == "changed"
    queries = [each["properties"]["query"] for each in widgets_of(resources) if each["type"] == "log"]
    counted, changes, blocked = queries
    assert set(re.findall(r"'(\w+)'", counted.split("filter status in")[1])) == {Status.CHANGED, Status.RELEASED}
    fields = re.findall(r"[\w@.]+", re.split(r"\| fields ", changes)[1].split("|")[0])
    assert {field.partition(".")[0] for field in fields} - {"@timestamp"} <= changed.keys()
    asked = re.findall(r"'(\w+)'", changes.split("filter status in")[1])
    assert set(asked) == {Status.CHANGED, Status.RELEASED, Status.SHADOW}
    assert "scale_in_blocked_by" in blocked  # the field that `handlers.wiring.summary` writes
    for query in (changes, blocked):
        logs = [f"/aws/lambda/tidegate-prod-{owner}" for owner in ("realtime-target", "async-queue", "batch-window")]
        assert re.findall(r"SOURCE '(.+?)'", query) == logs


def test_the_dashboard_answers_three_questions_without_overlap(resources: dict[str, Resource]) -> None:
    widgets = widgets_of(resources)
    headings = [re.findall(r"^## (.+)$", w["properties"].get("markdown", ""), re.MULTILINE) for w in widgets]
    assert [title for found in headings for title in found] == [
        "What is it doing?",
        "Is it healthy?",
        "What does it save?",
    ]
    tiles = [
        (x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])
    ]
    assert len(tiles) == len(set(tiles))
    assert max(x for x, _ in tiles) < 24
    (spared,) = (w for w in widgets if "not run" in w["properties"].get("title", ""))
    running = (
        "/aws/sagemaker/Endpoints"  # one sample of CPUUtilization an instance and minute (facts 3.1), a free metric
    )
    assert running in json.dumps(spared["properties"]["metrics"])
    assert "tidegate backtest --account" in widgets[-3]["properties"]["markdown"]  # what no metric can know


def test_the_picture_shows_every_function_and_is_drawn_from_its_text() -> None:
    source, drawn = (ROOT / f"docs/images/architecture.{kind}" for kind in ("dot", "svg"))
    assert sha256(source.read_bytes()).hexdigest() in drawn.read_text()  # else: make pictures
    labels = re.findall(r"<text [^>]*>(.*?)</text>", drawn.read_text())
    assert set(FUNCTIONS) <= set(labels)
    assert "docs/images/architecture.svg" in (ROOT / "README.md").read_text()


# ---- parameters, outputs, tags ------------------------------------------------------------------------------------


def test_a_stack_starts_in_the_shadow(template: dict[str, Any]) -> None:
    assert template["Parameters"]["Mode"]["Default"] == "shadow"


def test_every_parameter_is_explained_and_grouped(template: dict[str, Any]) -> None:
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    assert set(interface["ParameterLabels"]) == set(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert parameter["ConstraintDescription"], name


@pytest.mark.parametrize("name", ["Runtime", "Architecture"])
def test_what_the_artefact_is_built_for_is_said_to_be_told_to_the_build(template: dict[str, Any], name: str) -> None:
    """It has compiled modules of one Python and machine: deployed for another, each function ends at its imports."""
    assert "`sam build` too" in template["Parameters"][name]["Description"]


@pytest.mark.parametrize("name", ["prod", "dev", "local", "eu2"])
def test_a_stage_name_is_accepted(template: dict[str, Any], name: str) -> None:
    assert re.search(template["Parameters"]["Stage"]["AllowedPattern"], name)


@pytest.mark.parametrize("name", ["prod-eu", "Prod", "2prod", "p", "averyverylongone", ""])
def test_a_stage_name_that_could_be_the_start_of_another_is_refused(template: dict[str, Any], name: str) -> None:
    assert not re.search(template["Parameters"]["Stage"]["AllowedPattern"], name)


@pytest.mark.parametrize("rate", ["RealtimeRate", "AsyncRate", "BatchRate"])
def test_an_owner_never_ticks_more_slowly_than_its_heartbeat_alarm_allows(template: dict[str, Any], rate: str) -> None:
    pattern = template["Parameters"][rate]["AllowedPattern"]
    assert template["Parameters"][rate]["Default"] == "rate(1 minute)"
    assert re.search(pattern, "rate(5 minutes)")
    assert not re.search(pattern, "rate(6 minutes)")
    assert not re.search(pattern, "rate(1 minutes)")  # AWS refuses the plural of one


def test_the_outputs_name_the_next_command_and_what_the_tools_need(template: dict[str, Any]) -> None:
    assert set(template["Outputs"]) == {
        "PushPolicyCommand",
        "OverrideCommand",
        "LogsCommand",
        "DashboardUrl",
        "TableName",
        "AppConfigApplicationId",
        "AppConfigEnvironmentId",
        "AppConfigProfileId",
        "AppConfigStrategyId",
        "OverrideFunctionName",
        "FleetSyncFunctionName",
        "DeadLetterQueueUrl",
    }


def test_the_dashboard_is_found_in_each_partition(template: dict[str, Any]) -> None:
    consoles = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
    url, names = template["Outputs"]["DashboardUrl"]["Value"]["Fn::Sub"]
    for partition in ("aws", *consoles):
        chosen = names["Console"]
        while isinstance(chosen, dict):
            name, then, otherwise = chosen["Fn::If"]
            assert template["Conditions"][name]["Fn::Equals"][0] == {"Ref": "AWS::Partition"}
            chosen = then if template["Conditions"][name]["Fn::Equals"][1] == partition else otherwise
        assert chosen == consoles.get(partition, "console.aws.amazon.com")
    assert url.startswith("https://${AWS::Region}.${Console}/cloudwatch/home?region=${AWS::Region}#dashboards/")


def test_everything_taggable_tells_its_stage(resources: dict[str, Resource]) -> None:
    untagged = {
        "AWS::AppConfig::Deployment",  # a changed tag would deploy again
        "AWS::AppConfig::HostedConfigurationVersion",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Permission",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
    }
    for name, resource in resources.items():
        if resource["Type"] not in untagged:
            tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
            assert tags["tidegate:stage"] == {"Ref": "Stage"}, name


# ---- example events -----------------------------------------------------------------------------------------------


def test_there_is_an_event_for_every_trigger_of_every_function() -> None:
    assert {path.stem for path in EVENTS} == {
        "async-queue-alarm-idle",
        "async-queue-alarm-wake",
        "async-queue-schedule",
        "batch-window-alarm",
        "batch-window-schedule",
        "fleet-sync-endpoint-in-service",
        "fleet-sync-schedule",
        "override-ceiling",
        "override-dry-run",
        "override-fleet",
        "override-floor",
        "override-pause",
        "override-pin",
        "override-profile",
        "override-resume",
        "override-tag",
        "policy-validator-invalid",
        "policy-validator-valid",
        "realtime-target-alarm",
        "realtime-target-alarm-no-capacity",
        "realtime-target-schedule",
    }


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_names_no_real_account(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r":(\d{12}):", text)) <= {"123456789012"}
    assert set(re.findall(r"@([\w.-]+)", text)) <= {"example.com"}


@pytest.mark.parametrize(
    "path", [path for path in EVENTS if path.stem.endswith("schedule")], ids=lambda path: path.stem
)
def test_a_scheduled_event_has_the_keys_of_the_deployed_payload(resources: dict[str, Resource], path: Path) -> None:
    deployed = json.loads(resources["RealtimeTargetSchedule"]["Properties"]["Target"]["Input"])
    assert set(event(path.stem)) == set(deployed)


@pytest.mark.parametrize("path", [path for path in EVENTS if "-alarm" in path.stem], ids=lambda path: path.stem)
def test_the_second_json_layer_of_an_alarm_event_parses(path: Path) -> None:
    state = event(path.stem)["detail"]["state"]
    assert json.loads(state["reasonData"])["version"] == "1.0"


@pytest.mark.parametrize("name", ["policy-validator-valid", "policy-validator-invalid"])
def test_a_validator_event_carries_a_document(name: str) -> None:
    assert json.loads(base64.b64decode(event(name)["content"]))["version"] == 1


def test_the_commands_for_many_accounts_take_the_template_by_a_bucket(template: dict[str, Any]) -> None:
    """CloudFormation takes 51,200 bytes in a call; `aws cloudformation deploy` refuses more without a bucket."""
    assert len(json.dumps(template, separators=(",", ":"))) > 51_200
    page = (ROOT / "docs" / "organizations.md").read_text(encoding="utf-8").replace("\\\n", "")
    (deploys,) = re.findall("aws cloudformation deploy .*", page)
    assert "--s3-bucket" in deploys
    (creates,) = re.findall("aws cloudformation create-stack-set .*", page)
    assert "--template-url" in creates
