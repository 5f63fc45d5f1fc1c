import dataclasses

import numpy as np
import pytest
import torch

from jepa_robot.errors import ConfigError, GoalError, PlanningError
from jepa_robot.planning import Observation, build_planner

@pytest.mark.parametrize(
    "image, found",
    [
        (np.zeros((16, 32, 3), np.uint8), r"uint8 \[16, 32, 3\]"),
        (np.zeros((32, 32), np.uint8), r"uint8 \[32, 32\]"),
        (np.zeros((32, 32, 3), np.float32), r"float32 \[32, 32, 3\]"),
    ],
)
def test_wrong_pictures(planner, image, found):
    with pytest.raises(GoalError, match=f"goal picture is {found}.*expected uint8 .*, 3. RGB"):
        planner.reset(image)
    with pytest.raises(PlanningError, match=f"observed picture is {found}"):
        planner.act(Observation(image, np.zeros(2, np.float32)))


@pytest.mark.parametrize(
    "state", [np.zeros(3, np.float32), np.zeros(2, np.float64), np.array([0, np.nan], np.float32), [0.0, 0.0]]
)
def test_wrong_states(planner, toy, state):
    with pytest.raises(PlanningError, match="observed state is"):
        planner.act(Observation(toy.draw(toy.goal), state))


def test_no_goal(toy, settings):
    with pytest.raises(PlanningError, match=r"call reset\(goal\) first"):
        build_planner(toy.Model(), settings).act(toy.Robot(toy.start).observe())


def test_model_without_numbers(planner, toy):
    planner.engine.model.rollout = lambda context, actions: torch.full((*actions.shape[:3], 1, 2), float("nan"))
    with pytest.raises(PlanningError, match="energy 'goal' is not a finite number"):
        planner.act(toy.Robot(toy.start).observe())


def test_wrong_settings(toy, settings):
    energy = dataclasses.replace(settings.energy, space="pixels")
    with pytest.raises(ConfigError, match="energy space is 'pixels'.*expected metric or latent"):
        build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))
    with pytest.raises(ConfigError, match="iterations is 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, optimizer={**settings.optimizer, "iterations": 0}))
    with pytest.raises(ConfigError, match="context_frames is 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, context_frames=0))
    with pytest.raises(ConfigError, match="max_novelty is 0; expected above 0"):
        build_planner(toy.Model(), dataclasses.replace(settings, max_novelty=0.0))
    for cost in (-0.1, 1e10, float("inf"), float("nan")):
        energy = dataclasses.replace(settings.energy, action_cost=cost)
        with pytest.raises(ConfigError, match="action_cost: is .*expected 0 to 1e"):
            build_planner(toy.Model(), dataclasses.replace(settings, energy=energy))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"compile": True}, "planner.compile: PointModel has no method compile_rollouts"),
        ({"cuda_graphs": True}, "planner.cuda_graphs: PointModel has no method graph_rollouts"),
        ({"camera_pose": (0.0,) * 6}, "planner.camera_pose: PointModel has no method set_camera_pose"),
    ],
)
def test_what_a_model_of_ones_own_need_not_be_able_to_do(toy, settings, changed, message):
    with pytest.raises(ConfigError, match=message):
        build_planner(toy.Model(), dataclasses.replace(settings, **changed))
