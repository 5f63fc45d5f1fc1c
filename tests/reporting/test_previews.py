"""The contact sheet and the Rerun recording of recorded episodes."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_robot.data.format import Episode
from jepa_robot.errors import OutputError
from jepa_robot.reporting.contact_sheet import LABEL, MARGIN, TILE, contact_sheet, frames_shown
from jepa_robot.reporting.episode_recording import save_episode_recording


@pytest.mark.parametrize(
    ("frames", "columns", "shown"),
    [(31, 8, [0, 4, 9, 13, 17, 21, 26, 30]), (3, 8, [0, 1, 2]), (2, 8, [0, 1]), (100, 1, [0])],
)
def test_frames_of_a_row(frames, columns, shown):
    assert frames_shown(frames, columns) == shown


def colours(*values):
    """Pictures of 32 x 64 pixels of one colour each."""
    return [np.full((32, 64, 3), value, np.uint8) for value in values]


def test_every_picture_has_its_place():
    rows = [("a", [0, 5], colours((255, 0, 0), (0, 255, 0))), ("b", [0], colours((0, 0, 255)))]
    sheet = contact_sheet(rows, columns=3)
    tall = 2 * LABEL + TILE // 2 + MARGIN  # pictures keep their shape: 128 x 64
    assert sheet.size == (3 * (TILE + MARGIN) + MARGIN, 2 * tall + MARGIN)

    def middle(row, column):
        return sheet.getpixel((MARGIN + column * (TILE + MARGIN) + TILE // 2, row * tall + 2 * LABEL + TILE // 4))

    assert [middle(0, 0), middle(0, 1), middle(1, 0)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert middle(0, 2) == middle(1, 1) == (255, 255, 255)


def test_every_row_has_its_labels():
    rows = [("episode", [0, 7], colours(0, 0)), ("", [0], colours(0))]
    pixels = np.asarray(contact_sheet(rows, columns=2))
    tall = 2 * LABEL + TILE // 2 + MARGIN
    above = [pixels[top : top + LABEL].min() for top in (0, LABEL, tall, tall + LABEL)]
    assert above[0] < 100 and above[1] < 200 and above[2] == 255 and above[3] < 200


def episode(steps: int, first: int, **more) -> Episode:
    rng = np.random.default_rng(first)
    return Episode(
        frames=rng.integers(0, 256, (steps + 1, 64, 64, 3), dtype=np.uint8),
        states=rng.normal(size=(steps + 1, 4)).astype(np.float32),
        actions=rng.normal(size=(steps, 4)).astype(np.float32),
        **more,
    )


def test_the_recording_holds_every_frame_state_and_action(tmp_path, contract):
    from rerun.chunk import RrdReader

    path = tmp_path / "episodes.rrd"
    names = ["demo_0", "odd name/7"]
    times = np.array([0.0, np.nan, 0.1])  # damaged: shown all the same
    damaged = episode(2, 9, times=times)
    damaged.states[1, 2] = np.nan
    save_episode_recording(
        path, contract, names, [(names[0], 0, episode(3, 0)), (names[0], 3, episode(2, 3)), (names[1], 0, damaged)]
    )
    rows: dict[str, set[int]] = {}
    for chunk in RrdReader(path).store().stream().to_chunks():
        if "frame" in chunk.timeline_names:
            batch = chunk.to_record_batch()
            rows.setdefault(str(chunk.entity_path), set()).update(batch.column("frame").to_pylist())
    odd = r"/odd\ name\/7"
    assert rows == {
        "/demo_0/camera": set(range(6)), "/demo_0/state": set(range(6)), "/demo_0/action": set(range(5)),
        f"{odd}/camera": {0, 1, 2}, f"{odd}/state": {0, 1, 2}, f"{odd}/action": {0, 1},
    }


def test_a_full_disk_is_an_error(contract):
    with pytest.raises(OutputError, match="cannot be written.*No space left"):
        save_episode_recording("/dev/full", contract, ["a"], [("a", 0, episode(30, 0))])


def test_an_error_of_the_source_is_passed_on(tmp_path, contract):
    def pieces():
        yield "a", 0, episode(2, 0)
        raise OutputError("stop")

    with pytest.raises(OutputError, match="^stop$"):
        save_episode_recording(tmp_path / "a.rrd", contract, ["a"], pieces())
