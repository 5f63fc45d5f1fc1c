"""What an environment remembers in Python, beside MuJoCo's state: targets, counters, the last observation."""

from __future__ import annotations

from typing import Any

import numpy as np

# No key of plain data that an environment could have written itself.
_ARRAY, _GENERATOR = "__array__", "__generator__"


def read(env: object) -> dict[str, Any]:
    """The plain attributes of an object, encoded for JSON.

    Plain are numbers, texts, None, arrays and numbers of numpy, and its random number generators. Arrays that look
    into a simulation's memory are left out: they follow it by themselves.
    """
    return {name: encode(value) for name, value in vars(env).items() if is_plain(value)}


def write(env: object, attributes: dict[str, Any], initial: dict[str, Any]) -> None:
    """Give an object plain attributes, encoded; those that are missing get their initial value, or are removed.

    Raises:
        ValueError: one cannot be decoded, or would hide something that is not plain; nothing has changed.
    """
    values = {name: decode(name, value) for name, value in (initial | attributes).items()}
    present = vars(env)
    for name in attributes:
        if not is_plain(present[name] if name in present else getattr(type(env), name, None)):
            raise ValueError(f"state has an attribute {name!r}, expected none: it is not plain data here")
    for name in [name for name, value in present.items() if name not in values and is_plain(value)]:
        delattr(env, name)
    for name, value in values.items():
        if is_plain(present.get(name)):  # else it follows the simulation
            setattr(env, name, value)


def is_plain(value: object) -> bool:
    """Whether a value can be read from and written to an environment."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and _owns_memory(value)
    return value is None or isinstance(value, (bool, int, float, str, np.bool_, np.number, np.random.Generator))


def encode(value: Any) -> Any:
    """A plain value as data for JSON; texts and Python's numbers are such data already."""
    if isinstance(value, (np.ndarray, np.generic)):
        return {_ARRAY: value.tolist(), "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.random.Generator):
        return {_GENERATOR: value.bit_generator.state}
    return value


def decode(name: str, value: Any) -> Any:
    """Inverse of `encode`.

    Raises:
        ValueError: it is not what `encode` makes.
    """
    try:
        if isinstance(value, dict) and _ARRAY in value:
            dtype = np.dtype(value["dtype"])
            if dtype.kind not in "biuf":
                raise ValueError(f"dtype {dtype}")
            array = np.array(value[_ARRAY], dtype).reshape(value["shape"])
            return array if array.ndim else array[()]
        if isinstance(value, dict) and _GENERATOR in value:
            state = value[_GENERATOR]
            generator = np.random.Generator(np.random.PCG64())
            generator.bit_generator.state = state
            return generator
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"state has an attribute {name!r} that cannot be read ({error})") from error
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"state has an attribute {name!r} of type {type(value).__name__}, expected plain data")


def _owns_memory(array: np.ndarray) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is None
