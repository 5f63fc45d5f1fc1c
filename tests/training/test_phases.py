"""Progressive training: which phase a step is in, and pictures of its size."""

import numpy as np
import pytest
import torch
from PIL import Image

from jepa_robot.training.phases import Phase, phase_at, resized


@pytest.mark.parametrize(
    ("shares", "counts"), [((), [10]), ((0.8,), [8, 2]), ((0.3, 0.3), [3, 3, 4]), ((0.25, 0.5), [2, 6, 2])]
)
def test_phases_take_their_share_in_order(shares, counts):
    phases = [*(Phase(share, 4, 32) for share in shares), Phase(1.0, 8, 64)]
    found = [phase_at(step, 10, phases) for step in range(10)]
    assert found == sorted(found) and [found.count(i) for i in range(len(phases))] == counts


def test_pictures_of_the_size_are_left_as_they_are():
    frames = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    assert resized(frames, 16) is frames


def test_resizing_is_antialiased():
    """As Pillow's bilinear filter, to its rounding; stripes finer than the new pixels turn grey."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 32, 32, 3), dtype=np.uint8)
    found = resized(torch.from_numpy(frames), 12)
    assert found.shape == (2, 2, 12, 12, 3)
    for b in range(2):
        for t in range(2):
            expected = np.asarray(Image.fromarray(frames[b, t]).resize((12, 12), Image.Resampling.BILINEAR))
            assert np.abs(found[b, t].numpy() - expected).max() <= 1.0
    stripes = torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8)
    stripes[:, :, :, ::2] = 200
    assert (resized(stripes, 8)[..., 1:-1, :] - 100).abs().max() < 10
