"""Make tests/data/samples/lerobot with LeRobot's own writer, and write down what its own reader returns.

    pip install lerobot==0.4.4 av==15.1.0 datasets==4.8.5 numpy==2.2.6 pyarrow==26.0.1 torch==2.10.0
    PYTHONHASHSEED=0 python -P scripts/make_samples/lerobot.py tests/data/samples/lerobot

(``-P`` keeps this file's folder, in which it is called like the package, off the import path; the seed orders
keys. A fingerprint in the tables and nothing else differs from run to run.)

``video``: two cameras as AV1 in MP4, three episodes; episodes 0 and 1 share their files, episode 2 has its own.
``image``: one camera as PNG in the tables, two episodes, no statistics file.
Every picture is a flat colour that tells episode and frame, with a white block that moves right by a step a frame.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

HEIGHT, WIDTH, FPS = 32, 48, 10
NAMES = ["shoulder", "elbow", "gripper"]


def picture(episode: int, frame: int, camera: int) -> np.ndarray:
    """uint8 [32, 48, 3]: red tells the frame, green the episode, blue the camera."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = (20 + 16 * frame, 40 + 60 * episode, 60 + 90 * camera)
    image[8 : 8 + 8, 3 * frame : 3 * frame + 8] = 255
    return image


def make(root: Path, lengths: list[int], cameras: list[str], use_videos: bool, one_file: int) -> None:
    """A data set with as many episodes as ``lengths``; after ``one_file`` of them new files are begun."""
    vector = {"dtype": "float32", "shape": (3,), "names": NAMES}
    kind = "video" if use_videos else "image"
    picture_feature = {"dtype": kind, "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.state": vector,
        "observation.effort": {"dtype": "float32", "shape": (1,), "names": None},
        "action": {**vector, "names": {"motors": NAMES}},
        **dict.fromkeys(cameras, picture_feature),
    }
    dataset = LeRobotDataset.create(
        "samples/moving_block", FPS, features, root=root, robot_type="toy_arm", use_videos=use_videos
    )
    for episode, length in enumerate(lengths):
        if episode == one_file:  # smaller than any file: the next episode goes into new ones
            dataset.meta.update_chunk_settings(data_files_size_in_mb=1e-3, video_files_size_in_mb=1e-3)
        for frame in range(length):
            state = np.array([frame, 10 * episode + frame / 4, -frame], np.float32) / 8
            dataset.add_frame({
                "observation.state": state,
                "observation.effort": np.array([episode + frame / 100], np.float32),
                "action": state + np.float32(0.125),
                "task": "move the block",
                **{key: picture(episode, frame, number) for number, key in enumerate(cameras)},
            })
        dataset.save_episode()
    dataset.finalize()


def expected(root: Path, cameras: list[str], indices: list[int]) -> dict[str, np.ndarray]:
    """What LeRobot's own reader returns for some frames of the whole data set."""
    dataset = LeRobotDataset("samples/moving_block", root=root, video_backend="pyav")
    items = [dataset[i] for i in indices]
    arrays = {"index": np.array(indices)}
    for key in ("action", "observation.state", "timestamp", "episode_index", "frame_index"):
        arrays[key] = np.stack([item[key].numpy() for item in items])
    for key in cameras:
        pictures = np.stack([item[key].numpy() for item in items])
        arrays[key] = np.round(pictures * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return arrays


def main(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    two, one = ["observation.images.top", "observation.images.wrist"], ["observation.image"]
    make(target / "video", [6, 9, 12], two, use_videos=True, one_file=2)
    make(target / "image", [5, 7], one, use_videos=False, one_file=2)
    (target / "image" / "meta" / "stats.json").unlink()
    np.savez_compressed(target / "video.npz", **expected(target / "video", two, [0, 1, 5, 6, 10, 14, 15, 20, 26]))
    np.savez_compressed(target / "image.npz", **expected(target / "image", one, [0, 4, 5, 11]))
    shutil.rmtree(target / "image" / "images", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
