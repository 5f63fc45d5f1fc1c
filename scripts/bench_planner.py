"""Time searches for plans against a plain implementation of V-JEPA 2-AC's published procedure (`published_planning`).

    python scripts/bench_planner.py                                  # two threads, float32; 40 minutes
    python scripts/bench_planner.py --quick                          # the small cells alone
    python scripts/bench_planner.py --width 1024 --depth 24 --heads 16 --latent 1408 --device cuda --dtype bf16 \
        --without-published                                          # the published size; the other way in float32

Both have the same weights and are asked for the energies of the same candidates, which the cross-entropy method draws
with the published settings (10 elites, momentum 0.15, steps of 7.5 cm). They take turns, so that a ratio is of one
moment. Energies that differ by more than 1e-4 in float32 end the run. A search has ten iterations, which take the same
time each: no more are timed than ``--seconds`` allow, and the time of all is reckoned from them. Before them one of
ours is not timed, and of the published procedure only 16 candidates: its first iteration takes about as long as the
others (9.2 and 9.0 s at horizon 1).

The predictor is by default this project's own size at V-JEPA 2's 256 tokens a frame, since the published one (1024
wide, 24 deep) would take hours here. Two tables are printed: the published search (800 candidates), and how both grow
with candidates, horizon, tokens and environments.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import published_planning
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from jepa_robot.models.ac_predictor import PredictorConfig
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.linear import FLOP_FORMULAS, linear
from jepa_robot.models.vjepa2.checkpoint import ACTIONS, STATES
from jepa_robot.models.vjepa2.layout import plan_action_conditioned
from jepa_robot.models.world_model import ModelConfig, WorldModel
from jepa_robot.planning.actions import ActionSpace
from jepa_robot.planning.optimizers.cem import CEM
from jepa_robot.runtime import autocast
from jepa_robot.spec import Camera, Contract

ITERATIONS, SAMPLES, HORIZONS = 10, 800, (1, 2, 4, 8)
FRAMES = max(HORIZONS)  # of the longest sequence: one of context, and all predicted but the last
START = (0.4, 0.0, 0.3, 3.1, 0.05, -0.02, 0.1)  # the end effector's pose, and closedness of the gripper
# Patches a side, candidates, environments.
GROWTH = [(side, samples, 1) for side in (4, 8, 16) for samples in (64, 256)] + [(4, 800, 1), (8, 800, 1)]
GROWTH += [(side, 64, 4) for side in (4, 8, 16)]
QUICK = [(4, 64, 1), (4, 256, 1), (8, 64, 1), (4, 64, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128, help="of the predictor; default: %(default)s")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--latent", type=int, default=192, help="width of the latents")
    parser.add_argument("--horizons", type=int, nargs="+", default=HORIZONS, help="of the published search")
    parser.add_argument("--seconds", type=float, default=60.0, help="for a cell; one iteration is always timed")
    parser.add_argument("--quick", action="store_true", help="only small cells, one iteration of each")
    parser.add_argument("--without-published", action="store_true", help="time this project's own way alone")
    parser.add_argument("--dtype", choices=("fp32", "bf16", "auto"), default="fp32", help="of this project's own way")
    parser.add_argument("--compile", action="store_true", help="compile this project's own way")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peak = matrix_peak(options)
    print(
        f"predictor {options.width} x {options.depth}, {options.heads} heads, latents {options.latent} wide,"
        f" {options.dtype}, {options.device}, {options.threads} threads, largest matrix product {peak / 1e9:.0f}"
        f" GFLOP/s"
    )
    if not options.quick:
        published_search(options, peak)
    growth(options, peak)


def published_search(options: argparse.Namespace, peak: float) -> None:
    print(f"\nOne search: {SAMPLES} candidates, {ITERATIONS} iterations, 256 tokens a frame\n")
    print("| horizon | published procedure | here | times faster | of the matrix peak | largest difference |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for horizon in options.horizons:
        times = Comparison(options, 16, SAMPLES, horizon, 1).run(options.seconds)
        share = f"{times.shares(peak)[0]}, here {times.shares(peak)[1]}"
        print(
            f"| {horizon} | {seconds(times.published)} | {seconds(times.ours)} | {times.ratio()} | {share} |"
            f" {times.difference:.0e} |", flush=True,
        )


def growth(options: argparse.Namespace, peak: float) -> None:
    horizons, cells = ((1, 4), QUICK) if options.quick else (HORIZONS, GROWTH)
    print("\nOne iteration in milliseconds, the published procedure's / here (times faster), by horizon\n")
    print(f"| tokens | candidates | environments | {' | '.join(map(str, horizons))} |")
    print(f"| ---: | ---: | ---: |{' ---: |' * len(horizons)}")
    for side, samples, environments in cells:
        found = []
        for horizon in horizons:
            budget = 0.0 if options.quick else min(options.seconds, 10.0)
            times = Comparison(options, side, samples, horizon, environments).run(budget)
            found.append(f"{milliseconds(times.published)} / {milliseconds(times.ours)} ({times.ratio()})")
        print(f"| {side**2} | {samples} | {environments} | {' | '.join(found)} |", flush=True)


@dataclass
class Times:
    """Of iterations of both, in seconds; the published procedure's are empty where it was left out."""

    published: list[float]
    ours: list[float]
    flops: tuple[float, float]  # of one iteration
    difference: float  # the largest of energies

    def ratio(self) -> str:
        return f"{sum(self.published) / sum(self.ours):.1f}" if self.published else "-"

    def shares(self, peak: float) -> tuple[str, str]:
        """Of the peak, in percent, that matrix products reach over the whole time."""
        found = []
        for flops, spent in zip(self.flops, (self.published, self.ours)):
            found.append(f"{100 * flops * len(spent) / sum(spent) / peak:.0f}%" if spent else "-")
        return found[0], found[1]


def seconds(spent: list[float]) -> str:
    """Of a whole search, from the iterations that were timed."""
    return f"{ITERATIONS * sum(spent) / len(spent):.1f} s" if spent else "-"


def milliseconds(spent: list[float]) -> str:
    return f"{1000 * sum(spent) / len(spent):.0f}" if spent else "-"


class Comparison:
    """Both ways with the same weights, frames, goals and candidates."""

    def __init__(self, options: argparse.Namespace, side: int, samples: int, horizon: int, environments: int):
        self.options, self.horizon, self.environments = options, horizon, environments
        self.published, self.model = pair(options.width, options.depth, options.heads, options.latent, side)
        self.published.to(options.device)
        self.model.to(options.device)
        if options.compile:
            self.model.compile_rollouts()
        generator = torch.Generator().manual_seed(1)
        frames = torch.randn(2, environments, 1, side**2, options.latent, generator=generator)
        self.latents, goals = F.layer_norm(frames, frames.shape[-1:]).to(options.device)
        self.goals = goals[:, 0]
        self.states = torch.tensor(START, device=options.device).repeat(environments, 1, 1)
        contract = self.model.contract
        low, high = (torch.tensor(bound) for bound in (contract.action_low, contract.action_high))
        space = ActionSpace(low.to(options.device), high.to(options.device), horizon, fixed=dict.fromkeys((3, 4, 5), 0))
        self.optimizer = CEM(
            space, samples, elites=10, momentum=0.15, momentum_std=0.15, init_std=1.0, min_std=0.0, keep_elites=0
        )

    def run(self, budget: float) -> Times:
        """As many iterations as fit in so many seconds, at least one and at most all."""
        options, device = self.options, self.options.device
        generators = [torch.Generator(device).manual_seed(e) for e in range(self.environments)]
        state, times = self.optimizer.init(generators), Times([], [], (0.0, 0.0), 0.0)
        first = self.optimizer.ask(state)
        few = first[:, :16]
        times.flops = (0.0 if options.without_published else counted(self.slow, few), counted(self.fast, few))
        times.flops = tuple(flops * first.shape[1] / few.shape[1] for flops in times.flops)
        self.fast(first)
        begun = time.perf_counter()
        while not times.ours or (len(times.ours) < ITERATIONS and time.perf_counter() - begun < budget):
            plans = self.optimizer.ask(state)
            spent, energies = timed(lambda: self.fast(plans), device)
            times.ours.append(spent)
            if not options.without_published:
                spent, expected = timed(lambda: self.slow(plans), device)
                times.published.append(spent)
                times.difference = max(times.difference, float((energies - expected).abs().max()))
            state = self.optimizer.tell(state, plans, energies)
        if self.model.device.type == "cpu" and options.dtype == "fp32" and times.difference > 1e-4:
            raise SystemExit(f"energies differ by {times.difference:.1e}")
        return times

    def slow(self, actions: Tensor) -> Tensor:
        """Energies [E, S] of [E, S, H, A], one environment after the other, as it is published."""
        return torch.stack([
            published_planning.energies(self.published, *each)
            for each in zip(self.latents[:, None], self.states[:, None], self.goals, actions)
        ])

    def fast(self, actions: Tensor) -> Tensor:
        """The same, as the planner does it."""
        size = max(1, self.model.candidates_at_once(self.horizon) // self.environments)
        with torch.inference_mode(), autocast(self.model.device, self.options.dtype):
            nothing = actions.new_zeros(self.environments, 0, actions.shape[-1])
            context = self.model.context(self.latents, self.states, nothing)
            parts = [
                (self.model.rollout(context, part)[:, :, -1] - self.goals[:, None]).abs().mean((-2, -1))
                for part in actions.split(size, dim=1)
            ]
        return torch.cat(parts, dim=1).clone()  # the optimizer is outside of inference mode


def pair(
    width: int, depth: int, heads: int, latent: int, side: int, frames: int = FRAMES
) -> tuple[published_planning.PublishedPredictor, WorldModel]:
    """The published predictor with random weights, and a model of ours with the same, for side^2 tokens a frame."""
    torch.manual_seed(0)
    published = published_planning.PublishedPredictor(latent, width, depth, heads, side, frames)
    actions, states = (tuple(dataclasses.replace(d, mean=0.0, std=1.0) for d in dims) for dims in (ACTIONS, STATES))
    camera = Camera("camera", side, side, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    sizes = ModelConfig(
        EncoderConfig(image_size=side, patch_size=1, width=latent, depth=1, heads=1),  # of which only the sizes matter
        PredictorConfig(width, depth, heads, frames, predicts="latents", tiled_rope=True),
        metric=None,
    )
    model = WorldModel(Contract("benchmark", (camera,), 4.0, actions, states), sizes)
    weights = published.state_dict()
    model.predictor.load_state_dict(plan_action_conditioned(weights, heads, width // heads, False).tensors(weights))
    return published.eval(), model.eval()


def counted(energies: Callable[[Tensor], Tensor], actions: Tensor) -> float:
    """Operations of matrix products, attention among them."""
    with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        energies(actions)
    return float(counter.get_total_flops())


def timed(run: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Seconds, and what it made."""
    begun = time.perf_counter()
    result = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begun, result


def matrix_peak(options: argparse.Namespace) -> float:
    """Fastest product of two square matrices by any of the libraries that are used, FLOP/s."""
    n = 2048 if options.device == "cpu" else 8192
    with torch.inference_mode(), autocast(torch.device(options.device), options.dtype):
        a, b = (torch.randn(n, n, device=options.device) for _ in range(2))
        ways = (lambda: a @ b, lambda: linear(a, b))
        return 2 * n**3 / min(timed(way, options.device)[0] for _ in range(8) for way in ways)


if __name__ == "__main__":
    main()
