"""TwoRooms: walls and door, goals in the other room, the expert's way."""

from __future__ import annotations

from collections.abc import Iterator

import jepa_envs
import numpy as np
import pytest
from jepa_envs.two_rooms import Rooms, TwoRoomsEnv
from jepa_envs.two_rooms_layout import DOOR, INSIDE, RADIUS, WALL, is_free


@pytest.fixture(scope="module")
def env() -> Iterator[TwoRoomsEnv]:
    env = jepa_envs.make("two_rooms")
    yield env.unwrapped
    env.close()


@pytest.fixture(scope="module")
def rooms() -> Rooms:
    return Rooms()


def walk(rooms: Rooms, start: tuple[float, float], step: tuple[float, float], steps: int) -> np.ndarray:
    rooms.place(np.array(start))
    for _ in range(steps):
        rooms.step(np.array(step))
    return rooms.position_of(rooms.data)


def test_a_free_step_is_exact(rooms: Rooms) -> None:
    np.testing.assert_allclose(walk(rooms, (15, 40), (1.25, -3.6), 3), [18.75, 29.2], atol=1e-9)


@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        ((20, 50), (3.6, 0), (27, 50)),  # the inner wall begins at 29
        ((45, 10), (-3.6, 0), (37, 10)),  # and ends at 35
        ((20, 50), (-3.6, 0), (7, 50)),
        ((20, 50), (0, 3.6), (20, 58)),
        ((50, 10), (0, -3.6), (50, 7)),
        ((20, 30), (3.6, 0), (58, 30)),  # through the door
        ((58, 31.5), (-3.6, 0), (7, 31.5)),
    ],
)
def test_walls_stop_and_the_door_does_not(
    rooms: Rooms, start: tuple[float, float], step: tuple[float, float], end: tuple[float, float]
) -> None:
    np.testing.assert_allclose(walk(rooms, start, step, 20), end, atol=0.3)


def test_the_agent_slides_along_a_wall(rooms: Rooms) -> None:
    x, y = walk(rooms, (26, 10), (3.6, 1.0), 8)
    assert x == pytest.approx(27, abs=0.3) and y == pytest.approx(18, abs=0.2)


def test_no_walk_leaves_the_rooms(rooms: Rooms) -> None:
    rng = np.random.default_rng(0)
    rooms.place(np.array([20.0, 30.0]))
    for step in range(2000):
        if step % 8 == 0:
            displacement = rng.choice([-3.6, 0.0, 3.6], 2)
        rooms.step(displacement)
        assert is_free(rooms.position_of(rooms.data), RADIUS - 0.25)
    assert rooms.warnings() == {}


def test_free_places_are_those_where_no_pixel_of_wall_is_near(env: TwoRoomsEnv) -> None:
    large = jepa_envs.make("two_rooms", image_size=260).unwrapped  # four pixels a unit
    picture = large.render_goal(large.state_at([10, 10])).astype(int)
    wall = picture.max(-1) < 60
    rows, columns = np.nonzero(wall)
    rng = np.random.default_rng(0)
    for place in rng.uniform(0, 65, (300, 2)):
        nearest = np.hypot((columns + 0.5) / 4 - place[0], (rows + 0.5) / 4 - place[1]).min()
        if abs(nearest - RADIUS) > 0.4:  # a pixel's width
            assert is_free(place) == (nearest > RADIUS), place
    large.close()


@pytest.mark.parametrize("place", [(32, 10), (32, 50), (4, 30), (30, 64), (28, 26), (36.5, 50)])
def test_a_goal_in_a_wall_is_refused(env: TwoRoomsEnv, place: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"the agent at \(.*\) is in a wall"):
        env.state_at(place)
    good = env.state_at([10, 10])
    with pytest.raises(ValueError, match="in a wall"):
        env.reset(options={"goal_state": good | {"qpos": [0.01 * place[0], 0.01 * place[1]]}})
    with pytest.raises(ValueError, match="expected x, y"):
        env.state_at([1, 2, 3])


def test_three_goals_of_four_are_in_the_other_room(env: TwoRoomsEnv) -> None:
    places = []
    for seed in range(300):
        pair = env.sample_start_and_goal(np.random.default_rng(seed))
        assert env.distance(*pair) >= 0.0999
        places.append([100 * np.array(state["qpos"]) for state in pair])
    places = np.array(places)
    assert all(is_free(place) for place in places.reshape(-1, 2))
    left = places[..., 0] < 32
    assert 0.68 < (left[:, 0] != left[:, 1]).mean() < 0.82
    assert 0.4 < left[:, 0].mean() < 0.6
    spread = places.reshape(-1, 2)
    assert np.all(spread.min(0) < INSIDE[0] + RADIUS + 2) and np.all(spread.max(0) > INSIDE[1] - RADIUS - 2)


def test_success_is_four_and_a_half_units(env: TwoRoomsEnv) -> None:
    goal = env.state_at([20, 20])
    assert env.is_success(env.state_at([20, 24.49]), goal) and not env.is_success(env.state_at([24.51, 20]), goal)
    assert env.distance(env.state_at([23, 24]), goal) == pytest.approx(0.05)


def run(env: TwoRoomsEnv, kind: str, seed: int, steps: int) -> tuple[bool, np.ndarray]:
    """Whether the goal was met, and places [steps + 1, 2]."""
    rooms, rng = Rooms(), np.random.default_rng(seed)
    start, goal = env.sample_start_and_goal(rng)
    demonstrator = env.make_demonstrator(kind, rng)
    rooms.restore(start)
    places = [rooms.position_of(rooms.data)]
    met = False
    for _ in range(steps):
        rooms.step(demonstrator.act(rooms.state(), goal).astype(float))
        places.append(rooms.position_of(rooms.data))
        met = met or env.is_success(rooms.state(), goal)
    return met and (kind != "expert" or env.is_success(rooms.state(), goal)), np.array(places)


def test_the_expert_gets_there_and_stays(env: TwoRoomsEnv) -> None:
    assert np.mean([run(env, "expert", seed, 25)[0] for seed in range(100)]) == 1.0


def test_noise_hardly_stops_the_expert(env: TwoRoomsEnv) -> None:
    assert np.mean([run(env, "noisy", seed, 50)[0] for seed in range(40)]) > 0.9


def test_exploration_goes_everywhere_and_through_the_door(env: TwoRoomsEnv) -> None:
    walks = [run(env, "explore", seed, 60)[1] for seed in range(40)]
    cells, *_ = np.histogram2d(*np.concatenate(walks).T, bins=4, range=[INSIDE, INSIDE])
    assert cells.min() > cells.sum() / 16 / 8  # most ways lead past the door
    crossed = [np.any((walk[:, 0] > WALL[0]) & (walk[:, 0] < WALL[1])) for walk in walks]
    assert np.mean(crossed) > 0.4
    at_wall = [np.any(np.abs(walk[:, 0] - (WALL[0] - RADIUS)) < 0.4) for walk in walks]
    assert np.mean(at_wall) > 0.2
    through = np.concatenate([walk[(walk[:, 0] > WALL[0]) & (walk[:, 0] < WALL[1])] for walk in walks])
    assert np.all((through[:, 1] > DOOR[0]) & (through[:, 1] < DOOR[1]))
