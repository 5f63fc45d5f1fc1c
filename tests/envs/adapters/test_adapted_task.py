"""Any Gymnasium MuJoCo environment as a goal-image task, on one whose behaviour is known."""

from __future__ import annotations

import json
import warnings
from typing import Any

import jepa_envs
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jepa_envs.adapters import AdaptedTask, Dim, FreeCamera, by_expert, check_task
from toy_env import ToyEnv

from jepa_robot.spec import Contract


def towards_target(env: Any) -> np.ndarray:
    return np.array([4.0 * (env.target - env.data.qpos[0]) - env.data.qvel[0], 0.0])


def make(env: ToyEnv | None = None, **changes: Any) -> AdaptedTask:
    settings: dict[str, Any] = dict(
        name="toy",
        actions=[Dim("force", "N", -20.0, 20.0, "world")],
        states=[Dim("x", "m", -1.0, 1.0, "world")],
        proprio=lambda env: env.data.qpos,
        achieved=lambda env: env.data.qpos,
        success_distance=0.05,
        goal_attributes=("target",),
        expert=towards_target,
        cameras=("above", "beside"),
        hidden_sites=("mark",),
        fixed={1: 0.25},
        steps_per_action=2,
        image_size=32,
    )
    return AdaptedTask(env or ToyEnv(), **(settings | changes))


def drawn(task: AdaptedTask, seed: int) -> tuple[dict, dict]:
    return task.sample_start_and_goal(np.random.default_rng(seed))


def test_it_is_a_goal_image_task_that_passes_gymnasiums_checker() -> None:
    task = make(render_mode="rgb_array")
    assert isinstance(task, jepa_envs.GoalImageTask) and task.unwrapped is task
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*we recommend using a symmetric and normalized space")
        warnings.filterwarnings("ignore", ".*not having a spec")
        warnings.filterwarnings("ignore", ".*Box observation space (min|max)imum value is -?infinity")
        check_env(task)


def test_contract_says_units_and_the_rate_that_the_simulation_has() -> None:
    contract = Contract.from_dict(make().contract())
    assert contract.task == "toy" and contract.fps == 25.0  # two steps of 0.02 s
    assert contract.camera.name == "above" and contract.camera.height == 32
    assert [(d.name, d.unit, d.low, d.high) for d in contract.actions] == [("force", "N", -20.0, 20.0)]


def test_actions_are_scaled_to_the_environments_and_repeated() -> None:
    env = ToyEnv()
    task = make(env)
    task.reset(seed=0)
    task.step(np.array([5.0]))
    assert env.last == np.float32(0.25) and env.second == 0.25 and env.steps == 2
    task.step(np.array([-20.0]))
    assert env.last == -1.0 and env.steps == 4


def test_everything_is_restored_to_the_bit_even_random_numbers_and_by_another_instance() -> None:
    task, other = make(), make()
    task.reset(seed=3)
    actions = np.random.default_rng(0).uniform(-20, 20, (8, 1))
    for action in actions[:3]:
        task.step(action)
    state = json.loads(json.dumps(task.state()))
    wind = [task.step(action)[0]["proprio"][0] for action in actions[3:]]
    picture, shelf = task.observe()["above"], task.env.model.body("shelf").pos.copy()
    for env in (task, other):
        env.reset(seed=9)
        assert not np.array_equal(env.env.model.body("shelf").pos, shelf)
        env.restore(state)
        assert env.state() == state
        assert [env.step(action)[0]["proprio"][0] for action in actions[3:]] == wind
        np.testing.assert_array_equal(env.observe()["above"], picture)
        np.testing.assert_array_equal(env.env.model.body("shelf").pos, shelf)
        assert env.env.last.dtype == np.float32 and env.env.history.dtype == np.float32


def test_a_goal_picture_shows_the_state_and_leaves_everything_as_it_was() -> None:
    task = make()
    task.reset(seed=1)
    task.step(np.array([3.0]))
    _, goal = drawn(task, 5)
    before, seen = task.state(), task.observe()
    picture = task.render_goal(goal)
    assert task.state() == before
    np.testing.assert_array_equal(task.observe()["above"], seen["above"])
    task.restore(goal)
    np.testing.assert_array_equal(task.observe()["above"], picture)
    assert not np.array_equal(picture, seen["above"])


def test_success_is_the_distance_of_what_was_achieved() -> None:
    task = make()
    task.reset(seed=0)

    def at(x: float) -> dict[str, Any]:
        task.env.data.qpos[0] = x
        return task.state()

    assert task.distance(at(0.2), at(-0.1)) == pytest.approx(0.3)
    assert task.is_success(at(0.049), at(0.0)) and not task.is_success(at(0.051), at(0.0))
    _, info = task.reset(options={"state": at(0.049), "goal_state": at(0.0)})
    assert info["success"] and info["distance_m"] == pytest.approx(0.049)


def test_the_environments_own_verdict_judges_by_the_goals_target() -> None:
    task = make(success_distance=None, solved=lambda env: abs(env.data.qpos[0] - env.target) < 0.1)
    start, goal = drawn(task, 0)
    target = goal["attributes"]["target"]
    task.reset(options={"state": start, "goal_state": goal})
    task.env.data.qpos[0] = target + 0.09
    near = task.state()
    task.env.target = -5.0  # what it would go by were it asked for its own goal
    lost = task.state()
    assert task.is_success(near, goal) and task.is_success(lost, goal)
    assert not task.is_success(start, goal)
    assert not task.is_success(goal, lost)


def test_the_expert_makes_the_goal_and_demonstrates_it() -> None:
    solved = lambda env: abs(env.data.qpos[0] - env.target) < 0.03  # noqa: E731
    task = make(goal=by_expert(solved, steps=60), success_distance=0.06)
    start, goal = drawn(task, 2)
    assert abs(goal["mujoco"][1] - goal["attributes"]["target"]) < 0.03
    assert task.demonstrator_kinds() == ("expert", "noisy", "explore")
    for kind in task.demonstrator_kinds():
        _, info = task.reset(options={"state": start, "goal_state": goal})
        demonstrator = task.make_demonstrator(kind, np.random.default_rng(0))
        for _ in range(60):
            before = task.state()
            action = demonstrator.act(before, goal)
            assert task.state() == before and action.dtype == np.float32
            *_, info = task.step(action)
        assert info["success"] or kind != "expert"


def test_the_experts_action_is_the_mean_of_what_it_does_step_by_step() -> None:
    task, slow = make(steps_per_action=6), make(steps_per_action=1)
    _, goal = drawn(task, 4)
    task.restore(goal)
    task.env.data.qpos[0] = task.env.target + 0.2
    start = task.state()
    slow.reset(options={"state": start, "goal_state": goal})
    forces = []
    for _ in range(6):
        forces.append(20.0 * np.clip(towards_target(slow.env)[0], -1, 1))
        slow.step(np.array([forces[-1]]))
    action = task.make_demonstrator("expert", np.random.default_rng(0)).act(start, goal)
    # Not to the bit: in single steps positions are brought up to date in between.
    assert action[0] == pytest.approx(np.mean(forces), rel=0.02)
    assert abs(forces[0] - np.mean(forces)) > 0.1 * abs(np.mean(forces))


def test_without_an_expert_there_is_exploration_only() -> None:
    task = make(expert=None)
    assert task.demonstrator_kinds() == ("explore",)
    with pytest.raises(ValueError, match="no expert"):
        task.act_as_expert()


def test_a_goal_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no goal away from its start"):
        drawn(make(goal=lambda task, rng: False), 0)
    with pytest.raises(RuntimeError, match="no goal away from its start"):
        drawn(make(goal=lambda task, rng: True), 0)  # goals that are their starts


def test_whether_an_object_moved_is_read_from_two_states() -> None:
    """By more than a millimetre; either of two objects; the simulation is left as it was."""
    env = ToyEnv()
    task = make(env, object_position=lambda env: np.append(env.data.body("shelf").xpos, env.data.body("cart").xpos))
    start, _ = drawn(task, 0)
    before = task.state()

    def at(x: float) -> dict:
        task.restore(start)
        env.data.qpos[0] += x
        return task.state()

    states = {x: at(x) for x in (0.0, 0.0009, 0.0011, -0.5)}
    task.restore(before)
    assert [task.object_moved(states[0.0], states[x]) for x in states] == [False, False, True, True]
    assert task.object_moved(states[-0.5], states[0.0]) is True
    pose = task.object_pose(states[0.0009])
    assert [name for name, *_ in pose] == [f"object{i}_{axis}" for i in (1, 2) for axis in "xyz"]
    assert pose[3][2] - task.object_pose(states[0.0])[3][2] == pytest.approx(0.0009)
    assert {unit for _, unit, _ in pose} == {"m"} and make().object_pose(before) == []
    assert task.state() == before
    assert make().object_moved(before, before) is None


def test_marks_are_not_drawn_and_every_camera_is() -> None:
    def red(task: AdaptedTask) -> int:
        picture = task.observe()["above"].astype(int)
        return int(((picture[..., 0] > 150) & (picture[..., 1] < 60)).sum())

    shown, hidden = make(hidden_sites=()), make(hidden_sites=("*",))
    assert red(shown) > 10 and red(hidden) == red(make()) == 0
    free = make(free_cameras={"drone": FreeCamera((0.0, 0.0, 0.0), 2.0, elevation=-90.0)})
    assert free.cameras == ("drone", "above", "beside") and free.camera == "drone"
    views = free.views()
    np.testing.assert_array_equal(views["drone"], views["above"])  # both 2 m above the origin
    assert np.abs(views["drone"].astype(int) - views["beside"].astype(int)).mean() > 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"success_distance": None}, "success_distance or solved"),
        ({"solved": bool}, "success_distance or solved"),
        ({"cameras": ("attic",)}, "no camera 'attic', expected of above, beside"),
        ({"cameras": ()}, "there is no camera"),
        ({"free_cameras": {"above": FreeCamera((0.0, 0.0, 0.0), 1.0)}}, "has a camera 'above' itself"),
        ({"hidden_sites": ("goal",)}, "no site 'goal', expected of mark"),
        ({"fixed": {}}, "1 actions, expected 2"),
        ({"states": []}, r"shape \(1,\), expected \(0,\)"),
        ({"steps_per_action": 0}, "steps_per_action is 0"),
        ({"object_position": lambda env: np.zeros(2)}, "object_position gives 2 numbers, expected 3 for each object"),
        ({"object_position": lambda env: np.zeros(0)}, "object_position gives 0 numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_wrong_states_are_refused_and_change_nothing() -> None:
    task = make()
    task.reset(seed=0)
    before = task.state()
    wrong = [
        {"qpos": [0.0]},
        before | {"task": "panda_reach"},
        before | {"mujoco": before["mujoco"][:-1]},
        before | {"mujoco": [float("nan"), *before["mujoco"][1:]]},
        before | {"model": {"body_pos": {"index": [10**6], "value": [0.0]}}},
        before | {"model": {"opt": {"index": [0], "value": [0.0]}}},
        before | {"attributes": {"model": 3}},
        before | {"attributes": {"step": 3}},
        before | {"attributes": {"target": {"__array__": [1], "dtype": "O", "shape": [1]}}},
        before | {"attributes": {"target": [1, 2]}},
        before | {"attributes": None},
    ]
    for state in wrong:
        for use in (task.restore, task.render_goal, lambda state: task.is_success(before, state)):
            with pytest.raises(ValueError):
                use(state)
        assert task.state() == before
    assert callable(task.env.step)


def test_the_check_finds_what_a_state_does_not_hold() -> None:
    check_task(make())
    env = ToyEnv()
    env.uses_hidden = True
    with pytest.raises(ValueError, match="something else happens.*neither in MuJoCo's state nor a plain attribute"):
        check_task(make(env))


def test_the_check_finds_starts_that_do_not_follow_from_their_seed() -> None:
    with pytest.raises(ValueError, match="the same seed gives another start"):
        check_task(make(reset_env=lambda env, seed: env.reset()))
