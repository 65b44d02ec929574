"""What `sam build` makes of src/ is what runs in Lambda: nothing missing, nothing beside it."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".aws-sam/build"
OURS = {"core", "handlers"}
BUILDERS = {"requirements.txt", ".lock"}
"""What the builder leaves: the source's own list, and the empty lock of the uv that installed it."""

UNCHECKED_HASH = b"\x01\0\0\0"
AARCH64 = 183  # e_machine of an ELF file, in bytes 18 and 19

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def artefact() -> Path:
    found = sorted(BUILD.glob("*-Shared"))
    assert len(found) == 1, "run `make build`: all functions share one artefact"
    return found[0]


@pytest.fixture(scope="module")
def pinned() -> set[str]:
    """The pins as `name==version`, spelled as installers do."""
    pins = re.findall(
        r"^([\w.-]+)==([^\s;]+)", (ROOT / "src/requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert pins
    return {f"{name.replace('-', '_').lower()}=={version}" for name, version in pins}


def test_the_packages_are_those_that_are_pinned(artefact: Path, pinned: set[str]) -> None:
    infos = [path.name.removesuffix(".dist-info") for path in artefact.glob("*.dist-info")]
    assert {info.replace("-", "==", 1).lower() for info in infos} == pinned


def test_every_file_is_ours_or_a_pinned_package_s(artefact: Path) -> None:
    listed = {
        row[0]
        for record in artefact.glob("*.dist-info/RECORD")
        for row in csv.reader(record.read_text(encoding="utf-8").splitlines())
    }
    files = {path.relative_to(artefact) for path in artefact.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    strays = {str(file) for file in files if file.parts[0] not in OURS | BUILDERS and str(file) not in listed}
    assert strays == set()


def test_of_ours_only_source_is_shipped(artefact: Path) -> None:
    kinds = {path.suffix for name in OURS for path in (artefact / name).rglob("*") if path.is_file()}
    assert kinds - {".pyc"} == {".py", ".typed", ".json"}


def test_bytecode_is_the_runtimes_and_beside_its_source(artefact: Path) -> None:
    """Without a Python 3.13 on the desk there is none; then a start compiles each module."""
    bytecode = list(artefact.rglob("*.pyc"))
    for path in bytecode:
        module, tag = path.stem.split(".")
        assert (path.parent.name, tag) == ("__pycache__", "cpython-313")
        assert (path.parents[1] / f"{module}.py").is_file(), path
        assert path.read_bytes()[4:8] == UNCHECKED_HASH, "a zip changes the times of files"
    missing = [path for name in OURS for path in (artefact / name).rglob("*.py")] if bytecode else []
    assert [path for path in missing if not (path.parent / f"__pycache__/{path.stem}.cpython-313.pyc").is_file()] == []


def test_of_botocores_models_those_are_shipped_that_are_called(artefact: Path) -> None:
    models = {path.name for path in (artefact / "botocore/data").iterdir() if path.is_dir()}
    assert models == {
        "appconfigdata",
        "application-autoscaling",
        "cloudwatch",
        "dynamodb",
        "events",
        "resourcegroupstaggingapi",
        "sagemaker",
        "scheduler",
        "sqs",
    }


def test_the_catalogue_of_instance_types_is_shipped(artefact: Path) -> None:
    source = ROOT / "src/core/instance_types.json"
    assert [path.relative_to(artefact) for name in OURS for path in (artefact / name).rglob("*.json")] == [
        source.relative_to(ROOT / "src")
    ]
    assert (artefact / "core/instance_types.json").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("stray", ["tests", "tools", "simulator", "cli", "moto", "numpy", "rich", "typer", "pytest"])
def test_what_belongs_on_a_desk_stays_there(artefact: Path, stray: str) -> None:
    assert not list(artefact.glob(f"{stray}*"))


def test_every_handler_of_the_template_is_there(artefact: Path) -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    handlers = re.findall(r"^ +Handler: ([\w.]+)$", template, re.MULTILINE)
    assert len(handlers) == len(re.findall(r"^ +Type: AWS::Serverless::Function$", template, re.MULTILINE)) == 6
    for handler in handlers:
        module, function = handler.rsplit(".", 1)
        source = (artefact / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(def {function}\(|{function} = )", source, re.MULTILINE), handler


def test_compiled_code_fits_the_runtime(artefact: Path) -> None:
    """The template's defaults: Python 3.13 on arm64, whatever the desk is."""
    compiled = list(artefact.rglob("*.so"))
    assert [path.name for path in compiled if path.parent.name == "pydantic_core"] == [
        "_pydantic_core.cpython-313-aarch64-linux-gnu.so"
    ]
    for path in compiled:
        head = path.read_bytes()[:20]
        assert head[:4] == b"\x7fELF", path.name
        assert int.from_bytes(head[18:20], "little") == AARCH64, path.name
