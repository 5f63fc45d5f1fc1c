"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_line import Outcome

from jepa_robot.cli.main import cli, run
from jepa_robot.spec import Camera, Contract, Dim


@pytest.fixture
def jepa_robot(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``jepa-robot ARGS`` in this process."""

    def call(*args: object) -> Outcome:
        code = run(cli, "jepa-robot", [str(a) for a in args])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The contract of the reach task, without normalisation, written out by hand."""
    metres = dict(unit="m", frame="base")
    return Contract(
        task="panda_reach",
        cameras=(Camera("front", height=64, width=64),),
        fps=5.0,
        actions=(
            Dim("dx", low=-0.05, high=0.05, integrates="x", **metres),
            Dim("dy", low=-0.05, high=0.05, integrates="y", **metres),
            Dim("dz", low=-0.05, high=0.05, integrates="z", **metres),
            Dim("gripper", unit="1", frame="base", low=-0.25, high=0.25, integrates="gripper"),
        ),
        states=(
            Dim("x", low=0.25, high=0.7, **metres),
            Dim("y", low=-0.35, high=0.35, **metres),
            Dim("z", low=0.02, high=0.6, **metres),
            Dim("gripper", unit="1", frame="base", low=0.0, high=1.0),
        ),
    )
