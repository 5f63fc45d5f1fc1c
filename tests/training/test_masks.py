"""Multi-block masks: shapes of the blocks, what stays visible, the same mask at every time."""

import numpy as np
import pytest
import torch

from jepa_robot.training.masks import MaskConfig, block_mask, sample_masks

SHORT = MaskConfig(blocks=8, area=(0.15, 0.15), aspect=(0.75, 1.5), min_visible=4)
LONG = MaskConfig(blocks=2, area=(0.7, 0.7), aspect=(0.75, 1.5), min_visible=4)


def one_block(area, aspect=(0.75, 1.5)):
    return MaskConfig(blocks=1, area=(area, area), aspect=aspect, min_visible=1)


@pytest.mark.parametrize("config", [SHORT, LONG])
@pytest.mark.parametrize("grid", [4, 8])
def test_hidden_and_visible_are_disjoint_in_range_and_the_same_at_every_time(config, grid):
    rng = np.random.default_rng(0)
    tubelets, cells = 3, grid * grid
    for _ in range(20):
        masks = sample_masks(5, grid, tubelets, config, rng)
        assert len(masks.hidden) == 1
        visible, hidden = masks.visible.numpy(), masks.hidden[0].numpy()
        for b in range(5):
            seen, unseen = set(visible[b].tolist()), set(hidden[b].tolist())
            assert len(seen) == visible.shape[1] and len(unseen) == hidden.shape[1]  # no token twice
            assert not seen & unseen
            assert min(seen | unseen) >= 0 and max(seen | unseen) < tubelets * cells
            for chosen in (seen, unseen):
                at = [{i % cells for i in chosen if i // cells == t} for t in range(tubelets)]
                assert at[0] == at[1] == at[2]
        assert visible.shape[1] >= tubelets * config.min_visible and hidden.shape[1] >= tubelets


def test_masks_of_a_batch_differ():
    masks = sample_masks(16, 8, 1, one_block(0.15), np.random.default_rng(0))
    assert len({tuple(row) for row in masks.hidden[0].tolist()}) > 8


def test_cut_to_the_smallest_the_hidden_of_a_sample_stay_inside_its_mask():
    """The counts of a batch differ; what is cut away is neither visible nor hidden."""
    rng = np.random.default_rng(1)
    drawn = sample_masks(8, 8, 1, SHORT, rng)
    visible, hidden = drawn.visible, drawn.hidden[0]
    again = np.random.default_rng(1)
    masks = [block_mask(8, SHORT, again) for _ in range(8)]
    counts = [int(mask.sum()) for mask in masks]
    assert len(set(counts)) > 1
    assert hidden.shape[1] == min(counts) and visible.shape[1] == 64 - max(counts)
    for mask, seen, unseen in zip(masks, visible.numpy(), hidden.numpy()):
        assert mask[unseen].all() and not mask[seen].any()


@pytest.mark.parametrize("area", [0.1, 0.15, 0.4, 0.7])
def test_a_block_is_a_rectangle_of_the_asked_area_and_aspect(area):
    rng, grid = np.random.default_rng(0), 32
    areas, aspects, corners = [], [], []
    for _ in range(400):
        rows, columns = np.nonzero(block_mask(grid, one_block(area), rng).reshape(grid, grid))
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert len(rows) == height * width
        areas.append(height * width / grid**2)
        aspects.append(height / width)
        corners.append((rows.min(), columns.min()))
    assert np.mean(areas) == pytest.approx(area, rel=0.05)
    assert min(aspects) > 0.75 * 0.85 and max(aspects) < 1.5 * 1.15
    assert np.median(aspects) == pytest.approx(np.sqrt(0.75 * 1.5), rel=0.1)  # log-uniform
    assert np.ptp(aspects) > 0.4
    assert np.std(corners, axis=0).min() > 0.5


def test_blocks_reach_every_patch():
    rng = np.random.default_rng(0)
    share = np.mean([block_mask(8, one_block(0.15), rng) for _ in range(600)], axis=0)
    assert share.min() > 0.005 and share.max() < 0.6


def test_more_blocks_hide_more():
    def hidden(blocks):
        rng = np.random.default_rng(0)
        config = MaskConfig(blocks=blocks, area=(0.15, 0.15), aspect=(0.75, 1.5), min_visible=1)
        return np.mean([block_mask(8, config, rng).mean() for _ in range(200)])

    assert 0.1 < hidden(1) < 0.2 < hidden(3) < hidden(8) < 0.9


@pytest.mark.parametrize("min_visible", [1, 4, 8])
def test_min_visible_holds(min_visible):
    rng = np.random.default_rng(0)
    config = MaskConfig(blocks=8, area=(0.3, 0.3), aspect=(0.75, 1.5), min_visible=min_visible)
    masks = [block_mask(4, config, rng) for _ in range(200)]
    assert max(mask.sum() for mask in masks) <= 16 - min_visible
    assert min(mask.sum() for mask in masks) > 0


def test_blocks_that_leave_too_little_are_refused():
    with pytest.raises(ValueError, match="no block of area 0.9 leaves 8 of 16 patches visible"):
        block_mask(4, MaskConfig(blocks=2, area=(0.9, 0.9), aspect=(1.0, 1.0), min_visible=8), np.random.default_rng(0))


def test_the_generator_decides():
    draws = [sample_masks(4, 8, 2, SHORT, np.random.default_rng(seed)).hidden for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
