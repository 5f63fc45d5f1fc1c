"""Looking at an episode in an HDF5 file without trusting the file."""

from __future__ import annotations

import h5py
import numpy as np

from jepa_robot.data.format import OBJECT_DIMS, OBJECT_KEY, REWARDED, STATE_KEY
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

# What h5py raises for damaged files, depending on where the damage lies.
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError)
# Groups in groups: more than any recorder makes, and an end where a damaged group holds itself.
_DEEPEST = 8
_BLOCK_BYTES = 2**20
_NOT_COMPRESSING = (h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_SHUFFLE)


def require_layout(demo: h5py.Group, contract: Contract, steps: int, where: str) -> None:
    """Compare an episode's arrays with the contract without reading them; nothing may lie in another file.

    Raises:
        DataError: names the key.
    """
    camera, states = contract.camera, len(contract.states)
    picture = (camera.height, camera.width, 3)
    wanted = {
        "actions": (np.float32, (steps, len(contract.actions))),
        f"obs/{camera.name}": (np.uint8, (steps, *picture)),
        f"obs/{STATE_KEY}": (np.float32, (steps, states)),
        f"final_obs/{camera.name}": (np.uint8, picture),
        f"final_obs/{STATE_KEY}": (np.float32, (states,)),
    }
    if not isinstance(demo, h5py.Group):
        raise DataError("is not an episode", where=where, expected="a group")
    require_own(demo, where)
    if "timestamps" in demo:
        wanted["timestamps"] = (np.float64, (steps + 1,))
    if demo.attrs.get(REWARDED, False):
        wanted["rewards"] = (np.float32, (steps,))
    if OBJECT_DIMS in demo.attrs:
        final = demo.get(f"final_obs/{OBJECT_KEY}")
        size = final.shape if isinstance(final, h5py.Dataset) and final.ndim == 1 else (1,)
        wanted |= {f"final_obs/{OBJECT_KEY}": (np.float32, size), f"obs/{OBJECT_KEY}": (np.float32, (steps, *size))}
    for key, (dtype, shape) in wanted.items():
        array = demo.get(key)
        if not isinstance(array, h5py.Dataset):
            raise DataError("is missing", where=f"{where}/{key}", expected="the layout of datasets/README.md")
        if (array.dtype, array.shape) != (np.dtype(dtype), shape):
            raise DataError(
                f"is {array.dtype} {list(array.shape or ())}", where=f"{where}/{key}",
                expected=f"{np.dtype(dtype)} {list(shape)}",
            )


def require_own(group: h5py.Group, where: str, depth: int = 0) -> None:
    """Refuse links and arrays that lead elsewhere: a copy would not hold their values.

    Raises:
        DataError: names the key.
    """
    if depth > _DEEPEST:
        raise DataError("is nested too deep", where=where, expected=f"at most {_DEEPEST} groups in each other")
    for name in group:
        key = f"{where}/{name}"
        if not is_own(group, name):
            raise DataError("is a link", where=key, expected="an array or a group of its own")
        member = group[name]
        if isinstance(member, h5py.Group):
            require_own(member, key, depth + 1)
        elif not isinstance(member, h5py.Dataset):
            raise DataError("is neither an array nor a group", where=key, expected="what a recorder writes")
        elif member.external or member.is_virtual:
            raise DataError("has its values in another file", where=key, expected="an array with its own values")


def read_through(item: h5py.Group | h5py.Dataset, where: str) -> dict[str, int]:
    """Read every value under ``item`` once, a chunk or a megabyte at a time.

    Returns:
        Rows of each array, by its path under ``item``; 1 for single values.

    Raises:
        DataError: values were never written, or lie in another file; names the key.
        OSError, RuntimeError: h5py's, where values are damaged.
    """
    if isinstance(item, h5py.Group):
        require_own(item, where)
        found: dict[str, int] = {}
        for name in item:
            below = read_through(item[name], f"{where}/{name}")
            found |= {f"{name}/{key}".rstrip("/"): rows for key, rows in below.items()}
        return found
    if not isinstance(item, h5py.Dataset):
        raise DataError("is neither an array nor a group", where=where, expected="what a recorder writes")
    kind = item.id.get_create_plist().get_layout()
    if kind == h5py.h5d.CHUNKED:
        blocks = [-(-size // chunk) for size, chunk in zip(item.shape, item.chunks)]
        if item.id.get_num_chunks() < np.prod(blocks):
            raise DataError("was not written to its end", where=where)
        for block in item.iter_chunks():
            if not item[block].any() and is_erased(item, tuple(part.start for part in block)):
                raise DataError("was overwritten with zeros", where=where)
    elif item.shape:
        if kind == h5py.h5d.CONTIGUOUS and item.size and item.id.get_offset() is None:
            raise DataError("was never written", where=where)
        rows = max(1, _BLOCK_BYTES * len(item) // max(1, item.nbytes))
        for start in range(0, len(item), rows):
            item[start : start + rows]
    else:
        item[()]
    return {"": len(item) if item.shape else 1}


def is_own(group: h5py.Group, name: str | bytes) -> bool:
    """Whether there is a ``name`` that is no link: HDF5 itself opens whatever file a link names."""
    encoded = name if isinstance(name, bytes) else name.encode()  # h5py lists what is not UTF-8 as bytes
    return group.id.links.exists(encoded) and group.id.links.get_info(encoded).type == h5py.h5l.TYPE_HARD


def is_erased(array: h5py.Dataset, corner: tuple[int, ...]) -> bool:
    """Whether the compressed chunk that begins at ``corner`` is nothing but zeros.

    No filter compresses to that, but checksums do not notice, and Blosc makes black pictures of it. Zeros are what a
    disk or a copy that failed leaves.
    """
    filters = array.id.get_create_plist()
    compressed = any(filters.get_filter(i)[0] not in _NOT_COMPRESSING for i in range(filters.get_nfilters()))
    return compressed and not any(array.id.read_direct_chunk(corner)[1])


def require_stored(array: h5py.Dataset, first: int, pictures: np.ndarray, where: str) -> None:
    """Refuse pictures [.., H, W, 3], read from row ``first`` on, that are black because nothing is stored there.

    Raises:
        DataError: names ``where``.
    """
    if array.chunks is None:
        return
    # A few pixels of each are enough to see that it is not black.
    rows, columns = (max(1, size // 4) for size in pictures.shape[-3:-1])
    black = ~pictures[..., ::rows, ::columns, :].any(axis=(-1, -2, -3))
    for row in np.flatnonzero(black):
        corner = (0,) * array.ndim
        if array.ndim == 4:
            corner = ((first + row) // array.chunks[0] * array.chunks[0], 0, 0, 0)
        if is_erased(array, corner):
            raise DataError("was overwritten with zeros", where=where, mend="copy the file again")
