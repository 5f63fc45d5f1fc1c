import dataclasses

import numpy as np
import pytest

from jepa_robot.errors import ConfigError
from jepa_robot.files import configs_folder
from jepa_robot.planning import PlannerSettings, build_planner, default_settings
from jepa_robot.planning.build import OPTIMIZERS, build_search, build_space

ALL = sorted(OPTIMIZERS)


@pytest.fixture
def values():
    return dataclasses.asdict(default_settings())


def test_round_trip(values):
    assert PlannerSettings.from_dict(values) == default_settings()


def test_whole_numbers_count_as_real_ones(values):
    assert PlannerSettings.from_dict({**values, "stop_spread": 0}).stop_spread == 0.0


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"sample": 3}, "planner: unknown setting sample"),
        ({"horizon": "far"}, "planner.horizon: is 'far'; expected int"),
        ({"horizon": 1.5}, "planner.horizon: is 1.5"),
        ({"horizon": True}, "planner.horizon: is True"),
        ({"dtype": None}, "planner.dtype: is None"),
        ({"extend": 1}, "planner.extend: is 1; expected bool"),
        ({"arrival": 3}, "planner.arrival: is 3"),
        ({"arrival": {"patience": 3}}, "planner.arrival: missing setting min_improvement, slack, tolerance"),
        ({"optimizer": "cem"}, "planner.optimizer: is 'cem'; expected dict"),
    ],
)
def test_wrong_settings(values, changed, message):
    with pytest.raises(ConfigError, match=message):
        PlannerSettings.from_dict({**values, **changed})


def test_every_optimizer_has_its_settings():
    files = sorted(path.stem for path in (configs_folder() / "planner/optimizer").glob("*.yaml"))
    assert set(ALL) <= set(files)
    for name in files:
        assert default_settings(name).optimizer["name"] in OPTIMIZERS
    assert default_settings().optimizer == default_settings("cem").optimizer
    with pytest.raises(ConfigError, match="no optimizer 'guess'.*cem"):
        default_settings("guess")


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_goes_to_the_goal(toy, settings, name):
    chosen = dataclasses.replace(settings, optimizer=default_settings(name).optimizer, horizon=2)
    planner, goal = build_planner(toy.Model(), chosen), np.array([0.7, 0.6])
    planner.reset(toy.draw(goal))
    robot = toy.Robot((0.2, 0.3))
    for _ in range(9):
        robot.step(planner.act(robot.observe()))
    assert np.linalg.norm(robot.position - goal) < 0.03


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"name": "guess"}, "planner.optimizer.name: is 'guess'.*expected one of cem, "),
        ({"colour": 2.0}, "planner.optimizer: unknown setting colour; expected"),
        ({"samples": "many"}, "planner.optimizer.samples: is 'many'; expected int"),
        ({"momentum": None}, "planner.optimizer.momentum: is None; expected float"),
        ({"iterations": 2.5}, "planner.optimizer.iterations: is 2.5; expected int"),
        ({"elites": 65}, "elites is 65.*1 to samples"),
    ],
)
def test_wrong_settings_of_an_optimizer(toy, settings, changed, message):
    wrong = dataclasses.replace(settings, optimizer={**settings.optimizer, **changed})
    with pytest.raises(ConfigError, match=message):
        build_search(build_space(toy.contract, wrong), wrong)


def test_a_missing_setting_of_an_optimizer(toy, settings):
    few = {name: value for name, value in settings.optimizer.items() if name != "samples"}
    wrong = dataclasses.replace(settings, optimizer=few)
    with pytest.raises(ConfigError, match="planner.optimizer: missing setting samples"):
        build_search(build_space(toy.contract, wrong), wrong)


@pytest.mark.parametrize("name", ALL)
def test_limits_of_actions_hold_whatever_searches(toy, settings, name):
    norm = dataclasses.replace(settings.actions.norm, dims=["dx", "dy"], order=2, radius=0.06)
    limits = dataclasses.replace(settings.actions, hold=2, norm=norm)
    chosen = dataclasses.replace(settings, optimizer=default_settings(name).optimizer, horizon=4, actions=limits)
    planner = build_planner(toy.Model(), chosen)
    planner.reset(toy.draw(np.array([0.9, 0.8])))
    plan = planner.plan(toy.Robot((0.2, 0.3)).observe())
    assert plan.actions.shape == (4, 2)
    assert np.array_equal(plan.actions[0], plan.actions[1]) and np.array_equal(plan.actions[2], plan.actions[3])
    lengths = np.linalg.norm(plan.actions, axis=1)
    assert (lengths <= 0.06 * (1 + 1e-6)).all() and (lengths > 0.05).all()  # the goal is far


def test_fixed_and_discrete_dimensions(toy, settings):
    limits = dataclasses.replace(settings.actions, fixed={"dx": 0}, levels={"dy": [-0.1, 0.0, 0.1]})
    planner = build_planner(toy.Model(), dataclasses.replace(settings, actions=limits))
    planner.reset(toy.draw(np.array([0.7, 0.6])))
    robot = toy.Robot((0.2, 0.3))
    for _ in range(5):
        action = planner.act(robot.observe())
        assert action[0] == 0 and min(abs(action[1] - level) for level in (-0.1, 0, 0.1)) < 1e-6
        robot.step(action)
    assert robot.position == pytest.approx([0.2, 0.6], abs=0.01)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"fixed": {"dz": 0.0}}, "planner.actions.fixed: there is no dimension 'dz'; expected one of dx, dy"),
        ({"fixed": {"dx": "left"}}, "planner.actions.fixed.dx: is 'left'; expected float"),
        ({"fixed": {"dx": 3.0}}, "dx is fixed at 3"),
        ({"levels": {"dy": []}}, "dy has levels .*at least one"),
        ({"hold": 0}, "hold is 0"),
    ],
)
def test_wrong_limits(toy, settings, changed, message):
    wrong = dataclasses.replace(settings, actions=dataclasses.replace(settings.actions, **changed))
    with pytest.raises(ConfigError, match=message):
        build_space(toy.contract, wrong)
