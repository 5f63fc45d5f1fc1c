"""Opening a source that has to look at all its episodes says how far it is, to whoever asks and to nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from damage import edit_json, move_behind_link

from jepa_robot.data.dataset import open_trajectories
from jepa_robot.data.source import SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.data.streamed import SourceSpec

SAMPLES = Path(__file__).parents[1] / "samples"
RATE = SourceOptions(fps=10)
THREE = [(1, 3), (2, 3), (3, 3)]


def calls(path: Path, options: SourceOptions = SourceOptions()) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    open_source(path, None, options, lambda *call: found.append(call)).close()
    return found


@pytest.mark.parametrize(
    ("sample", "options"),
    [
        ("droid/raw", SourceOptions()),
        ("robomimic/image.hdf5", SourceOptions()),
        ("stable_worldmodel/moving_block.h5", RATE),
        ("minari/dict", RATE),  # its observations have no bounds
    ],
)
def test_each_episode_is_reported_once(sample: str, options: SourceOptions, capfd: pytest.CaptureFixture[str]) -> None:
    assert calls(SAMPLES / sample, options) == THREE
    open_source(SAMPLES / sample, options=options).close()
    assert capfd.readouterr() == ("", "")


def test_nothing_is_reported_where_nothing_is_looked_through() -> None:
    with open_source(SAMPLES / "robomimic/image.hdf5") as source:
        given = SourceOptions(contract=source.contract)
    assert calls(SAMPLES / "robomimic/image.hdf5", given) == []
    assert calls(SAMPLES / "lerobot/video") == []  # which has its bounds written down


def test_lerobot_without_bounds(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SAMPLES / "lerobot/video", tmp_path / "video"))
    with open_source(root) as source:
        written = source.contract
    edit_json(root / "meta" / "stats.json", lambda stats: stats.pop("action"))
    with open_source(root) as source:
        assert source.contract.states == written.states
    (root / "meta" / "stats.json").unlink()
    assert calls(root) == THREE
    with open_source(root) as source:
        found = (*source.contract.actions, *source.contract.states)
    for seen, wanted in zip(found, (*written.actions, *written.states), strict=True):
        assert seen.name == wanted.name
        assert (seen.low, seen.high) == pytest.approx((wanted.low, wanted.high), rel=1e-6)


def test_broken_episodes_count_too(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SAMPLES / "droid/raw", tmp_path / "raw"))
    trajectory = sorted(root.rglob("trajectory.h5"))[1]
    move_behind_link(trajectory, tmp_path / "elsewhere.h5")
    assert calls(root) == THREE


def test_several_sources_one_after_the_other() -> None:
    path, found = SAMPLES / "robomimic/image.hdf5", []
    open_trajectories([SourceSpec(path)] * 2, 0.0, report=lambda *call: found.append(call)).close()
    assert found == THREE * 2
    found.clear()
    open_trajectories([SourceSpec(path)] * 2, 1.0, report=lambda *call: found.append(call))
    assert found == THREE * 2 + [(i, 6) for i in range(1, 7)]
