"""Whether what a planner is given is what its contract says."""

from __future__ import annotations

import numpy as np

from jepa_robot.errors import GoalError, PlanningError
from jepa_robot.planning.goals import describe
from jepa_robot.planning.types import Observation
from jepa_robot.spec import Contract


def check_image(contract: Contract, image: np.ndarray, error: type[GoalError] | type[PlanningError], what: str) -> None:
    """Check that a picture is what the contract's camera delivers.

    Raises:
        error: it is not; ``what`` names it.
    """
    camera = contract.camera
    shape = (camera.height, camera.width, 3)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
        raise error(
            f"{what} is {describe(image)}",
            expected=f"uint8 {list(shape)} RGB from camera {camera.name!r}",
            mend="take the picture with the camera that the model was trained on",
        )


def check_observation(contract: Contract, observation: Observation) -> None:
    """Check picture and proprioception.

    Raises:
        PlanningError: they are not the contract's.
    """
    check_image(contract, observation.image, PlanningError, "observed picture")
    state, dims = observation.state, contract.states
    if not isinstance(state, np.ndarray) or state.dtype != np.float32 or state.shape != (len(dims),):
        raise PlanningError(
            f"observed state is {describe(state)}",
            expected=f"float32 [{len(dims)}]: {', '.join(f'{d.name} ({d.unit})' for d in dims)}",
        )
    if not np.isfinite(state).all():
        raise PlanningError(f"observed state is {state.tolist()}", expected="finite numbers")
