"""Make tests/data/samples/robomimic with robomimic's own scripts, and write down what its own reader returns.

    pip install robomimic==0.3.0 six h5py==3.16.0 numpy==2.4.6
    python -P scripts/make_samples/robomimic.py tests/data/samples/robomimic

(``-P`` keeps this file's folder, in which it is called like the package, off the import path.)

robomimic records demonstrations as simulator states and actions, and renders them afterwards: the states of a block
that the actions move are written here as its documentation says, and its ``dataset_states_to_obs`` makes the files,
from an environment of ours behind its own interface. ``split_train_val`` writes the filter keys.

``image.hdf5``: two cameras with next_obs, compressed, three demonstrations called 0, 2 and 10. ``image_no_next.hdf5``:
without next_obs. Every picture's background tells demonstration and step.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import robomimic.utils.env_utils as EnvUtils
import robomimic.utils.obs_utils as ObsUtils
from robomimic.envs.env_base import EnvBase, EnvType
from robomimic.scripts.dataset_states_to_obs import dataset_states_to_obs
from robomimic.scripts.split_train_val import split_train_val_from_hdf5
from robomimic.utils.dataset import SequenceDataset

LENGTHS = {0: 7, 2: 5, 10: 9}
KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
ENVIRONMENT = {"env_name": "MovingBlock", "type": EnvType.GYM_TYPE, "env_kwargs": {"control_freq": 20}}


class MovingBlock(EnvBase):
    """State: demonstration, step, x, y, z."""

    def __init__(self, env_name, cameras=(), height=32, width=40, **kwargs):
        self.cameras, self.height, self.width = cameras, height, width
        self.state = np.zeros(5)

    @classmethod
    def create_for_data_processing(cls, env_name, camera_names, camera_height, camera_width, **kwargs):
        return cls(env_name, camera_names, camera_height, camera_width)

    def reset(self):
        return self.get_observation()

    def reset_to(self, state):
        self.state = np.array(state["states"])
        return self.get_observation()

    def step(self, action):
        self.state = move(self.state, action)
        return self.get_observation(), 0.0, False, {}

    def render(self, mode="human", height=None, width=None, camera_name=None):
        demo, step, x, y, _ = self.state
        image = np.empty((self.height, self.width, 3), np.uint8)
        image[:] = (20 + 16 * step, 40 + 18 * demo, 60 + 90 * self.cameras.index(camera_name))
        row, column = int(12 + 8 * y), int(16 + 8 * x)
        image[row : row + 6, column : column + 6] = 255
        return image

    def get_observation(self):
        demo, step, *position = self.state
        return {
            "robot0_eef_pos": np.array(position),
            "robot0_eef_quat": np.array([0.0, 0.0, np.sin(step / 20), np.cos(step / 20)]),
            "robot0_gripper_qpos": np.array([step / 100, -step / 100]),
            "object": np.array([demo, step, 0.5]),
            **{f"{camera}_image": self.render(camera_name=camera) for camera in self.cameras},
        }

    def get_state(self):
        return {"states": self.state}

    def get_reward(self):
        return 0.0

    def get_goal(self):
        return None

    def set_goal(self, **kwargs):
        pass

    def is_done(self):
        return False

    def is_success(self):
        return {"task": False}

    @property
    def action_dimension(self):
        return 4

    @property
    def name(self):
        return ENVIRONMENT["env_name"]

    @property
    def type(self):
        return ENVIRONMENT["type"]

    def serialize(self):
        return ENVIRONMENT

    @property
    def rollout_exceptions(self):
        return ()


def move(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    return state + np.concatenate([[0, 1], 0.1 * action[:3]])


def record(path: Path) -> None:
    """Simulator states and actions, as robomimic's documentation describes its files."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for demo, length in LENGTHS.items():
            actions = rng.uniform(-0.9, 0.9, (length, 4))
            states = [np.array([demo, 0, 0, 0, 0.5])]
            for action in actions[:-1]:
                states.append(move(states[-1], action))
            group = data.create_group(f"demo_{demo}")
            group["states"], group["actions"] = np.array(states), actions
            group.attrs["num_samples"] = length
        data.attrs["total"] = sum(LENGTHS.values())
        data.attrs["env_args"] = json.dumps(ENVIRONMENT)
    np.random.seed(0)
    split_train_val_from_hdf5(str(path), val_ratio=0.34)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    EnvUtils.get_env_class = lambda **_: MovingBlock
    with tempfile.TemporaryDirectory() as temporary:
        states = Path(temporary, "states.hdf5")
        record(states)
        for name, cameras, no_next in (
            ("image.hdf5", ["wrist", "agentview"], False), ("image_no_next.hdf5", ["front"], True)
        ):
            dataset_states_to_obs(SimpleNamespace(
                dataset=str(states), output_name=name, n=None, shaped=False, camera_names=cameras, camera_height=32,
                camera_width=40, done_mode=1, copy_rewards=False, copy_dones=False, exclude_next_obs=no_next,
                compress=not no_next,
            ))
            shutil.copyfile(Path(temporary, name), folder / name)
    ObsUtils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(KEYS), "rgb": ["agentview_image"]}})
    dataset = SequenceDataset(str(folder / "image.hdf5"), (*KEYS, "agentview_image"), ("actions",), hdf5_use_swmr=False)
    expected = {}
    for demo in dataset.demos:
        start = dataset._demo_id_to_start_indices[demo]
        steps = [dataset[start + i] for i in range(dataset._demo_id_to_demo_length[demo])]
        expected[f"actions_{demo}"] = np.concatenate([step["actions"] for step in steps])
        for part in ("obs", "next_obs"):
            for key in (*KEYS, "agentview_image"):
                expected[f"{part}_{key}_{demo}"] = np.concatenate([step[part][key] for step in steps])
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
