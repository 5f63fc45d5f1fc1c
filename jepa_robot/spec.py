"""The contract between data, model, planner and robot.

A model is only usable with the frames, actions and proprioceptive states that it was trained on.
`Contract` says what those are, as data that travels in every data set and checkpoint, can be
printed, and is compared before anything starts. Nothing guesses.

Pixels are uint8 H x W x 3 RGB at every public boundary; actions [A] and states [P] are float32 in
physical units. Normalisation (`Dim.mean`, `Dim.std`, `Camera.mean`, `Camera.std`) happens inside
the model, and only a model's contract has it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepa_robot.errors import ContractError

FORMAT = "jepa_robot.contract/1"
ANY_CAMERA = "any"  # of encoders of pictures of all kinds
_SIDES = ("height", "width")


@dataclass(frozen=True)
class Camera:
    """One picture stream: uint8 [height, width, 3] RGB, as the model sees it (after `crop`).

    ``crop`` is (top, left, height, width) in pixels of the raw picture, or None for all of it.
    ``mean`` and ``std`` are per channel, for pixels scaled to [0, 1].
    """

    name: str
    height: int
    width: int
    crop: tuple[int, int, int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Dim:
    """One dimension of an action or of a proprioceptive state.

    ``integrates`` (actions only) names the state dimension that this action is added to: the
    rollout moves the state by it and keeps it inside that state's bounds. ``composes`` (three actions or none)
    names a state angle that is one of three: the actions' Euler angles xyz are of a rotation R(action), and
    R(t+1) = R(action) R(t), about fixed axes.
    """

    name: str
    unit: str
    frame: str
    low: float
    high: float
    integrates: str | None = None
    composes: str | None = None
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class Contract:
    """Everything that data, model, planner and robot have to agree on.

    ``fps`` counts recorded frames (and actions) per second; ``action_repeat`` is the number of
    recorded steps that one action of the model stands for.

    ``task`` is None for an encoder of video of all kinds: it has no actions and states, and of other sides it only
    demands pictures of its size.
    """

    task: str | None
    cameras: tuple[Camera, ...]
    fps: float
    actions: tuple[Dim, ...]
    states: tuple[Dim, ...]
    action_repeat: int = 1
    format: str = field(default=FORMAT)

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ContractError("contract has no camera", expected="at least one")
        if self.task is None and (self.actions or self.states):
            raise ContractError("contract names no task but has actions or states", expected="a task, or neither of them")
        for name, rate in (("fps", self.fps), ("action_repeat", self.action_repeat)):
            if not 0 < rate < np.inf:
                raise ContractError(f"contract has {name} {rate}", expected="a number above 0")
        for camera in self.cameras:
            if camera.std is not None and not min(camera.std) > 0:
                raise ContractError(f"camera {camera.name} has standard deviations {camera.std}", expected="above 0")
        names = [d.name for d in self.states]
        for kind, dims in (("action", self.actions), ("state", self.states)):
            for dim in dims:
                if not dim.low < dim.high:
                    raise ContractError(f"{kind} {dim.name} has bounds [{dim.low}, {dim.high}]", expected="low < high")
                if dim.std is not None and not dim.std > 0:
                    raise ContractError(f"{kind} {dim.name} has standard deviation {dim.std}", expected="above 0")
                if dim.integrates is not None and dim.integrates not in names:
                    raise ContractError(
                        f"{kind} {dim.name} integrates into unknown state {dim.integrates!r}",
                        expected=f"one of {names}",
                    )
        composed = [dim.composes for dim in self.actions if dim.composes is not None]
        if composed and not (len(set(composed)) == len(composed) == 3 and set(composed) <= set(names)):
            raise ContractError(
                f"actions compose the rotation of states {composed}", expected=f"three different ones of {names}"
            )

    # -- views ------------------------------------------------------------------------------

    @property
    def camera(self) -> Camera:
        """The first camera: the one that the model sees."""
        return self.cameras[0]

    @property
    def action_low(self) -> np.ndarray:
        """Lower action bounds, float32 [A], physical units."""
        return np.array([d.low for d in self.actions], np.float32)

    @property
    def action_high(self) -> np.ndarray:
        """Upper action bounds, float32 [A], physical units."""
        return np.array([d.high for d in self.actions], np.float32)

    @property
    def state_low(self) -> np.ndarray:
        """Lower proprioception bounds, float32 [P], physical units."""
        return np.array([d.low for d in self.states], np.float32)

    @property
    def state_high(self) -> np.ndarray:
        """Upper proprioception bounds, float32 [P], physical units."""
        return np.array([d.high for d in self.states], np.float32)

    def rests_at_zero(self) -> list[bool]:
        """For each action dimension, whether 0 is to stay: changes, speeds and forces, but no places to go to.

        A place is told by its bounds, of which 0 is not inside, or by the name of the state that it is a place of.
        """
        states = {dim.name for dim in self.states}
        changes = [dim.integrates is not None or dim.composes is not None for dim in self.actions]
        return [c or (d.low < 0 < d.high and d.name not in states) for c, d in zip(changes, self.actions)]

    def integration_matrix(self) -> np.ndarray:
        """float32 [A, P]: 1 where an action dimension is added to a state dimension, else 0."""
        names = [d.name for d in self.states]
        matrix = np.zeros((len(self.actions), len(self.states)), np.float32)
        for a, dim in enumerate(self.actions):
            if dim.integrates is not None:
                matrix[a, names.index(dim.integrates)] = 1.0
        return matrix

    def rotation(self) -> tuple[list[int], list[int]] | None:
        """Which three actions turn which three states, in the order of Euler angles xyz; None where none do."""
        names = [d.name for d in self.states]
        pairs = [(a, names.index(dim.composes)) for a, dim in enumerate(self.actions) if dim.composes is not None]
        return ([a for a, _ in pairs], [p for _, p in pairs]) if pairs else None

    def measured_states(self) -> np.ndarray:
        """bool [P]: the states by which a model learns distances.

        Those that actions are added to or turn; all of them where the contract does not say what actions change.
        """
        changed = self.integration_matrix().any(axis=0)
        if (rotation := self.rotation()) is not None:
            changed[rotation[1]] = True
        return changed if changed.any() else np.ones(len(self.states), bool)

    # -- text -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: object = None) -> Contract:
        """Inverse of `to_dict`.

        Raises:
            ContractError: an unknown version, a missing or an unknown field, or an impossible value.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ContractError(f"contract has format {found!r}", where=where, expected=repr(FORMAT))
        try:
            values = dict(data)
            values["cameras"] = tuple(
                Camera(**{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()}) for c in data["cameras"]
            )
            values["actions"] = tuple(Dim(**d) for d in data["actions"])
            values["states"] = tuple(Dim(**d) for d in data["states"])
            return cls(**values)
        except ContractError as error:
            raise ContractError(error.what, where=where, expected=error.expected) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ContractError(f"contract is malformed ({error})", where=where, expected=FORMAT) from error

    @classmethod
    def from_json(cls, text: str, where: object = None) -> Contract:
        try:
            data = json.loads(text)
        except (ValueError, TypeError) as error:
            raise ContractError(f"contract is not JSON ({error})", where=where) from error
        return cls.from_dict(data, where)

    # -- agreement --------------------------------------------------------------------------

    def differences(self, other: Contract) -> list[tuple[str, Any, Any]]:
        """Fields in which the two disagree, as (field, mine, theirs).

        Normalisation counts only where both sides have it: a data set has none of its own. Where this contract
        has no task, only the picture's size counts.
        """
        if self.task is None:
            sides = [(f"camera.{side}", getattr(self.camera, side), getattr(other.camera, side)) for side in _SIDES]
            return [(path, mine, theirs) for path, mine, theirs in sides if mine != theirs]
        found: list[tuple[str, Any, Any]] = []

        def compare(path: str, mine: Any, theirs: Any) -> None:
            if dataclasses.is_dataclass(mine) and type(mine) is type(theirs):
                for f in dataclasses.fields(mine):
                    compare(f"{path}.{f.name}", getattr(mine, f.name), getattr(theirs, f.name))
            elif isinstance(mine, tuple) and isinstance(theirs, tuple) and mine and dataclasses.is_dataclass(mine[0]):
                if [d.name for d in mine] != [getattr(d, "name", None) for d in theirs]:
                    found.append((f"{path}.names", [d.name for d in mine], [d.name for d in theirs]))
                else:
                    for m, t in zip(mine, theirs):
                        compare(f"{path}[{m.name}]", m, t)
            elif path.endswith((".mean", ".std")) and (mine is None or theirs is None):
                return
            elif isinstance(mine, float) and isinstance(theirs, (int, float)):
                if not np.isclose(mine, theirs, rtol=1e-6, atol=1e-9):
                    found.append((path, mine, theirs))
            elif mine != theirs:
                found.append((path, mine, theirs))

        for f in dataclasses.fields(self):
            compare(f.name, getattr(self, f.name), getattr(other, f.name))
        return found

    def require(self, other: Contract, mine: str, theirs: str, mend: str) -> None:
        """Refuse to go on when the two disagree.

        Raises:
            ContractError: names the first differing field, both values and the mend.
        """
        found = self.differences(other)
        if found:
            name, a, b = found[0]
            more = f" (and {len(found) - 1} more: {', '.join(n for n, _, _ in found[1:4])})" if len(found) > 1 else ""
            raise ContractError(f"{name} is {b!r} in {theirs} but {a!r} in {mine}{more}", mend=mend)
