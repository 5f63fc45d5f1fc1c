"""The training loop: log, resume, interruption, and what is wrong with a run's folder."""

import json
import math
import os
import signal
import threading

import pytest
import torch

from jepa_robot.errors import OutputError, TrainingError
from jepa_robot.training import loop

SETTINGS = {"seed": 0, "train": {"lr": 0.1}}


class Walk:
    """Adds each step's number to its weight; remembers which steps it has done."""

    against_collapse = "walk elsewhere"

    def __init__(self, on_step=None, on_evaluate=None):
        self.weight = torch.zeros(2)
        self.done = []
        self.on_step, self.on_evaluate = on_step, on_evaluate

    def step(self, index, steps):
        self.weight += index
        loss = self.on_step(index) if self.on_step else None
        self.done.append(index)
        return {"loss": float(index) if loss is None else loss, "twice": 2.0 * index}

    def evaluate(self):
        if self.on_evaluate:
            self.on_evaluate(self.done)
        return {"valid": float(self.weight[0])}

    def baselines(self):
        return {"other_valid": -1.0}

    def state_dict(self):
        return {"weight": self.weight, "done": list(self.done)}

    def load_state_dict(self, state):
        self.weight.copy_(state["weight"])
        self.done = list(state["done"])


def run(stage, out, steps=10, settings=SETTINGS, evaluate_every=4, save_minutes=1000.0):
    return loop.run(stage, out, settings, steps, evaluate_every, save_minutes)


def saved(out):
    return torch.load(out / "state.pt", weights_only=True)


def rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def interrupt(_=None):
    raise KeyboardInterrupt


def test_log_averages_the_numbers_since_the_row_before(tmp_path):
    outcome = run(Walk(), tmp_path / "new" / "folder")
    found = rows(tmp_path / "new" / "folder")[1:]
    assert [row["step"] for row in found] == [4, 8, 10]
    assert [row["loss"] for row in found] == [1.5, 5.5, 8.5]
    assert [row["twice"] for row in found] == [3, 11, 17]
    assert [row["valid"] for row in found] == [6, 28, 45]
    assert outcome["figures"] == {"valid": 45.0} and outcome["seconds"] >= 0


def test_figures_and_baselines_before_the_first_step(tmp_path):
    run(Walk(), tmp_path)
    assert rows(tmp_path)[0] == {"step": 0, "seconds": 0.0, "valid": 0.0, "other_valid": -1.0}
    assert not any("other_valid" in row for row in rows(tmp_path)[1:])


def test_a_finished_run_does_no_further_step(tmp_path):
    run(Walk(), tmp_path)
    again = Walk()
    assert run(again, tmp_path)["figures"] == {"valid": 45.0}
    assert again.done == list(range(10)) and len(rows(tmp_path)) == 4


def test_saved_every_so_often(tmp_path):
    steps = []
    walk = Walk(on_step=lambda index: steps.append(saved(tmp_path)["step"]) if index else None)
    run(walk, tmp_path, save_minutes=0.0)
    assert steps == list(range(1, 10)) and saved(tmp_path)["step"] == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_inside_a_step_finishes_it_first(tmp_path, number):
    """The signal comes in the middle of step 5: its weights are changed already, its end not reached."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: interrupt())
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stage = Walk(on_step=lambda index: os.kill(os.getpid(), number) if index == 5 else None)
        with pytest.raises(KeyboardInterrupt):
            run(stage, tmp_path)
        assert {n: signal.getsignal(n) for n in handlers} == handlers
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert stage.done == list(range(6))
    assert saved(tmp_path)["step"] == 6 and saved(tmp_path)["stage"]["done"] == list(range(6))
    resumed = Walk()
    run(resumed, tmp_path)
    assert resumed.done == list(range(10)) and resumed.weight.tolist() == [45, 45]


def test_interrupted_while_evaluating_does_not_repeat_the_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Walk(on_evaluate=lambda done: interrupt() if len(done) == 8 else None), tmp_path)
    assert saved(tmp_path)["step"] == 8
    resumed = Walk()
    assert run(resumed, tmp_path)["figures"] == {"valid": 45.0}
    assert resumed.done == list(range(10))


def test_interrupted_in_the_last_evaluation_still_gets_its_figures(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Walk(on_evaluate=lambda done: interrupt() if len(done) == 10 else None), tmp_path)
    assert saved(tmp_path)["step"] == 10
    assert run(Walk(), tmp_path)["figures"] == {"valid": 45.0}


def test_interrupted_before_the_first_step(tmp_path, monkeypatch):
    class Bar(loop.tqdm):

        def __iter__(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        run(Walk(), tmp_path)
    assert saved(tmp_path)["step"] == 0


def test_runs_in_another_thread(tmp_path):
    stage = Walk()
    thread = threading.Thread(target=run, args=(stage, tmp_path))
    thread.start()
    thread.join()
    assert stage.done == list(range(10))


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_and_leaves_the_state_from_before(tmp_path, loss):
    stage = Walk(on_step=lambda index: loss if index == 6 else None)
    with pytest.raises(TrainingError, match=f"loss is {loss} at step 6") as caught:
        run(stage, tmp_path, save_minutes=0.0)
    assert "train.lr" in str(caught.value) and str(tmp_path) in str(caught.value)
    assert saved(tmp_path)["step"] == 6 and saved(tmp_path)["stage"]["done"] == list(range(6))


def refused(call):
    with pytest.raises(OutputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 2000
    return text


def test_other_settings_are_refused(tmp_path):
    run(Walk(), tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    other = Walk()
    line = refused(lambda: run(other, tmp_path, settings={**SETTINGS, "seed": 1}))
    assert "seed=0, not 1" in line and str(tmp_path) in line
    assert "extra=None" in refused(lambda: run(other, tmp_path, settings={**SETTINGS, "extra": 1}))
    assert "train.lr=0.1, not 0.2" in refused(lambda: run(other, tmp_path, settings={"seed": 0, "train": {"lr": 0.2}}))
    assert other.done == [] and (tmp_path / "state.pt").read_bytes() == before


@pytest.mark.parametrize("size", [0, 10, 0.5, -1])
def test_truncated_state(tmp_path, size):
    run(Walk(), tmp_path)
    whole = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: int(size * len(whole)) if isinstance(size, float) else size])
    line = refused(lambda: run(Walk(), tmp_path))
    assert str(tmp_path / "state.pt") in line and "delete it" in line


@pytest.mark.parametrize("content", [{}, {"settings": "{"}, {"settings": json.dumps(SETTINGS)}, [1, 2]])
def test_state_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "state.pt")
    assert "cannot be read" in refused(lambda: run(Walk(), tmp_path))


def test_state_is_never_unpickled(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"settings": Evil()}, tmp_path / "state.pt")
    refused(lambda: run(Walk(), tmp_path))
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    refused(lambda: run(Walk(), tmp_path))
    assert not (tmp_path / "harm").exists()


def test_state_of_another_model(tmp_path):
    run(Walk(), tmp_path)
    other = Walk()
    other.weight = torch.zeros(3)
    assert "does not fit" in refused(lambda: run(other, tmp_path))


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(lambda: run(Walk(), tmp_path / "file" / "run"))
    assert "cannot be made" in line and "out=FOLDER" in line
    refused(lambda: run(Walk(), tmp_path / "file"))
