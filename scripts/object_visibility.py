"""How often the arm hides a task's object in the pictures of its starts and goals.

    python scripts/object_visibility.py --tasks panda_push panda_push_cup

Counts the pixels of the object in MuJoCo's segmentation picture, with the arm and without it. Prints, for each camera,
the share of starts and of goals in which less than half of the object is to be seen, and the least that is.
"""

from __future__ import annotations

import argparse

import jepa_envs
import numpy as np
from jepa_envs.gl import mujoco
from jepa_envs.goal_image import State
from jepa_envs.panda_object_task import PandaObjectTask

ENOUGH = 0.5
_ARM_GROUP = 5  # of geoms, which nothing else is in
_SIZE = 96  # pixels


class Visibility:
    """Measures how much of a task's object pictures show.

    Args:
        env: the task.
    """

    def __init__(self, env: PandaObjectTask):
        self._simulation = env._simulation
        self._model = model = self._simulation.model
        root = model.body_rootid[model.geom_bodyid]
        self._object = np.flatnonzero(root == model.body("object").id)
        model.geom_group[root == model.body("link0").id] = _ARM_GROUP
        model.vis.global_.offwidth = model.vis.global_.offheight = _SIZE
        self._renderer = mujoco.Renderer(model, _SIZE, _SIZE)
        self._renderer.enable_segmentation_rendering()

    def share(self, state: State, camera: str) -> float:
        """Share of the object's pixels in the picture of a state that the arm does not hide."""
        with self._simulation.looking_at(state) as data:
            whole, seen = (self._pixels(data, camera, arm) for arm in (False, True))
        return seen / whole

    def close(self) -> None:
        self._renderer.close()

    def _pixels(self, data: mujoco.MjData, camera: str, arm: bool) -> int:
        option = mujoco.MjvOption()
        option.geomgroup[_ARM_GROUP] = arm
        self._renderer.update_scene(data, camera, option)
        ids, kinds = np.moveaxis(self._renderer.render(), -1, 0)
        return int(((kinds == mujoco.mjtObj.mjOBJ_GEOM) & np.isin(ids, self._object)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    with_object = sorted(task for task in jepa_envs.TASKS if task.startswith("panda_") and task != "panda_reach")
    parser.add_argument("--tasks", nargs="+", choices=with_object, default=with_object, metavar="TASK")
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    for task in options.tasks:
        env = jepa_envs.make(task).unwrapped
        pairs = [env.sample_start_and_goal(np.random.default_rng(seed)) for seed in range(options.seeds)]
        visibility = Visibility(env)
        for camera in env.cameras:
            shares = np.array([[visibility.share(state, camera) for state in pair] for pair in pairs])
            hidden, least = (shares < ENOUGH).mean(axis=0), shares.min(axis=0)
            print(
                f"{task} {camera}: hidden in {hidden[0]:.0%} of starts (least seen {least[0]:.0%}), "
                f"{hidden[1]:.0%} of goals (least seen {least[1]:.0%})",
                flush=True,
            )
        visibility.close()
        env.close()


if __name__ == "__main__":
    main()
