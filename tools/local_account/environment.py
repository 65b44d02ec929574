"""What the processes of an embedded account may see of this machine's environment: no credentials, no configuration."""

import os
from pathlib import Path
from typing import Any

from botocore.config import Config

from simulator.transport import bare_session

ACCESS_KEY = "test"
"""The emulator's administrator. It is a key of no AWS account."""

SERVED_BY_THE_SIMULATOR = ("APPLICATION_AUTO_SCALING", "SAGEMAKER", "CLOUDWATCH", "RESOURCE_GROUPS_TAGGING_API")
UV = Path(__file__).resolve().parents[2] / ".tools/uv/bin"
"""Where `make` puts uv, which SAM wants on the path."""

KEPT = ("PATH", "LANG", "LC_ALL", "TZ")
SILENT = {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true"}


def scrubbed() -> dict[str, str]:
    """Return an environment without anything that could lead to AWS, a proxy or a configuration file."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def for_building() -> dict[str, str]:
    """Return the environment for a build: it downloads packages, perhaps through a proxy, and must not see AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | SILENT | {"PATH": f"{UV}{os.pathsep}{os.environ.get('PATH', '')}"}


def pointing_at(emulator: str, simulator: str, region: str) -> dict[str, str]:
    """Return the variables that lead any AWS tool to the embedded account, and only there."""
    return {
        **SILENT,
        "AWS_ENDPOINT_URL": emulator,
        **{f"AWS_ENDPOINT_URL_{service}": simulator for service in SERVED_BY_THE_SIMULATOR},
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def client(service: str, url: str, region: str) -> Any:  # noqa: ANN401 - one function for clients of all services
    """Return a boto3 client of the embedded account's administrator; of the environment it reads nothing."""
    config = Config(
        proxies={},
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        retries={"mode": "standard", "total_max_attempts": 1},
        read_timeout=330,  # a FleetSync may take 300 s
    )
    return bare_session().create_client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=config,
    )
