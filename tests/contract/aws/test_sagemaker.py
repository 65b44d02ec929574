"""What the core may expect of SageMaker and of discovery by tag."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.aws.sagemaker import SageMaker
from core.errors import ObservationError, TargetBusyError, TargetNotFoundError
from core.model import Capacity, Dimension, Missing, ScalableTarget, Serving
from core.ports import Variant
from simulator.components import Managed
from simulator.workload import ComponentWorkload, NoWorkload
from tests.contract.aws.accounts import Account, Simulated, serving_of
from tests.contract.aws.stubs import Client, client, scripted

TAGGING = "resourcegroupstaggingapi"
ORDERS = ScalableTarget.variant("orders", "AllTraffic")
MADE = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, 1, tzinfo=UTC)
CHAT = ScalableTarget.component("chat-8b")
CONCURRENCY = ScalableTarget.variant("orders", "AllTraffic", Dimension.CONCURRENCY)
LESS = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
ENDPOINT: dict[str, Any] = {
    "EndpointName": "orders",
    "EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/orders",
    "EndpointConfigName": "orders-config",
    "EndpointStatus": "InService",
    "CreationTime": MADE,
    "LastModifiedTime": MADE,
}
ASYNC = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://out/"}}}
CONFIG: dict[str, Any] = {
    "EndpointConfigName": "orders-config",
    "EndpointConfigArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/orders-config",
    "CreationTime": 0,
}


@pytest.fixture
def sagemaker(account: Account) -> SageMaker:
    return serving_of(account)


def counts(capacity: Capacity | Missing) -> tuple[int, int, str]:
    """Return current and desired instances, and the status."""
    assert isinstance(capacity, Capacity)
    return capacity.current, capacity.desired, capacity.status


def describing(
    endpoint: dict[str, Any], config: dict[str, Any] | None = None, components: dict[str, str] | None = None
) -> tuple[Variant, ...]:
    """Return what an endpoint hosts that SageMaker describes so; without `config` that one was deleted.

    `components` is the variant by inference component, None where nobody asks for them; `lora...` are adapters.
    """
    with scripted("sagemaker") as (c, script):
        script.add_response("describe_endpoint", {**ENDPOINT, **endpoint})
        if config is None:
            text = 'Could not find endpoint configuration "arn:aws:sagemaker:...:endpoint-config/orders-config".'
            script.add_client_error("describe_endpoint_config", "ValidationException", text)
        else:
            script.add_response("describe_endpoint_config", {**CONFIG, **config})
        if components is not None:
            name = endpoint.get("EndpointName", "orders")
            listed = [
                {
                    "InferenceComponentName": component,
                    "InferenceComponentArn": f"arn:aws:sagemaker:eu-central-1:123456789012:inference-component/{component}",
                    "EndpointName": name,
                    "EndpointArn": ENDPOINT["EndpointArn"],
                    "VariantName": variant,
                    "CreationTime": 0,
                    "LastModifiedTime": 0,
                }
                for component, variant in components.items()
            ]
            asked = {"EndpointNameEquals": name}
            script.add_response("list_inference_components", {"InferenceComponents": listed}, asked)
            hosted = {variant["VariantName"] for variant in endpoint["ProductionVariants"]}
            for each in (component for component in listed if component["VariantName"] in hosted):
                base = {"BaseInferenceComponentName": "chat-8b"}
                adapts = {"Specification": base} if each["InferenceComponentName"].startswith("lora") else {}
                script.add_response("describe_inference_component", {**each, **adapts})
        return SageMaker(lambda: c, lambda: c).variants("orders")


class TestCapacity:
    def test_counts_and_status(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 3)
        assert counts(sagemaker.capacity(ORDERS)) == (3, 3, "InService")

    def test_when_it_was_made_and_by_which_configuration(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 3)
        seen = sagemaker.capacity(ORDERS)
        assert isinstance(seen, Capacity)
        assert seen.created_at is not None
        assert seen.created_at.tzinfo is UTC
        assert str(seen.config).startswith("orders-config")

    def test_a_variant_that_is_not_there(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 3)
        assert isinstance(sagemaker.capacity(ScalableTarget.variant("orders", "blue")), Missing)

    @pytest.mark.parametrize(
        ("_when", "variant", "want"),
        [
            (
                "a change is in flight",
                {"CurrentInstanceCount": 2, "DesiredInstanceCount": 5},
                Capacity(2, 5, "Updating", MADE, "orders-config"),
            ),
            (
                "scaled to zero",
                {"CurrentInstanceCount": 0, "DesiredInstanceCount": 0},
                Capacity(0, 0, "Updating", MADE, "orders-config"),
            ),
            (
                "a serverless variant counts no instances",
                {"CurrentServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}},
                Missing("variant AllTraffic of orders does not exist or counts no instances"),
            ),
        ],
    )
    def test_as_described(self, _when: str, variant: dict[str, Any], want: Capacity | Missing) -> None:
        described = {"EndpointStatus": "Updating", "ProductionVariants": [{"VariantName": "AllTraffic", **variant}]}
        with scripted("sagemaker") as (c, script):
            script.add_response("describe_endpoint", {**ENDPOINT, **described})
            assert SageMaker(lambda: c, lambda: c).capacity(ORDERS) == want

    @pytest.mark.parametrize(
        ("variant", "want"),
        [
            (
                {
                    "CurrentServerlessConfig": LESS | {"ProvisionedConcurrency": 2},
                    "DesiredServerlessConfig": LESS | {"ProvisionedConcurrency": 5},
                },
                Capacity(2, 5, "InService"),
            ),
            ({"CurrentServerlessConfig": LESS | {"ProvisionedConcurrency": 2}}, Capacity(2, 2, "InService")),
            ({"CurrentServerlessConfig": LESS}, Capacity(0, 0, "InService")),
            (
                {"CurrentInstanceCount": 2},
                Missing("variant AllTraffic of orders does not exist or counts no provisioned concurrency"),
            ),
        ],
    )
    def test_provisioned_concurrency(self, variant: dict[str, Any], want: Capacity | Missing) -> None:
        described = {"ProductionVariants": [{"VariantName": "AllTraffic", **variant}]}
        with scripted("sagemaker") as (c, script):
            script.add_response("describe_endpoint", {**ENDPOINT, **described})
            seen = SageMaker(lambda: c, lambda: c).capacity(CONCURRENCY)
        assert seen == want if isinstance(want, Missing) else counts(seen) == counts(want)

    @pytest.mark.parametrize(
        ("described", "want"),
        [
            (
                {
                    "RuntimeConfig": {"CurrentCopyCount": 1, "DesiredCopyCount": 3},
                    "InferenceComponentStatus": "Updating",
                },
                Capacity(1, 3, "Updating"),
            ),
            (
                {
                    "RuntimeConfig": {"CurrentCopyCount": 0, "DesiredCopyCount": 0},
                    "InferenceComponentStatus": "InService",
                },
                Capacity(0, 0, "InService"),
            ),
            ({"InferenceComponentStatus": "Creating"}, Capacity(0, 0, "Creating")),
        ],
    )
    def test_copies(self, described: dict[str, Any], want: Capacity) -> None:
        names = {
            "InferenceComponentName": "chat-8b",
            "InferenceComponentArn": "arn:aws:sagemaker:eu-central-1:123456789012:inference-component/chat-8b",
            "EndpointName": "orders",
            "EndpointArn": ENDPOINT["EndpointArn"],
            "CreationTime": MADE,
            "LastModifiedTime": 0,
        }
        with scripted("sagemaker") as (c, script):
            script.add_response(
                "describe_inference_component", {**names, **described}, {"InferenceComponentName": "chat-8b"}
            )
            seen = SageMaker(lambda: c, lambda: c).capacity(CHAT)
        assert counts(seen) == counts(want)
        assert isinstance(seen, Capacity)
        assert seen.created_at == MADE

    def test_a_component_that_is_gone(self) -> None:
        with scripted("sagemaker") as (c, script):
            text = 'Could not find inference component "chat-8b".'
            script.add_client_error("describe_inference_component", "ValidationException", text)
            assert SageMaker(lambda: c, lambda: c).capacity(CHAT) == Missing(
                "inference component chat-8b does not exist"
            )

    def test_an_endpoint_that_is_being_made_has_no_variants_yet(self) -> None:
        with scripted("sagemaker") as (c, script):
            script.add_response("describe_endpoint", {**ENDPOINT, "EndpointStatus": "Creating"})
            assert isinstance(SageMaker(lambda: c, lambda: c).capacity(ORDERS), Missing)


class TestRunning:
    """Endpoints at rest are described in turns; in between a list says whether one of them changed."""

    def test_is_what_each_is_described_as(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 3)
        account.add_endpoint("documents", 1)
        wanted = [ORDERS, ScalableTarget.variant("documents", "AllTraffic"), ScalableTarget.variant("gone", "x")]
        described = {target: sagemaker.capacity(target) for target in wanted}
        for minute in range(7):
            assert sagemaker.running(wanted, NOON + timedelta(minutes=minute)) == described

    def test_a_change_is_seen_at_once(self, strict_account: Account) -> None:
        sagemaker, wanted = serving_of(strict_account), fleet(strict_account, 4)
        sagemaker.running(wanted, NOON)
        sagemaker.set_count(wanted[1], 5)
        seen = sagemaker.running(wanted, NOON)
        assert [counts(as_read(seen[target])) for target in wanted[:2]] == [(3, 3, "InService"), (3, 5, "Updating")]

    def test_a_change_that_came_and_went_between_two_looks_is_seen(self) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), fleet(account, 4)
        sagemaker.running(wanted, NOON)
        sagemaker.set_count(wanted[1], 2)
        while account.account.endpoint("e1").status != "InService":
            account.account.advance()
        assert counts(as_read(sagemaker.running(wanted, NOON)[wanted[1]])) == (2, 2, "InService")

    def test_an_endpoint_made_anew_under_the_same_name_is_another(self) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), fleet(account, 4)
        before = as_read(sagemaker.running(wanted, NOON)[wanted[1]])
        account.account.advance()
        account.account.sagemaker.endpoints.pop("e1")
        assert isinstance(sagemaker.running(wanted, NOON)[wanted[1]], Missing)
        account.account.sagemaker.configs.clear()
        account.add_endpoint("e1", 3)
        after = as_read(sagemaker.running(wanted, NOON)[wanted[1]])
        assert isinstance(before, Capacity)
        assert isinstance(after, Capacity)
        assert before.created_at != after.created_at

    @pytest.mark.parametrize(
        ("targets", "each_minute", "why"),
        [
            (1, {"DescribeEndpoint": 5}, "a list of one costs what it saves"),
            (
                2,
                {"DescribeEndpoint": 2, "ListEndpoints": 4},
                "when one's turn comes, the other is as cheap to describe",
            ),
            (10, {"DescribeEndpoint": 10, "ListEndpoints": 5}, "each once in five minutes"),
            (250, {"DescribeEndpoint": 250, "ListEndpoints": 5 * 3}, "a hundred on a page"),
        ],
    )
    def test_calls_of_five_minutes(self, targets: int, each_minute: dict[str, int], why: str) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), fleet(account, targets)
        spent = []
        for minute in range(15):
            before = len(account.account.calls)
            sagemaker.running(wanted, NOON + timedelta(minutes=minute, seconds=minute % 3))
            spent.append(Counter(call.operation for call in account.account.calls[before:]))
        assert spent[0] == {"DescribeEndpoint": targets}, "nothing is known of them"
        for calls in spent[5:]:
            assert calls["DescribeEndpoint"] <= max(2, -(-targets // 5)), "in turns, not all at once"
        assert sum(spent[10:], Counter()) == each_minute, why

    def test_inference_components_are_described_in_turns_too(self) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), components(account, 10)
        described = {target: sagemaker.capacity(target) for target in wanted}
        spent = []
        for minute in range(10):
            before = len(account.account.calls)
            assert sagemaker.running(wanted, NOON + timedelta(minutes=minute)) == described
            spent.append(Counter(call.operation for call in account.account.calls[before:]))
        assert spent[0] == {"DescribeInferenceComponent": 10}
        assert all(calls["DescribeInferenceComponent"] <= 2 for calls in spent[5:])
        assert sum(spent[5:], Counter()) == {"DescribeInferenceComponent": 10, "ListInferenceComponents": 5}

    def test_a_change_of_copies_is_seen_at_once_and_when_it_came_and_went(self) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), components(account, 4)
        sagemaker.running(wanted, NOON)
        sagemaker.set_count(wanted[1], 2)
        assert counts(as_read(sagemaker.running(wanted, NOON)[wanted[1]])) == (1, 2, "Updating")
        sagemaker.running(wanted, NOON)
        while account.account.sagemaker.components.by_name["c1"].change:
            account.account.advance()
        assert counts(as_read(sagemaker.running(wanted, NOON)[wanted[1]])) == (2, 2, "InService")
        sagemaker.set_count(wanted[2], 2)
        while account.account.sagemaker.components.by_name["c2"].change:
            account.account.advance()
        assert counts(as_read(sagemaker.running(wanted, NOON)[wanted[2]])) == (2, 2, "InService")

    def test_others_endpoints_are_not_paged_through_for_a_few_of_ours(self) -> None:
        account = Simulated()
        wanted = fleet(account, 8)
        for number in range(1000):
            account.add_endpoint(f"x{number}", 1)
        sagemaker = serving_of(account)
        for _ in range(2):
            sagemaker.running(wanted, NOON)
        calls = Counter(call.operation for call in account.account.calls)
        assert calls == {"DescribeEndpoint": 8 + 8, "ListEndpoints": 4}

    @pytest.mark.parametrize("fault", ["refused", "empty page", "a page is missing", "other times"])
    def test_in_doubt_each_is_described(self, fault: str) -> None:
        with scripted("sagemaker") as (c, script):
            sagemaker, wanted = (
                SageMaker(lambda: c, lambda: c),
                [ScalableTarget.variant(f"e{i}", "AllTraffic") for i in range(4)],
            )
            for count in (3, 5):
                if count == 5:
                    _list(script, fault)
                for number in range(4):
                    described = {
                        "VariantName": "AllTraffic",
                        "CurrentInstanceCount": count,
                        "DesiredInstanceCount": count,
                    }
                    answer = {**ENDPOINT, "EndpointName": f"e{number}", "ProductionVariants": [described]}
                    script.add_response("describe_endpoint", answer, {"EndpointName": f"e{number}"})
                seen = sagemaker.running(wanted, NOON)
                assert [counts(as_read(seen[target])) for target in wanted] == [(count, count, "InService")] * 4

    def test_one_that_cannot_be_read_keeps_no_other_from_being(self) -> None:
        account = Simulated()
        sagemaker, wanted = serving_of(account), fleet(account, 3)
        account.account.fail_next("sagemaker", "DescribeEndpoint", "InternalFailure", "try again")
        seen = sagemaker.running(wanted, NOON)
        assert isinstance(seen[wanted[0]], ObservationError)
        assert [counts(as_read(seen[target])) for target in wanted[1:]] == [(3, 3, "InService")] * 2


def fleet(account: Account, size: int) -> list[ScalableTarget]:
    """Add so many endpoints of three instances and return their variants."""
    for number in range(size):
        account.add_endpoint(f"e{number}", 3)
    return [ScalableTarget.variant(f"e{number}", "AllTraffic") for number in range(size)]


def components(account: Simulated, size: int) -> list[ScalableTarget]:
    """Add so many inference components of one copy on one endpoint and return them."""
    account.account.add_endpoint(
        name="llm", workload=NoWorkload(), instance_count=size, managed=Managed(minimum=0, maximum=2 * size)
    )
    silence = ComponentWorkload(per_minute_requests=[], capacity_per_instance=30)
    for number in range(size):
        account.account.add_component(name=f"c{number}", endpoint="llm", workload=silence, copies=1)
    return [ScalableTarget.component(f"c{number}") for number in range(size)]


def as_read(seen: Capacity | Missing | ObservationError) -> Capacity | Missing:
    assert not isinstance(seen, ObservationError)
    return seen


def _list(script: Any, fault: str) -> None:
    """Let ListEndpoints show no endpoint as it was described."""
    if fault == "refused":
        script.add_client_error("list_endpoints", "AccessDeniedException", "not authorized")
        return
    moved = MADE + timedelta(seconds=1)
    listed = [{**ENDPOINT, "EndpointName": f"e{number}", "LastModifiedTime": moved} for number in range(4)]
    shown = [{key: value for key, value in each.items() if key != "EndpointConfigName"} for each in listed]
    page = {"Endpoints": shown if fault == "other times" else []}
    script.add_response("list_endpoints", {**page, "NextToken": "n"} if fault == "empty page" else page)
    if fault == "empty page":
        script.add_response("list_endpoints", {"Endpoints": []}, {"NextToken": "n", "MaxResults": 100})


class TestVariants:
    def test_instance_type_comes_from_the_configuration(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 1)
        assert sagemaker.variants("orders") == (
            Variant(target=ORDERS, instance_type="ml.m5.xlarge", serving=Serving.REALTIME),
        )

    def test_an_asynchronous_configuration_makes_a_queue(self) -> None:
        one = {"ProductionVariants": [{"VariantName": "AllTraffic", "InstanceType": "ml.g5.xlarge"}]}
        described = describing({"ProductionVariants": [{"VariantName": "AllTraffic"}], **ASYNC}, one)
        assert described == (Variant(target=ORDERS, instance_type="ml.g5.xlarge", serving=Serving.ASYNC),)

    def test_a_deleted_configuration_leaves_the_type_unknown(self) -> None:
        described = describing({"ProductionVariants": [{"VariantName": "AllTraffic"}]}, components={})
        assert described == (Variant(target=ORDERS, instance_type=None, serving=Serving.REALTIME),)

    def test_instance_pools_have_no_single_type(self) -> None:
        pools = {"ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": "orders"}]}
        described = describing({"ProductionVariants": [{"VariantName": "AllTraffic"}]}, pools)
        assert described == (Variant(target=ORDERS, instance_type=None, serving=Serving.REALTIME),)

    def test_the_name_is_spelt_as_sagemaker_spells_it(self) -> None:
        """ARNs, and so what `tagged` finds, have it in lower case; AAS and CloudWatch want it as it was given."""
        one = {"EndpointName": "Orders", "ProductionVariants": [{"VariantName": "AllTraffic"}]}
        described = describing(one, components={"Chat-8B": "AllTraffic"})
        assert [variant.target for variant in described] == [
            ScalableTarget.variant("Orders", "AllTraffic"),
            ScalableTarget.component("Chat-8B"),
        ]

    def test_an_adapter_has_no_copies_and_is_not_a_target(self) -> None:
        one = {"ProductionVariants": [{"VariantName": "AllTraffic"}]}
        described = describing(one, components={"chat-8b": "AllTraffic", "lora-fr": "AllTraffic"})
        assert [variant.target for variant in described] == [ORDERS, CHAT]

    def test_a_serverless_variant_counts_concurrency(self) -> None:
        one = {"ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": "orders"}]}
        less = {"CurrentServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
        described = describing({"ProductionVariants": [{"VariantName": "AllTraffic", **less}]}, one)
        assert described == (Variant(target=CONCURRENCY, instance_type=None, serving=Serving.SERVERLESS),)

    @pytest.mark.parametrize(
        ("scaling", "minimum"),
        [
            ({"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 4}}, 0),
            ({"ManagedInstanceScaling": {"Status": "ENABLED", "MaxInstanceCount": 4}}, 1),  # nobody promises 0
            ({"ManagedInstanceScaling": {"Status": "DISABLED", "MinInstanceCount": 0}}, None),
            ({}, None),
        ],
    )
    def test_components_bring_the_models_of_a_variant_without_one(
        self, scaling: dict[str, Any], minimum: int | None
    ) -> None:
        one = {"ProductionVariants": [{"VariantName": "AllTraffic", "InstanceType": "ml.g5.xlarge"}]}
        variant = {"VariantName": "AllTraffic", **scaling}
        described = describing({"ProductionVariants": [variant]}, one, {"chat-8b": "AllTraffic", "gone": "blue"})
        common: dict[str, Any] = {"instance_type": "ml.g5.xlarge", "managed_minimum": minimum}
        assert described == (
            Variant(target=ORDERS, serving=Serving.REALTIME, **common),
            Variant(target=CHAT, serving=Serving.INFERENCE_COMPONENT, **common),
        )


class TestTagged:
    def test_tags_by_endpoint(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 1, profile="web")
        account.add_endpoint("other", 1)
        assert {name: tags for name, tags in sagemaker.tagged().items() if tags} == {
            "orders": {"tidegate:profile": "web"}
        }

    def test_pages_are_joined(self) -> None:
        with scripted("resourcegroupstaggingapi") as (c, script):
            for name, token in [("orders", "more"), ("doc-ocr", "")]:
                arn = f"arn:aws:sagemaker:eu-central-1:123456789012:endpoint/{name}"
                tags = [{"Key": "team", "Value": "x"}, {"Key": "aws:cloudformation:stack-name", "Value": f"for-{name}"}]
                page = {"ResourceTagMappingList": [{"ResourceARN": arn, "Tags": tags}], "PaginationToken": token}
                asked = {
                    "ResourceTypeFilters": ["sagemaker:endpoint"],
                    **({} if token else {"PaginationToken": "more"}),
                }
                script.add_response("get_resources", page, asked)
            assert SageMaker(lambda: c, lambda: c).tagged() == {"orders": {"team": "x"}, "doc-ocr": {"team": "x"}}


class TestSetCount:
    def test_one_variant_is_asked_for_a_count_and_keeps_its_weight(self) -> None:
        with scripted("sagemaker") as (c, script):
            script.add_response(
                "update_endpoint_weights_and_capacities",
                {"EndpointArn": ENDPOINT["EndpointArn"]},
                {
                    "EndpointName": "orders",
                    "DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}],
                },
            )
            SageMaker(lambda: c, lambda: c).set_count(ORDERS, 2)

    def test_a_component_is_asked_for_copies(self) -> None:
        with scripted("sagemaker") as (c, script):
            arn = "arn:aws:sagemaker:eu-central-1:123456789012:inference-component/chat-8b"
            asked = {"InferenceComponentName": "chat-8b", "DesiredRuntimeConfig": {"CopyCount": 2}}
            script.add_response("update_inference_component_runtime_config", {"InferenceComponentArn": arn}, asked)
            SageMaker(lambda: c, lambda: c).set_count(CHAT, 2)

    def test_provisioned_concurrency_has_no_count_to_set(self) -> None:
        with pytest.raises(ValueError, match="only moved by its bounds and native policies"):
            SageMaker(lambda: client("sagemaker"), lambda: client(TAGGING)).set_count(CONCURRENCY, 2)

    def test_the_count_is_what_is_desired_then(self, sagemaker: SageMaker, account: Account) -> None:
        account.add_endpoint("orders", 3)
        sagemaker.set_count(ORDERS, 2)
        seen = sagemaker.capacity(ORDERS)
        assert isinstance(seen, Capacity)
        assert seen.desired == 2

    def test_one_change_at_a_time(self, strict_account: Account) -> None:
        strict_account.add_endpoint("orders", 3)
        sagemaker = serving_of(strict_account)
        sagemaker.set_count(ORDERS, 2)
        assert counts(sagemaker.capacity(ORDERS)) == (3, 2, "Updating")
        with pytest.raises(TargetBusyError):
            sagemaker.set_count(ORDERS, 1)

    def test_an_endpoint_that_is_gone(self, strict_account: Account) -> None:
        sagemaker = serving_of(strict_account)
        with pytest.raises(TargetNotFoundError):
            sagemaker.set_count(ORDERS, 2)
        assert isinstance(sagemaker.capacity(ORDERS), Missing)
        assert sagemaker.variants("orders") == ()


def test_clients_are_made_when_first_needed() -> None:
    """Loading SageMaker's model costs 100 ms, which an invocation that changes nothing need not pay."""
    made: list[str] = []

    def make(service: str) -> Client:
        made.append(service)
        return client(service)

    sagemaker = SageMaker(lambda: make("sagemaker"), lambda: make("resourcegroupstaggingapi"))
    assert made == []
    with scripted("sagemaker") as (_, script):
        script.add_response("describe_endpoint", ENDPOINT)
        sagemaker.capacity(ORDERS)
    assert made == ["sagemaker"]
