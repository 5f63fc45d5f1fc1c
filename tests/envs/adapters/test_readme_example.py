"""The README's example of making one's own environment a task."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.pointmaze  # which brings what Gymnasium's own MuJoCo environments need
def test_the_readmes_example_is_a_task() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    (code,) = (block for block in blocks if "AdaptedTask" in block)
    names: dict[str, Any] = {}
    exec(code, names)
    task, start, goal, picture = (names[name] for name in ("env", "start", "goal", "picture"))
    assert picture.shape == (64, 64, 3)
    task.restore(goal)
    np.testing.assert_array_equal(task.observe()["top"], picture)
    assert task.distance(start, goal) > task.success_distance
    assert task.is_success(goal, goal)
