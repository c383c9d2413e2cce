"""Settings of Prefect's server: Prefect knows them, and who installs the server's unit has them too."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import Settings

from deployments.prefect_server import CHEAPER, SERVER_SETTINGS

SETTINGS = SERVER_SETTINGS | CHEAPER
UNIT = Path(__file__).parents[2] / "docs/units/prefect-server.service"


def test_they_stand_in_the_unit() -> None:
    lines = UNIT.read_text().splitlines()
    assert [name for name, value in SETTINGS.items() if f"Environment={name}={value}" not in lines] == []


def test_prefect_heeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that it does not know it says nothing."""
    before = Settings().to_environment_variables(exclude_unset=True)
    of_prefect = {name: value for name, value in SETTINGS.items() if name.startswith("PREFECT_")}
    for name, value in of_prefect.items():
        monkeypatch.setenv(name, value)
    now = Settings().to_environment_variables(exclude_unset=True)
    assert {name: value for name, value in now.items() if name not in before} == of_prefect
