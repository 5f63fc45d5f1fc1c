"""``scripts/soak.py``: what it counts, and that every task passes a short one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import jepa_envs
import numpy as np
import pytest
from script import load_script


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    return load_script("soak")


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(jepa_envs.TASKS))
def test_actions_at_the_bounds_do_no_harm(
    soak: ModuleType, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak.py", task, "--steps", "1500"])
    soak.main()
    assert f"{task}: 1500 steps, " in capsys.readouterr().out


def test_harm_is_seen(
    soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A simulation that is thrown far out raises MuJoCo's warning, and its observation leaves its bounds."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its warnings down
    env = jepa_envs.make("two_rooms", image_size=16).unwrapped
    step = env._simulation.step

    def thrown(displacement: np.ndarray) -> None:
        step(displacement)
        env._simulation.data.qpos[0] = np.nan
        env._simulation.step = lambda displacement: step(displacement)

    env._simulation.step = thrown
    found = soak.soak(env, 30, seed=0)
    assert found["not_finite"] >= 1 and found["warnings"] >= 1
    monkeypatch.setattr(soak, "soak", lambda env, steps, seed: found)
    monkeypatch.setattr(sys, "argv", ["soak.py", "two_rooms"])
    with pytest.raises(SystemExit) as stop:
        soak.main()
    assert stop.value.code == 1 and "warnings" in capsys.readouterr().out
    env.close()
