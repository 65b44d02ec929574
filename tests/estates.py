"""A simulated account with endpoints and what people registered on them by hand, by CDK or by Terraform."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.workload import RealtimeWorkload
from tests.contract.aws.accounts import Idle

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
INSTANCES = "sagemaker:variant:DesiredInstanceCount"
COPIES = "sagemaker:inference-component:DesiredCopyCount"


@dataclass
class People:
    """An account, and what its people do in it. Also a source of clients: Service Quotas says 500, or what is set."""

    account: SimulatedAccount = field(default_factory=lambda: SimulatedAccount(NOW))
    quota: float | None = 500.0
    """None: Service Quotas refuses to say."""

    def of(self, service: str) -> Any:
        """Return a client, as `cli.options.Clients` does."""
        return self if service == "service-quotas" else self.account.client(service)  # type: ignore[call-overload]  # any service

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        assert (ServiceCode, QuotaCode) == ("application-autoscaling", "L-1AAF0700")
        if self.quota is None:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
            raise ClientError(error, "GetServiceQuota")  # type: ignore[arg-type]  # as much of it as anybody reads
        return {"Quota": {"Value": self.quota}}

    def endpoint(self, name: str, *, count: int = 2, instance_type: str = "ml.m5.xlarge", **settings: Any) -> str:
        """Add an endpoint and return the resource ID of its variant."""
        settings = {"workload": Idle(), **settings}
        made = self.account.add_endpoint(name=name, instance_count=count, instance_type=instance_type, **settings)
        return made.resource_id

    def component(self, name: str, endpoint: str, *, copies: int = 1) -> str:
        """Add an inference component to an endpoint, made with managed instance scaling, and return its resource ID."""
        if endpoint not in self.account.sagemaker.endpoints:
            self.endpoint(endpoint, count=copies, instance_type="ml.g5.xlarge", managed=Managed(minimum=0, maximum=4))
        self.account.add_component(name=name, endpoint=endpoint, workload=Idle(), copies=copies)
        return f"inference-component/{name}"

    def register(self, resource_id: str, low: int, high: int, **more: Any) -> None:
        """Register a scalable target."""
        aas = self.account.client("application-autoscaling")
        aas.register_scalable_target(**names(resource_id), MinCapacity=low, MaxCapacity=high, **more)

    def track(self, resource_id: str, name: str, configuration: dict[str, Any]) -> None:
        """Put a target tracking policy."""
        self.account.client("application-autoscaling").put_scaling_policy(
            **names(resource_id),
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,  # type: ignore[arg-type]  # as people write it
        )

    def step(self, resource_id: str, name: str, configuration: dict[str, Any], *alarms: dict[str, Any]) -> None:
        """Put a step policy, and the alarms that call it."""
        policy = self.account.client("application-autoscaling").put_scaling_policy(
            **names(resource_id),
            PolicyName=name,
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration=configuration,  # type: ignore[arg-type]  # as people write it
        )
        for each in alarms:
            self.account.client("cloudwatch").put_metric_alarm(**each, AlarmActions=[policy["PolicyARN"]])

    def schedule(self, resource_id: str, name: str, when: str, action: dict[str, int], **more: Any) -> None:
        """Put a scheduled action."""
        self.account.client("application-autoscaling").put_scheduled_action(
            **names(resource_id),
            ScheduledActionName=name,
            Schedule=when,
            ScalableTargetAction=action,  # type: ignore[arg-type]  # as people write it
            **more,
        )


def names(resource_id: str) -> Any:
    """Return the three parameters that name a target in every call."""
    dimension = COPIES if resource_id.startswith("inference-component/") else INSTANCES
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource_id, "ScalableDimension": dimension}


def by_variant(endpoint: str, variant: str = "AllTraffic") -> list[dict[str, str]]:
    """Return the dimension set of a variant."""
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]


def by_endpoint(endpoint: str) -> list[dict[str, str]]:
    """Return the dimension set of an asynchronous endpoint's queue."""
    return [{"Name": "EndpointName", "Value": endpoint}]


def requests(target: float, **more: Any) -> dict[str, Any]:
    """Return target tracking of requests an instance."""
    predefined = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {"TargetValue": target, "PredefinedMetricSpecification": predefined, **more}


def custom(target: float, metric: str, dimensions: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    """Return target tracking of a metric by its name."""
    namespace = "/aws/sagemaker/Endpoints" if metric.endswith("Utilization") else "AWS/SageMaker"
    spec = {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions, "Statistic": "Average"}
    return {"TargetValue": target, "CustomizedMetricSpecification": spec, **more}


def steps(*adjustments: tuple[float | None, float | None, int], **more: Any) -> dict[str, Any]:
    """Return a step configuration of changes in capacity, between bounds that count from the alarm's threshold."""
    names = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
    said = [{k: v for k, v in zip(names, each, strict=True) if v is not None} for each in adjustments]
    return {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": said, **more}


def alarm(name: str, metric: str, dimensions: list[dict[str, str]], threshold: float, **more: Any) -> dict[str, Any]:
    """Return an alarm that rings at or above a threshold after two minutes."""
    namespace = "/aws/sagemaker/Endpoints" if metric.endswith("Utilization") else "AWS/SageMaker"
    return {
        "AlarmName": name,
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": dimensions,
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        **more,
    }


def wake(endpoint: str) -> dict[str, Any]:
    """Return the alarm that leaves zero (facts 5.1)."""
    return alarm(f"{endpoint}-wake", "HasBacklogWithoutCapacity", by_endpoint(endpoint), 1.0)


def fleet(now: datetime = NOW) -> People:
    """Return an account with one endpoint of each kind, scaled as AWS's guides do it."""
    people = People(SimulatedAccount(now))
    serving = RealtimeWorkload(per_minute_requests=[600] * 600, capacity_per_instance=400)
    orders = people.endpoint("orders", workload=serving, tags={"team": "ranking"})
    people.register(orders, 1, 8)
    people.track(orders, "requests", requests(200.0, ScaleInCooldown=300, ScaleOutCooldown=60))
    people.schedule(orders, "morning", "cron(0 7 * * ? *)", {"MinCapacity": 4}, Timezone="Europe/Berlin")
    papers = people.endpoint("papers", count=0, instance_type="ml.g5.xlarge", asynchronous=True)
    people.register(papers, 0, 5)
    people.track(papers, "backlog", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("papers")))
    people.step(papers, "wake", steps((0.0, None, 1), MetricAggregationType="Average", Cooldown=300), wake("papers"))
    chat = people.component("chat-8b", "chat")
    people.register(chat, 0, 4)
    people.endpoint("forms", count=0, serverless=True)
    people.endpoint("hand-run")
    return people
