"""`make account`: what it says of its policy file before it builds and deploys anything."""

from datetime import datetime
from pathlib import Path

import pytest
import typer

from local_account.__main__ import play

BROKEN = {
    "a truth of YAML 1.1": ("min_capacity: no", ":3  profiles.p.min_capacity = 'no': must be a whole number"),
    "no policy": ("modus: shadow", ":3  profiles.p.modus"),
    "no YAML": ("{", "is not YAML: "),
}


@pytest.mark.parametrize(("line", "said"), BROKEN.values(), ids=BROKEN)
def test_a_policy_file_is_read_as_it_is_checked(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing, file = tmp_path / "none", tmp_path / "fleet.yaml"
    file.write_text(f"version: 1\nprofiles: {{p: {{kind: realtime, max_capacity: 2,\n{line}}}}}\n")
    with pytest.raises(typer.Exit) as ended:
        play(sam=nothing, ministack_python=nothing, start=datetime(2025, 4, 9), policy=file)  # noqa: DTZ001 - as typed
    assert ended.value.exit_code == 2
    assert said in capsys.readouterr().err
