"""`tidegate survey`: what is unsafe about the way an account scales, each thing by its code."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cli import tables
from cli.estate import read_estate
from cli.findings import REMEDIES, Code, Finding, findings_of
from cli.main import app
from core.aws import clock
from simulator.components import Managed
from simulator.workload import RealtimeWorkload
from tests.contract.aws.accounts import Idle
from tests.estates import NOW, People, alarm, by_endpoint, by_variant, custom, fleet, requests, steps, wake

LATER = NOW + timedelta(hours=2)
ORDERS = "endpoint/orders/variant/AllTraffic"
PAPERS = "endpoint/papers/variant/AllTraffic"


def found(people: People, *, later: bool = False) -> list[Finding]:
    """Return what is found, remarks too; `later` means two hours after the last change of any alarm."""
    return [*findings_of(read_estate(people, LATER if later else people.account.now))]


def today() -> People:
    """For the command, which reads the clock: alarms are a moment old."""
    return fleet(clock.now().replace(second=0, microsecond=0))


def realtime(low: int = 1, high: int = 8, **more: Any) -> People:
    """An endpoint of 4-vCPU instances, registered, its requests tracked."""
    people = People()
    people.endpoint("orders", workload=RealtimeWorkload(per_minute_requests=[600] * 600, capacity_per_instance=400))
    people.register(ORDERS, low, high, **more)
    people.track(ORDERS, "requests", requests(400.0))
    return people


def queue(low: int = 0, count: int = 0) -> People:
    """An asynchronous endpoint after AWS's guide, without what wakes it."""
    people = People()
    people.endpoint("papers", count=count, asynchronous=True)
    people.register(PAPERS, low, 5)
    people.track(PAPERS, "backlog", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("papers")))
    return people


def component(managed_minimum: int = 0) -> People:
    people = People()
    people.endpoint("chat", count=1, managed=Managed(minimum=managed_minimum, maximum=4))
    people.register(people.component("chat-8b", "chat"), 0, 4)
    refused = [{"Name": "InferenceComponentName", "Value": "chat-8b"}]
    copies = {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"}
    people.track(
        "inference-component/chat-8b", "copies", {"TargetValue": 30.0, "PredefinedMetricSpecification": copies}
    )
    called = alarm("refused", "NoCapacityInvocationFailures", refused, 1.0, Statistic="Sum")
    people.step("inference-component/chat-8b", "wake", steps((0.0, None, 1)), called)
    return people


def given(people: People, *changes: Callable[[People], object]) -> People:
    for change in changes:
        change(people)
    return people


def track(metric: str, target: float, dimensions: list[dict[str, str]], **more: Any) -> Callable[[People], None]:
    resource = ORDERS if dimensions[0]["Value"] == "orders" else PAPERS
    return lambda people: people.track(resource, metric, custom(target, metric, dimensions, **more))


def step(name: str, configuration: dict[str, Any], *alarms: dict[str, Any]) -> Callable[[People], None]:
    return lambda people: people.step(ORDERS, name, configuration, *alarms)


def cpu_above(name: str, threshold: float, **more: Any) -> dict[str, Any]:
    return alarm(name, "CPUUtilization", by_variant("orders"), threshold, **more)


BELOW = {"ComparisonOperator": "LessThanThreshold"}
PER_CORE = {
    "TargetValue": 70.0,
    "CustomizedMetricSpecification": {
        "Metrics": [
            {
                "Id": "m1",
                "ReturnData": False,
                "MetricStat": {
                    "Metric": {
                        "Namespace": "/aws/sagemaker/Endpoints",
                        "MetricName": "CPUUtilization",
                        "Dimensions": by_variant("orders"),
                    },
                    "Stat": "Average",
                },
            },
            {"Id": "e1", "Expression": "m1/4", "ReturnData": True},
        ]
    },
}
WAKE = steps((0.0, None, 1))
HAS_BACKLOG = "HasBacklogWithoutCapacity"
DAY = ("day", "cron(0 7 * * ? *)", {"MinCapacity": 4})
NIGHT = ("night", "cron(0 20 * * ? *)", {"MinCapacity": 1})

UNSAFE: dict[str, tuple[People, Code, str]] = {
    "an endpoint that nobody registered": (
        given(People(), lambda p: p.endpoint("orders")),
        Code.NO_POLICY,
        "nothing is registered: it keeps 2 instances whatever the load",
    ),
    "registered, and that is all": (
        given(People(), lambda p: p.endpoint("orders"), lambda p: p.register(ORDERS, 1, 4)),
        Code.NO_POLICY,
        "registered 1..4 without a policy: nothing moves it",
    ),
    "min = max": (realtime(2, 2), Code.BOUNDS_EQUAL, "minimum and maximum are both 2"),
    "suspended": (
        realtime(SuspendedState={"DynamicScalingInSuspended": True}),
        Code.SUSPENDED,
        "DynamicScalingIn is suspended",
    ),
    # 70 of 400: scaled out at a sixth of what the instances can do
    "CPU at 70 on 4 vCPUs": (
        given(realtime(), track("CPUUtilization", 70.0, by_variant("orders"))),
        Code.CPU_SUMMED,
        "CPUUtilization runs to 400 on the 4 vCPUs of ml.m5.xlarge, so 70 is 17.5 % of each",
    ),
    "steps on CPU above 80": (
        given(realtime(), step("more", steps((0.0, None, 1)), cpu_above("high", 80.0))),
        Code.CPU_SUMMED,
        "policy more: CPUUtilization runs to 400 on the 4 vCPUs of ml.m5.xlarge, so 80 is 20 % of each",
    ),
    "a queue at zero that nothing wakes": (
        queue(),
        Code.NO_WAKE_UP,
        "minimum 0, and no step policy that HasBacklogWithoutCapacity calls: items wait until somebody acts",
    ),
    "a wake-up by percent, of nothing": (
        given(
            queue(),
            lambda p: p.step(PAPERS, "w", {**WAKE, "AdjustmentType": "PercentChangeInCapacity"}, wake("papers")),
        ),
        Code.NO_WAKE_UP,
        "minimum 0, and no step policy",
    ),
    "a wake-up whose alarm asks for the variant": (
        given(queue(), lambda p: p.step(PAPERS, "w", WAKE, alarm("w", HAS_BACKLOG, by_variant("papers"), 1.0))),
        Code.WRONG_DIMENSIONS,
        "policy w: HasBacklogWithoutCapacity is published under EndpointName=papers, and EndpointName=papers, Var",
    ),
    "a component at zero whose instances stay": (component(1), Code.INSTANCES_STAY, "its instances stay paid"),
    "a queue that follows requests": (
        given(queue(1, 1), lambda p: p.track(PAPERS, "requests", requests(100.0))),
        Code.NEVER_PUBLISHED,
        "an asynchronous endpoint never publishes SageMakerVariantInvocationsPerInstance",
    ),
    "a metric of the neighbour's": (
        given(realtime(), lambda p: p.track(ORDERS, "cpu", custom(300.0, "CPUUtilization", by_variant("offers")))),
        Code.WRONG_DIMENSIONS,
        "and EndpointName=offers, VariantName=AllTraffic is asked for",
    ),
    "a metric in the other namespace": (
        given(
            realtime(),
            lambda p: p.track(
                ORDERS,
                "cpu",
                {
                    "TargetValue": 300.0,
                    "CustomizedMetricSpecification": {
                        "Namespace": "AWS/SageMaker",
                        "MetricName": "CPUUtilization",
                        "Dimensions": by_variant("orders"),
                        "Statistic": "Average",
                    },
                },
            ),
        ),
        Code.NEVER_PUBLISHED,
        "CPUUtilization is in the namespace /aws/sagemaker/Endpoints, not in AWS/SageMaker",
    ),
    "latency as a target": (
        given(realtime(), track("ModelLatency", 50_000.0, by_variant("orders"))),
        Code.UNFIT,
        "policy ModelLatency tracks ModelLatency: a latency does not fall in proportion to capacity",
    ),
    "steps that no alarm calls": (
        given(realtime(), step("more", steps((0.0, None, 1)))),
        Code.NOBODY_CALLS,
        "step policy more: no alarm calls it",
    ),
    "an alarm whose actions are off": (
        given(realtime(), step("more", steps((0.0, None, 1)), cpu_above("high", 280.0, ActionsEnabled=False))),
        Code.NOBODY_CALLS,
        "policy more: actions of its alarm high are switched off",
    ),
    "only policies that may not scale in": (
        given(realtime(), lambda p: p.track(ORDERS, "requests", requests(400.0, DisableScaleIn=True))),
        Code.NEVER_SCALES_IN,
        "no policy ever takes capacity away",
    ),
    "steps that take away beside tracking": (
        given(realtime(), step("less", steps((None, 0.0, -1)), cpu_above("low", 120.0, **BELOW))),
        Code.STEPS_AGAINST_TRACKING,
        "less takes away what requests may have to order again",
    ),
    # 280..360, 360 on; and 320 on
    "two policies on one range": (
        given(
            realtime(),
            step("one", steps((0.0, 80.0, 1), (80.0, None, 2)), cpu_above("a", 280.0)),
            step("two", steps((0.0, None, 2)), cpu_above("b", 320.0)),
        ),
        Code.STEPS_OVERLAP,
        "one and two both act on CPUUtilization from 320 on",
    ),
    "steps that end too soon": (
        given(realtime(), step("more", steps((0.0, 80.0, 1)), cpu_above("high", 280.0))),
        Code.STEPS_LEAVE_GAP,
        "an alarm on CPUUtilization rings from 360 on, and no step of more acts",
    ),
    "steps that begin too late": (
        given(realtime(), step("more", steps((20.0, None, 1)), cpu_above("high", 280.0))),
        Code.STEPS_LEAVE_GAP,
        "an alarm on CPUUtilization rings from 280 to 300, and no step of more acts",
    ),
    "a bound that is set and never set back": (
        given(realtime(), lambda p: p.schedule(ORDERS, *DAY)),
        Code.SCHEDULE_STAYS,
        "day sets MinCapacity 4, and no action ever sets another",
    ),
}


@pytest.mark.parametrize(("people", "code", "why"), UNSAFE.values(), ids=UNSAFE)
def test_what_is_unsafe_is_named_with_its_reason(people: People, code: Code, why: str) -> None:
    seen = [each.why for each in found(people) if each.code is code]
    assert len(seen) == 1
    assert why in seen[0]


SAFE: dict[str, People] = {
    "requests tracked": realtime(),
    "CPU at 280 on 4 vCPUs": given(realtime(), track("CPUUtilization", 280.0, by_variant("orders"))),
    "CPU divided by the vCPUs": given(realtime(), lambda p: p.track(ORDERS, "cpu", PER_CORE)),
    "a queue that is woken": given(queue(), lambda p: p.step(PAPERS, "w", WAKE, wake("papers"))),
    "a queue that keeps an instance": queue(1, 1),
    "a component that is woken": component(),
    "a bound that is set and set back": given(
        realtime(), lambda p: p.schedule(ORDERS, *DAY), lambda p: p.schedule(ORDERS, *NIGHT)
    ),
    "steps that meet across two policies": given(
        realtime(),
        step("one", steps((0.0, 40.0, 1)), cpu_above("a", 280.0)),
        step("two", steps((0.0, None, 2)), cpu_above("b", 320.0)),
    ),
    "an endpoint without traffic for hours": given(
        realtime(), lambda p: [p.account.advance() for _ in range(30)]
    ),
    "serverless without provisioned concurrency": given(
        People(), lambda p: p.endpoint("forms", count=0, serverless=True)
    ),
    "no endpoint at all": People(),
}  # fmt: skip


@pytest.mark.parametrize("people", SAFE.values(), ids=SAFE)
def test_what_is_safe_is_left_in_peace(people: People) -> None:
    assert [each for each in found(people) if each.unsafe] == []


def test_remarks_are_not_unsafe() -> None:
    people = given(
        realtime(),
        track("CPUUtilization", 280.0, by_variant("orders")),
        track("MemoryUtilization", 80.0, by_variant("orders")),
    )
    assert {each.code: each.why for each in found(people)} == {
        Code.NEEDS_ALL: "scaled in only when all 3 agree: CPUUtilization, MemoryUtilization, requests",
        Code.MEMORY: "policy MemoryUtilization tracks MemoryUtilization and may never agree to scale in",
        Code.BLOCKS_DEPLOYMENT: "UpdateEndpoint fails if it changes the instance type of the variant or removes it",
    }


def test_a_metric_without_data_for_an_hour_is_silent_but_not_one_of_a_queue_at_rest() -> None:
    people = given(realtime(), track("CPUUtilization", 280.0, by_variant("orders")))
    people.account.silence("/aws/sagemaker/Endpoints", "CPUUtilization", "orders")
    people.endpoint("papers", count=0, asynchronous=True)
    people.register(PAPERS, 0, 5)
    people.track(PAPERS, "backlog", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("papers")))
    for _ in range(10):
        people.account.advance()
    assert [each.why for each in found(people) if each.code is Code.SILENT] == []  # new alarms have no data yet
    assert [each.why for each in found(people, later=True) if each.code is Code.SILENT] == [
        "policy CPUUtilization: no data of CPUUtilization since 2026-11-22 12:00Z"
    ]


@pytest.mark.parametrize("status", ["Failed", "Deleting"])
def test_an_endpoint_that_does_not_serve_is_not_blamed_for_silence_nor_a_leaving_one_for_anything(status: str) -> None:
    people = given(realtime(), track("CPUUtilization", 280.0, by_variant("orders")))
    people.account.silence("/aws/sagemaker/Endpoints", "CPUUtilization", "orders")
    for _ in range(10):
        people.account.advance()
    estate = read_estate(people, LATER)
    assert Code.SILENT in {each.code for each in findings_of(estate)}
    codes = {
        each.code for each in findings_of(replace(estate, endpoints=(replace(estate.endpoints[0], status=status),)))
    }
    assert Code.SILENT not in codes
    assert bool(codes) is (status == "Failed")


@pytest.mark.parametrize(
    ("count", "keeps"),
    [(1, "it keeps 1 instance whatever the load"), (3, "it keeps 3 instances whatever the load")],
)
def test_what_stays_is_counted_in_words(count: int, keeps: str) -> None:
    people = People()
    people.endpoint("orders", count=count)
    assert keeps in " ".join(each.why for each in found(people))


def test_who_holds_scale_in_back_is_named() -> None:
    # 600 requests on two instances: 300 each is below 0.9 of 400, and CPU is above 0.9 of 10 for ever
    people = given(realtime(), track("CPUUtilization", 10.0, by_variant("orders")))
    for _ in range(40):
        people.account.advance()
    [why] = [each.why for each in found(people, later=True) if each.code is Code.SCALE_IN_BLOCKED]
    assert why.startswith("CPUUtilization held ")
    assert "while requests would scale in, since 2026-11-22 12:" in why


def test_an_alarm_of_target_tracking_that_somebody_deleted_is_missed() -> None:
    people = realtime()
    estate = read_estate(people, NOW)
    [(endpoint, hosted)] = estate.hosted
    assert hosted.registration is not None
    policy = replace(hosted.registration.policies[0], alarms=(), missing_alarms=("high",))
    torn = replace(hosted, registration=replace(hosted.registration, policies=(policy,)))
    seen = findings_of(replace(estate, endpoints=(replace(endpoint, hosted=(torn,)),)))
    assert [each.why for each in seen if each.code is Code.NOBODY_CALLS] == [
        "policy requests: its alarm high does not exist"
    ]


def test_quotas_strays_and_what_may_not_be_read_are_of_the_account() -> None:
    people = realtime()
    people.quota = 1.0
    people.endpoint("offers", workload=Idle())
    people.endpoint("secret")
    people.endpoint("gone")
    people.register("endpoint/gone/variant/AllTraffic", 1, 2)
    people.account.sagemaker.endpoints.pop("gone")
    for _ in range(2):
        people.account.fail_next("sagemaker", "DescribeEndpointConfig", "AccessDeniedException", "not authorized")
    seen = {each.code: each for each in found(people)}
    assert seen[Code.QUOTA].why == "2 of 1 scalable targets are registered, and 1 more could be"
    assert seen[Code.STRAY].why == "endpoint/gone/variant/AllTraffic is registered (1..2) and does not exist"
    assert "not authorized" in seen[Code.NOT_READ].why


def test_every_code_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Code)


# ---- the command ----------------------------------------------------------------------------------------------------


def tidegate(people: People, *arguments: str, width: int = 200) -> Result:
    return CliRunner().invoke(app, ["survey", *arguments], obj=people, env={"COLUMNS": str(width)})


def test_a_row_a_target_then_what_is_unsafe_then_what_comes_next() -> None:
    result = tidegate(today())
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: " ".join(line.split()) for line in result.stdout.splitlines() if line}
    assert rows["forms"] == "forms serverless 0 unmanaged - - - -"
    assert rows["orders"].startswith(
        "orders real-time 2 x ml.m5.xlarge 1..8 InvocationsPerInstance at 200 morning cron(0 7"
    )
    assert rows["component:chat-8b"].startswith("component:chat-8b component 1 x ml.g5.xlarge 0..4 - - - NoPolicy")
    assert "  orders: morning sets MinCapacity 4, and no action ever sets another" in result.stdout.splitlines()
    assert "5 endpoints in eu-central-1, 3 targets registered: 4 findings unsafe, 2 remarks." in result.stdout
    assert "tidegate backtest --account" in result.stdout
    assert "tidegate import" in result.stdout


def test_an_endpoint_that_is_not_in_service_says_so() -> None:
    people = realtime()
    people.account.endpoint("orders").status = "UpdateRollbackFailed"
    assert "orders real-time, UpdateRollbackFailed 2 x ml.m5.xlarge" in " ".join(tidegate(people).stdout.split())


def test_a_name_is_whole_in_a_narrow_terminal() -> None:
    people, name = People(), "a" * 63
    people.endpoint(name)
    rows = [line.removeprefix("endpoint").split() for line in tidegate(people, name, width=60).stdout.splitlines()]
    assert "".join(word for row in rows[:2] for word in row) == name


def test_a_narrow_block_leaves_out_what_a_row_repeats() -> None:
    table = tables.plain("target", "course", "hours")
    table.add_row("orders", "as it was", "4")
    table.add_row("", "in shadow", "-")
    out = Console(width=30, file=io.StringIO())
    out.print(table)
    said = [line.split() for line in out.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]  # StringIO
    assert said == [["target", "orders"], ["course", "as", "it", "was"], ["hours", "4"], ["course", "in", "shadow"]]


def test_endpoints_that_may_not_be_described_are_not_called_none() -> None:
    people = realtime()
    for _ in range(2):
        people.account.fail_next("sagemaker", "DescribeEndpoint", "AccessDeniedException", "not authorized")
    said = tidegate(people).stdout
    assert "Nothing is known of what these endpoints host: see NotRead." in said
    assert "is this the right account" not in said


def test_json_says_the_same() -> None:
    said = json.loads(tidegate(today(), "--json").stdout)
    assert {endpoint["name"]: endpoint["kind"] for endpoint in said["endpoints"]}["papers"] == "async"
    assert {finding["code"] for finding in said["findings"] if finding["unsafe"]} == {
        "NoPolicy",
        "NoWakeUp",
        "ScheduleNeverRestores",
    }
    [orders] = [endpoint for endpoint in said["endpoints"] if endpoint["name"] == "orders"]
    registration = orders["targets"][0]["registration"]
    assert (registration["min_capacity"], registration["max_capacity"]) == (1, 8)
    assert registration["scheduled_actions"][0]["Schedule"] == "cron(0 7 * * ? *)"
    assert said["quota"] == {"limit": 500, "used": 3, "known": True}


@pytest.mark.parametrize(
    ("people", "arguments", "status"),
    [(today(), [], 0), (today(), ["--strict"], 1), (today(), ["papers", "--strict"], 0)],
    ids=["findings fail nothing", "unless strictly", "remarks do not, nor what was not asked for"],
)
def test_exit_status(people: People, arguments: list[str], status: int) -> None:
    assert tidegate(people, *arguments).exit_code == status


def test_what_fails_is_said_plainly() -> None:
    people = today()
    people.account.fail_next("sagemaker", "ListEndpoints", "AccessDeniedException", "not authorized")
    result = tidegate(people)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: ListEndpoints" in result.stderr


def test_an_empty_account_is_asked_whether_it_is_the_right_one() -> None:
    assert "is this the right account and --region?" in tidegate(People()).stdout
