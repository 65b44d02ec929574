"""The account behind the wire: the project's simulator, moto's DynamoDB, and AppConfig and EventBridge as passes see them."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSPreparedRequest
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models import dynamodb_backends

from local_account.plant.server import SERVICES as SIMULATED
from local_account.plant.server import Plant
from simulator.account import SimulatedAccount
from simulator.service import ServiceError
from tests.chaos.wire import Answer, body_of
from tests.rights import ACCOUNT, REGION, STAGE

TABLE = f"tidegate-{STAGE}"
APPCONFIG = ("PolicyApplication", "PolicyEnvironment", "PolicyProfile")
DELIVERY = "application/{}/environment/{}/configuration/{}".format(*APPCONFIG)
NEXT = "the-rest"
"""A token that leads to everything."""

_MOTO = BotocoreStubber()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole cloud at one moment."""

    account: bytes
    items: bytes
    document: str
    told: tuple[tuple[str, str], ...]
    tokens: frozenset[str]

    def account_again(self) -> SimulatedAccount:
        """Return a copy of the simulated account."""
        account: SimulatedAccount = pickle.loads(self.account)  # noqa: S301 - written below
        return account

    def items_again(self) -> Any:
        """Return a copy of what stood in the table."""
        return pickle.loads(self.items)  # noqa: S301 - written below


@dataclass(kw_only=True)
class CloudAccount:
    """Answers one attempt at a time. `told` lists what EventBridge was given: detail type and override."""

    account: SimulatedAccount
    document: Mapping[str, Any]
    told: list[tuple[str, str]] = field(default_factory=list)
    _tokens: set[str] = field(default_factory=set)
    """AppConfig's, each good for one call."""

    def __post_init__(self) -> None:
        self._plant = Plant(self.account, record_calls=False)
        backend: Any = dynamodb_backends[ACCOUNT][REGION]
        if TABLE not in backend.tables:
            keys = (("pk", "HASH"), ("sk", "RANGE"))
            unused = ("throughput", "global_indexes", "indexes", "streams", "sse_specification", "warm_throughput")
            backend.create_table(
                name=TABLE,
                schema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                attr=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                billing_mode="PAY_PER_REQUEST",
                tags=[],
                deletion_protection_enabled=False,
                **dict.fromkeys(unused),
            )
        backend.tables[TABLE].items.clear()

    @property
    def items(self) -> Any:
        """What stands in the table, in moto's own shape."""
        return dynamodb_backends[ACCOUNT][REGION].tables[TABLE].items

    @property
    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """What stands in the table by partition and sort key, as DynamoDB writes it; without records of decisions."""
        return {
            pk.value: {
                sk.value: item.to_json()["Attributes"] for sk, item in rows.items() if sk.value[:9] != "DECISION#"
            }
            for pk, rows in self.items.items()
        }

    @property
    def now(self) -> datetime:
        """The simulated minute."""
        return self.account.now

    def save(self) -> Snapshot:
        """Keep everything as it is."""
        account = pickle.dumps(self.account)
        tokens = frozenset(self._tokens)
        items = pickle.dumps(dict(self.items))
        return Snapshot(account, items, json.dumps(self.document), tuple(self.told), tokens)

    @classmethod
    def of(cls, saved: Snapshot) -> "CloudAccount":
        """Return a cloud as it was saved; there is one table, so the one made before is no more."""
        made = cls(
            account=saved.account_again(),
            document=json.loads(saved.document),
            told=list(saved.told),
            _tokens=set(saved.tokens),
        )
        made.items.update(saved.items_again())
        return made

    def answer(self, service: str, operation: str, request: AWSPreparedRequest) -> Answer:
        """Answer one attempt."""
        if service in SIMULATED:
            return simulated(self._plant, request)
        match service, operation:
            case "appconfigdata", "StartConfigurationSession":
                return Answer(201, json.dumps({"InitialConfigurationToken": self._token()}).encode(), {})
            case "appconfigdata", _:
                return self._configuration(request)
            case "events", _:
                return self._put_events(request)
            case "scheduler", _:
                return self._scheduled(operation, request)
            case _:
                found = _MOTO.process_request(request)
                if found is None:
                    raise AssertionError(f"moto does not answer {service} {operation}")
                status, headers, body = found
                return Answer(status, body.encode() if isinstance(body, str) else body, headers)

    def _token(self) -> str:
        token = f"{DELIVERY}|{self.now:%H%M}-{len(self._tokens)}"
        self._tokens.add(token)
        return token

    def _configuration(self, request: AWSPreparedRequest) -> Answer:
        token = parse_qs(urlsplit(str(request.url)).query)["configuration_token"][0]
        if token not in self._tokens:
            return Answer.error("appconfigdata", "BadRequestException", "Request is missing a valid token")
        self._tokens.discard(token)
        headers = {"Next-Poll-Configuration-Token": self._token(), "Next-Poll-Interval-In-Seconds": "60"}
        body = json.dumps(self.document).encode()
        return Answer(200, body, {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))})

    def _scheduled(self, operation: str, request: AWSPreparedRequest) -> Answer:
        """Answer as REST does: the name is in the path."""
        params = {"Name": urlsplit(str(request.url)).path.rsplit("/", 1)[1], **json.loads(body_of(request) or b"{}")}
        params.pop("ClientToken", None)
        try:
            return Answer(200, json.dumps(self.account.call("scheduler", operation, params)).encode(), {})
        except ServiceError as refusal:
            return Answer.error("scheduler", refusal.code, refusal.message)

    def _put_events(self, request: AWSPreparedRequest) -> Answer:
        entries = json.loads(body_of(request))["Entries"]
        self.told += [(e["DetailType"], json.loads(e["Detail"])["override"]["override_id"]) for e in entries]
        answers = [{"EventId": f"event-{len(self.told)}"} for _ in entries]
        return Answer(200, json.dumps({"FailedEntryCount": 0, "Entries": answers}).encode(), {})


def simulated(plant: Plant, request: AWSPreparedRequest) -> Answer:
    """Return what a simulated account answers."""
    sent: Any = request.headers  # bytes too, whatever the stubs say
    headers = {str(k): v.decode() if isinstance(v, bytes) else str(v) for k, v in sent.items()}
    body = body_of(request)
    if NEXT.encode() in body:  # the page before this one was empty
        body = json.dumps({name: value for name, value in json.loads(body).items() if value != NEXT}).encode()
    answer = plant.answer(headers, body)
    return Answer(answer.status, answer.body, answer.headers)
