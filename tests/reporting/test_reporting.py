import numpy as np
import pytest
from PIL import Image

from jepa_robot.errors import OutputError
from jepa_robot.evaluation.episodes import Decision, EpisodeResult, Goal, Step
from jepa_robot.reporting.recording import save_recording
from jepa_robot.reporting.strip import LABEL, MARGIN, save_strip, strip, strip_of

SIZE = 64


def grey(value):
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def result(actions, distance=0.05):
    decision = Decision(np.array([0.01, -0.02, 0.03, 0.1], np.float32), energy=1.0, planned_energy=0.5, latency_s=0.1)
    steps = [Step(i, grey(i), distance, decision) for i in range(actions + 1)]
    return EpisodeResult(0, Goal(grey(200)), steps, True, True, actions)


def shades(picture, tiles):
    """The grey value in the middle of every tile."""
    pixels = np.array(picture)
    width = (pixels.shape[1] - MARGIN) // tiles - MARGIN
    return [int(pixels[LABEL + 64, MARGIN + i * (width + MARGIN) + width // 2, 0]) for i in range(tiles)]


def test_strip_shows_start_goal_way_and_end():
    assert shades(strip_of(result(21), on_the_way=6), 9) == [0, 200, 3, 6, 9, 12, 15, 18, 21]


@pytest.mark.parametrize("actions, wanted", [(0, [0, 200, 0]), (1, [0, 200, 1]), (3, [0, 200, 1, 2, 3])])
def test_short_episodes_repeat_no_frame(actions, wanted):
    assert shades(strip_of(result(actions)), len(wanted)) == wanted


def test_pictures_are_enlarged_not_shrunk():
    small, large = strip([("a", np.zeros((16, 16, 3), np.uint8))]), strip([("a", np.zeros((256, 300, 3), np.uint8))])
    assert small.height == 128 + LABEL + MARGIN
    assert large.size == (300 + 2 * MARGIN, 256 + LABEL + MARGIN)


def test_labels_are_drawn():
    with_label, without = (np.array(strip([(text, grey(9))])) for text in ("step 3: 2.5 cm", ""))
    assert (with_label[:LABEL] != without[:LABEL]).any()


def test_saved_strip_is_a_png(tmp_path):
    save_strip(tmp_path / "strip.png", result(2, distance=None))
    with Image.open(tmp_path / "strip.png") as picture:
        assert picture.format == "PNG" and picture.mode == "RGB"


def test_recording_holds_everything(tmp_path, contract):
    from rerun.chunk import RrdReader

    path = tmp_path / "recording.rrd"
    save_recording(path, result(3), contract)
    assert path.read_bytes()[:3] == b"RRF"
    store = RrdReader(path).store()
    entities = {str(e).lstrip("/") for e in store.schema().entity_paths()}
    assert {"goal", "camera", "action", "distance_m", "latency_ms", "energy/now", "energy/planned"} <= entities


def test_recording_that_cannot_be_written(tmp_path, contract):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_recording(tmp_path / "file" / "recording.rrd", result(1), contract)
