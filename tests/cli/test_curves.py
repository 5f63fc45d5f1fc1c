"""``jepa-robot curves``: logs of runs as pictures and as recordings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import assert_refused
from PIL import Image

from jepa_robot.errors import DataError
from jepa_robot.reporting.run_log import read_log


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(tmp_path):
    start = {"step": 0, "effective_rank": 140.0, "latent_std": 0.5, "pixels_effective_rank": 70.0}
    later = [{"step": s, "loss": 1 / s, "effective_rank": 140.0 - s, "latent_std": 0.4} for s in (10, 20)]
    return write(tmp_path / "run", [start, *later])


def colours(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return set(map(tuple, np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)))


def test_a_picture_has_a_colour_for_each_run(call, run, tmp_path):
    other = write(tmp_path / "other", [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.0}])
    assert call("curves", run, "-o", "one.png")[0] == 0 and call("curves", run, other, "-o", "two.png")[0] == 0
    first, second = (31, 119, 180), (255, 127, 14)  # matplotlib's C0 and C1
    assert first in colours("one.png") and second not in colours("one.png")
    assert {first, second} <= colours("two.png")


def test_a_recording(call, run):
    code, out, err = call("curves", run, "-o", "run.rrd")
    assert code == 0 and out == "" and "run.rrd" in err
    with open("run.rrd", "rb") as file:
        assert file.read(4) == b"RRF2"


def test_rows_of_a_run_that_was_resumed_or_started_over(tmp_path):
    old, again = [{"step": s, "loss": 9.0} for s in (0, 10, 20, 30)], [{"step": s, "loss": 1.0} for s in (0, 10, 20)]
    folder = write(tmp_path / "run", [*old, *again, {"step": 10, "loss": 2.0}])
    assert read_log(folder) == [{"step": 0, "loss": 1.0}, {"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}]


def test_wrong_use(call, run, tmp_path):
    assert_refused(call("curves", run), "--out")
    assert_refused(call("curves", run, "-o", "run.svg"), "--out", ".png or .rrd")
    assert_refused(call("curves", run, run, "-o", "run.png"), "twice")
    assert_refused(call("curves", "nowhere", "-o", "run.png"), "nowhere/log.jsonl", "No such file")
    for text, message in (("", "is empty"), ("{", "no log"), ("{}", "no log"), ("3", "no log")):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / "log.jsonl").write_text(text)
        with pytest.raises(DataError, match=message):
            read_log(tmp_path / "bad")
