"""A small Gymnasium MuJoCo environment that remembers things in every way that adapted environments do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

SCENE = """
<mujoco>
  <option timestep="0.02"/>
  <visual><quality shadowsize="512" offsamples="4"/></visual>
  <worldbody>
    <camera name="above" pos="0 0 2"/>
    <camera name="beside" pos="0 -2 0.3" xyaxes="1 0 0 0 0 1"/>
    <light pos="0 0 3"/>
    <geom type="plane" size="2 2 0.1" rgba="0.3 0.3 0.3 1"/>
    <site name="mark" pos="0 0.3 0.1" size="0.1" rgba="1 0 0 1"/>
    <body name="shelf" pos="0 0.5 0.1"><geom type="box" size="0.1 0.1 0.1" rgba="0 0 1 1"/></body>
    <body name="cart" pos="0 0 0.1">
      <joint name="slide" type="slide" axis="1 0 0" damping="1"/>
      <geom type="box" size="0.1 0.1 0.1" rgba="0 1 0 1"/>
    </body>
  </worldbody>
  <actuator><motor joint="slide" gear="20" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


class ToyEnv(gym.Env):
    """A cart on a line that is pushed, in gusts of wind that come from the environment's random numbers."""

    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(SCENE)
        self.data = mujoco.MjData(self.model)
        self.target, self.steps, self.label = 0.0, 0, "toy"
        self.history = np.zeros(3, np.float32)
        self.hidden: list[float] = []  # no plain attribute
        self.uses_hidden = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.target = self.np_random.uniform(-0.8, 0.8)
        self.data.qpos[0] = self.np_random.uniform(-0.8, 0.8)
        self.model.body("shelf").pos[0] = self.np_random.uniform(-0.5, 0.5)
        self.steps, self.last, self.hidden = 0, np.float32(0), [0.0]
        self.place = self.data.body("cart").xpos  # looks into the simulation
        mujoco.mj_forward(self.model, self.data)
        return self.data.qpos.copy(), {}

    def step(self, action: np.ndarray):
        # As others do, it builds on positions that may be one time step behind.
        spring = 0.3 * float(self.place[0]) + 0.1 * float(self.history[0])
        wind = 0.05 * self.np_random.normal()
        self.hidden.append(0.01 * len(self.hidden))
        self.data.ctrl[0] = action[0] - spring + wind + (self.hidden[-1] if self.uses_hidden else 0.0)
        self.second = float(action[1])
        mujoco.mj_step(self.model, self.data)
        self.steps += 1
        self.last = np.float32(action[0])
        self.history = np.append(self.last, self.history[:2])
        return self.data.qpos.copy(), 0.0, False, False, {}
