"""Lint template.yaml as written and as SAM translates it.

cfn-lint finds more in the translated template than in the source, checkov knows only CloudFormation, and what the
embedded account silently drops can be asserted nowhere else. So everything that looks at the result shares one
translation: `translate`. It needs no network and no credentials.

SAM and checkov live in environments of their own (next to moto, SAM would drag boto3 down), so both are called as
programs; this file runs in `.venv`, except for `--translate`, which it calls on itself in the environment of SAM.
"""  # noqa: INP001  (tools/env holds lock files and this script; it is not a package)

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
SAM_PYTHON = ROOT / ".tools/sam/bin/python"
CHECKOV = ROOT / ".tools/checkov/bin/checkov"
PARLIAMENT = ROOT / ".tools/security/bin/parliament"
CHECKOV_SETTINGS = ROOT / ".checkov.yaml"

# SAM asks boto3 for the Region to name the partition; the answer must not depend on the desk.
OFFLINE = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAM_CLI_TELEMETRY": "0",
}


def translate(template: Path = TEMPLATE, sam_python: Path = SAM_PYTHON) -> dict[str, Any]:
    """Return the CloudFormation template that SAM makes of `template`, as AWS would deploy it.

    Raises:
        RuntimeError: SAM cannot translate it; the message is SAM's.
    """
    command = [str(sam_python), __file__, "--translate", str(template)]
    done = subprocess.run(command, env=_offline_environment(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{template.name} cannot be translated:\n{done.stderr.strip()}")
    translated: dict[str, Any] = json.loads(done.stdout)
    return translated


def _translate_here(template: Path) -> dict[str, Any]:
    """Do what `translate` promises, inside the environment of SAM."""
    from samtranslator.parser.parser import Parser  # noqa: PLC0415  (absent from .venv)
    from samtranslator.translator.translator import Translator  # noqa: PLC0415
    from samtranslator.yaml_helper import yaml_parse  # noqa: PLC0415

    source = yaml_parse(template.read_text(encoding="utf-8"))
    # A folder is the business of `sam build`; the translation wants to see where an upload would be.
    source["Globals"]["Function"]["CodeUri"] = "s3://artefacts/tidegate.zip"
    defaults = {name: spec["Default"] for name, spec in source["Parameters"].items() if "Default" in spec}
    # No managed policy is asked for by name, hence the empty map: looking them up would call IAM.
    translated: dict[str, Any] = Translator({}, Parser()).translate(source, defaults)
    return translated


def _offline_environment() -> dict[str, str]:
    """Return this process's environment without the account, profile and Region of its owner."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("AWS_")}
    return kept | OFFLINE


def _findings(name: str, command: list[str]) -> str:
    """Run one linter; return what it complains about, or nothing."""
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=_offline_environment(), capture_output=True, text=True, check=False
    )
    print(f"  {name}: {'findings' if done.returncode else 'clean'}")
    return (done.stdout + done.stderr).strip() if done.returncode else ""


ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:eu-central-1:123456789012:table/name",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/name",
    "AWS::Lambda::Function": "arn:aws:lambda:eu-central-1:123456789012:function:name",
    "AWS::Logs::LogGroup": "arn:aws:logs:eu-central-1:123456789012:log-group:name:*",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-central-1:123456789012:name",
}
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}


def policies(translation: dict[str, Any]) -> dict[str, Any]:
    """Return every IAM policy document of the translated template with plain strings where it refers to resources."""
    kinds = {name: resource["Type"] for name, resource in translation["Resources"].items()}

    def plain(value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case {"Fn::GetAtt": [str(name), "Arn"]}:
                return ARNS[kinds[name]]
            case {"Ref": str(name)}:
                return PSEUDO.get(name, "name")
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: _named(found[1]), text)
            case dict():
                return {key: plain(each) for key, each in value.items()}
            case list():
                return [plain(each) for each in value]
            case _:
                return value

    def _named(name: str) -> str:
        return ARNS[kinds[name[:-4]]] if name.endswith(".Arn") else PSEUDO.get(name, "name")

    found = {}
    for name, resource in translation["Resources"].items():
        inline = resource["Properties"].get("Policies", ()) if kinds[name] == "AWS::IAM::Role" else ()
        managed = [resource["Properties"]] if kinds[name] == "AWS::IAM::ManagedPolicy" else ()
        for number, policy in enumerate((*inline, *managed)):
            found[f"{name}-{number}"] = plain(policy["PolicyDocument"])
    return found


def lint(template: Path, sam_python: Path, checkov: Path, parliament: Path) -> list[str]:
    """Run every linter, also when one before it complained, and return their reports."""
    cfn_lint = [str(sam_python.parent / "cfn-lint"), "--regions", OFFLINE["AWS_REGION"], "--"]
    reports = [_findings("cfn-lint, as written", [*cfn_lint, str(template)])]
    try:
        translation = translate(template, sam_python)
    except RuntimeError as error:
        return [*reports, str(error)]
    with tempfile.TemporaryDirectory() as folder:
        translated = Path(folder) / "translated.json"
        translated.write_text(json.dumps(translation, indent=1), encoding="utf-8")
        # fmt: off
        scan = [str(checkov), "--file", str(translated), "--config-file", str(CHECKOV_SETTINGS),
                "--framework", "cloudformation", "--skip-download", "--compact", "--quiet"]
        # fmt: on
        documents = Path(folder) / "policies"
        documents.mkdir()
        for name, document in policies(translation).items():
            (documents / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        # Below MEDIUM it only says again that a few reads have no narrower resource, which template.yaml explains.
        rights = [str(parliament), "--directory", str(documents), "--minimum_severity", "MEDIUM"]
        return [
            *reports,
            _findings("cfn-lint, translated", [*cfn_lint, str(translated)]),
            _findings("checkov, translated", scan),
            _findings("parliament, every IAM policy", rights),
        ]


def main(arguments: list[str]) -> int:
    """Return 0 when every linter is content, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Lint template.yaml as written and as SAM translates it.")
    parser.add_argument("--template", type=Path, default=TEMPLATE)
    parser.add_argument("--sam-python", type=Path, default=SAM_PYTHON)
    parser.add_argument("--checkov", type=Path, default=CHECKOV)
    parser.add_argument("--parliament", type=Path, default=PARLIAMENT)
    parser.add_argument("--translate", type=Path, metavar="TEMPLATE", help="only print it (with SAM's Python)")
    options = parser.parse_args(arguments)
    if options.translate:
        json.dump(_translate_here(options.translate), sys.stdout)
        return 0
    reports = [
        report for report in lint(options.template, options.sam_python, options.checkov, options.parliament) if report
    ]
    if reports:
        print("", *reports, sep="\n\n")
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
