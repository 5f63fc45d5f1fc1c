"""What the distribution promises: its scripts, what it needs, and that nothing is missing from the wheel."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jepa_robot.files import configs_folder

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip() and not line.startswith("#")
]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text):
    return normal(re.match(r"[A-Za-z0-9._-]+", text).group())


def test_the_pins_are_names_and_versions_only():
    for line in PINS:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", line), line
    names = [requirement(line) for line in PINS]
    assert len(names) == len(set(names))


def test_every_requirement_is_pinned_with_all_that_it_needs():
    """Follows the requirements of what is installed, as far as they concern this machine."""
    from packaging.requirements import Requirement

    pinned = {requirement(line) for line in PINS}
    todo = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
    seen = set()
    while todo:
        need = todo.pop()
        if (need.name, *sorted(need.extras)) in seen:
            continue
        seen.add((need.name, *sorted(need.extras)))
        assert normal(need.name) in pinned, need
        for text in importlib.metadata.requires(need.name) or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *need.extras)):
                todo.append(inner)
    assert len(seen) > len(PROJECT["dependencies"])


def test_every_import_is_a_declared_requirement():
    """Third-party packages that the code imports, by their name on the package index."""
    files = [*(ROOT / "jepa_robot").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]
    found = {m for f in files for m in re.findall(r"^\s*(?:from|import) ([a-z0-9_A-Z]+)", f.read_text(), re.M)}
    third_party = found - set(sys.stdlib_module_names) - {"jepa_robot", "jepa_envs"}
    owners = importlib.metadata.packages_distributions()
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    declared = {requirement(text) for text in PROJECT["dependencies"] + extras}
    for module in sorted(third_party & set(owners)):
        assert {normal(name) for name in owners[module]} & (declared | {"mujoco-core"}), module
    assert {"numpy", "torch", "click", "mujoco"} <= third_party


@pytest.mark.parametrize("name", ["jepa-robot", "plan"])
def test_the_console_scripts_exist(name):
    module, _, attribute = PROJECT["scripts"][name].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_the_configuration_is_found_from_any_folder(tmp_path):
    code = "from jepa_robot.cli.config import compose; print(compose('plan').task.name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "panda_reach\n", done.stderr


def test_the_wheel_holds_packages_configurations_and_data(tmp_path):
    """Builds the file list that the wheel is made of, without an isolated build environment."""
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is only there to build")
    config = builder.WheelBuilder(str(ROOT))
    held = {Path(f.distribution_path).as_posix() for f in config.recurse_included_files()}
    for source, target, pattern in (
        (ROOT / "jepa_robot", "jepa_robot", "**/*.py"),
        (ROOT / "jepa_robot", "jepa_robot", "checkpoints/*.safetensors"),
        (ROOT / "envs" / "jepa_envs", "jepa_envs", "**/*.*"),
        (configs_folder(), "jepa_robot/configs", "**/*.yaml"),
    ):
        for path in source.glob(pattern):
            if "__pycache__" not in path.parts:
                assert f"{target}/{path.relative_to(source).as_posix()}" in held
    assert not {name.split("/")[0] for name in held} - {"jepa_robot", "jepa_envs"}
    assert "jepa_robot/configs/plan.yaml" in held and any(name.endswith(".xml") for name in held)


def test_ci_runs_the_two_commands_of_the_readme():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("scripts/run")]
    readme = (ROOT / "README.md").read_text().splitlines()
    assert commands == [line for line in readme if line.startswith("scripts/run test")][:1] + [
        line for line in readme if line.startswith("scripts/run plan")
    ][:1]
    assert len(commands) == 2


def test_the_set_up_script_is_valid_shell():
    assert subprocess.run(["sh", "-n", ROOT / "scripts" / "run"]).returncode == 0


def test_the_set_up_script_refuses_an_old_python(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/run", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit $([ "$1" = --version ]; echo $?)\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["sh", "scripts/run", "test"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True, text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and "3.8.1" in line and "3.11" in line
    assert not (tmp_path / ".venv").exists()
