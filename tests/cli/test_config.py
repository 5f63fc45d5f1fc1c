"""Overrides: what they may change, and how each wrong one is refused."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jepa_robot.cli import config
from jepa_robot.cli.config import compose
from jepa_robot.cli.ranges import RANGES
from jepa_robot.errors import ConfigError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small configuration tree with a value of every type."""
    (tmp_path / "planner").mkdir()
    (tmp_path / "run.yaml").write_text(
        "defaults: [{planner: cem}, _self_]\n"
        "seed: 0\nrate: 0.5\nname: a\nfast: true\nsizes: [1, 2]\nnote: null\ndouble: ${seed}\n"
    )
    (tmp_path / "needs.yaml").write_text("data: ???\nout: here\n")
    (tmp_path / "planner" / "cem.yaml").write_text("samples: 96\nenergy:\n  steps: last\n")
    (tmp_path / "planner" / "mppi.yaml").write_text("samples: 64\ntemperature: 1.0\n")
    monkeypatch.setattr(config, "configs_folder", lambda: tmp_path)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=7", "seed", 7),
        ("seed=1e3", "seed", 1000),
        ("seed=7", "double", 7),
        ("rate=2", "rate", 2.0),
        ("rate=inf", "rate", float("inf")),
        ("name=b", "name", "b"),
        ("name=2024", "name", "2024"),
        ("name='a=b c'", "name", "a=b c"),
        ("name=../my data/a.h5", "name", "../my data/a.h5"),
        ("fast=false", "fast", False),
        ("sizes=[3]", "sizes", [3]),
        ("note=3", "note", 3),
        ("note=x", "note", "x"),
        ("planner.energy.steps=all", "planner.energy.steps", "all"),
        ("planner=mppi", "planner.temperature", 1.0),
        ("seed=${planner.samples}", "seed", 96),
    ],
)
def test_an_override_sets_its_key_in_its_type(tree, override, key, value):
    found = OmegaConf.select(compose("run", [override]), key)
    assert found == value and (type(found) is type(value) or isinstance(value, list))


def test_group_and_value_together(tree):
    found = compose("run", ["planner.samples=8", "planner=mppi"])
    assert found.planner == {"samples": 8, "temperature": 1.0}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("planner.sampels=3", ["no such key", "planner.samples"]),
        ("zzz=3", ["no such key", "seed, rate, name"]),
        ("planner.temperature=1", ["no such key"]),
        ("planner=cme", ["no planner 'cme'", "cem"]),
        ("planner=3", ["no planner 3", "cem"]),
        ("planner.energy=3", ["whole section", "planner.energy.steps"]),
        ("seed=abc", ["wrong type", "an integer (the default is 0)"]),
        ("seed=2.5", ["wrong type", "an integer"]),
        ("seed=true", ["wrong type", "an integer"]),
        ("seed=null", ["wrong type", "an integer"]),
        ("seed=inf", ["wrong type", "an integer"]),
        ("rate=abc", ["wrong type", "a number (the default is 0.5)"]),
        ("rate=nan", ["wrong type", "a number"]),
        ("fast=1", ["wrong type", "true or false"]),
        ("name=[a]", ["wrong type", "a string"]),
        ("sizes=3", ["wrong type", "a list"]),
        ("seed=1,2", ["several values"]),
        ("+new=1", ["adds or removes"]),
        ("++seed=1", ["adds or removes"]),
        ("~seed", ["adds or removes"]),
        ("seed", ["cannot be parsed", "KEY=VALUE"]),
        ("", ["cannot be parsed"]),
        ("=3", ["names no key"]),
        ("sizes=[1", ["cannot be parsed", "quotes"]),
        ("name=a=b", ["cannot be parsed", "quotes"]),
        ("seed=${nothing}", ["seed=${nothing}", "nothing"]),
    ],
)
def test_a_wrong_override_is_refused_in_one_line(tree, override, words):
    with pytest.raises(ConfigError) as caught:
        compose("run", ["rate=1", override])
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in [override, *words])


def test_a_required_key(tree):
    with pytest.raises(ConfigError, match="data not given; add data=..."):
        compose("needs")
    assert compose("needs", ["data=a.h5"]).data == "a.h5"
    assert compose("needs", ["data=123"]).data == "123"
    assert compose("needs", ["data=[a.h5,b.h5]"]).data == ["a.h5", "b.h5"]
    with pytest.raises(ConfigError, match="a string$"):
        compose("needs", ["data=null"])


def test_the_configuration_is_closed(tree):
    found = compose("run")
    with pytest.raises(OmegaConfBaseException):
        found.seed = 3
    with pytest.raises(OmegaConfBaseException):
        found.sead  # noqa: B018


@pytest.mark.parametrize(
    ("name", "override", "expected"),
    [
        ("plan", "task.max_steps=0", "1 to 100000"),
        ("plan", "threads=-1", "0 or more"),
        ("pretrain", "seed=-1", r"0 to 2\^63 - 1"),
        ("pretrain", "train.clip_frames=5", "an even number"),
        ("pretrain", "train.momentum=1.5", "a number from 0 to 1"),
        ("pretrain", "train.warmup=3", "a number from 0 to 1"),
        ("pretrain", "train.variance=-0.1", "0 or more"),
        ("train", "valid_fraction=2", "above 0 and below 1"),
        ("train", "train.lr=0", "a number above 0"),
        ("train", "train.dynamics.exponent=-1", "a number above 0"),
        ("train", "model.predictor.depth=0", "a number above 0"),
    ],
)
def test_impossible_values(name, override, expected):
    data = ["data=file.h5"] if name in ("pretrain", "train") else []
    key, _, value = override.partition("=")
    with pytest.raises(ConfigError, match=rf"^{key}: is {value}(\.0)?; expected .*{expected}"):
        compose(name, [*data, override])


def test_every_range_is_one_of_a_value_that_exists():
    keys = set()
    for name in ("plan", "evaluate", "pretrain", "train", "info"):
        data = ["data=file.h5"] if name in ("pretrain", "train") else []
        keys |= set(config._keys(compose(name, data)))
    assert set(RANGES) <= keys


@pytest.mark.parametrize("name", ["plan", "evaluate"])
def test_the_defaults_of_the_project_compose(name):
    assert compose(name).task.name == "panda_reach"


def test_composing_leaves_no_global_state(tree):
    compose("run", ["seed=5"])
    assert compose("run").seed == 0
