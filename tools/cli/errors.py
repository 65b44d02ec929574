"""What commands end with, and what `cli.main` makes of it; nothing heavy is imported to know these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import TidegateError

if TYPE_CHECKING:
    from pathlib import Path

    from cli.policy_file import Finding


class MisusedError(TidegateError):
    """Options that do not go together."""


class RefusedError(Exception):
    """The request makes no sense, or the function refused it; nothing was changed."""


class InvocationError(Exception):
    """The function failed. The request may be stored: sent again with its ID it is done once."""


class DeliveryError(Exception):
    """The policy was not delivered; the text says what to do next."""


class PolicyFileError(Exception):
    """The file cannot be used; carries every finding, and says each in a line of its own."""

    def __init__(self, file: Path, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(finding.shown(file) for finding in findings))
