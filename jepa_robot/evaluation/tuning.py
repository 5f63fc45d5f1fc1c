"""Searching a planner's settings on a task: success against time, with Optuna.

The number of episodes for a trial is small, so the success that is searched for is the Bayesian estimate
(successes + 1) / (episodes + 2); and since the best of many trials was also the luckiest, what is chosen in the end is
measured again on other episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from jepa_robot.errors import ConfigError

Settings = dict[str, Any]

# Of every optimizer's own settings, what is searched; the others stay as they are shipped.
OWN: Mapping[str, Callable[[optuna.Trial, int], Settings]] = {
    "cem": lambda trial, samples: {**_elites(trial, samples), **_std(trial)},
    "icem": lambda trial, samples: {
        **_elites(trial, samples), **_std(trial), "sample_decay": trial.suggest_float("sample_decay", 1.0, 2.0),
    },
    "mppi": lambda trial, samples: {
        "samples": samples, **_std(trial), "temperature": trial.suggest_float("temperature", 0.01, 1.0, log=True),
    },
    "predictive_sampling": lambda trial, samples: {"samples": samples, **_std(trial)},
    "gradient": lambda trial, samples: {
        "starts": trial.suggest_int("starts", 1, 8),
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 1.0, log=True),
    },
    "hybrid": lambda trial, samples: {
        **_elites(trial, samples), **_std(trial),
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 1.0, log=True),
        "sampling_iterations": trial.suggest_int("sampling_iterations", 1, 3),
    },
}
SEARCHED = tuple(OWN)


@dataclass(frozen=True)
class Outcome:
    """What some settings reached.

    Attributes:
        settings: those that differ from the shipped ones, see `jepa_robot.planning.presets`.
        successes, episodes: of how many.
        latency_ms: median of a planning step.
    """

    settings: Settings
    successes: int
    episodes: int
    latency_ms: float

    @property
    def rate(self) -> float:
        return self.successes / self.episodes

    @property
    def per_ms(self) -> float:
        """Success per millisecond of planning."""
        return self.rate / self.latency_ms


Measure = Callable[[Settings], tuple[int, int, float]]  # settings -> successes, episodes, latency in ms


def suggest(trial: optuna.Trial, optimizers: Sequence[str], longest: int, space: str) -> Settings:
    """Settings to try.

    Args:
        optimizers: names to choose from.
        longest: horizon at most.
        space: of the energy; an action's cost is searched in the metric space alone, where it counts.
    """
    name = trial.suggest_categorical("optimizer", list(optimizers))
    samples = trial.suggest_int("samples", 8, 256, log=True)
    most = 30 if name == "gradient" else 10
    iterations = trial.suggest_int(f"iterations_{'descent' if name in ('gradient', 'hybrid') else 'sampling'}", 1, most)
    energy: Settings = {"distance": trial.suggest_categorical("distance", ["l2", "l1"])}
    if space == "metric":
        energy["action_cost"] = trial.suggest_float("action_cost", 1.0, 100.0, log=True)
    own = OWN[name](trial, samples)
    if name == "hybrid":
        iterations = max(iterations, own["sampling_iterations"] + 1)
    return {
        "optimizer": {"name": name, "iterations": iterations, **own},
        "horizon": trial.suggest_int("horizon", 1, longest),
        "energy": energy,
    }


def tune(
    measure: Measure,
    trials: int,
    optimizers: Sequence[str],
    longest: int,
    space: str,
    seed: int,
    journal: Path,
    on_trial: Callable[[int, Outcome], None],
) -> list[Outcome]:
    """Try ``trials`` settings, shipped ones first, and return those that no other beats in both success and time.

    Trials are kept in ``journal``, with which an interrupted search goes on.

    Raises:
        ConfigError: the journal cannot be read, or is of other trials.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    try:
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="planner",
            directions=["maximize", "minimize"],
            sampler=optuna.samplers.TPESampler(seed=seed),
            load_if_exists=True,
        )
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"cannot be read ({error})", where=journal, mend="delete it to begin anew") from error
    done = [trial for trial in study.trials if trial.state.is_finished()]
    while len(done) < trials:
        trial = study.ask()
        settings = {} if not done else suggest(trial, optimizers, longest, space)
        outcome = Outcome(settings, *measure(settings))
        trial.set_user_attr("outcome", [settings, outcome.successes, outcome.episodes, outcome.latency_ms])
        study.tell(trial, [(outcome.successes + 1) / (outcome.episodes + 2), outcome.latency_ms])
        on_trial(len(done), outcome)
        done = [trial for trial in study.trials if trial.state.is_finished()]
    return sorted((Outcome(*trial.user_attrs["outcome"]) for trial in study.best_trials), key=lambda o: o.latency_ms)


def fastest(front: Sequence[Outcome], within: float) -> Outcome:
    """The fastest of those whose success is at most ``within`` below the best."""
    best = max(outcome.rate for outcome in front)
    return min((o for o in front if o.rate >= best - within), key=lambda o: o.latency_ms)


def _elites(trial: optuna.Trial, samples: int) -> Settings:
    share = trial.suggest_float("elite_share", 0.05, 0.5)
    elites = max(1, min(samples // 2, round(share * samples)))
    return {"samples": samples, "elites": elites, "keep_elites": min(3, elites)}


def _std(trial: optuna.Trial) -> Settings:
    return {"init_std": trial.suggest_float("init_std", 0.2, 1.5)}
