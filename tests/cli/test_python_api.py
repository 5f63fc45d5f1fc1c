import subprocess
import sys

import numpy as np

CODE = """
import sys
import numpy as np

from jepa_robot.models import load
from jepa_robot.planning import Observation, build_planner

model = load(sys.argv[1])
planner = build_planner(model)
image = np.zeros((64, 64, 3), np.uint8)
planner.reset(image)
state = (model.contract.state_low + model.contract.state_high) / 2
for _ in range(3):
    action = planner.act(Observation(image, state))
    print(*action)
simulator, tools = {"mujoco", "jepa_envs", "gymnasium"}, {"hydra", "omegaconf", "click", "rerun"}
others = {"h5py", "timm", "torchvision", "scipy", "av", "torch._dynamo"}
print(sorted((simulator | tools | others) & set(sys.modules)))
"""


def test_planning_in_a_loop_of_one_s_own_loads_no_simulator_and_no_tools(tiny_checkpoint):
    out = subprocess.run([sys.executable, "-c", CODE, tiny_checkpoint], capture_output=True, text=True, check=True)
    *actions, unwanted = out.stdout.strip().splitlines()
    assert unwanted == "[]"
    assert len(actions) == 3
    for action in actions:
        assert (np.abs([float(a) for a in action.split()]) <= np.float32([0.05, 0.05, 0.05, 0.25])).all()
