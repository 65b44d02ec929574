"""A simulated account behind HTTP, on a port of this machine."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Self

from botocore.config import Config
from botocore.model import OperationNotFoundError
from typing_extensions import override

from local_account.plant import wire
from simulator.service import ServiceError, service_model, stable_uuid
from simulator.transport import bare_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from botocore.client import BaseClient
    from botocore.model import OperationModel, ServiceModel

    from simulator.account import SimulatedAccount

    Authorise = Callable[[str, str, str, Mapping[str, Any]], bool]

SERVICES = ("application-autoscaling", "sagemaker", "cloudwatch", "resourcegroupstaggingapi")
CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


@dataclass(frozen=True, slots=True)
class PlantCall:
    """One API call as it came in.

    `params` has datetimes where the wire has numbers; `error` is the code it was refused with, or "" if it was not.
    """

    access_key: str
    user_agent: str
    service: str
    operation: str
    params: Mapping[str, Any]
    now: datetime
    error: str


class Plant:
    """Serves a `SimulatedAccount` to anything that speaks to AWS.

    Start it, point clients at `url` and go on using the account itself, as long as `lock` is held meanwhile.

    Args:
        account: who answers.
        authorise: told access key, service (boto3's name), operation and parameters of a call, says whether it may be
            made; may raise ServiceError to say more than "no". Called with `lock` held. None allows everything.
        record_calls: whether `calls` is kept; turn it off for replays of weeks.
    """

    def __init__(
        self, account: SimulatedAccount, *, authorise: Authorise | None = None, record_calls: bool = True
    ) -> None:
        self.account = account
        self.lock = threading.RLock()
        """Held during each call; hold it while the account's minute is advanced."""
        self.calls: list[PlantCall] = []
        self._authorise = authorise
        self._record_calls = record_calls
        self._models = {model.metadata["targetPrefix"]: model for model in map(service_model, SERVICES)}
        self._answered = 0
        self._server: _Server | None = None
        self._clients: list[BaseClient] = []

    @property
    def url(self) -> str:
        """Where clients find it: their `endpoint_url`."""
        if self._server is None:
            raise RuntimeError("the plant is not running: call start() first")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Listen on a free port of this machine, in daemon threads."""
        if self._server is not None:
            raise RuntimeError("the plant is running already")
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="plant", daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port, every connection and the clients made here; harmless if it is not running."""
        server, self._server = self._server, None
        clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def client(self, service: str, access_key: str = "test") -> BaseClient:
        """A boto3 client of the plant, whatever profile, key, endpoint or proxy the environment names."""
        client = bare_session().create_client(
            service,
            region_name=self.account.cloudwatch.world.region,
            endpoint_url=self.url,
            aws_access_key_id=access_key,
            aws_secret_access_key="test",  # noqa: S106 - nobody checks signatures here
            config=Config(
                proxies={},
                use_fips_endpoint=False,
                use_dualstack_endpoint=False,
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=2,
                read_timeout=30,
            ),
        )
        self._clients.append(client)
        return client

    def answer(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request, whatever carried it."""
        prefix, _, name = headers.get("X-Amz-Target", "").rpartition(".")
        model = self._models.get(prefix)
        if model is None:
            unknown = _unknown_target(headers)
            return self._response("1.1", 400, *wire.failure(unknown, service_model(SERVICES[0]))[1:])
        version = str(model.metadata["jsonVersion"])
        try:
            with self.lock:
                operation = _operation(model, name)
                params = wire.parameters(body, headers.get("Content-Encoding", ""), operation)
                result = self._call(headers, operation, params)
            return self._response(version, 200, wire.answer(result, operation), {})
        except ServiceError as error:
            return self._response(version, *wire.failure(error, model))

    def _call(self, headers: Mapping[str, str], operation: OperationModel, params: dict[str, Any]) -> dict[str, Any]:
        """Check, make and record one call."""
        account, service = self.account, operation.service_model.service_name
        access_key, error = "", ""
        outer, now = account.caller, account.now
        try:
            access_key = account.caller = _access_key(headers)
            self._check_right(access_key, operation, params)
            return account.call(service, operation.name, params)
        except ServiceError as refusal:
            error = refusal.code
            raise
        finally:
            account.caller = outer
            if self._record_calls:
                agent = headers.get("User-Agent", "")
                self.calls.append(PlantCall(access_key, agent, service, operation.name, params, now, error))

    def _check_right(self, access_key: str, operation: OperationModel, params: Mapping[str, Any]) -> None:
        service = operation.service_model.service_name
        if self._authorise and not self._authorise(access_key, service, operation.name, params):
            message = f"Access key {access_key} is not authorized to perform: {service}:{operation.name}"
            raise ServiceError("AccessDeniedException", message)

    def _response(self, json_version: str, status: int, body: bytes, extra: Mapping[str, str]) -> Response:
        with self.lock:
            self._answered += 1
            request_id = stable_uuid("request", self._answered)
        return Response(status, body, {**_headers(f"application/x-amz-json-{json_version}", request_id), **extra})


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def _headers(content_type: str, request_id: str) -> dict[str, str]:
    return {"Content-Type": content_type, "x-amzn-RequestId": request_id}


def _unknown_target(headers: Mapping[str, str]) -> ServiceError:
    if target := headers.get("X-Amz-Target"):
        return ServiceError("UnknownOperationException", f"nothing here answers {target}")
    kind = headers.get("Content-Type", "nothing")
    return ServiceError(
        "UnknownOperationException", f"only AWS JSON with X-Amz-Target is understood here, this came as {kind}"
    )


def _operation(model: ServiceModel, name: str) -> OperationModel:
    try:
        return model.operation_model(name)
    except OperationNotFoundError as error:
        raise ServiceError("UnknownOperationException", f"{model.service_name} has no operation {name}") from error


def _access_key(headers: Mapping[str, str]) -> str:
    found = CREDENTIAL.search(headers.get("Authorization", ""))
    if found is None:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    return found[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "plant"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave as one packet
    server: _Server

    def do_POST(self) -> None:
        """Every AWS JSON call is a POST of /."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            response = self.server.plant.answer(self.headers, body)  # type: ignore[arg-type]  # has get(), which is all
        except Exception:  # noqa: BLE001 - whatever it is, it is our bug and must not look like an answer of AWS
            trace = traceback.format_exc()
            sys.stderr.write(trace)
            response = Response(500, f"The plant has a bug.\n{trace}".encode(), {"Content-Type": "text/plain"})
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing: `Plant.calls` is the log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @override
    def server_bind(self) -> None:
        """As any TCP server: HTTPServer would also ask DNS for the name of 127.0.0.1."""
        TCPServer.server_bind(self)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open; their threads end by themselves."""
        with self._guard:
            connections = [*self._connections]
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
