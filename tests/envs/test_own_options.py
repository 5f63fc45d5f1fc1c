"""Options of a task's own, as they are read from what makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Optional

import pytest
from gymnasium.envs.registration import EnvSpec
from jepa_envs.task_options import check_options, own_options

if TYPE_CHECKING:
    from somewhere import Unknown


def make(
    size: int,
    render_mode: str | None = None,
    camera: str | None = None,
    mode: Literal["slow", "fast", 3] = "slow",
    thing: Literal["cup"] | None = None,
    noisy: bool = False,
    near: float = 0.5,
    label: str = "x",
    most: Optional[int] = None,  # noqa: UP045
    bare=None,
    pair: tuple[int, int] = (1, 2),
    settled: int = 0,
):
    """Never called."""


SPEC = EnvSpec("options/Made-v0", entry_point=make, kwargs={"settled": 1})


def test_what_is_open_and_what_it_may_be() -> None:
    found = {option.name: (option.default, option.values, option.expected) for option in own_options(SPEC)}
    assert found == {
        "size": (None, None, "an integer"),
        "mode": ("slow", ("slow", "fast", 3), "one of slow, fast, 3"),
        "thing": (None, ("cup", None), "one of cup, null"),
        "noisy": (False, None, "true or false"),
        "near": (0.5, None, "a number"),
        "label": ("x", None, "a text"),
        "most": (None, None, "an integer or null"),
        "bare": (None, None, "any value"),
        "pair": ((1, 2), None, "any value"),
    }
    assert [option.name for option in own_options(SPEC) if option.required] == ["size"]


@pytest.mark.parametrize(
    "given", [{"mode": 3}, {"thing": None}, {"near": 2}, {"most": None}, {"most": 3}, {"bare": "x"}, {"pair": 7}]
)
def test_values_that_fit(given: dict) -> None:
    check_options(SPEC, {"size": 1} | given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "option size is missing, expected an integer"),
        ({"size": True}, "option size is True, expected an integer"),
        ({"size": 1.0}, "option size is 1.0, expected an integer"),
        ({"size": 1, "mode": "Fast"}, "option mode is 'Fast', expected one of slow, fast, 3"),
        ({"size": 1, "mode": 3.0}, "option mode is 3.0, expected one of slow, fast, 3"),
        ({"size": 1, "noisy": 1}, "option noisy is 1, expected true or false"),
        ({"size": 1, "near": False}, "option near is False, expected a number"),
        ({"size": 1, "label": 5}, "option label is 5, expected a text"),
        ({"size": 1, "most": "x"}, "option most is 'x', expected an integer or null"),
        ({"size": 1, "settled": 2}, "there is no option 'settled', expected one of size, mode, thing"),
        ({"size": 1, "camera": "top"}, "there is no option 'camera'"),
    ],
)
def test_values_that_do_not(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options(SPEC, given)


def test_makers_that_take_any_and_annotations_that_are_nowhere() -> None:
    def take(thing: Unknown = None, gear: int = 1, **others: object) -> None: ...

    spec = EnvSpec("options/Any-v0", entry_point=take)
    assert [(option.name, option.expected) for option in own_options(spec)] == [
        ("thing", "any value"),
        ("gear", "an integer"),
    ]
    check_options(spec, {"whatever": 3, "thing": "x"})
    with pytest.raises(ValueError, match="there is no option 'render_mode'"):
        check_options(spec, {"render_mode": "rgb_array"})
