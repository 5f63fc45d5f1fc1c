"""Frames of videos in any order, against decoding from first to last; and damaged videos."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from jepa_robot.data.sources import video as module
from jepa_robot.data.sources.video import VideoFile, Videos
from jepa_robot.errors import DataError

FRAMES, RATE = 40, 15


def write(path: Path, frames=FRAMES, keyframe_every=12, front=False, codec="libx264") -> Path:
    """H.264 with frames that refer forwards and backwards; ``front`` puts the index before the pictures."""
    options = {"movflags": "faststart"} if front else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, RATE, options={"g": str(keyframe_every), "crf": "18", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), (6 * i, 255 - 6 * i, 80), np.uint8)
            picture[8:24, i : i + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode_all(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "video.mp4")


@pytest.mark.parametrize("keyframe_every", [1, 2, 12, 250])
@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_any_order(tmp_path, keyframe_every, codec):
    path = write(tmp_path / "video.mp4", keyframe_every=keyframe_every, codec=codec)
    expected = decode_all(path)
    assert len(expected) == FRAMES
    assert np.abs(expected[:, -1, -1, 0].astype(int) - 6 * np.arange(FRAMES)).max() <= 6  # every frame is another one
    assert len(np.unique(expected[:, -1, -1, 0])) == FRAMES
    rng = np.random.default_rng(0)
    with VideoFile(path) as video:
        np.testing.assert_allclose(video.times, np.arange(FRAMES) / RATE, atol=1e-9)
        for _ in range(60):
            chosen = np.sort(rng.choice(FRAMES, rng.integers(1, 6), replace=False))
            np.testing.assert_array_equal(video.read(chosen / RATE, "it"), expected[chosen])


def test_the_same_frame_again(path):
    with VideoFile(path) as video:
        frames = video.read(np.array([5, 5, 6, 6]) / RATE, "it")
    np.testing.assert_array_equal(frames, decode_all(path)[[5, 5, 6, 6]])


def test_windows_in_order_go_on_without_seeking(path):
    expected = decode_all(path)
    with VideoFile(path) as video:
        video.read([0.0], "it")
        before = video.seeks
        for start in range(0, FRAMES - 8, 8):  # the last frame of one is the first of the next
            frames = video.read(np.arange(start, start + 9) / RATE, "it")
            np.testing.assert_array_equal(frames, expected[start : start + 9])
        assert video.seeks == before
        video.read([2 / RATE], "it")
        assert video.seeks == before + 1


def test_files_used_last_stay_open(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(module, "VideoFile", lambda path: opened.append(path) or VideoFile(path))
    monkeypatch.setattr(module, "OPEN_FILES", 2)
    paths = [write(tmp_path / f"{i}.mp4", frames=3) for i in range(3)]
    videos = Videos()
    for i in (0, 1, 0, 1, 0, 2, 0, 1):
        assert videos.read(paths[i], [0.0], "it").shape == (1, 48, 64, 3)
    videos.close()
    videos.close()
    assert opened == [paths[i] for i in (0, 1, 2, 1)]


@pytest.mark.parametrize(
    "time, message",
    [
        (FRAMES / RATE, "ends before frame 7 of episode_3"),
        (0.5 / RATE, "has no picture for frame 7 of episode_3"),
        (-1.0, "has no picture for frame 7 of episode_3"),
        (float("nan"), "frame 7 of episode_3 is to be at nan s"),
        (float("inf"), "frame 7 of episode_3 is to be at inf s"),
        (1e300, "frame 7 of episode_3"),
    ],
)
def test_no_such_frame(path, time, message):
    videos = Videos()
    with pytest.raises(DataError, match=message) as error:
        videos.read(path, [time], "episode_3", 7)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    np.testing.assert_array_equal(videos.read(path, [3 / RATE], "it")[0], decode_all(path)[3])  # and it goes on
    videos.close()


def damage(data: bytes, at: int, by: bytes) -> bytes:
    return data[:at] + by + data[at + len(by) :]


@pytest.mark.parametrize(
    "change",
    {
        "empty": lambda data: b"",
        "text": lambda data: b"not a video at all, but long enough to look into" * 20,
        "playlist": lambda data: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "concat": lambda data: b"ffconcat version 1.0\nfile /etc/passwd\n",
        "half": lambda data: data[: len(data) // 2],
        "no end": lambda data: data[:-100],
        "one byte": lambda data: data[:1],
        "zeros": lambda data: damage(data, len(data) // 3, bytes(400)),
        "noise": lambda data: damage(data, len(data) // 3, np.random.default_rng(1).bytes(400)),
        "unknown codec": lambda data: data.replace(b"avc1", b"xxxx"),
    }.items(),
    ids=lambda item: item[0].replace(" ", "_"),
)
def test_damaged(path, change):
    path.write_bytes(change[1](path.read_bytes()))
    videos = Videos()
    with pytest.raises(DataError) as error:
        videos.read(path, np.arange(FRAMES) / RATE, "episode_3")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    videos.close()


def test_cut_short_behind_its_index(tmp_path):
    """Frames before the cut can be read; the first that is missing is named."""
    path = write(tmp_path / "video.mp4", front=True)
    expected = decode_all(path)
    path.write_bytes(path.read_bytes()[:-1500])
    videos = Videos()
    np.testing.assert_array_equal(videos.read(path, np.arange(4) / RATE, "it"), expected[:4])
    with pytest.raises(DataError, match="frame [0-9]+ of episode_3"):
        videos.read(path, np.arange(FRAMES) / RATE, "episode_3")
    videos.close()


def test_sound_alone(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", 16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="has no video stream"):
        VideoFile(path)
