"""Make tests/data/samples/stable_worldmodel with stable-worldmodel's own collection, writer and reader.

    pip install stable-worldmodel==0.1.1 h5py==3.16.0 hdf5plugin==7.1.0 opencv-python-headless imageio numpy==2.4.6
    python -P scripts/make_samples/stable_worldmodel.py tests/data/samples/stable_worldmodel

(``-P`` keeps this file's folder off the import path.)

A white block that the actions move, 32 px, in three episodes that ``World.collect`` records; every picture's background
tells episode and step. ``expected.npz`` holds what ``HDF5Dataset`` reads of every episode, and the action that was
really taken between each two pictures. Made again, everything is the same but the column ``render_time``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_worldmodel as swm
from stable_worldmodel.data.formats.hdf5 import HDF5Dataset

LENGTHS = (9, 6, 11)  # actions of each episode; the collection does not record the first picture
TAKEN: list[list[np.ndarray]] = []  # the actions of every episode, as the environment got them


class MovingBlock(gym.Env):
    """State: column and row of the block. Action: how far it moves, in pixels."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Dict({"proprio": gym.spaces.Box(0, 24, (2,), np.float32)})
    action_space = gym.spaces.Box(-3, 3, (2,), np.float32)

    def __init__(self, render_mode: str = "rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        TAKEN.append([])
        self.episode, self.step_number = len(TAKEN) - 1, 0
        self.position = self.np_random.uniform(4, 20, 2).astype(np.float32)
        return {"proprio": self.position.copy()}, {}

    def step(self, action):
        TAKEN[self.episode].append(np.array(action, np.float32))
        self.step_number += 1
        self.position = np.clip(self.position + action, 0, 24).astype(np.float32)
        done = self.step_number == LENGTHS[self.episode % len(LENGTHS)]
        return {"proprio": self.position.copy()}, 0.0, done, False, {}

    def render(self):
        image = np.empty((32, 32, 3), np.uint8)
        image[:] = (20 + 16 * self.step_number, 40 + 60 * self.episode, 128)
        x, y = self.position.astype(int)
        image[y : y + 8, x : x + 8] = 255
        return image


class Wander:
    """Random actions, the same for the same seed."""

    def set_env(self, env):
        self.rng = np.random.default_rng(0)

    def get_action(self, infos):
        return self.rng.uniform(-3, 3, (1, 2)).astype(np.float32)


def main(folder: Path) -> None:
    gym.register("MovingBlock-v0", MovingBlock)
    path = folder / "moving_block.h5"
    path.unlink(missing_ok=True)
    world = swm.World("MovingBlock-v0", 1, image_shape=(32, 32), max_episode_steps=50)
    world.set_policy(Wander())
    world.collect(path, episodes=len(LENGTHS), seed=0, format="hdf5", progress=False)
    dataset = HDF5Dataset(path=path)
    expected = {}
    for episode in range(len(LENGTHS)):
        steps = dataset.load_episode(episode)
        for column in ("pixels", "action", "proprio"):
            expected[f"{column}_{episode}"] = steps[column].numpy()
        expected[f"taken_{episode}"] = np.array(TAKEN[episode])[1:]  # the first led to the first picture
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
