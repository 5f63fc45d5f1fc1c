"""I-JEPA's masks: a context block, and target blocks that are predicted one by one."""

import numpy as np
import pytest
import torch

from jepa_robot.training.masks import MaskConfig, sample_masks

PUBLISHED = MaskConfig(blocks=4, area=(0.15, 0.2), aspect=(0.75, 1.5), min_visible=10, context=(0.85, 1.0))


def picture(indices, grid):
    cells = np.zeros(grid * grid, bool)
    cells[indices.numpy()] = True
    return cells.reshape(grid, grid)


def is_rectangle(cells):
    rows, columns = np.nonzero(cells)
    return cells[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


@pytest.mark.parametrize("grid", [8, 14])
def test_targets_are_blocks_of_one_shape_and_the_context_excludes_them_all(grid):
    rng, shapes = np.random.default_rng(0), set()
    for _ in range(20):
        masks = sample_masks(5, grid, 1, PUBLISHED, rng)
        assert masks.visible.shape[0] == 5 and masks.hidden.shape[:2] == (4, 5)
        drawn = set()
        for b in range(5):
            targets = [picture(masks.hidden[k, b], grid) for k in range(4)]
            assert all(target.sum() == masks.hidden.shape[2] and is_rectangle(target) for target in targets)
            drawn |= {(int(t.any(1).sum()), int(t.any(0).sum())) for t in targets}
            assert not (picture(masks.visible[b], grid) & np.any(targets, axis=0)).any()
            assert masks.visible.shape[1] >= 10
        assert len(drawn) == 1
        shapes |= drawn
    assert len(shapes) > 2


def test_areas_and_aspects_are_those_asked_for():
    rng, grid = np.random.default_rng(0), 64
    areas, aspects, contexts = [], [], []
    for _ in range(150):
        masks = sample_masks(1, grid, 1, PUBLISHED, rng)
        target = picture(masks.hidden[0, 0], grid)
        areas.append(target.mean())
        aspects.append(target.any(1).sum() / target.any(0).sum())
        seen_or_hidden = picture(masks.visible[0], grid)
        for k in range(4):
            seen_or_hidden |= picture(masks.hidden[k, 0], grid)
        contexts.append(seen_or_hidden.mean())
    assert 0.14 < min(areas) < 0.16 and 0.19 < max(areas) < 0.21 and np.mean(areas) == pytest.approx(0.175, abs=0.004)
    assert 0.72 < min(aspects) < 0.8 and 1.4 < max(aspects) < 1.55
    assert min(contexts) > 0.83 and max(contexts) <= 1


def test_without_its_targets_the_context_is_a_square_block():
    """A target that covers next to nothing leaves the context block whole."""
    config = MaskConfig(blocks=1, area=(0.001, 0.001), aspect=(1.0, 1.0), min_visible=1, context=(0.25, 0.25))
    rng = np.random.default_rng(0)
    for _ in range(20):
        masks = sample_masks(1, 8, 1, config, rng)
        cells = picture(masks.visible[0], 8)
        assert 15 <= cells.sum() <= 16 and cells.any(0).sum() == cells.any(1).sum() == 4


def test_through_the_whole_clip():
    masks = sample_masks(3, 8, 2, PUBLISHED, np.random.default_rng(0))
    for indices in (masks.visible, *masks.hidden):
        first, second = indices.chunk(2, dim=1)
        assert torch.equal(first + 64, second)


def test_targets_that_leave_too_little_are_refused():
    config = MaskConfig(blocks=4, area=(0.8, 0.9), aspect=(1.0, 1.0), min_visible=10, context=(0.85, 1.0))
    with pytest.raises(ValueError, match=r"area \[0.8, 0.9\] leaves 10 of 16 patches visible"):
        sample_masks(2, 4, 1, config, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"blocks": 0}, "blocks is 0"),
        ({"blocks": True}, "blocks is True"),
        ({"min_visible": 1.5}, "min_visible is 1.5"),
        ({"area": 0.15}, r"area is 0.15, not a range \[from, to\]"),
        ({"area": (0.2, 0.15)}, "area is"),
        ({"area": (0.0, 0.15)}, "area is"),
        ({"area": (0.5, 1.5)}, "at most 1"),
        ({"aspect": (0.5, 1.0, 1.5)}, "aspect is"),
        ({"aspect": ("a", "b")}, "aspect is"),
        ({"context": (0.85, 1.1)}, "context is"),
    ],
)
def test_impossible_settings(change, words):
    given = {"blocks": 4, "area": (0.15, 0.2), "aspect": (0.75, 1.5), "min_visible": 1, "context": None}
    with pytest.raises(ValueError, match=words):
        MaskConfig(**given | change)
