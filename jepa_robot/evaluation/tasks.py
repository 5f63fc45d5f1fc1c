"""Goal-image tasks, opened by name; the only place where planning meets a simulator."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_robot.errors import GoalError, TaskError
from jepa_robot.spec import Contract

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

EVALUATION_SEED_BASE = 1_000_000
EVALUATION_SEED_STRIDE = 100_000
# Seeds of its episodes still fit 63 bits, which torch and NumPy both take.
LAST_EVALUATION_SEED = (2**63 - 1 - EVALUATION_SEED_BASE) // EVALUATION_SEED_STRIDE - 1


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an evaluation episode: 1,000,000 + 100,000 seed + episode.

    `plan --seed` with the same number plans the same episode. Recorded episodes are drawn from
    generators seeded by (recording seed, index), so as long as recording seeds stay below a million
    no start and goal is met in both.
    """
    return EVALUATION_SEED_BASE + EVALUATION_SEED_STRIDE * seed + episode


def registered(name: str) -> EnvSpec:
    """What Gymnasium knows of a task, given by short name, id, or ``MODULE:ID``.

    The module is looked for in the current folder, too, which is not on the path of an installed command.

    Raises:
        TaskError: it is unknown, or the module cannot be imported or does not register it.
    """
    import jepa_envs

    if ":" in name and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return jepa_envs.task_spec(name)
    except ValueError as error:
        raise TaskError(str(error), where="task") from error


class Task:
    """An environment that keeps jepa_envs' goal-image protocol, with its contract; a context manager.

    Attributes:
        name: that it gives itself, as in its contract.
        env: Gymnasium environment, without a time limit of its own.
        contract: frames, actions and states, without normalisation.
        straight: success is a matter of the proprioception alone, and nothing is in its way.
    """

    def __init__(
        self,
        name: str,
        image_size: int | None = None,
        variation: tuple[str, ...] = (),
        camera: str | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        """
        Args:
            name: short name of the task, Gymnasium id, or ``MODULE:ID``.
            image_size: height and width of the pictures in pixels; the task's own where None.
            variation: factors of appearance drawn for each episode; none unless given.
            camera: name of the camera; the task's first where None.
            options: arguments of the task's own, such as ``rotation``.

        Raises:
            TaskError: it is unknown, or its simulator cannot run here.
        """
        import jepa_envs  # loads the simulator

        registered(name)
        try:
            # Planner and evaluation count steps themselves, hence without the wrapper that limits them.
            self.env: Any = jepa_envs.make(name, image_size, camera, variation, options).unwrapped
            self.env.observe()  # where there is no OpenGL, the first picture says so
        except ValueError as error:
            raise TaskError(str(error), where=f"task {name}") from error
        except (ImportError, OSError, RuntimeError) as error:
            raise TaskError(f"its simulator cannot run here ({error})", where=f"task {name}") from error
        self.straight = bool(getattr(self.env, "straight", False))
        self.contract = Contract.from_dict(self.env.contract(), where=f"task {name}")
        self.name = self.contract.task

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.env.close()

    def check_state(self, state: dict[str, Any], where: str) -> None:
        """Check that a state is one of this simulator, in whatever appearance: success does not depend on that.

        Raises:
            GoalError: it is not.
        """
        try:
            self.env.distance(state, state)
        except (ValueError, KeyError, TypeError) as error:
            raise GoalError(
                f"holds a state that task {self.name} cannot be in ({error})", where=where, mend="draw it again"
            ) from error

    def proprioception(self, state: dict[str, Any]) -> np.ndarray:
        """float32 [P] in a state; the simulation is left as it was."""
        present = self.env.state()
        self.env.restore(state)
        proprioception: np.ndarray = self.env.observe()["proprio"]
        self.env.restore(present)
        return proprioception
