"""``scripts/energy_map.py``: a line an energy, and one line for what cannot be used."""

from __future__ import annotations

import dataclasses
import re
import sys

import pytest
from script import load_script


@pytest.fixture
def energy_map(monkeypatch, capsys):
    module = load_script("energy_map")

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["energy_map.py", *map(str, args)])
        try:
            module.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_every_energy_is_measured(energy_map, tiny_checkpoint):
    code, out, _ = energy_map(tiny_checkpoint, "--goals", 2, "--positions", 5)
    assert code == 0
    head, *lines = out.splitlines()
    assert head.startswith("2 goals, 5 pictures")
    found = [line.split()[:2] for line in lines]
    assert found == [[space, name] for space in ("metric", "latent") for name in ("l2", "l1", "cosine")]
    nearest = float(re.search(r"median ([0-9.]+) cm", head)[1])
    assert all(float(re.search(r"median +([0-9.]+) cm", line)[1]) >= nearest for line in lines)


def test_wrong_use(energy_map, tiny_checkpoint, rewrite_contract, tmp_path):
    rewrite_contract(tmp_path / "slow.safetensors", lambda contract: dataclasses.replace(contract, fps=2.0))
    for args, word in (
        (("nothing",), "nothing: no such checkpoint"),
        ((tmp_path / "slow.safetensors",), "fps"),
        ((tiny_checkpoint, "--task", "juggle"), "juggle"),
        ((tiny_checkpoint, "--goals", 0), "at least 1 goal"),
    ):
        code, out, err = energy_map(*args)
        assert code == 2 and out == "" and word in err.splitlines()[-1]
    code, out, _ = energy_map("--help")
    assert code == 0 and "--positions" in out
