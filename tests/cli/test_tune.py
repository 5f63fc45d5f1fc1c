import json

import pytest
import yaml
from command_line import assert_refused

from jepa_robot.evaluation.tuning import SEARCHED, Outcome, fastest, tune
from jepa_robot.planning import PlannerSettings, default_settings
from jepa_robot.planning.presets import changed, load_preset, overrides


def outcome(successes, latency):
    return Outcome({}, successes, 20, latency)


def test_the_fastest_within_a_little_success_is_chosen():
    front = [outcome(2, 1.0), outcome(17, 5.0), outcome(19, 9.0), outcome(20, 30.0)]
    assert fastest(front, 0.05) is front[2]
    assert fastest(front, 0.0) is front[3]
    assert fastest(front, 0.15) is front[1]
    assert front[1].per_ms == pytest.approx(17 / 20 / 5)


def test_the_search_finds_settings_that_are_fast_and_good(tmp_path):
    """On a made-up machine: success grows with what is evaluated, up to a point, and so does time."""

    def measure(settings):
        chosen = {**default_settings().optimizer, **settings.get("optimizer", {})}
        work = chosen.get("samples", 0) * chosen["iterations"]
        good = chosen["name"] == "icem" and settings.get("energy", {}).get("distance") == "l2"
        return (min(20, work // (5 if good else 40)), 20, 1 + 0.1 * work)

    seen = []
    arguments = (["cem", "icem"], 2, "metric", 0, tmp_path / "trials")
    front = tune(measure, 25, *arguments, lambda number, found: seen.append(found))
    assert len(seen) == 25 and seen[0].settings == {}
    assert [o.latency_ms for o in front] == sorted(o.latency_ms for o in front)
    assert [o.successes for o in front] == sorted(o.successes for o in front)  # what is slower is better
    best = fastest(front, 0.05)
    assert best.settings["optimizer"]["name"] == "icem" and best.successes >= 18
    # Going on takes what is there, and more trials only add to it.
    more = []
    longer = tune(measure, 27, *arguments, lambda number, found: more.append(number))
    assert more == [25, 26]
    assert max(o.successes for o in longer) >= max(o.successes for o in front)


def test_every_optimizer_can_be_searched(tmp_path):
    """What is suggested is what its settings take."""
    for name in SEARCHED:
        found = []
        tune(lambda settings: found.append(settings) or (1, 1, 1.0), 6, [name], 3, "metric", 1, tmp_path / name, lambda *_: None)
        assert found[0] == {} and all(settings["optimizer"]["name"] == name for settings in found[1:])
        for settings in found[1:]:
            assert changed(default_settings(), settings).optimizer["name"] == name
            assert overrides(settings)[0] == f"planner/optimizer={name}"


def test_a_search_in_the_command(call, tiny_checkpoint, tmp_path):
    few = ("--checkpoint", tiny_checkpoint, "--trials", 2, "--episodes", 1, "--max-steps", 1)
    quick = ("planner.optimizer.samples=4", "planner.optimizer.elites=2", "planner.optimizer.keep_elites=1")
    code, out, err = call("tune", "planner", *few, *quick, "--optimizer", "gradient", "-o", "found.yaml", "--json")
    assert code == 0 and err.count("trial ") == 2
    facts = json.loads(out)
    assert facts["chosen"] in facts["front"] and facts["again"]["episodes"] == 1
    written = yaml.safe_load((tmp_path / "found.yaml").read_text())
    assert written == facts["chosen"]["settings"]
    assert isinstance(load_preset(tmp_path / "found.yaml"), PlannerSettings)
    assert call("evaluate", "--checkpoint", tiny_checkpoint, "--episodes", 1, "--max-steps", 1, "--planner", "found.yaml")[0] == 0


@pytest.mark.parametrize(
    "args, words",
    [
        (("-o", "found.txt"), ("found.txt", ".yaml")),
        (("-o", "there.yaml"), ("there.yaml", "exists already")),
        (("-o", "found.yaml", "--trials", "0"), ("--trials",)),
        (("-o", "found.yaml", "--optimizer", "guess"), ("guess",)),
        (("-o", "found.yaml", "planner.horizon=0"), ("horizon", "at least 1")),
        ((), ("--out",)),
    ],
)
def test_wrong_searches(call, tiny_checkpoint, tmp_path, args, words):
    (tmp_path / "there.yaml").write_text("{}")
    assert_refused(call("tune", "planner", "--checkpoint", tiny_checkpoint, *args), *words)
    assert not (tmp_path / "found.yaml").exists()


def test_presets_and_overrides_say_the_same():
    values = {
        "optimizer": {"name": "icem", "samples": 32}, "horizon": 2, "max_novelty": None, "extend": True,
        "energy": {"distance": "l1", "functions": ["a:b"]}, "constraints": {"low": {"z": 0.1}},
    }
    assert overrides(values) == [
        "planner/optimizer=icem", "planner.optimizer.samples=32", "planner.horizon=2", "planner.max_novelty=null",
        "planner.extend=true", "planner.energy.distance='l1'", "planner.energy.functions=['a:b']",
        "planner.constraints.low.z=0.1",
    ]
    settings = changed(default_settings(), values)
    assert settings.optimizer == {**default_settings("icem").optimizer, "samples": 32}
    assert settings.horizon == 2 and settings.max_novelty is None and settings.energy.action_cost == 20.0
