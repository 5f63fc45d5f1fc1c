"""Other packages' tasks evaluated through the command line; torch is that of the project's environment."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jepa_envs
import numpy as np
import pytest

from jepa_robot.cli.main import cli, run
from jepa_robot.spec import Contract

QUICK = ["planner.optimizer.samples=8", "planner.optimizer.elites=4", "planner.optimizer.iterations=1"]
TO_THE_END = ["planner.arrival.patience=1000", "planner.arrival.tolerance=0"]


@pytest.mark.parametrize(
    ("task", "steps"),
    [
        pytest.param("point_maze_umaze", 100, marks=pytest.mark.pointmaze),
        pytest.param("fetch_push", 50, marks=pytest.mark.fetch),
        pytest.param("metaworld_reach", 40, marks=pytest.mark.metaworld),
    ],
)
def test_a_tiny_model_is_evaluated_beside_the_expert(
    task: str, steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from tiny_model import normalised, write_checkpoint

    env = jepa_envs.make(task, image_size=32).unwrapped
    model = write_checkpoint(tmp_path / "tiny.safetensors", normalised(Contract.from_dict(env.contract())))
    chosen = ["--task", task, "--checkpoint", str(model), "--episodes", "2", "--max-steps", str(steps), "--json"]
    more = ["--out", str(tmp_path / "out"), "task.image_size=32", *QUICK, *TO_THE_END]
    code = run(cli, "jepa-robot", ["evaluate", *chosen, *more])
    out, err = capsys.readouterr()
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["task"], facts["max_steps"]) == (task, steps)
    assert facts["ceiling"]["success_rate"] == 1 and facts["planner"]["success_rate"] < 1  # its weights are random
    with open(tmp_path / "out/episodes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["policy"] for row in rows] == ["planner"] * 2 + ["random"] * 2 + ["ceiling"] * 2
    for row in rows:
        assert int(row["steps"]) == steps
        start, goal = env.sample_start_and_goal(np.random.default_rng(int(row["seed"])))
        assert float(row["start_distance_m"]) == pytest.approx(env.distance(start, goal), abs=1e-6)
        success = row["success"] == "True"
        assert success == (float(row["final_distance_m"]) <= env.success_distance) or env.success_distance == np.inf
    env.close()
