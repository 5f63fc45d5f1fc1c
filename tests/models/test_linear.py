"""Linear layers by oneDNN's products against the sums written out in double precision, and torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from jepa_robot.models import linear as module
from jepa_robot.models.linear import FLOP_FORMULAS, Linear, by_onednn, linear, linear_gelu

pytestmark = pytest.mark.skipif(module._operator is None, reason="torch comes without oneDNN's linear layers")


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    monkeypatch.setattr(module, "MANY", 1)


def operands(*shape, inputs=5, outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = (torch.randn(size, generator=generator) for size in ((*shape, inputs), (outputs, inputs), (outputs,)))
    return tuple(draw)


def written_out(x, weight, bias):
    rows = []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        sums = [sum(a * b for a, b in zip(row, column)) for column in weight.tolist()]
        rows.append([total + b for total, b in zip(sums, bias.tolist() if bias is not None else [0.0] * len(sums))])
    return torch.tensor(rows, dtype=torch.float64).reshape(*x.shape[:-1], len(weight))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4), (), (1,)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
@torch.no_grad()
def test_layer_is_its_sums(shape, biased):
    x, weight, bias = operands(*shape)
    bias = bias if biased else None
    assert by_onednn(x, weight)
    expected = written_out(x, weight, bias)
    torch.testing.assert_close(linear(x, weight, bias).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(linear_gelu(x, weight, bias).double(), F.gelu(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_memory_in_any_order():
    x, weight, bias = operands(4, 6)
    views = {
        "rows apart": (torch.cat([x, x], -1)[..., :5], weight),
        "dimensions exchanged": (x.transpose(0, 1).contiguous().transpose(0, 1), weight),
        "columns first": (x.flatten(0, 1).t().contiguous().t().unflatten(0, (4, 6)), weight),
        "expanded": (x[:, :1].expand(4, 6, 5), weight),
        "weights' columns first": (x, weight.t().contiguous().t()),
        "weights' rows apart": (x, torch.cat([weight, weight], 1)[:, :5]),
    }
    for name, (some, weights) in views.items():
        found = linear(some, weights, bias).double()
        torch.testing.assert_close(found, written_out(some, weight, bias), atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 3), (3, 7)], ids=["narrower", "wider"])
@pytest.mark.parametrize("wanted", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)], ids=str)
def test_gradients_are_those_of_torch(inputs, outputs, wanted):
    tensors = [t.requires_grad_(bool(w)) for t, w in zip(operands(2, 4, inputs=inputs, outputs=outputs), wanted)]
    towards = torch.randn(2, 4, outputs, generator=torch.Generator().manual_seed(1))
    of = [t for t in tensors if t.requires_grad]
    for layer, reference in ((linear, F.linear), (linear_gelu, lambda *parts: F.gelu(F.linear(*parts)))):
        found, expected = (torch.autograd.grad(way(*tensors), of, towards) for way in (layer, reference))
        for one, other in zip(found, expected):
            assert one.shape == other.shape
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_gradients_of_a_sum_which_is_one_number_expanded():
    x, weight, bias = (t.requires_grad_() for t in operands(2, 4))
    linear(x, weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, x.detach().sum((0, 1)).expand(3, 5), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bias.grad, torch.full((3,), 8.0))


def test_a_layer_learns_as_torch_s_does():
    torch.manual_seed(0)
    layers = [Linear(5, 3), torch.nn.Linear(5, 3)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(6, 5)
    for layer in layers:
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()
    for one, other in zip(*(layer.parameters() for layer in layers)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_is_no_number_stays_so():
    x, weight, bias = operands(2, 3)
    x[0, 1, 2], x[1, 0, 0] = float("nan"), float("inf")
    for layer in (linear, linear_gelu):
        found = layer(x, weight, bias)
        assert found[0, 1].isnan().all() and not found[1, 0].isfinite().any()
        assert found[0, 0].isfinite().all() and found[1, 1:].isfinite().all()


@pytest.mark.filterwarnings("ignore:TF32")  # torch says so of every use of its flags
@torch.no_grad()
def test_what_onednn_is_not_for():
    x, weight, bias = operands(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_onednn(x, weight) and linear(x, weight, bias).dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        assert not by_onednn(x, weight)
    for dtype in (torch.float64, torch.bfloat16):
        parts = x.to(dtype), weight.to(dtype), bias.to(dtype)
        assert not by_onednn(*parts[:2]) and linear(*parts).dtype == dtype
    assert not by_onednn(x.to("meta"), weight.to("meta"))
    assert linear(x[:0], weight, bias).shape == (0, 3, 3)


def test_operations_are_counted(monkeypatch):
    counts = []
    for many in (1, 10**9):
        monkeypatch.setattr(module, "MANY", many)
        x, weight, bias = (t.requires_grad_() for t in operands(2, 4))
        with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
            linear(x, weight, bias).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts == [3 * 2 * 8 * 5 * 3] * 2
