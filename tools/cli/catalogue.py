"""The instance catalogue: derived from tables that others maintain, never written by hand."""

import gzip
import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import botocore.session

PREFIX = "ml."


def derived(as_of: str) -> tuple[dict[str, Any], list[str]]:
    """Return the catalogue, and the instance types of SageMaker of which the source says nothing.

    Types come from botocore's enum of production variants, figures from the EC2 table that moto packages: SageMaker's
    instances are EC2's with a prefix.

    Raises:
        ModuleNotFoundError: moto, which belongs to the development environment, is not installed.
    """
    packed = files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    ec2: dict[str, Any] = json.loads(gzip.decompress(packed))
    sagemaker = botocore.session.Session().get_service_model("sagemaker")
    names: list[str] = sagemaker.shape_for("ProductionVariantInstanceType").enum  # type: ignore[attr-defined]  # strings have it
    known = {name: ec2[name.removeprefix(PREFIX)] for name in sorted(names) if name.removeprefix(PREFIX) in ec2}
    types = {
        name: {
            "vcpus": seen["VCpuInfo"]["DefaultVCpus"],
            "gpus": sum(gpu["Count"] for gpu in seen.get("GpuInfo", {}).get("Gpus", ())),
            "memory_gib": seen["MemoryInfo"]["SizeInMiB"] / 1024,
        }
        for name, seen in known.items()
    }
    sources = {package: version(package) for package in ("botocore", "moto")}
    return {"as_of": as_of, "sources": sources, "types": types}, sorted(set(names) - set(known))


def written(catalogue: dict[str, Any]) -> str:
    """Return the catalogue as it is committed: a line a type, so that a refresh shows what changed."""
    head = json.dumps({key: value for key, value in catalogue.items() if key != "types"})
    rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in catalogue["types"].items())
    return f'{head[:-1]},\n  "types": {{\n{rows}\n  }}\n}}\n'
