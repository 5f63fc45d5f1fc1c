"""Exact frames of MP4 files in any order, decoded with PyAV."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import av
import numpy as np

from jepa_robot.errors import DataError

# How far a frame may lie from the time asked for, seconds (LeRobot's own default). Times that are stored as
# float32 are this exact for the first half hour.
TOLERANCE = 1e-4
OPEN_FILES = 8
_LATEST = 1e8  # seconds; beyond are mistakes, which do not fit into a time stamp either
_AGAIN = "copy the file again, or leave the episode out"
# av.FFmpegError covers most; some of its kin are also raised as the built-in classes.
_DAMAGE = (av.FFmpegError, OSError, ValueError, IndexError)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


class VideoFile:
    """One open MP4 file.

    Decoding starts at the keyframe before the first frame asked for, and goes on from where the last call
    ended when there is no keyframe between: windows one after the other are decoded without seeking.

    Attributes:
        height, width: of its pictures, pixels.
        seeks: how often it has been sought in.

    Raises:
        DataError: not an MP4 file with a video in it, or damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self.seeks = 0
        try:
            # The format is given so that a playlist, which may name other files, is never taken for a video.
            self._container = av.open(str(path), format="mp4")
        except _DAMAGE as error:
            raise DataError(f"is not a readable MP4 video ({_reason(error)})", where=path, mend=_AGAIN) from error
        streams = self._container.streams.video
        if not streams or streams[0].codec_context is None:
            self.close()
            what = "is coded in a way that is not known here" if streams else "has no video stream"
            raise DataError(what, where=path, expected="H.264, H.265 or AV1 video")
        self._stream = streams[0]
        self._stream.codec_context.thread_count = 1  # loaders have a process a core; idle threads do not survive a fork
        self.height, self.width = self._stream.codec_context.height, self._stream.codec_context.width
        self._frames = self._container.decode(self._stream)
        self._last: av.VideoFrame | None = None  # where decoding has come to
        self._times: np.ndarray | None = None

    @property
    def times(self) -> np.ndarray:
        """float64 [frames], when each frame is shown, seconds; read from the packets, without decoding."""
        if self._times is None:
            try:
                self._seek(None)
                packets = self._container.demux(self._stream)
                shown = sorted(p.pts for p in packets if p.pts is not None and not p.is_discard)
                self._seek(None)
            except _DAMAGE as error:
                raise DataError(f"cannot be read ({_reason(error)})", where=self.path, mend=_AGAIN) from error
            self._times = np.array(shown, np.int64) * float(self._stream.time_base)
        return self._times

    def read(self, times: Sequence[float] | np.ndarray, episode: str, first: int = 0) -> np.ndarray:
        """The frames at ``times`` (ascending, seconds): uint8 [len(times), H, W, 3] RGB.

        ``episode`` and ``first`` (number of the first frame) are for messages.

        Raises:
            DataError: damaged, or there is no frame within `TOLERANCE` of a time; names the episode and the frame.
        """
        pictures = np.empty((len(times), self.height, self.width, 3), np.uint8)
        for i, time in enumerate(times):
            name = f"frame {first + i} of {episode}"
            try:
                frame = self._frame_at(float(time), name)
                if frame.is_corrupt:
                    raise DataError(f"{name} is damaged", where=self.path, mend=_AGAIN)
                picture = frame.to_ndarray(format="rgb24")
            except _DAMAGE as error:
                raise DataError(f"{name} cannot be decoded ({_reason(error)})", where=self.path, mend=_AGAIN) from error
            if picture.shape != pictures.shape[1:]:
                raise DataError(
                    f"{name} is {picture.shape[0]}x{picture.shape[1]} pixels", where=self.path,
                    expected=f"{self.height}x{self.width} (height x width), like the frames before",
                )
            pictures[i] = picture
        return pictures

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- internals --------------------------------------------------------------------------

    def _frame_at(self, time: float, name: str) -> av.VideoFrame:
        if not abs(time) < _LATEST:
            raise DataError(f"{name} is to be at {time} s", where=self.path, expected="a time in the video")
        if self._last is None or time < self._last.time - TOLERANCE or self._keyframe_between(time):
            self._seek(time)
            if self._advance() and self._last.time > time + TOLERANCE:
                # A frame that is shown before the keyframe that it follows in the file: rare, so from the start.
                self._seek(None)
        while self._last is None or self._last.time < time - TOLERANCE:
            if not self._advance():
                raise DataError(
                    f"ends before {name}, which is to be at {time:.4f} s", where=self.path,
                    expected="as many frames as its table has rows", mend=_AGAIN,
                )
        if self._last.time > time + TOLERANCE:
            raise DataError(
                f"has no picture for {name}, which is to be at {time:.4f} s", where=self.path,
                expected=f"one within {TOLERANCE} s; the next is at {self._last.time:.4f} s",
                mend="record the episode again, or leave it out",
            )
        return self._last

    def _advance(self) -> bool:
        """Decode the next frame; False at the end."""
        for frame in self._frames:
            if frame.pts is not None:
                self._last = frame
                return True
        self._last = None
        return False

    def _seek(self, time: float | None) -> None:
        """To the keyframe before ``time``; None is the very first."""
        target = -(2**62) if time is None else round((time + TOLERANCE) / self._stream.time_base)
        self._container.seek(target, stream=self._stream)
        self._frames = self._container.decode(self._stream)
        self._last = None
        self.seeks += 1

    def _keyframe_between(self, time: float) -> bool:
        """Whether seeking to ``time`` skips some of the frames from here on."""
        index, base = self._stream.index_entries, self._stream.time_base
        here = index.search_timestamp(self._last.pts, any_frame=True)
        return index.search_timestamp(round(time / base)) > here + 1


class Videos:
    """The video files used last, kept open (at most `OPEN_FILES`)."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, VideoFile] = OrderedDict()

    def read(self, path: Path, times: Sequence[float] | np.ndarray, episode: str, first: int = 0) -> np.ndarray:
        """`VideoFile.read` of the file at ``path``."""
        video = self.open(path)
        try:
            return video.read(times, episode, first)
        except DataError:
            self._open.pop(path).close()  # after damage nobody knows where the decoder stands
            raise

    def times(self, path: Path) -> np.ndarray:
        """`VideoFile.times` of the file at ``path``."""
        return self.open(path).times

    def open(self, path: Path) -> VideoFile:
        """The file at ``path``, opened unless it is already.

        Raises:
            DataError: not a readable video.
        """
        if path not in self._open:
            self._open[path] = VideoFile(path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
