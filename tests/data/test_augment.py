"""Random changes of pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from jepa_robot.data.augment import Augment


def test_augmentation_is_the_same_for_all_frames_of_a_window():
    rng = np.random.default_rng(0)
    frame = torch.from_numpy(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    window = frame.expand(4, -1, -1, -1)
    augment = Augment(shift=3, crop=0.3, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    changed = [augment.apply(window, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    for t in range(1, 4):
        assert torch.equal(changed[0][t], changed[0][0])
    assert torch.equal(changed[0], changed[1]) and not torch.equal(changed[0], changed[2])
    assert not torch.equal(changed[0], window) and changed[0].dtype == torch.uint8


def test_a_shift_moves_the_picture_and_repeats_its_edge():
    frame = torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5, 1).expand(1, 5, 5, 3)
    seen = set()
    for seed in range(60):
        moved = Augment(shift=1).apply(frame, np.random.default_rng(seed))[0, ..., 0].numpy()
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            rows, columns = (np.clip(np.arange(5) - d, 0, 4) for d in (down, right))
            if np.array_equal(moved, np.arange(25).reshape(5, 5)[np.ix_(rows, columns)]):
                seen.add((down, right))
    assert len(seen) == 9


def test_a_crop_shows_a_part_of_the_picture_in_its_own_shape():
    """Of a picture whose red rises to the right and whose green rises downwards, both by 2 a pixel."""
    size, crop = 96, 0.4
    ramp = 2 * torch.arange(size, dtype=torch.uint8)
    red, green = ramp.expand(size, size), ramp[:, None].expand(size, size)
    picture = torch.stack([red, green, torch.zeros_like(red)], -1)[None]
    sizes = set()
    for seed in range(40):
        cropped = Augment(crop=crop).apply(picture, np.random.default_rng(seed))[0].double().numpy()
        inside = slice(8, -8)  # resizing repeats the border
        for values in (cropped[48, inside, 0], cropped[inside, 48, 1]):
            slope, first = np.polyfit(np.arange(8, size - 8), values / 2, 1)  # pixel of the picture a pixel of the crop
            assert 1 - crop - 0.02 <= slope <= 1.01
            start = first + 0.5 - slope / 2  # of the left or upper border
            assert -0.6 <= start and start + slope * size <= size + 0.6
            sizes.add(round(slope, 1))
        assert np.ptp([np.ptp(cropped[48, inside, 0]), np.ptp(cropped[inside, 48, 1])]) <= 3  # the same on both sides
        assert not cropped[..., 2].any()
    assert {0.6, 0.8, 1.0} <= sizes


def test_a_crop_is_taken_from_everywhere():
    frame = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    corners = [(0, 0), (0, 31), (31, 0), (31, 31)]
    for i, (row, column) in enumerate(corners):
        frame[0, row, column] = 50 + 50 * i
    seen = [False] * 4
    for seed in range(300):
        cropped = Augment(crop=0.2).apply(frame, np.random.default_rng(seed))[0, ..., 0]
        seen = [was or bool(cropped[corner] > 20) for was, corner in zip(seen, corners)]
    assert all(seen)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_changes_of_colour(name):
    """What each leaves alone and what it changes: black, greys, the mean, the brightest channel."""
    rng = np.random.default_rng(0)
    picture = torch.from_numpy(rng.integers(60, 160, (1, 16, 16, 3), dtype=np.uint8))
    grey = picture[..., :1].expand(-1, -1, -1, 3)
    amount = {name: 0.3}
    changed, changed_grey = (Augment(**amount).apply(x, np.random.default_rng(3)) for x in (picture, grey))
    assert not torch.equal(changed, picture)
    if name in ("saturation", "hue"):
        assert (changed_grey.int() - grey).abs().max() <= 1
    else:
        assert not torch.equal(changed_grey, grey)
    if name == "hue":
        assert (changed.amax(-1).int() - picture.amax(-1)).abs().max() <= 2
    if name == "contrast":
        assert abs(changed_grey.double().mean() - grey.double().mean()) < 1
    if name == "brightness":
        ratio = changed.double().mean() / picture.double().mean()
        assert 0.7 <= ratio <= 1.3 and (changed / picture).std() < 0.02


def test_no_augmentation_by_default():
    assert not Augment() and all(Augment(**{name: 0.1}) for name in ("crop", "brightness", "hue"))
