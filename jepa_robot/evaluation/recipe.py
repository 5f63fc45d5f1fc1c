"""What a recorded episode is made from.

Episode i follows from (recipe's seed, i) and from nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepa_robot.data.format import STATE_KEY, Episode
from jepa_robot.data.objects import Objects
from jepa_robot.errors import ConfigError
from jepa_robot.evaluation.starts import draw_start_and_goal
from jepa_robot.evaluation.tasks import Task


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what episode i is.

    Attributes:
        task: short name of the task, Gymnasium id, or ``MODULE:ID``.
        seed: of all episodes.
        steps: actions in an episode.
        mix: share of each kind of demonstrator; they add up to one.
        image_size: height and width of the pictures in pixels; the task's own where None.
        variation: factors of appearance drawn for each episode; none unless given.
        camera: name of the camera; the task's first where None.
        options: arguments of the task's own, such as ``rotation``.
    """

    task: str
    seed: int
    steps: int
    mix: dict[str, float]
    image_size: int | None = None
    variation: tuple[str, ...] = ()
    camera: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"is {self.steps}", where="steps", expected="at least 1")
        shares = list(self.mix.values())
        if not shares or any(not share >= 0 for share in shares) or not np.isclose(sum(shares), 1.0):
            raise ConfigError(
                f"is {self.mix}", where="mix", expected="shares that add up to 1, such as expert=0.5,noisy=0.5"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; without variation, camera and options where there are none, as in older files."""
        data = dataclasses.asdict(self) | {"variation": list(self.variation)}
        return {key: value for key, value in data.items() if value or key not in ("variation", "camera", "options")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: it is not the recipe of a collection.
        """
        try:
            return cls(**{**data, "variation": tuple(data.get("variation", ()))})
        except (TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"is not that of a collection ({error})", where="recipe") from error

    def env_args(self) -> dict[str, Any]:
        """robomimic's ``env_args``: how to make the environment again."""
        import jepa_envs

        kwargs: dict[str, Any] = {} if self.image_size is None else {"image_size": self.image_size}
        if self.variation:
            kwargs["variation"] = list(self.variation)
        if self.camera is not None:
            kwargs["camera"] = self.camera
        return {"env_name": jepa_envs.task_id(self.task), "type": "gymnasium", "env_kwargs": kwargs | self.options}

    def open(self) -> Task:
        """The task that it is recorded in.

        Raises:
            TaskError: it is unknown, or its simulator cannot run here.
        """
        return Task(self.task, self.image_size, self.variation, self.camera, self.options)


def recording_seed(recipe: Recipe, index: int) -> int:
    """Seed of everything in episode ``index``, below 2**63."""
    return int(np.random.SeedSequence((recipe.seed, index)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def begin_episode(
    task: Task, recipe: Recipe, seed: int
) -> tuple[str, dict[str, Any], dict[str, np.ndarray], np.random.Generator]:
    """Put the task to the start of the recorded episode with this seed.

    Returns:
        Kind of its demonstrator, goal state, first observation, and the generator of everything after that.

    Raises:
        TaskError: the task cannot make a goal.
    """
    rng = np.random.default_rng(seed)
    kinds = sorted(recipe.mix)
    shares = np.array([recipe.mix[kind] for kind in kinds])
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    start, goal = draw_start_and_goal(task.env, rng)
    observation, _ = task.env.reset(seed=seed, options={"state": start, "goal_state": goal})
    return kind, goal, observation, rng


def record_episode(task: Task, recipe: Recipe, index: int) -> Episode:
    """Episode ``index`` of ``recipe``: recipe.steps actions, recipe.steps + 1 frames."""
    seed = recording_seed(recipe, index)
    env, camera = task.env, task.contract.camera.name
    kind, goal, observation, rng = begin_episode(task, recipe, seed)
    demonstrator = env.make_demonstrator(kind, rng)
    low, high = env.action_space.low, env.action_space.high
    frames, states, actions = [observation[camera]], [observation[STATE_KEY]], []
    moved: list[bool | None] = []
    present = env.state()
    poses = [env.object_pose(present)]
    for _ in range(recipe.steps):
        action = np.clip(np.asarray(demonstrator.act(present, goal), np.float32), low, high)
        observation, *_ = env.step(action)
        before, present = present, env.state()
        moved.append(env.object_moved(before, present))
        poses.append(env.object_pose(present))
        frames.append(observation[camera])
        states.append(observation[STATE_KEY])
        actions.append(action)
    return Episode(
        np.stack(frames),
        np.stack(states),
        np.stack(actions),
        kind=kind,
        seed=seed,
        object_moves=None if None in moved else sum(moved),
        objects=_objects(poses),
    )


def _objects(poses: list[list[tuple[str, str, float]]]) -> Objects | None:
    """What a task says of its objects in each frame, in one array; None where it has none."""
    if not poses[0]:
        return None
    names, units, _ = zip(*poses[0])
    return Objects(names, units, np.array([[value for *_, value in pose] for pose in poses], np.float32))
