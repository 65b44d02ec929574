"""What only HTTP can break: bytes, connections, callers at once, and clients that would rather talk to somebody else."""

import gzip
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local_account.plant.server import Plant
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload

START = datetime(2025, 4, 2, 6, 0, tzinfo=UTC)
NAMESPACE = {"ServiceNamespace": "sagemaker"}
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250402/eu-central-1/sagemaker/aws4_request, Signature=0"
LIST_ENDPOINTS = "SageMaker.ListEndpoints"


def variant(name: str) -> dict[str, Any]:
    resource = {"ResourceId": f"endpoint/{name}/variant/AllTraffic"}
    return {**NAMESPACE, **resource, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}


def account_with(*names: str) -> SimulatedAccount:
    account = SimulatedAccount(now=START)
    for name in names:
        workload = RealtimeWorkload(per_minute_requests=[100] * 60, capacity_per_instance=1000.0)
        account.add_endpoint(name=name, workload=workload, instance_count=2)
    return account


@pytest.fixture
def plant() -> Iterator[Plant]:
    with Plant(account_with("ranker")) as running:
        yield running


@pytest.fixture
def wire(plant: Plant) -> Iterator[HTTPConnection]:
    """One connection, without botocore."""
    with closing(HTTPConnection(urlsplit(plant.url).netloc, timeout=10)) as connection:
        yield connection


def post(connection: HTTPConnection, target: str | None, body: bytes, **headers: str) -> tuple[HTTPResponse, bytes]:
    named = {"X-Amz-Target": target} if target else {}
    connection.request("POST", "/", body, {"Authorization": AUTHORIZATION, **named, **headers})
    response = connection.getresponse()
    return response, response.read()


class TestAnswers:
    def test_an_answer_looks_like_one_of_aws(self, wire: HTTPConnection) -> None:
        response, body = post(wire, LIST_ENDPOINTS, b"{}")
        assert response.status == 200
        assert response.getheader("Content-Type") == "application/x-amz-json-1.1"
        assert response.getheader("x-amzn-RequestId")
        (endpoint,) = json.loads(body)["Endpoints"]
        assert endpoint["CreationTime"] == START.timestamp()

    def test_an_empty_body_is_no_parameters(self, wire: HTTPConnection) -> None:
        assert post(wire, LIST_ENDPOINTS, b"")[0].status == 200

    def test_null_is_the_same_as_left_out(self, wire: HTTPConnection) -> None:
        assert post(wire, LIST_ENDPOINTS, b'{"NameContains": null}')[0].status == 200

    def test_timestamps_survive_the_round_trip(self, plant: Plant) -> None:
        """Botocore sends whole seconds and reads what it is given; the record has what the caller meant."""
        aas: Any = plant.client("application-autoscaling")
        aas.register_scalable_target(**variant("ranker"), MinCapacity=1, MaxCapacity=4)
        start, end = START + timedelta(hours=1), START + timedelta(days=300)
        aas.put_scheduled_action(
            **variant("ranker"),
            ScheduledActionName="expiry",
            Schedule="rate(15 minutes)",
            StartTime=start,
            EndTime=end,
            ScalableTargetAction={"MinCapacity": 1},
        )
        (action,) = aas.describe_scheduled_actions(**NAMESPACE)["ScheduledActions"]
        assert (action["StartTime"], action["EndTime"], action["CreationTime"]) == (start, end, START)
        assert plant.calls[-2].params["StartTime"] == start

    @pytest.mark.parametrize("when", [START.timestamp(), START.timestamp() + 0.25, "2025-04-02T06:00:00Z"])
    def test_timestamps_come_as_numbers_or_text(self, plant: Plant, wire: HTTPConnection, when: object) -> None:
        body = json.dumps({"CreationTimeAfter": when}).encode()
        assert post(wire, LIST_ENDPOINTS, body)[0].status == 200
        assert plant.calls[-1].params["CreationTimeAfter"].replace(microsecond=0) == START

    def test_a_day_of_twenty_metrics_in_one_answer(self, plant: Plant) -> None:
        """28,800 points are 700 kB; the sums prove that none was lost."""
        cloudwatch: Any = plant.client("cloudwatch")
        minutes = [START - timedelta(minutes=n) for n in range(1442, 2, -1)]
        data = [{"MetricName": "m", "Timestamp": minute, "Value": 1.0} for minute in minutes]
        for size in range(0, len(data), 1000):
            cloudwatch.put_metric_data(Namespace="Test", MetricData=data[size : size + 1000])
        stat = {"Metric": {"Namespace": "Test", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
        queries = [{"Id": f"m{n}", "MetricStat": stat} for n in range(20)]
        answer = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=minutes[0], EndTime=START)
        assert [sum(result["Values"]) for result in answer["MetricDataResults"]] == [1440.0] * 20
        assert answer["MetricDataResults"][19]["Timestamps"] == minutes[::-1]

    def test_clients_compress_what_is_long(self, plant: Plant, wire: HTTPConnection) -> None:
        """Botocore does so with PutMetricData from 10 kB on."""
        body = gzip.compress(b'{"NameContains": "rank"}')
        assert post(wire, LIST_ENDPOINTS, body, **{"Content-Encoding": "gzip"})[0].status == 200
        assert plant.calls[-1].params == {"NameContains": "rank"}


PAGED: list[tuple[str, str, str, Mapping[str, Any], int]] = [  # service, operation, list, page size, of 53
    ("application-autoscaling", "describe_scalable_targets", "ScalableTargets", {**NAMESPACE}, 50),
    ("sagemaker", "list_endpoints", "Endpoints", {}, 10),
    ("cloudwatch", "describe_alarms", "MetricAlarms", {"MaxRecords": 50}, 50),
    ("resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", {"ResourcesPerPage": 20}, 20),
]


@pytest.mark.parametrize(
    ("service", "operation", "key", "params", "size"), PAGED, ids=[f"{case[0]} {case[1]}" for case in PAGED]
)
def test_paginators_reach_the_end(service: str, operation: str, key: str, params: Mapping[str, Any], size: int) -> None:
    account = account_with(*(f"endpoint-{n:02}" for n in range(53)))
    for name in sorted(account.sagemaker.endpoints):
        account.endpoint(name).tags["team"] = "x"
        account.call(
            "application-autoscaling", "RegisterScalableTarget", {**variant(name), "MinCapacity": 1, "MaxCapacity": 2}
        )
        alarm = {"AlarmName": name, "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60}
        rule = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
        account.call("cloudwatch", "PutMetricAlarm", {**alarm, **rule})
    with Plant(account) as plant:
        client: Any = plant.client(service)
        pages = [page[key] for page in client.get_paginator(operation).paginate(**params)]
        calls = len(plant.calls)
    assert [len(page) for page in pages] == [size] * (53 // size) + [53 % size]
    assert calls == len(pages)
    assert len({json.dumps(item, default=str) for page in pages for item in page}) == 53


class TestErrors:
    def test_code_message_status_and_request_id(self, plant: Plant) -> None:
        sagemaker: Any = plant.client("sagemaker")
        with pytest.raises(ClientError) as caught:
            sagemaker.describe_endpoint(EndpointName="absent")
        error = caught.value.response
        assert error["Error"]["Code"] == "ValidationException"
        assert error["Error"]["Message"].startswith("Could not find endpoint")
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error["ResponseMetadata"]["RequestId"]
        assert plant.calls[-1].error == "ValidationException"

    def test_modelled_errors_have_their_class(self, plant: Plant) -> None:
        aas: Any = plant.client("application-autoscaling")
        with pytest.raises(aas.exceptions.ObjectNotFoundException):
            aas.deregister_scalable_target(**variant("ranker"))

    def test_cloudwatch_keeps_the_codes_of_its_query_days(self, plant: Plant, wire: HTTPConnection) -> None:
        cloudwatch: Any = plant.client("cloudwatch")
        with pytest.raises(cloudwatch.exceptions.ResourceNotFound) as caught:
            cloudwatch.delete_alarms(AlarmNames=["absent"])
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
        response, _ = post(wire, "GraniteServiceVersion20100801.DeleteAlarms", b'{"AlarmNames": ["absent"]}')
        assert response.getheader("x-amzn-query-error") == "ResourceNotFound;Sender"

    @pytest.mark.parametrize(
        ("target", "code", "status"),
        [
            ("SageMaker.ListEndpoints", "ThrottlingException", 400),
            ("SageMaker.ListEndpoints", "InternalFailure", 500),
            ("GraniteServiceVersion20100801.DescribeAlarms", "InternalServiceError", 500),
            ("GraniteServiceVersion20100801.DescribeAlarms", "ConcurrentModificationException", 429),
        ],
    )
    def test_a_scripted_failure_comes_once_with_the_status_of_its_kind(
        self, plant: Plant, wire: HTTPConnection, target: str, code: str, status: int
    ) -> None:
        service = "sagemaker" if target == LIST_ENDPOINTS else "cloudwatch"
        plant.account.fail_next(service, target.split(".")[1], code, "not now")
        assert [post(wire, target, b"{}")[0].status for _ in range(2)] == [status, 200]
        assert [call.error for call in plant.calls] == [code, ""]

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("SageMaker.ListModels", "sagemaker does not simulate ListModels"),
            ("SageMaker.MakeCoffee", "sagemaker has no operation MakeCoffee"),
            ("DynamoDB_20120810.GetItem", "nothing here answers DynamoDB_20120810.GetItem"),
            (None, "only AWS JSON with X-Amz-Target is understood here, this came as text/plain"),
        ],
        ids=str,
    )
    def test_an_unknown_operation_is_named(self, wire: HTTPConnection, target: str | None, said: str) -> None:
        response, body = post(wire, target, b"{}", **{"Content-Type": "text/plain"})
        assert response.status == 400
        assert json.loads(body) == {"__type": "UnknownOperationException", "message": said}

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"{", "SerializationException"),
            (b"[]", "SerializationException"),
            (b"\xff", "SerializationException"),
            (b'{"MaxResults": "ten"}', "ValidationException"),
            (b'{"MaxResults": 1000}', "ValidationException"),
            (b'{"CreationTimeAfter": "yesterday"}', "ValidationException"),
            (b'{"Shoesize": 44}', "ValidationException"),
        ],
    )
    def test_a_wrong_body_is_refused(self, wire: HTTPConnection, body: bytes, code: str) -> None:
        response, said = post(wire, LIST_ENDPOINTS, body)
        assert (response.status, json.loads(said)["__type"]) == (400, code)

    def test_nobody_is_answered_without_a_key(self, wire: HTTPConnection) -> None:
        response, body = post(wire, LIST_ENDPOINTS, b"{}", Authorization="")
        assert (response.status, json.loads(body)["__type"]) == (400, "MissingAuthenticationTokenException")

    def test_what_is_compressed_badly_is_refused(self, wire: HTTPConnection) -> None:
        _, body = post(wire, LIST_ENDPOINTS, b"plain", **{"Content-Encoding": "gzip"})
        assert json.loads(body)["__type"] == "SerializationException"

    def test_a_bug_of_ours_never_looks_like_aws(
        self, plant: Plant, wire: HTTPConnection, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plant.account.endpoint("ranker").created = None  # type: ignore[assignment]  # the bug
        plant.account.add_endpoint(
            name="other", workload=RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0), instance_count=1
        )
        response, body = post(wire, LIST_ENDPOINTS, b"{}")
        assert (response.status, response.getheader("Content-Type")) == (500, "text/plain")
        assert b"TypeError" in body
        assert "TypeError" in capsys.readouterr().err
        assert post(wire, "SageMaker.DescribeEndpoint", b'{"EndpointName": "other"}')[0].status == 200


class TestConnections:
    def test_one_connection_carries_many_calls_good_and_bad(self, wire: HTTPConnection) -> None:
        post(wire, LIST_ENDPOINTS, b"{}")
        port = wire.sock.getsockname()
        for body in (b"{}", b"{", b'{"MaxResults": 1000}', b"{}"):
            post(wire, LIST_ENDPOINTS, body)
            assert wire.sock.getsockname() == port

    def test_callers_at_once_each_get_their_own_answer(self) -> None:
        """Eight callers read, write and record; the account itself sees one call after the other."""
        names = [f"endpoint-{n}" for n in range(8)]
        with Plant(account_with(*names)) as plant:
            clients: dict[str, Any] = {name: plant.client("application-autoscaling", f"AKID{name}") for name in names}

            def work(name: str) -> list[int]:
                seen = []
                for maximum in range(2, 22):
                    clients[name].register_scalable_target(**variant(name), MinCapacity=1, MaxCapacity=maximum)
                    asked = {**NAMESPACE, "ResourceIds": [variant(name)["ResourceId"]]}
                    (target,) = clients[name].describe_scalable_targets(**asked)["ScalableTargets"]
                    seen.append(target["MaxCapacity"])
                return seen

            with ThreadPoolExecutor(len(names)) as pool:
                assert [*pool.map(work, names)] == [[*range(2, 22)]] * 8
            assert len(plant.calls) == len(plant.account.calls) == 8 * 40
            assert all(call.access_key.removeprefix("AKID") in str(call.params) for call in plant.calls)

    def test_nothing_is_answered_while_a_minute_is_played(self, plant: Plant) -> None:
        sagemaker: Any = plant.client("sagemaker")
        with ThreadPoolExecutor(1) as pool:
            with plant.lock:
                answer = pool.submit(sagemaker.describe_endpoint, EndpointName="ranker")
                plant.account.deploy("ranker", 5)
                assert not answer.done()
            assert answer.result(timeout=10)["EndpointStatus"] == "Updating"

    def test_a_stopped_plant_answers_nobody_and_can_start_again(self) -> None:
        plant = Plant(account_with("ranker"))
        with plant, closing(HTTPConnection(urlsplit(plant.url).netloc, timeout=10)) as kept:
            post(kept, LIST_ENDPOINTS, b"{}")
            plant.stop()
            with pytest.raises(ConnectionError):
                post(kept, LIST_ENDPOINTS, b"{}")
        with pytest.raises(RuntimeError, match="not running"):
            _ = plant.url
        with plant:
            assert plant.client("sagemaker").meta.endpoint_url == plant.url
            with pytest.raises(RuntimeError, match="running already"):
                plant.start()


class TestWhoCalls:
    def test_each_call_is_recorded_with_its_caller_and_time(self, plant: Plant) -> None:
        client: Any = plant.client("sagemaker", "ASIAFLEETSYNC")
        client.describe_endpoint(EndpointName="ranker")
        (call,) = plant.calls
        assert (call.access_key, call.service, call.operation) == ("ASIAFLEETSYNC", "sagemaker", "DescribeEndpoint")
        assert (dict(call.params), call.now, call.error) == ({"EndpointName": "ranker"}, START, "")
        assert call.user_agent.startswith("Botocore/")
        assert plant.account.calls[-1].caller == "ASIAFLEETSYNC"
        assert plant.account.caller == ""

    def test_the_record_can_be_left_out(self) -> None:
        with Plant(account_with("ranker"), record_calls=False) as plant:
            client: Any = plant.client("sagemaker")
            client.describe_endpoint(EndpointName="ranker")
            assert plant.calls == []

    def test_who_may_not_is_told_so_and_changes_nothing(self) -> None:
        asked: list[tuple[str, str, str, str]] = []

        def authorise(key: str, service: str, operation: str, params: Mapping[str, Any]) -> bool:
            asked.append((key, service, operation, params["EndpointName"]))
            return operation.startswith("Describe")

        with Plant(account_with("ranker"), authorise=authorise) as plant:
            client: Any = plant.client("sagemaker", "AKID")
            client.describe_endpoint(EndpointName="ranker")
            wish = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 9}]
            with pytest.raises(ClientError, match=r"AccessDeniedException.*UpdateEndpointWeightsAndCapacities"):
                client.update_endpoint_weights_and_capacities(EndpointName="ranker", DesiredWeightsAndCapacities=wish)
            assert plant.account.endpoint("ranker").desired_count == 2
            assert plant.calls[-1].error == "AccessDeniedException"
        assert [call[2] for call in asked] == ["DescribeEndpoint", "UpdateEndpointWeightsAndCapacities"]
        assert {call[:2] for call in asked} == {("AKID", "sagemaker")}


def test_a_developers_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real-looking keys, a profile, a foreign endpoint, FIPS and dead proxies: still only the plant hears of it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "token",
        "AWS_PROFILE": "prod",
        "AWS_CONFIG_FILE": "nowhere/config",
        "AWS_REGION": "us-gov-west-1",
        "AWS_DEFAULT_REGION": "us-gov-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_SAGEMAKER": "http://127.0.0.1:9",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "nowhere/bundle.pem",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    with Plant(account_with("ranker")) as plant:
        client: Any = plant.client("sagemaker")
        client.describe_endpoint(EndpointName="ranker")
        assert [call.access_key for call in plant.calls] == ["test"]
