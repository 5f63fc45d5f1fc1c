"""Tests of a package's tasks are skipped where it is missing, unless they are what was asked for."""

from __future__ import annotations

import importlib.util

import pytest

from jepa_envs.gl import mujoco

MODULES = {"pointmaze": "gymnasium_robotics", "fetch": "gymnasium_robotics", "metaworld": "metaworld"}


def missing(marker: str) -> str | None:
    """Why tests with a marker cannot run; None where they can."""
    if importlib.util.find_spec(MODULES[marker]) is None:
        return f"needs the extra {marker}"
    if marker == "fetch" and tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (3, 12):
        return f"Fetch does not work with MuJoCo {mujoco.__version__}; run scripts/test_adapters fetch"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers():
            if marker.name in MODULES and config.option.markexpr != marker.name and (reason := missing(marker.name)):
                item.add_marker(pytest.mark.skip(reason=reason))
