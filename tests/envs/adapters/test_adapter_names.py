"""Names of other packages' tasks, and what is said where a package is missing."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import gymnasium as gym
import jepa_envs
import pytest
from jepa_envs.adapters import requirements

ROOT = Path(__file__).parents[3]


def test_every_task_is_known_to_gymnasium_by_a_name_of_its_own() -> None:
    tasks = jepa_envs.ADAPTED_TASKS
    assert len(tasks) == len(set(tasks.values())) == 3 + 4 + 50
    assert not set(tasks) & set(jepa_envs.TASKS)
    assert tasks["fetch_pick_and_place"] == "jepa_robot/FetchPickAndPlace-v0"
    assert tasks["metaworld_door_open"] == "jepa_robot/MetaworldDoorOpen-v0"
    assert gym.spec("jepa_robot/PointMazeUmaze-v0").max_episode_steps == 100
    assert jepa_envs.task_id("fetch_reach") == jepa_envs.task_id("jepa_robot/FetchReach-v0")


def test_an_unknown_task_is_told_the_known_ones_briefly() -> None:
    with pytest.raises(ValueError, match="no task 'metaworld_dance'.*panda_reach.*fetch_.*metaworld_reach") as error:
        jepa_envs.make("metaworld_dance")
    assert len(str(error.value)) < 600


def test_the_look_of_other_packages_tasks_does_not_vary() -> None:
    with pytest.raises(ValueError, match="look of fetch_reach does not vary"):
        jepa_envs.make("fetch_reach", variation="all")


def test_a_missing_package_is_an_error_with_the_command_that_brings_it() -> None:
    with pytest.raises(ImportError, match=r"not_there is not installed; .*pip install 'jepa-robot\[metaworld\]'"):
        requirements.require("metaworld", "not_there.inside")


def test_what_a_package_itself_is_missing_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_there.py").write_text("import something_else_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        requirements.require("metaworld", "half_there")


@pytest.mark.parametrize(
    ("installed", "works"), [("3.3.0", True), ("3.11.0", True), ("3.12.0", False), ("4.0.0", False)]
)
def test_a_mujoco_that_is_too_new_is_an_error(installed: str, works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.mujoco, "__version__", installed)
    if works:
        assert requirements.require("fetch", "json", "3.12").__name__ == "json"
    else:
        with pytest.raises(ImportError, match=rf"MuJoCo {installed}, expected one before 3.12; .*jepa-robot\[fetch\]"):
            requirements.require("fetch", "json", "3.12")


@pytest.mark.parametrize("extra", ["fetch", "metaworld"])
def test_the_extras_pins_are_what_the_extra_asks_for(extra: str) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / f"constraints-{extra}.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}
    needs = project["optional-dependencies"][extra] + [n for n in project["dependencies"] if n.startswith("mujoco")]
    for need in map(packaging.Requirement, needs):
        assert need.specifier.contains(pins[need.name]), need
    if importlib.metadata.version("mujoco") == pins["mujoco"]:
        for name, version in pins.items():
            assert importlib.metadata.version(name) == version
