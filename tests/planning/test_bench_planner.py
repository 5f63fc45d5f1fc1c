"""The plain implementation of the published procedure, and that the benchmark's two sides agree."""

import argparse

import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from script import load_script

published = load_script("published_planning")
bench = load_script("bench_planner")


def moments(environments, side, latent, samples, horizon):
    """Frames [E, 1, N, D], states [E, 1, 7], goals [E, N, D] and actions [E, S, H, 7] that turn, too."""
    generator = torch.Generator().manual_seed(0)
    frames = F.layer_norm(torch.randn(2, environments, 1, side**2, latent, generator=generator), (latent,))
    states = torch.tensor(bench.START) + 0.2 * torch.rand(environments, 1, 7, generator=generator)
    actions = 0.2 * torch.rand(environments, samples, horizon, 7, generator=generator) - 0.1
    return frames[0], states, frames[1][:, 0], actions


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_both_ways_find_the_same_energies(horizon):
    slow, model = bench.pair(width=24, depth=3, heads=2, latent=10, side=3, frames=4)
    for name, parameter in slow.named_parameters():  # so that every weight and action matters
        torch.nn.init.normal_(parameter, 0.0, 10.0 if name == "action_encoder.weight" else 0.3)
    weights = slow.state_dict()
    model.predictor.load_state_dict(bench.plan_action_conditioned(weights, 2, 12, False).tensors(weights))
    latents, states, goals, actions = moments(2, 3, 10, 5, horizon)
    with torch.no_grad():
        rolled = model.rollout(model.context(latents, states, torch.zeros(2, 0, 7)), actions)
    energies = (rolled[:, :, -1] - goals[:, None]).abs().mean((-2, -1))
    assert energies.std(1).min() > 2e-4
    for e in range(2):
        expected = published.energies(slow, latents[e, None], states[e, None], goals[e], actions[e])
        torch.testing.assert_close(energies[e], expected, atol=1e-5, rtol=0)


def test_published_poses_are_those_of_rotations():
    _, states, _, actions = moments(4, 2, 3, 1, 1)
    poses, changes = states[:, 0], actions[:, 0, 0]
    found = published.next_poses(poses, changes)
    turned = Rotation.from_euler("xyz", changes[:, 3:6]) * Rotation.from_euler("xyz", poses[:, 3:6])
    torch.testing.assert_close(found[:, :3], poses[:, :3] + changes[:, :3])
    torch.testing.assert_close(found[:, 3:6], torch.from_numpy(turned.as_euler("xyz")).float())
    assert published.next_poses(poses, torch.full((4, 7), 5.0))[:, 6].tolist() == [1.0] * 4


def options(**changes):
    values = {
        "width": 24, "depth": 2, "heads": 2, "latent": 10, "device": "cpu", "dtype": "fp32", "compile": False,
        "without_published": False, "seconds": 0.0, "quick": True,
    }
    return argparse.Namespace(**values | changes)


@pytest.mark.parametrize("environments", [1, 3])
def test_a_cell_times_both_on_the_same_candidates(environments):
    times = bench.Comparison(options(), 2, 12, 2, environments).run(0.0)
    assert len(times.published) == len(times.ours) == 1 and times.difference < 1e-4
    assert min(times.flops) > 0 and float(times.ratio()) > 0
    alone = bench.Comparison(options(without_published=True), 2, 12, 2, environments).run(60.0)
    assert len(alone.ours) == bench.ITERATIONS and alone.ratio() == "-" and alone.shares(1.0)[0] == "-"


def test_energies_that_differ_end_the_run():
    comparison = bench.Comparison(options(), 2, 12, 1, 1)
    torch.nn.init.normal_(comparison.published.predictor_proj.weight)
    with pytest.raises(SystemExit, match="energies differ"):
        comparison.run(0.0)
