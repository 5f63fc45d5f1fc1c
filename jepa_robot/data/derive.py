"""What importers have in common: making our conventions out of other formats' arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jepa_robot.data.source import SourceOptions
from jepa_robot.errors import ContractError, DataError
from jepa_robot.spec import Camera, Contract, Dim

UNKNOWN = "unknown"  # unit or frame of a dimension that the source does not tell


def picture_size(height: int, width: int, options: SourceOptions) -> tuple[int, int]:
    """Height and width after `shape_pictures`."""
    return (height, width) if options.image_size is None else (options.image_size, options.image_size)


def crop_of(height: int, width: int, options: SourceOptions) -> tuple[int, int, int, int] | None:
    """The contract's crop (top, left, height, width): the middle square where pictures are scaled, else None."""
    side = min(height, width)
    if options.image_size is None or height == width:
        return None
    return (height - side) // 2, (width - side) // 2, side, side


def shape_pictures(pictures: np.ndarray, options: SourceOptions) -> np.ndarray:
    """uint8 [T, H, W, 3] -> the middle square, scaled to ``options.image_size`` (bilinear with antialiasing)."""
    size = options.image_size
    height, width = pictures.shape[1:3]
    crop = crop_of(height, width, options)
    if crop is not None:
        top, left, side, _ = crop
        pictures = pictures[:, top : top + side, left : left + side]
    if size is None or size == pictures.shape[1]:
        return np.ascontiguousarray(pictures)
    import torch  # takes seconds to load: only where pictures are scaled

    images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    scaled = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def data_bounds(arrays: Iterable[np.ndarray], dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest finite value float64 [dims] of arrays [T, dims], one at a time.

    A dimension that never changes is given some room, as bounds have to differ; one that was never
    finite has [-1, 1].
    """
    low, high = np.full(dims, np.inf), np.full(dims, -np.inf)
    for array in arrays:
        finite = np.isfinite(array)
        if len(array):
            low = np.minimum(low, np.where(finite, array, np.inf).min(axis=0))
            high = np.maximum(high, np.where(finite, array, -np.inf).max(axis=0))
    never = low > high
    low, high = np.where(never, -1.0, low), np.where(never, 1.0, high)
    room = np.where(high - low < 1e-6, np.maximum(1e-3, 1e-3 * np.abs(low)), 0.0)
    return low - room, high + room


def unnamed_dims(names: Sequence[str], low: Sequence[float], high: Sequence[float]) -> tuple[Dim, ...]:
    """Dimensions of which only names and bounds are known."""
    return tuple(Dim(name, UNKNOWN, UNKNOWN, float(lo), float(hi)) for name, lo, hi in zip(names, low, high, strict=True))


def make_contract(
    path: object,
    options: SourceOptions,
    task: str,
    camera: str,
    height: int,
    width: int,
    fps: float | None,
    actions: tuple[Dim, ...],
    states: tuple[Dim, ...],
) -> Contract:
    """The contract of a source whose raw pictures are ``height`` x ``width``.

    ``options.contract`` replaces what was derived, and has to have the same cameras and numbers of dimensions.

    Raises:
        DataError: the frame rate is not known, or ``options.contract`` does not fit.
    """
    size = picture_size(height, width, options)
    if options.contract is not None:
        given = options.contract
        found = (camera, *size, len(actions), len(states))
        wanted = (given.camera.name, given.camera.height, given.camera.width, len(given.actions), len(given.states))
        if found != wanted:
            names = ("camera", "height", "width", "number of actions", "number of states")
            name, mine, theirs = next((n, f, w) for n, f, w in zip(names, found, wanted) if f != w)
            raise DataError(
                f"{name} is {mine!r}", where=path, expected=f"{theirs!r}, as the given contract says",
                mend="correct the contract, or choose another camera, state or image size",
            )
        return given
    fps = fps if options.fps is None else options.fps
    if fps is None:
        mend = "give it: --fps N, or source.fps=N for training"
        raise DataError("does not say its frame rate", where=path, mend=mend)
    try:
        return Contract(
            task=task if options.task is None else options.task,
            cameras=(Camera(camera, *size, crop_of(height, width, options)),),
            fps=float(fps), actions=actions, states=states,
        )
    except ContractError as error:
        raise DataError(error.what, where=path, expected=error.expected) from error


def choose(kind: str, wanted: str | None, found: Sequence[str], path: object, preferred: Sequence[str] = ()) -> str:
    """One of several arrays: the wanted one, else the first preferred one, else the first.

    Raises:
        DataError: there is none, or not the one wanted; names those that there are.
    """
    if not found:
        raise DataError(f"has no {kind}", where=path, expected="at least one")
    if wanted is None:
        return next((name for name in preferred if name in found), found[0])
    if wanted not in found:
        raise DataError(f"has no {kind} {wanted!r}", where=path, expected=f"one of {', '.join(found)}")
    return wanted
