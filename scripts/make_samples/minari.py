"""Make tests/data/samples/minari with Minari's own writer, and write down what its own reader returns.

    pip install "minari[hdf5,create]==0.5.4" gymnasium==1.4.0 h5py==3.16.0 numpy==2.4.6 pillow==13.0.0
    python -P scripts/make_samples/minari.py tests/data/samples/minari

(``-P`` keeps this file's folder, in which it is called like the package, off the import path.)

``dict``: a nested observation space with goals and two cameras, pictures as JPEG, three episodes. ``raw``: pictures as
arrays. ``flat``: no nesting, pictures only. Every picture's background tells episode and step, and a white block moves
right by a pixel a step.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np

ACTIONS = gym.spaces.Box(np.float32([-1, -0.5]), np.float32([1, 0.5]))
PICTURE = gym.spaces.Box(0, 255, (32, 48, 3), np.uint8)
PLAIN = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
NESTED = gym.spaces.Dict({
    "observation": PLAIN,
    "desired_goal": PLAIN,
    "images": gym.spaces.Dict({"side": PICTURE, "wrist": PICTURE}),
    "gripper": gym.spaces.Box(0, 1, (1,), np.float32),
})


def picture(episode: int, step: int, camera: int) -> np.ndarray:
    """uint8 [32, 48, 3]: red tells the step, green the episode, blue the camera."""
    image = np.empty((32, 48, 3), np.uint8)
    image[:] = (20 + 16 * step, 40 + 60 * episode, 60 + 90 * camera)
    image[8:24, step : step + 16] = 255
    return image


def nested(episode: int, step: int) -> dict:
    return {
        "observation": np.array([step / 4, episode + step / 8]),
        "desired_goal": np.array([9.0, 9.0]),
        "images": {"side": picture(episode, step, 0), "wrist": picture(episode, step, 1)},
        "gripper": np.array([step / 16], np.float32),
    }


def unnested(episode: int, step: int) -> dict:
    observation = nested(episode, step)
    return {key: observation[key] for key in ("observation", "gripper")} | {"side": picture(episode, step, 0)}


def stack(steps: list) -> dict | list:
    """A list of (nested) observations as (nested) lists."""
    return {key: stack([s[key] for s in steps]) for key in steps[0]} if isinstance(steps[0], dict) else steps


def make(name: str, space: gym.Space, observe, lengths: list[int], jpeg: bool, folder: Path) -> None:
    """A data set ``folder/name`` with an episode of each length, and name.npz with what Minari reads of it."""
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = []
    for episode, length in enumerate(lengths):
        buffers.append(EpisodeBuffer(
            seed=100 + episode,
            observations=stack([observe(episode, step) for step in range(length + 1)]),
            actions=[np.array([(step - 3) / 8, episode / 32], np.float32) for step in range(length)],
            rewards=[0.0] * length,
            terminations=[False] * length,
            truncations=[False] * (length - 1) + [True],
        ))
    dataset = minari.create_dataset_from_buffers(
        f"block/{name}-v0", buffers, observation_space=space, action_space=ACTIONS, algorithm_name="scripted",
        author="the authors", author_email="nobody@example.org", code_permalink="https://example.org",
        description="A block that moves right.", data_format="hdf5", jpeg_encoding=jpeg,
    )
    expected = {}
    for episode in dataset.iterate_episodes():
        observations = episode.observations
        if isinstance(observations, dict):
            expected[f"side_{episode.id}"] = observations.get("images", observations)["side"]
            expected[f"state_{episode.id}"] = np.concatenate(
                [observations["observation"], observations["gripper"]], axis=1
            )
        else:
            expected[f"side_{episode.id}"] = observations
        expected[f"action_{episode.id}"] = episode.actions
    shutil.copytree(dataset.storage.data_path, folder / name / "data")
    np.savez_compressed(folder / f"{name}.npz", **expected)


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as root:
        os.environ["MINARI_DATASETS_PATH"] = root
        make("dict", NESTED, nested, [5, 7, 3], True, folder)
        raw = gym.spaces.Dict({"observation": PLAIN, "side": PICTURE, "gripper": NESTED["gripper"]})
        make("raw", raw, unnested, [5], False, folder)
        make("flat", PICTURE, lambda e, t: picture(e, t, 0), [4], True, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
