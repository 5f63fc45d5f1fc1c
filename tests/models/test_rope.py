"""3D rotary positions against the rotation of one pair at a time."""

import math

import pytest
import torch

from jepa_robot.models.rope import axis_pairs, grid_positions, rotate, rotation_table

POSITIONS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 2], [4, 1, 3], [2.5, 0.5, 1.5]])


def frequencies(head_dim):
    """2 * floor(floor(d / 3) / 2) dimensions an axis, base 10000."""
    dims = 2 * ((head_dim // 3) // 2)
    return [10000 ** (-2 * i / dims) for i in range(dims // 2)]


def turned(first, second, angle):
    return first * math.cos(angle) - second * math.sin(angle), first * math.sin(angle) + second * math.cos(angle)


def rotated_in_halves(x, position):
    """x: list of d numbers. Pair members lie d / 2 apart, time first, then rows, then columns."""
    out, half = list(x), len(x) // 2
    rates = frequencies(len(x))
    for axis in range(3):
        for i, rate in enumerate(rates):
            j = axis * len(rates) + i
            out[j], out[j + half] = turned(x[j], x[j + half], position[axis] * rate)
    return out


def rotated_interleaved(x, position):
    """The published layout: pairs side by side, one axis after the other, the rest last."""
    out = list(x)
    rates = frequencies(len(x))
    for axis in range(3):
        for i, rate in enumerate(rates):
            j = 2 * (axis * len(rates) + i)
            out[j], out[j + 1] = turned(x[j], x[j + 1], position[axis] * rate)
    return out


@pytest.mark.parametrize("head_dim", [6, 8, 16, 32, 64])
def test_every_pair_turns_by_position_times_frequency(head_dim):
    x = torch.randn(len(POSITIONS), head_dim, generator=torch.Generator().manual_seed(head_dim))
    expected = torch.tensor([rotated_in_halves(row.tolist(), p.tolist()) for row, p in zip(x, POSITIONS)])
    torch.testing.assert_close(rotate(x, rotation_table(POSITIONS, head_dim)), expected, atol=1e-6, rtol=0)


def test_v_jepa_2_head_has_twenty_dimensions_an_axis_and_four_unrotated():
    assert axis_pairs(64) == 10
    x = torch.ones(1, 64)
    y = rotate(x, rotation_table(torch.tensor([[1.0, 1.0, 1.0]]), 64))
    unrotated = (y == x)[0].nonzero().flatten().tolist()
    assert unrotated == [30, 31, 62, 63]


@pytest.mark.parametrize("head_dim", [16, 32, 64])
def test_same_as_the_interleaved_layout_up_to_a_permutation(head_dim):
    order = [j + half for j in range(head_dim // 2) for half in (0, head_dim // 2)]  # pair j to dimensions 2j, 2j + 1
    x = torch.randn(len(POSITIONS), head_dim, generator=torch.Generator().manual_seed(0))
    mine = rotate(x, rotation_table(POSITIONS, head_dim))
    published = torch.tensor([rotated_interleaved(r.tolist(), p.tolist()) for r, p in zip(x[:, order], POSITIONS)])
    torch.testing.assert_close(mine[:, order], published, atol=1e-6, rtol=0)


def test_scores_depend_on_differences_of_positions_only():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, len(POSITIONS), 32, generator=generator)

    def scores(shift):
        table = rotation_table(POSITIONS + torch.tensor(shift), 32)
        return rotate(q, table) @ rotate(k, table).T

    torch.testing.assert_close(scores([3.0, 5.0, 7.0]), scores([0.0, 0.0, 0.0]), atol=1e-4, rtol=1e-5)
    here = rotate(q, rotation_table(POSITIONS, 32))
    for axis in range(3):
        moved = POSITIONS.clone()
        moved[:, axis] += 1
        assert (here @ rotate(k, rotation_table(moved, 32)).T - scores([0.0, 0.0, 0.0])).abs().max() > 0.1


def test_length_is_kept_and_the_origin_is_not_turned():
    x = torch.randn(len(POSITIONS), 32, generator=torch.Generator().manual_seed(1))
    y = rotate(x, rotation_table(POSITIONS, 32))
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(y[0], x[0])


def test_heads_batches_and_number_formats():
    x = torch.randn(2, 3, len(POSITIONS), 16, generator=torch.Generator().manual_seed(1))
    table = rotation_table(POSITIONS, 16)
    y = rotate(x, table)
    for b in range(2):
        for h in range(3):
            torch.testing.assert_close(y[b, h], rotate(x[b, h], table))
    assert rotate(x.bfloat16(), table).dtype == torch.bfloat16


def test_odd_head_is_refused():
    with pytest.raises(ValueError, match="head_dim is 7"):
        rotation_table(POSITIONS, 7)


def test_grid_is_row_major_with_time_slowest():
    expected = [[t, r, c] for t in range(2) for r in range(3) for c in range(4)]
    assert grid_positions(2, 3, 4).tolist() == expected
