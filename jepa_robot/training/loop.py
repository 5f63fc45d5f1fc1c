"""The training loop that every stage runs in: progress, log, checkpoints, resume, interruption."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from jepa_robot.errors import OutputError, TrainingError
from jepa_robot.files import atomic_path
from jepa_robot.reporting.run_log import LOG_FILE
from jepa_robot.training.collapse import CollapseWatch

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"


class Stage(Protocol):
    """What is trained. One object holds modules, optimizer and data.

    Attributes:
        against_collapse: what a user can change if the encoder collapses.
    """

    against_collapse: str

    def step(self, index: int, steps: int) -> dict[str, float]:
        """One optimisation step; returns numbers to log. ``loss`` is among them."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out episodes; ``latent_std`` and ``effective_rank`` among them if an encoder is trained."""

    def baselines(self) -> dict[str, float]:
        """What those figures are to be compared with, besides what they are before the first step."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on exactly here."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def run(
    stage: Stage,
    out: Path,
    settings: dict[str, Any],
    steps: int,
    evaluate_every: int,
    save_minutes: float,
) -> dict[str, Any]:
    """Train for ``steps`` steps in folder ``out``, going on where an earlier run with the same settings stopped.

    Averages of the logged numbers and the held-out figures go to ``out/log.jsonl`` every
    ``evaluate_every`` steps, figures and baselines also before the first one; ``out/state.pt`` is renewed every
    ``save_minutes`` and when interrupted.

    Returns:
        {"seconds": time spent training over all runs, "figures": the last held-out figures}.

    Raises:
        OutputError: the folder holds a run with other settings, or cannot be written.
        TrainingError: the loss is not a number any more, or the encoder has collapsed; state.pt is that of before.
    """
    watch = CollapseWatch(stage.against_collapse)
    first, seconds, figures = _resume(stage, out, settings, watch)
    started = saved = time.monotonic()
    if not figures:  # a new run
        figures = stage.evaluate()
        watch.begin(figures)
        _log(out, {"step": 0, "seconds": 0.0, **figures, **stage.baselines()})
    elif first >= steps:  # stopped after the last step, perhaps before its figures
        figures = stage.evaluate()
    sums: dict[str, float] = {}
    count = 0

    def save(step: int) -> None:
        state = {
            "step": step,
            "seconds": seconds + time.monotonic() - started,
            "settings": json.dumps(settings),
            "figures": figures,
            "watch": watch.state_dict(),
            "stage": stage.state_dict(),
        }
        with atomic_path(out / STATE_FILE) as temporary:
            torch.save(state, temporary)

    bar = tqdm(range(first, steps), initial=first, total=steps, unit="step", disable=not sys.stderr.isatty())
    done = first
    try:
        for index in bar:
            with _uninterrupted():
                numbers = stage.step(index, steps)
                if not math.isfinite(numbers["loss"]):
                    raise TrainingError(
                        f"loss is {numbers['loss']} at step {index}", where=out,
                        mend="lower train.lr and start again, from state.pt if there is one",
                    )
                done = index + 1
            count += 1
            for name, value in numbers.items():
                sums[name] = sums.get(name, 0.0) + value
            bar.set_postfix({"loss": f"{numbers['loss']:.4f}"}, refresh=False)
            last = done == steps
            if done % evaluate_every == 0 or last:
                figures = stage.evaluate()
                row = {
                    "step": done,
                    "seconds": round(seconds + time.monotonic() - started, 1),
                    **{name: value / count for name, value in sums.items()},
                    **figures,
                }
                _log(out, row)
                watch.look(figures, done, out)
                sums, count = {}, 0
            if last or time.monotonic() - saved > 60 * save_minutes:
                save(done)
                saved = time.monotonic()
    except KeyboardInterrupt:
        save(done)
        logger.warning("interrupted at step %d of %d; the same command goes on from here", done, steps)
        raise
    return {"seconds": round(seconds + time.monotonic() - started, 1), "figures": figures}


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until a step is whole: half a step can neither be saved nor repeated."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals never reach this thread
        return
    held: list[int] = []
    handlers = {n: signal.signal(n, lambda number, _: held.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


def _resume(
    stage: Stage, out: Path, settings: dict[str, Any], watch: CollapseWatch
) -> tuple[int, float, dict[str, float]]:
    path = out / STATE_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made ({error.strerror})", where=out, mend="choose another out=FOLDER") from error
    if not path.exists():
        return 0, 0.0, {}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        earlier = json.loads(state["settings"])
        step, seconds, figures, parts = (state[key] for key in ("step", "seconds", "figures", "stage"))
        watch.load_state_dict(state["watch"])
    except Exception as error:  # torch raises many kinds for a damaged file
        raise OutputError(f"cannot be read ({error})", where=path, mend="delete it to start over") from error
    before, now = _leaves(earlier), _leaves(settings)
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed:
        name = changed[0]
        raise OutputError(
            f"folder holds a run with {name}={before.get(name)!r}, not {now.get(name)!r}",
            where=out,
            mend="choose another out=FOLDER, or delete this one",
        )
    try:
        stage.load_state_dict(parts)
    except (KeyError, RuntimeError, ValueError) as error:  # a checkpoint or data set that was replaced in place
        raise OutputError(
            f"does not fit this model and data ({error})", where=path, mend="delete it to start over"
        ) from error
    logger.info("going on at step %d", step)
    return step, seconds, figures


def _log(out: Path, row: dict[str, float]) -> None:
    with open(out / LOG_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    text = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    tqdm.write(text, file=sys.stderr)


def _leaves(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all values of nested settings."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
