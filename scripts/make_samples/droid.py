"""Make tests/data/samples/droid: three episodes in the layout of DROID's raw release.

No package writes that layout (DROID's own code records from real cameras), so this script does, with the names, types
and shapes of its published schema, h5py and PyAV:

    pip install av==18.1.0 h5py==3.16.0 numpy==2.4.6 scipy==1.17.1
    python -P scripts/make_samples/droid.py tests/data/samples/droid

As in the release, a video may have one frame less than the trajectory has rows, and only some have time stamps:

    episode   rows   frames of ext1   time stamps
    0         8      7                no
    1         12     11               yes, of all rows but the third
    2         9      9                no

``expected.npz`` has what a plain loop makes of it: matrices multiplied one by one, frames decoded from first to last.
Every picture is a flat colour that tells episode, row and camera, with a white block that moves right by a step a row.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import av
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

HEIGHT, WIDTH = 48, 64
ROWS, SERIALS = (8, 12, 9), {"wrist": "13062452", "ext1": "22008760", "ext2": "24400334"}
START = 1_700_000_000_000  # milliseconds, a day in November 2023
LAB, TASK = "AUTOLab", "Move object into container"
# Without assembly and threads the same frames give the same bytes.
OPTIONS = {"crf": "18", "x264-params": "threads=1:lookahead-threads=1:asm=0"}
PLAYED_AT = 60  # frames a second, as DROID plays what it recorded at 15


def picture(episode: int, row: int, camera: int) -> np.ndarray:
    """uint8 [48, 64, 3]: red tells the row, green the episode, blue the camera."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = (20 + 16 * row, 40 + 60 * episode, 50 + 60 * camera)
    image[12 : 12 + 12, 4 * row : 4 * row + 12] = 255
    return image


def poses_of(episode: int) -> np.ndarray:
    """float64 [rows, 6]: a gripper that points down (roll near pi, which it passes) and turns while it moves."""
    t = np.arange(ROWS[episode]) / 15
    return np.stack([
        0.4 + 0.1 * t, 0.05 * np.sin(3 * t), 0.3 - 0.05 * t,
        wrapped(np.pi + 0.3 * np.sin(6 * t)), 0.2 * t, wrapped(3.0 + 0.8 * t),
    ], axis=1)


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Between -pi and pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", PLAYED_AT, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_episode(root: Path, episode: int) -> dict[str, np.ndarray]:
    """One episode, and what is expected of it."""
    day = f"2023-11-{14 + episode}"
    relative = f"{'success' if episode < 2 else 'failure'}/{day}/Tue_Nov_{14 + episode}_10:0{episode}:00_2023"
    folder = root / LAB / relative
    folder.mkdir(parents=True)
    rows, poses = ROWS[episode], poses_of(episode)
    gripper = np.linspace(0, 0.9, rows) ** 2
    times = START + episode * 10**6 + np.round(np.arange(rows) * 1000 / 15).astype(np.int64)
    shown = [list(range(rows - 1)), [row for row in range(rows) if row != 2], list(range(rows))][episode]

    with h5py.File(folder / "trajectory.h5", "w", track_order=False) as file:
        file.attrs.update({"current_task": TASK, "success": episode < 2, "failure": episode == 2})
        state = file.create_group("observation/robot_state")
        state["cartesian_position"], state["gripper_position"] = poses, gripper
        state["joint_positions"] = np.linspace(-1, 1, 7 * rows).reshape(rows, 7)
        file["action/cartesian_position"] = poses + 0.01
        file["action/gripper_position"] = gripper
        for serial in SERIALS.values():
            file[f"observation/camera_extrinsics/{serial}_left"] = np.zeros((rows, 6))
            file[f"observation/timestamp/cameras/{serial}_frame_received"] = times
        file["observation/controller_info/movement_enabled"] = np.ones(rows, bool)

    for number, (name, serial) in enumerate(SERIALS.items()):
        video = folder / "recordings" / "MP4" / f"{serial}.mp4"
        write_video(video, [picture(episode, row, number) for row in shown])
        if episode == 1:
            video.with_name(f"{serial}_timestamps.json").write_text(json.dumps([int(times[row]) for row in shown]))
    paths = {f"{name}_mp4_path": f"{relative}/recordings/MP4/{serial}.mp4" for name, serial in SERIALS.items()}
    metadata = {
        "uuid": f"{LAB}+0d4edc83+{day}-10h-0{episode}m-00s", "lab": LAB, "success": episode < 2,
        "trajectory_length": rows, "hdf5_path": f"{relative}/trajectory.h5", "current_task": TASK,
        **{f"{name}_cam_serial": serial for name, serial in SERIALS.items()}, **paths,
        "left_mp4_path": paths["ext2_mp4_path"], "right_mp4_path": paths["ext1_mp4_path"],
    }
    (folder / f"metadata_{metadata['uuid']}.json").write_text(json.dumps(metadata, indent=1))

    used = shown if episode == 1 else list(range(rows - 1))
    matrices = [Rotation.from_euler("xyz", poses[row, 3:]).as_matrix() for row in used]
    actions = [
        np.concatenate([
            poses[b, :3] - poses[a, :3], Rotation.from_matrix(matrices[i + 1] @ matrices[i].T).as_euler("xyz"),
            [gripper[b] - gripper[a]],
        ])
        for i, (a, b) in enumerate(zip(used[:-1], used[1:]))
    ]
    states = np.column_stack([poses, gripper])[used]
    arrays = {"states": states, "actions": np.stack(actions), "times": times[used] / 1000}
    for name, serial in SERIALS.items():
        with av.open(str(folder / "recordings" / "MP4" / f"{serial}.mp4")) as container:
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        arrays[name] = np.stack(decoded[: len(used)])
    return {f"{episode}/{key}": value for key, value in arrays.items()}


def main(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    expected: dict[str, np.ndarray] = {}
    for episode in range(len(ROWS)):
        expected.update(write_episode(target / "raw", episode))
    np.savez_compressed(target / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
