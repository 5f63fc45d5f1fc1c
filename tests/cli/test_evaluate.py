import csv
import errno
import json
import shutil

import pytest
from command_line import assert_refused

from jepa_robot.errors import OutputError
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import LAST_EVALUATION_SEED, Task, episode_seed

FEW = ("planner.optimizer.samples=32", "planner.optimizer.elites=4", "planner.optimizer.iterations=2")


def evaluate(call, checkpoint, *args):
    return call("evaluate", "--checkpoint", checkpoint, *FEW, *args)


@pytest.fixture
def facts(call, tiny_checkpoint):
    code, out, err = evaluate(call, tiny_checkpoint, "--episodes", 2, "--max-steps", 15, "--json", "--out", "there")
    assert code == 0 and len(out.strip().splitlines()) == 1
    assert err.splitlines()[-1].startswith("2/2 episodes")
    return json.loads(out)


def test_json_and_files_agree(facts, tmp_path):
    assert facts["task"] == "panda_reach" and facts["seed"] == 0 and facts["max_steps"] == 15
    with open(tmp_path / "there/episodes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for policy in ("planner", "random", "ceiling"):
        mine = [r for r in rows if r["policy"] == policy]
        summary = facts[policy]
        assert summary["episodes"] == 2
        assert summary["successes"] == sum(r["success"] == "True" for r in mine)
        distances = sorted(float(r["final_distance_m"]) for r in mine)
        assert summary["final_distance_m"]["p50"] == pytest.approx(sum(distances) / 2)
        low, high = summary["success_interval_95"]
        assert 0 <= low <= summary["success_rate"] <= high <= 1
    assert facts["ceiling"]["success_rate"] == 1
    failed = [r["seed"] for r in rows if r["policy"] == "planner" and r["success"] == "False"]
    assert sorted(p.stem for p in (tmp_path / "there/failed").glob("*.png")) == sorted(f"seed_{s}" for s in failed)
    assert failed  # weights are random
    assert len(json.loads((tmp_path / "there/results.json").read_text())["rows"]) == 6


def test_every_policy_meets_the_same_episodes_of_the_documented_seeds(facts, tmp_path):
    with open(tmp_path / "there/episodes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with Task("panda_reach") as task:
        for i in range(2):
            start, goal = start_and_goal(task.env, 1_000_000 + i)
            expected = task.env.distance(start, goal)
            same = [r for r in rows if r["episode"] == str(i)]
            assert {r["seed"] for r in same} == {str(episode_seed(0, i))} == {str(1_000_000 + i)}
            assert all(float(r["start_distance_m"]) == pytest.approx(expected) for r in same)
    assert episode_seed(0, 99_999) < episode_seed(1, 0)


def test_table_for_people(call, tiny_checkpoint):
    code, out, _ = evaluate(call, tiny_checkpoint, "--episodes", 1, "--max-steps", 1)
    assert code == 0
    lines = out.strip().splitlines()
    assert lines[0].startswith("panda_reach, checkpoint") and "95% interval" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == ["planner", "random", "ceiling"]


def test_recorded_figures_are_in_the_header_and_the_weights_stay(call, tiny_checkpoint, tmp_path):
    mine = tmp_path / "mine.safetensors"
    shutil.copy(tiny_checkpoint, mine)
    args = ("--episodes", 1, "--max-steps", 2, "--seed", 4, "--json")
    code, out, _ = evaluate(call, "mine.safetensors", *args)
    assert code == 0 and mine.read_bytes() == tiny_checkpoint.read_bytes()  # without --record

    code, out, err = evaluate(call, "mine.safetensors", *args, "--record")
    assert code == 0, err
    facts = json.loads(out)
    assert weights(mine) == weights(tiny_checkpoint)
    before, after = (json.loads(call("info", path, "--json")[1]) for path in (tiny_checkpoint, "mine.safetensors"))
    recorded = after["results"]["panda_reach"]
    assert recorded == {k: v for k, v in facts.items() if k not in ("task", "checkpoint")} | {"overrides": list(FEW)}
    assert recorded["planner"]["episodes"] == 1 and recorded["seed"] == 4
    for field in ("kind", "contract", "model", "recipe"):
        assert after[field] == before[field]
    table = call("info", "mine.safetensors")[1]
    assert "panda_reach.planner.success_rate" in table and "nothing has been measured yet" not in table

    evaluate(call, "mine.safetensors", *args[:4], "--seed", 5, "--record")  # the newest figures of a task hold
    results = json.loads(call("info", "mine.safetensors", "--json")[1])["results"]
    assert list(results) == ["panda_reach"] and results["panda_reach"]["seed"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


def test_figures_are_recorded_in_a_shipped_checkpoint_by_its_name(call, tiny_checkpoint, tmp_path, monkeypatch):
    from jepa_robot.models import checkpoint

    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    shutil.copy(tiny_checkpoint, tmp_path / "shipped" / "panda_reach.safetensors")
    code, _, err = call("evaluate", *FEW, "--episodes", 1, "--max-steps", 1, "--record")
    assert code == 0, err
    assert checkpoint.read_metadata("panda_reach")["results"]["panda_reach"]["max_steps"] == 1
    assert weights(tmp_path / "shipped" / "panda_reach.safetensors") == weights(tiny_checkpoint)


def test_figures_are_printed_even_where_they_cannot_be_recorded(call, tiny_checkpoint, tmp_path, monkeypatch):
    import jepa_robot.models.checkpoint

    def full(*_):
        raise OutputError("cannot be written (No space left on device)", where="mine.safetensors")

    monkeypatch.setattr(jepa_robot.models.checkpoint, "record_results", full)
    code, out, err = evaluate(call, tiny_checkpoint, "--episodes", 1, "--max-steps", 1, "--json", "--record")
    assert code == 2 and json.loads(out)["planner"]["episodes"] == 1
    assert err.splitlines()[-1].startswith("error: mine.safetensors: cannot be written")


def test_an_output_folder_that_cannot_be_made_is_refused_before_the_first_episode(call, tiny_checkpoint, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    outcome = evaluate(call, tiny_checkpoint, "--episodes", 1, "--max-steps", 1, "--out", "mine.txt/there")
    assert_refused(outcome, "mine.txt/there: cannot be written", "mine.txt is a file")  # no line of progress before
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_figures_are_printed_even_where_they_cannot_be_written(call, tiny_checkpoint, tmp_path, monkeypatch):
    import jepa_robot.reporting.strip

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jepa_robot.reporting.strip, "save_strip", full)
    args = ("--episodes", 1, "--max-steps", 1, "--json", "--out", "there")
    code, out, err = evaluate(call, tiny_checkpoint, *args)
    assert code == 2 and json.loads(out)["planner"]["successes"] == 0
    assert err.splitlines()[-1].startswith("error: there: cannot be written (No space left on device)")
    assert list(tmp_path.iterdir()) == []


def test_the_last_seed(call, tiny_checkpoint):
    args = ("--episodes", 1, "--max-steps", 1, "--seed", LAST_EVALUATION_SEED)
    code, _, err = evaluate(call, tiny_checkpoint, *args)
    assert code == 0, err
    assert episode_seed(LAST_EVALUATION_SEED, 99_999) < 2**63 <= episode_seed(LAST_EVALUATION_SEED + 1, 99_999)


def weights(path):
    """Bytes of every tensor: the file without its header, whose length comes first."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.mark.parametrize(
    "args, word",
    [
        (("--episodes", "0"), "--episodes"),
        (("--task", "wash_up"), "wash_up"),
        (("planner.optimizer.sample=3",), "planner.optimizer.samples"),
        (("--out", "used"), "not empty"),
        (("--seed", str(2**63 - 1)), "0 to 92233720368536"),
        (("--max-steps", str(10**20)), "--max-steps"),
    ],
)
def test_wrong_options(call, tiny_checkpoint, tmp_path, args, word):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")
    assert_refused(evaluate(call, tiny_checkpoint, *args), word)


def test_sub_goals_of_the_expert_s_way(call, tiny_checkpoint):
    few = "--episodes", 1, "--max-steps", 6, "--subgoals", 2, "--goal-steps", 2
    code, out, _ = evaluate(call, tiny_checkpoint, *few)
    assert code == 0 and out.startswith("panda_reach (2 sub-goals), ")
    _, told, _ = evaluate(call, tiny_checkpoint, *few, "--json")
    assert (json.loads(told)["subgoals"], json.loads(told)["goal_steps"]) == (2, 2)
    assert_refused(evaluate(call, tiny_checkpoint, "--goal-steps", 2), "--goal-steps: is 2", "--subgoals")
