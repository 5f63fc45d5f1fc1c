"""What holds for every task: the Gymnasium interface, seeds, states, pictures, looks, demonstrators."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator

import gymnasium as gym
import jepa_envs
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from jepa_envs.task import MujocoGoalTask
from jepa_envs.variation import KINDS

from jepa_robot.spec import Contract

# A task that is registered again with another object is the same class: see test_panda_objects.py.
TASKS = [name for name, id in sorted(jepa_envs.TASKS.items()) if not gym.spec(id).kwargs]


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def some_actions(env: MujocoGoalTask, count: int) -> np.ndarray:
    low, high = env.action_space.low, env.action_space.high
    return np.random.default_rng(0).uniform(low, high, (count, len(low))).astype(np.float32)


@pytest.fixture(scope="module", params=TASKS)
def env(request: pytest.FixtureRequest) -> Iterator[MujocoGoalTask]:
    env = jepa_envs.make(request.param)
    yield env.unwrapped
    env.close()


@pytest.fixture(scope="module", params=TASKS)
def varied(request: pytest.FixtureRequest) -> Iterator[MujocoGoalTask]:
    env = jepa_envs.make(request.param, variation="all")
    yield env.unwrapped
    env.close()


@pytest.fixture(scope="module", params=[(task, variation) for task in TASKS for variation in ("", "all")])
def either(request: pytest.FixtureRequest) -> Iterator[MujocoGoalTask]:
    task, variation = request.param
    env = jepa_envs.make(task, variation=variation)
    yield env.unwrapped
    env.close()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variation", [(), "all"])
def test_passes_gymnasiums_checker(task: str, variation: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Not in physical units:
        warnings.filterwarnings("ignore", ".*we recommend using a symmetric and normalized space")
        env = gym.make(jepa_envs.TASKS[task], render_mode="rgb_array", variation=variation).unwrapped
        check_env(env)
        env.close()


def test_offers_the_goal_image_protocol(env: MujocoGoalTask) -> None:
    assert isinstance(env, jepa_envs.GoalImageTask)


def test_the_contract_fits_the_spaces(env: MujocoGoalTask) -> None:
    contract = Contract.from_dict(env.contract())
    assert jepa_envs.TASKS[contract.task] == env.spec.id
    assert contract.camera.name == env.camera and contract.fps == env.metadata["render_fps"]
    np.testing.assert_allclose(contract.action_high, env.action_space.high, rtol=1e-6)
    np.testing.assert_allclose(contract.action_low, env.action_space.low, rtol=1e-6)
    observation, _ = env.reset(seed=0)
    assert observation[contract.camera.name].shape == (contract.camera.height, contract.camera.width, 3)
    proprio = observation["proprio"]
    assert np.all(proprio >= contract.state_low) and np.all(proprio <= contract.state_high)


def test_every_camera_can_be_chosen(env: MujocoGoalTask) -> None:
    env.reset(seed=0)
    views = env.views()
    assert tuple(views) == env.cameras and len(env.cameras) > 1
    for name in env.cameras:
        other = jepa_envs.make(env.name, camera=name).unwrapped
        observation, _ = other.reset(seed=0)
        np.testing.assert_array_equal(observation[name], views[name])
        np.testing.assert_array_equal(other.render_goal(env.state()), views[name])
        assert other.contract()["cameras"][0]["name"] == name
        other.close()
    with pytest.raises(ValueError, match=f"camera 'attic' is unknown, expected one of {env.cameras[0]}"):
        jepa_envs.make(env.name, camera="attic")


def test_same_seed_same_episode_to_the_bit(env: MujocoGoalTask) -> None:
    other = jepa_envs.make(env.name).unwrapped
    (a, info_a), (b, info_b) = env.reset(seed=7), other.reset(seed=7)
    assert same(a, b) and info_a == info_b and env.state() == other.state()
    for action in some_actions(env, 5):
        assert same(env.step(action)[0], other.step(action)[0])
    assert env.state() == other.state()
    assert not same(a, other.reset(seed=8)[0])
    other.close()


def test_a_state_restores_to_the_bit(either: MujocoGoalTask) -> None:
    env = either
    env.reset(seed=1)
    actions = some_actions(env, 12)
    for action in actions[:6]:
        env.step(action)
    state = json.loads(json.dumps(env.state()))
    runs = []
    for _ in range(2):
        runs.append([env.observe()] + [env.step(action)[0] for action in actions[6:]] + [env.state()])
        env.restore(state)
    assert runs[0][-1] == runs[1][-1]
    assert all(same(a, b) for a, b in zip(runs[0][:-1], runs[1][:-1], strict=True))


def test_a_goal_picture_shows_the_state_and_leaves_the_simulation(either: MujocoGoalTask) -> None:
    env = either
    env.reset(seed=2)
    env.step(some_actions(env, 1)[0])
    before, state = env.observe(), env.state()
    start, goal = env.sample_start_and_goal(np.random.default_rng(3))
    picture = env.render_goal(goal)
    assert env.state() == state and same(env.observe(), before)
    assert not np.array_equal(env.render_goal(start), picture)
    env.restore(goal)
    np.testing.assert_array_equal(env.observe()[env.camera], picture)


def test_starts_are_no_goals_and_goals_are(env: MujocoGoalTask) -> None:
    for seed in range(30):
        start, goal = env.sample_start_and_goal(np.random.default_rng(seed))
        assert not env.is_success(start, goal) and env.distance(start, goal) > env.success_distance
        assert env.is_success(goal, goal) and env.distance(goal, goal) == 0
        assert goal == env.sample_start_and_goal(np.random.default_rng(seed))[1]


def test_info_says_what_the_states_say(env: MujocoGoalTask) -> None:
    start, goal = env.sample_start_and_goal(np.random.default_rng(0))
    _, info = env.reset(options={"state": start, "goal_state": goal})
    assert info["distance_m"] == env.distance(start, goal) and info["success"] is False
    _, reward, terminated, truncated, info = env.step(some_actions(env, 1)[0])
    assert info["distance_m"] == env.distance(env.state(), goal)
    assert (reward, terminated, truncated) == (0.0, False, False)
    _, info = env.reset(options={"state": goal, "goal_state": goal})
    assert info["success"] is True


def test_wrong_actions_and_options_are_refused(env: MujocoGoalTask) -> None:
    env.reset(seed=0)
    before = env.state()
    good = some_actions(env, 1)[0]
    wrong = [np.full_like(good, np.nan), np.append(good[:-1], np.inf), good[:-1], np.stack([good, good])]
    for action in wrong:
        with pytest.raises(ValueError, match="^action ") as caught:
            env.step(action)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="reset option 'goal_image' is unknown"):
        env.reset(options={"goal_image": None})
    with pytest.raises(ValueError, match="render_mode"):
        type(env)(render_mode="human")
    assert env.state() == before


def test_states_of_another_task_and_broken_ones_are_refused(env: MujocoGoalTask) -> None:
    env.reset(seed=0)
    good = env.state()
    other = jepa_envs.make(next(task for task in TASKS if task != env.name)).unwrapped
    other.reset(seed=0)
    foreign = other.state()
    broken = {"qpos": good["qpos"][:-1]}, {"qvel": [float("nan")] * len(good["qvel"])}, {"time": "soon"}
    cases = [(foreign, f"is a state of task '{other.name}', expected one of '{env.name}'")]
    cases += [(good | part, "state") for part in broken]
    cases += [({}, "not a state of"), (None, "not a state of"), (good | {"appearance": {"light": []}}, "variation=")]
    for state, message in cases:
        for refuse in (env.restore, env.render_goal, lambda s: env.distance(good, s)):
            if "variation" in message and refuse not in (env.restore, env.render_goal):
                continue  # a distance does not depend on the look
            with pytest.raises(ValueError, match=message) as caught:
                refuse(state)
            assert "\n" not in str(caught.value)
        with pytest.raises(ValueError):
            env.reset(options={"state": state})
    assert env.state() == good


def test_actions_beyond_the_bounds_are_clipped(env: MujocoGoalTask) -> None:
    start, _ = env.sample_start_and_goal(np.random.default_rng(0))
    env.restore(start)
    a = env.step(env.action_space.high * 10)[0]
    env.restore(start)
    assert same(a, env.step(env.action_space.high)[0])


def test_demonstrators_keep_the_bounds_and_repeat_with_the_seed(env: MujocoGoalTask) -> None:
    assert {"expert", "noisy", "explore"} <= set(env.demonstrator_kinds())
    for kind in env.demonstrator_kinds():
        runs = []
        for _ in range(2):
            rng = np.random.default_rng(5)
            start, goal = env.sample_start_and_goal(rng)
            demonstrator = env.make_demonstrator(kind, rng)
            env.restore(start)
            actions = []
            for _ in range(8):
                actions.append(demonstrator.act(env.state(), goal))
                env.step(actions[-1])
            runs.append(np.array(actions))
        assert runs[0].dtype == np.float32 and all(env.action_space.contains(action) for action in runs[0])
        np.testing.assert_array_equal(*runs)
    with pytest.raises(ValueError, match="'dance' is unknown.*expert"):
        env.make_demonstrator("dance", np.random.default_rng(0))


def test_the_look_is_drawn_with_the_episode_and_stays(varied: MujocoGoalTask) -> None:
    plain = jepa_envs.make(varied.name).unwrapped
    first, _ = varied.reset(seed=0)
    looks = []
    for seed in range(3):
        observation, _ = varied.reset(seed=seed)
        looks.append(varied.state()["appearance"])
        assert tuple(looks[-1]) == KINDS
        start, goal = varied.sample_start_and_goal(np.random.default_rng(seed + 10))
        assert start["appearance"] == goal["appearance"] != looks[-1]
        varied.step(some_actions(varied, 1)[0])
        assert varied.state()["appearance"] == looks[-1]
    assert looks[0] != looks[1] != looks[2]
    assert same(varied.reset(seed=0)[0], first)
    # Without a look a state has the scene file's own.
    start, _ = plain.sample_start_and_goal(np.random.default_rng(0))
    np.testing.assert_array_equal(varied.render_goal(start), plain.render_goal(start))
    varied.restore(start)
    assert "appearance" not in varied.state()
    plain.close()


def test_the_look_does_not_change_the_physics(varied: MujocoGoalTask) -> None:
    plain = jepa_envs.make(varied.name).unwrapped
    start, goal = varied.sample_start_and_goal(np.random.default_rng(1))
    bare = {key: value for key, value in start.items() if key != "appearance"}
    varied.restore(start)
    plain.restore(bare)
    for action in some_actions(plain, 6):
        varied.step(action)
        plain.step(action)
    moved = {key: value for key, value in varied.state().items() if key != "appearance"}
    assert moved == plain.state()
    plain.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_factor_shows(env: MujocoGoalTask, kind: str) -> None:
    other = jepa_envs.make(env.name, variation=[kind]).unwrapped
    start, _ = other.sample_start_and_goal(np.random.default_rng(0))
    bare = {key: value for key, value in start.items() if key != "appearance"}
    change = np.abs(other.render_goal(start).astype(int) - env.render_goal(bare)).max(-1)
    assert (change > 8).sum() >= 8
    other.close()


def test_appearances_of_another_kind_or_shape_are_refused(varied: MujocoGoalTask) -> None:
    start, _ = varied.sample_start_and_goal(np.random.default_rng(0))
    varied.restore(start)
    before = varied.observe()
    for look, message in (
        ({"smell": [0.5]}, "varies 'smell'"),
        ({"light": [0.5]}, "light of shape"),
        ({"light": [7.0] * 7}, "within 0 to 1"),
        ([0.5], "not an appearance"),
    ):
        with pytest.raises(ValueError, match=message):
            varied.restore(start | {"appearance": look})
    assert same(varied.observe(), before) and varied.state() == start
    with pytest.raises(ValueError, match="variation 'smell' is unknown, expected 'all' or of light"):
        jepa_envs.make(varied.name, variation="smell")
