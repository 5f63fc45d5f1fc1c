import json

import pytest
import torch
import yaml
from command_line import assert_refused

from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.tuning import SEARCHED, Outcome, fastest, tune
from jepa_robot.planning import default_settings
from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.build import build_search
from jepa_robot.planning.presets import changed, differing, load_preset, overrides


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
    arguments = (["cem", "icem"], 2, default_settings(), 0, tmp_path / "new" / "trials")
    front = tune(measure, 25, *arguments, lambda number, found: seen.append(found), {"--episodes": 20})
    assert len(seen) == 25 and seen[0].settings == {}
    assert [o.latency_ms for o in front] == sorted(o.latency_ms for o in front)
    assert [o.successes for o in front] == sorted(o.successes for o in front)  # what is slower is better
    best = fastest(front, 0.05)
    assert best.settings["optimizer"]["name"] == "icem" and best.successes >= 18
    # Going on takes what is there, and more trials only add to it.
    more = []
    longer = tune(measure, 27, *arguments, lambda number, found: more.append(number), {"--episodes": 20})
    assert more == [25, 26]
    assert max(o.successes for o in longer) >= max(o.successes for o in front)
    # Of another search it takes nothing.
    for other, of, words in (
        (arguments, {"--episodes": 10}, "--episodes was 20, here it is 10"),
        ((["cem"], *arguments[1:]), {"--episodes": 20}, "--optimizer was"),
        ((*arguments[:2], changed(default_settings(), {"execute": 1, "horizon": 2}), *arguments[3:]), {"--episodes": 20}, "horizon was 1"),
    ):
        with pytest.raises(ConfigError, match=f"trials: is of another search: there {words}"):
            tune(measure, 30, *other, lambda *_: None, of)


def test_every_optimizer_can_be_searched(tmp_path):
    """What is suggested is what its settings take."""
    for name in SEARCHED:
        found = []
        base = changed(default_settings(), {"horizon": 2, "execute": 2})

        def measure(settings):
            taken = changed(base, settings)
            build_search(ActionSpace(-torch.ones(2), torch.ones(2), taken.horizon), taken)
            assert taken.horizon >= taken.execute == 2
            return found.append(settings) or (1, 1, 1.0)

        tune(measure, 12, [name], 3, base, 1, tmp_path / name, lambda *_: None, {})
        assert found[0] == {} and all(settings["optimizer"]["name"] == name for settings in found[1:])
        for settings in found[1:]:
            assert changed(default_settings(), settings).optimizer["name"] == name
            assert overrides(settings)[0] == f"planner/optimizer={name}"


def test_a_search_in_the_command(call, tiny_checkpoint, tmp_path):
    few = ("--checkpoint", tiny_checkpoint, "--trials", 2, "--episodes", 1, "--max-steps", 1)
    quick = ("planner.optimizer.samples=4", "planner.optimizer.elites=2", "planner.optimizer.keep_elites=1", "planner.execute=1")
    quick += ("planner.context_frames=2", "planner.energy.steps=last")
    code, out, err = call("tune", "planner", *few, *quick, "--optimizer", "gradient", "-o", "found.yaml", "--json")
    assert code == 0 and err.count("trial ") == 2
    facts = json.loads(out)
    assert facts["chosen"] in facts["front"] and facts["again"]["episodes"] == 1
    written = yaml.safe_load((tmp_path / "found.yaml").read_text())
    searched = changed(default_settings(), written)
    assert searched == changed(searched, facts["chosen"]["settings"])  # what was measured ...
    assert (searched.context_frames, searched.energy.steps) == (2, "last")  # ... and what was given
    assert load_preset(tmp_path / "found.yaml") == searched
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


def test_a_preset_says_what_differs(tmp_path):
    assert differing(default_settings()) == {}
    for values in (
        {"horizon": 3}, {"optimizer": {"name": "icem", "samples": 5}}, {"optimizer": {"name": "mppi"}},
        {"energy": {"distance": "l1"}, "camera_pose": [1, 2, 3, 4, 5, 6], "actions": {"levels": {"dgripper": [0, 1]}}},
    ):
        settings = changed(default_settings(), values)
        assert differing(settings) == values and changed(default_settings(), differing(settings)) == settings


def test_the_published_planner_is_named_in_a_preset(tmp_path):
    (tmp_path / "published.yaml").write_text("optimizer: {name: vjepa2_ac, samples: 100}")
    settings = load_preset(tmp_path / "published.yaml")
    assert settings.optimizer == {**default_settings("vjepa2_ac").optimizer, "samples": 100}
