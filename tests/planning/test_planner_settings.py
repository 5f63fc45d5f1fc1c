import dataclasses

import pytest

from jepa_robot.errors import ConfigError
from jepa_robot.planning import PlannerSettings, default_settings


@pytest.fixture
def values():
    return dataclasses.asdict(default_settings())


def test_round_trip(values):
    assert PlannerSettings.from_dict(values) == default_settings()


def test_whole_numbers_count_as_real_ones(values):
    assert PlannerSettings.from_dict({**values, "momentum": 0}).momentum == 0.0


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"sample": 3}, "planner: unknown setting sample"),
        ({"samples": "many"}, "planner.samples: is 'many'; expected int"),
        ({"samples": 1.5}, "planner.samples: is 1.5"),
        ({"samples": True}, "planner.samples: is True"),
        ({"momentum": None}, "planner.momentum: is None"),
        ({"arrival": 3}, "planner.arrival: is 3"),
        ({"energy": {"distance": "l2", "steps": "all", "action_cost": 0.0}}, "planner.energy: missing setting space"),
        ({"arrival": {"patience": 3}}, "planner.arrival: missing setting min_improvement, slack, tolerance"),
    ],
)
def test_wrong_settings(values, changed, message):
    with pytest.raises(ConfigError, match=message):
        PlannerSettings.from_dict({**values, **changed})
