"""Factors of variation: how a scene may look, drawn anew for each episode.

A scene's physics never changes with its look. What was drawn is plain data, so that a state can carry it and show the
same picture again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa_envs.gl import mujoco

KINDS = ("light", "colour", "camera", "distractors")
"""The factors: brightness, tint and direction of light; colour of every surface and scale of every texture; place,
aim and zoom of the cameras; up to four objects that nothing touches."""

Appearance = dict[str, list]
"""Drawn factors by kind, as plain data for JSON."""

_DISTRACTORS = ("box", "sphere", "cylinder", "box")
_DISTRACTOR_VALUES = 8  # shown or not, x, y, yaw, size, red, green, blue


def parse(variation: str | Sequence[str]) -> tuple[str, ...]:
    """Kinds from ``"all"``, ``"light,camera"`` or a sequence of kinds, in the order of `KINDS`.

    Raises:
        ValueError: a kind is unknown; names the known ones.
    """
    if isinstance(variation, str):
        variation = KINDS if variation == "all" else [part.strip() for part in variation.split(",") if part.strip()]
    unknown = [kind for kind in variation if kind not in KINDS]
    if unknown:
        raise ValueError(f"variation {unknown[0]!r} is unknown, expected 'all' or of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in variation)


def load_model(scene: Path, variation: str | Sequence[str] = ()) -> mujoco.MjModel:
    """The model of a scene file, with hidden distractors where ``variation`` has them.

    The file says where they may stand, and how large they are, with
    ``<numeric name="distractors" data="x_low y_low x_high y_high z size"/>`` (metres).
    """
    if "distractors" not in parse(variation):
        return mujoco.MjModel.from_xml_path(str(scene))
    spec = mujoco.MjSpec.from_file(str(scene))
    for index, shape in enumerate(_DISTRACTORS):
        spec.worldbody.add_geom(  # neither at its body's place nor aligned with it: MuJoCo would stop looking at both
            pos=[0.0, 0.0, 0.1],
            quat=[0.8, 0.0, 0.0, 0.6],
            name=f"distractor{index}",
            type=getattr(mujoco.mjtGeom, f"mjGEOM_{shape.upper()}"),
            size=[0.01, 0.01, 0.01],
            rgba=[0.0, 0.0, 0.0, 0.0],
            contype=0,
            conaffinity=0,
        )
    return spec.compile()


class Variation:
    """Draws appearances of a model, and gives them to it.

    Args:
        model: the model, made by `load_model` with the same kinds.
        kinds: the factors that vary, of `KINDS`.
    """

    def __init__(self, model: mujoco.MjModel, kinds: Sequence[str]):
        self.kinds = parse(kinds)
        self._model = model
        self._untextured = np.flatnonzero((model.geom_matid < 0) & (model.geom_rgba[:, 3] > 0))
        self._shapes = {
            "light": 2 + 3 + 2,
            "colour": (model.nmat + len(self._untextured), 4),
            "camera": (model.ncam, 6),
            "distractors": (len(_DISTRACTORS), _DISTRACTOR_VALUES),
        }
        self._fields = [
            *(model.vis.headlight.ambient, model.vis.headlight.diffuse, model.light_diffuse, model.light_dir),
            *(model.mat_rgba, model.mat_texrepeat, model.geom_rgba),
            *(model.cam_pos, model.cam_quat, model.cam_fovy),
            *(model.geom_pos, model.geom_quat, model.geom_size, model.geom_rbound),
        ]
        self._nominal = [field.copy() for field in self._fields]

    def draw(self, rng: np.random.Generator) -> Appearance:
        """A new appearance: numbers in [0, 1] for every factor that varies."""
        return {kind: rng.uniform(size=self._shapes[kind]).tolist() for kind in self.kinds}

    def apply(self, appearance: Appearance | None) -> None:
        """Give the model a look; None is the scene file's own. Positions have to be brought up to date afterwards.

        Raises:
            ValueError: it was not drawn for this scene; the look has not changed.
        """
        values = self._checked(appearance or {})
        for field, nominal in zip(self._fields, self._nominal, strict=True):
            field[:] = nominal
        for kind, value in values.items():
            getattr(self, f"_apply_{kind}")(value)

    def _checked(self, appearance: Any) -> dict[str, np.ndarray]:
        try:
            values = {kind: np.asarray(value, float) for kind, value in appearance.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"not an appearance ({error})") from error
        for kind, value in values.items():
            if kind not in self.kinds:
                raise ValueError(f"its appearance varies {kind!r}, expected of {self.kinds}: choose variation={kind!r}")
            wanted = np.empty(self._shapes[kind]).shape
            if value.shape != wanted or not np.all((value >= 0) & (value <= 1)):
                raise ValueError(f"its appearance has {kind} of shape {value.shape}, expected {wanted} within 0 to 1")
        return values

    def _apply_light(self, value: np.ndarray) -> None:
        model = self._model
        tint = 0.85 + 0.3 * value[2:5]
        ambient, diffuse = (0.7 + 0.5 * value[0]) * tint, (0.5 + value[1]) * tint
        model.vis.headlight.ambient[:] = model.vis.headlight.ambient * ambient
        model.vis.headlight.diffuse[:] = model.vis.headlight.diffuse * diffuse
        model.light_diffuse[:] *= diffuse
        model.light_dir[:, :2] += value[5:] - 0.5
        model.light_dir[:] /= np.linalg.norm(model.light_dir, axis=1, keepdims=True)

    def _apply_colour(self, value: np.ndarray) -> None:
        model = self._model
        shade = 0.65 + 0.6 * value[:, :3]
        model.mat_rgba[:, :3] = np.clip(model.mat_rgba[:, :3] * shade[: model.nmat], 0, 1)
        model.mat_texrepeat[:] *= 2.0 ** (2 * value[: model.nmat, 3:] - 1)
        model.geom_rgba[self._untextured, :3] = np.clip(
            model.geom_rgba[self._untextured, :3] * shade[model.nmat :], 0, 1
        )

    def _apply_camera(self, value: np.ndarray) -> None:
        """Shifts by up to 8% of what a camera sees, turns by up to 3% of it and rolls by up to 2 degrees."""
        model, value = self._model, 2 * value - 1
        quaternion, turn = np.zeros(4), np.zeros(4)
        for camera in range(model.ncam):
            angle = np.deg2rad(model.cam_fovy[camera])
            seen = np.tan(angle / 2) * np.linalg.norm(model.cam_pos[camera] - model.stat.center)
            model.cam_pos[camera] += 0.08 * seen * value[camera, :3]
            roll = 0.0 if model.cam_targetbodyid[camera] >= 0 else np.deg2rad(2) * value[camera, 5]
            mujoco.mju_euler2Quat(turn, np.array([*(0.03 * angle * value[camera, 3:5]), roll]), "xyz")
            mujoco.mju_mulQuat(quaternion, model.cam_quat[camera], turn)
            model.cam_quat[camera] = quaternion
            model.cam_fovy[camera] *= 1 + 0.05 * value[camera, 5]

    def _apply_distractors(self, value: np.ndarray) -> None:
        model = self._model
        x_low, y_low, x_high, y_high, z, size = model.numeric("distractors").data
        for index, (shown, x, y, yaw, scale, *rgb) in enumerate(value):
            geom = model.geom(f"distractor{index}").id
            radius = size * (0.5 + 0.5 * scale)
            model.geom_size[geom] = radius
            model.geom_rbound[geom] = 2 * radius
            model.geom_pos[geom] = x_low + x * (x_high - x_low), y_low + y * (y_high - y_low), z + radius
            model.geom_quat[geom] = np.cos(np.pi * yaw), 0, 0, np.sin(np.pi * yaw)
            model.geom_rgba[geom] = *rgb, 1.0 if shown < 0.75 else 0.0
