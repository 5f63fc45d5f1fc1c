"""Searching a planner's settings on a task: success against time, with Optuna.

The number of episodes for a trial is small, so the success that is searched for is the Bayesian estimate
(successes + 1) / (episodes + 2); and since the best of many trials was also the luckiest, what is chosen in the end is
measured again on other episodes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from jepa_robot.errors import ConfigError
from jepa_robot.files import make_folder
from jepa_robot.planning.presets import changed
from jepa_robot.planning.settings import PlannerSettings

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
        settings: those that differ from where the search began, see `jepa_robot.planning.presets`.
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


def suggest(trial: optuna.Trial, optimizers: Sequence[str], longest: int, base: PlannerSettings) -> Settings:
    """Settings to try.

    Args:
        optimizers: names to choose from.
        longest: horizon at most.
        base: what the settings change: no horizon is shorter than what is executed of a plan, nor a search narrower than
            its least width, and an action's cost is searched in the metric space alone, where it counts.
    """
    name = trial.suggest_categorical("optimizer", list(optimizers))
    samples = trial.suggest_int("samples", 8, 256, log=True)
    most = 30 if name == "gradient" else 10
    iterations = trial.suggest_int(f"iterations_{'descent' if name in ('gradient', 'hybrid') else 'sampling'}", 1, most)
    energy: Settings = {"distance": trial.suggest_categorical("distance", ["l2", "l1"])}
    if base.energy.space == "metric":
        energy["action_cost"] = trial.suggest_float("action_cost", 1.0, 100.0, log=True)
    own = OWN[name](trial, samples)
    if "init_std" in own:
        own["init_std"] = max(own["init_std"], changed(base, {"optimizer": {"name": name}}).optimizer["min_std"])
    if name == "hybrid":
        iterations = max(iterations, own["sampling_iterations"] + 1)
    return {
        "optimizer": {"name": name, "iterations": iterations, **own},
        "horizon": trial.suggest_int("horizon", base.execute, max(base.execute, longest)),
        "energy": energy,
    }


def tune(
    measure: Measure,
    trials: int,
    optimizers: Sequence[str],
    longest: int,
    base: PlannerSettings,
    seed: int,
    journal: Path,
    on_trial: Callable[[int, Outcome], None],
    of: Mapping[str, Any],
) -> list[Outcome]:
    """Try ``trials`` changes of ``base``, none first, and return those that no other beats in both success and time.

    Trials are kept in ``journal``, with which an interrupted search goes on.

    Args:
        of: what else was measured on, plain data by name; a journal of anything else is not gone on with.

    Raises:
        ConfigError: the journal cannot be read, or is of another search.
        OutputError: its folder cannot be made.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_folder(journal.parent)
    facts = {**of, "--seed": seed, "--optimizer": list(optimizers), "--horizon": longest, **dataclasses.asdict(base)}
    facts = json.loads(json.dumps(facts))
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="planner",
            directions=["maximize", "minimize"],
            sampler=optuna.samplers.TPESampler(seed=seed),
            load_if_exists=True,
        )
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"cannot be read ({error})", where=journal, mend="delete it to begin anew") from error
    known = study.user_attrs.get("of")
    if known is None and not study.trials:
        study.set_user_attr("of", known := facts)
    differing = [name for name, value in facts.items() if (known or {}).get(name) != value]
    if differing:
        was = f"there {differing[0]} was {known.get(differing[0])!r}, here it is {facts[differing[0]]!r}" if known else "an old one"
        raise ConfigError(f"is of another search: {was}", where=journal, mend="delete it to begin anew, or choose another -o")
    done = [trial for trial in study.trials if trial.state.is_finished()]
    while len(done) < trials:
        trial = study.ask()
        settings = {} if not done else suggest(trial, optimizers, longest, base)
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
