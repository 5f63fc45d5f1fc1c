import numpy as np
import pytest
import torch

from jepa_robot.errors import GoalError, TaskError
from jepa_robot.evaluation.episodes import Decision, Goal, run_episode
from jepa_robot.evaluation.policies import RandomPolicy, TrueStatePolicy
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task
from jepa_robot.planning import default_settings

SEED = 11


@pytest.fixture(scope="module")
def task():
    with Task("panda_reach") as opened:
        yield opened


@pytest.fixture
def pair(task):
    start, goal = start_and_goal(task.env, SEED)
    return start, Goal(task.env.render_goal(goal), goal)


class Script:
    """Straight towards the goal for some steps, then straight away from it; stops after ``stop`` actions."""

    def __init__(self, there, away, stop):
        self.there, self.away, self.stop = there, away, stop

    def reset(self, task, goal, seed):
        self.taken, self.goal = 0, task.proprioception(goal.state)

    def decide(self, observation):
        if self.taken >= self.stop:
            return Decision(np.zeros(4, np.float32), arrived=True)
        sign = 1 if self.taken < self.there else -1
        action = np.clip(sign * (self.goal - observation.state), -0.05, 0.05) * np.array([1, 1, 1, 0])
        self.taken += 1
        return Decision(action.astype(np.float32))


def test_success_is_the_verdict_at_the_end_of_an_arrived_episode(task, pair):
    result = run_episode(task, Script(40, 0, 40), *pair, max_steps=60, seed=SEED)
    assert result.success and result.arrived and result.actions == 40
    distances = [s.distance_m for s in result.steps]
    assert result.distance_m == distances[-1] < 0.025 < distances[0]
    assert result.first_success == next(i for i, d in enumerate(distances) if d <= 0.025)
    assert result.closest_m == min(distances)


def test_passing_through_the_goal_is_no_success(task, pair):
    reach = run_episode(task, Script(40, 0, 40), *pair, max_steps=60, seed=SEED).first_success
    result = run_episode(task, Script(reach, 9, reach + 9), *pair, max_steps=60, seed=SEED)
    assert result.success is False and result.first_success is not None
    assert result.closest_m <= 0.025 < result.distance_m


def test_steps_run_out(task, pair):
    seen = []
    result = run_episode(task, Script(40, 0, 40), *pair, max_steps=2, seed=SEED, on_step=seen.append)
    assert result.actions == 2 and not result.arrived and result.success is False and result.first_success is None
    assert [s.index for s in seen] == [0, 1, 2] and seen == result.steps


def test_frames_are_what_the_camera_saw(task, pair):
    start, goal = pair
    result = run_episode(task, Script(40, 0, 3), start, goal, max_steps=5, seed=SEED)
    assert np.array_equal(result.steps[0].image, task.env.render_goal(start))
    assert not np.array_equal(result.steps[0].image, result.steps[-1].image)


def test_without_images_keeps_the_rest(task, pair):
    result = run_episode(task, Script(40, 0, 3), *pair, max_steps=5, seed=SEED)
    light = result.without_images()
    assert light.steps[1].image.size == 0 and result.steps[1].image.size > 0
    assert light.distance_m == result.distance_m and light.success == result.success and light.actions == 3


def test_without_a_goal_state_success_is_unknown(task, pair):
    start, goal = pair
    result = run_episode(task, RandomPolicy(), start, Goal(goal.image), max_steps=1, seed=SEED)
    assert result.success is None and result.distance_m is None and result.closest_m is None


def test_random_actions_fill_the_bounds_and_never_arrive(task, pair):
    first, second = (run_episode(task, RandomPolicy(), *pair, max_steps=40, seed=SEED) for _ in range(2))
    actions = np.stack([s.decision.action for s in first.steps])
    assert first.actions == 40 and not first.arrived
    assert (np.abs(actions) <= task.contract.action_high).all()
    assert (actions.max(0) > 0.8 * task.contract.action_high).all()
    assert np.array_equal(actions, np.stack([s.decision.action for s in second.steps]))


def test_ceiling_reaches_the_goal_and_stops(task, pair):
    policy = TrueStatePolicy(task.contract, default_settings())
    result = run_episode(task, policy, *pair, max_steps=50, seed=SEED)
    assert result.success and result.distance_m < 0.02
    energies = [s.decision.energy for s in result.steps]
    # The energy is the mean over x, y and z of the squared difference.
    assert energies[0] == pytest.approx(result.steps[0].distance_m ** 2 / 3, rel=1e-3)
    with pytest.raises(GoalError, match="no true state"):
        policy.reset(task, Goal(pair[1].image), SEED)


def test_ceiling_s_kinematics_follow_the_simulator(task, pair):
    policy = TrueStatePolicy(task.contract, default_settings())
    actions = torch.tensor([[[0.03, -0.02, 0.04, 0.1], [-0.05, 0.01, 0.0, 0.0]]])
    task.env.reset(options={"state": pair[0], "goal_state": pair[1].state})
    predicted = policy._rollout(torch.from_numpy(task.env.observe()["proprio"])[None], actions[None]).features[0]
    for h in range(2):
        task.env.step(actions[0, h].numpy())
        assert np.allclose(predicted[0, h].numpy(), task.env.observe()["proprio"][:3], atol=0.01)


def test_proprioception_of_a_state_leaves_the_simulation_alone(task, pair):
    start, goal = pair
    task.env.restore(start)
    before = task.env.observe()
    assert not np.allclose(task.proprioception(goal.state), before["proprio"], atol=0.01)
    after = task.env.observe()
    assert np.array_equal(before["proprio"], after["proprio"]) and np.array_equal(before["front"], after["front"])


def test_unknown_task():
    with pytest.raises(TaskError, match="wash_up.*panda_reach"):
        Task("wash_up")


def test_foreign_state(task):
    with pytest.raises(GoalError, match="goal.png"):
        task.check_state({"cups": 3}, "goal.png")
