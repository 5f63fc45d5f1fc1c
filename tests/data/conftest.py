"""Small made-up episodes whose every value is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data.format import Episode
from jepa_robot.data.journal import JournaledFile, journal_path
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import OutputError
from jepa_robot.spec import Camera, Contract, Dim

ENV_ARGS = {"env_name": "toy", "type": "gymnasium", "env_kwargs": {}}


@pytest.fixture
def contract() -> Contract:
    return Contract(
        task="toy",
        cameras=(Camera("front", 16, 16),),
        fps=5.0,
        actions=(Dim("dx", "m", "base", -0.05, 0.05, "x"), Dim("gripper", "1", "base", -0.25, 0.25, "closed")),
        states=(
            Dim("x", "m", "base", -1.0, 1.0),
            Dim("closed", "1", "base", 0.0, 1.0),
            Dim("y", "m", "base", -1.0, 1.0),
        ),
    )


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    def make(seed: int = 0, steps: int = 6) -> Episode:
        rng = np.random.default_rng(seed)
        return Episode(
            frames=rng.integers(0, 256, (steps + 1, 16, 16, 3), dtype=np.uint8),
            states=rng.uniform(0, 1, (steps + 1, 3)).astype(np.float32),
            actions=rng.uniform(-0.05, 0.05, (steps, 2)).astype(np.float32),
            kind="noisy" if seed % 2 else "expert",
            seed=seed,
        )

    return make


@pytest.fixture
def path(tmp_path: Path, contract: Contract, make_episode: Callable[..., Episode]) -> Path:
    """A trajectory file with three episodes of 4, 5 and 6 actions."""
    path = tmp_path / "toy.h5"
    with TrajectoryWriter(path, contract, ENV_ARGS, {"task": "toy"}, seed=7) as writer:
        for i in range(3):
            writer.append(make_episode(i, steps=4 + i))
    return path


@pytest.fixture
def die_in_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Contract, Episode], None]:
    """Append an episode with a writer that dies when its commit has reached the journal and nothing more."""

    def die(self: JournaledFile) -> None:
        raise OSError("killed")

    def append(path: Path, contract: Contract, episode: Episode) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(JournaledFile, "_replay", die)
            with pytest.raises(OutputError, match="killed"), TrajectoryWriter(path, contract, {}) as writer:
                writer.append(episode)
        assert journal_path(path).exists()

    return append
