"""Names of the tasks of other packages; reading them imports none of the packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AdapterName:
    """A task of another package.

    Attributes:
        short_name: such as ``fetch_reach``.
        gymnasium_name: such as ``FetchReach``.
        entry_point: makes it.
        kwargs: what the entry point is given.
        max_episode_steps: actions in an episode.
        extra: of this distribution, which brings the package.
    """

    short_name: str
    gymnasium_name: str
    entry_point: str
    kwargs: dict[str, Any]
    max_episode_steps: int
    extra: str


def _title(name: str) -> str:
    return name.title().replace("_", "")


METAWORLD = tuple(
    """
    assembly basketball bin_picking box_close button_press button_press_topdown button_press_topdown_wall
    button_press_wall coffee_button coffee_pull coffee_push dial_turn disassemble door_close door_lock door_open
    door_unlock drawer_close drawer_open faucet_close faucet_open hammer hand_insert handle_press handle_press_side
    handle_pull handle_pull_side lever_pull peg_insert_side peg_unplug_side pick_out_of_hole pick_place
    pick_place_wall plate_slide plate_slide_back plate_slide_back_side plate_slide_side push push_back push_wall reach
    reach_wall shelf_place soccer stick_pull stick_push sweep sweep_into window_close window_open
    """.split()
)
"""Metaworld's tasks, without ``-v3`` and with underscores for hyphens."""

_FETCH = ("reach", "push", "pick_and_place")
_MAZES = {"umaze": 100, "open": 100, "medium": 200, "large": 200}

NAMES: tuple[AdapterName, ...] = (
    *(
        AdapterName(
            f"fetch_{task}", f"Fetch{_title(task)}", "jepa_envs.adapters.fetch:make", {"task": task}, 50, "fetch"
        )
        for task in _FETCH
    ),
    *(
        AdapterName(
            f"point_maze_{maze}",
            f"PointMaze{_title(maze)}",
            "jepa_envs.adapters.point_maze:make",
            {"maze": maze},
            steps,
            "pointmaze",
        )
        for maze, steps in _MAZES.items()
    ),
    *(
        AdapterName(
            f"metaworld_{task}",
            f"Metaworld{_title(task)}",
            "jepa_envs.adapters.metaworld:make",
            {"task": task},
            100,
            "metaworld",
        )
        for task in METAWORLD
    ),
)
