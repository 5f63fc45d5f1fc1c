"""The window on a task, with a stand-in for MuJoCo's own viewer."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

import jepa_envs
import jepa_envs.viewer
from jepa_envs.viewer import KEYS


class Passive:
    """What ``mujoco.viewer.launch_passive`` returns."""

    def __init__(self, model, data, key_callback, **panels):
        self.model, self.data, self.press, self.panels = model, data, key_callback, panels
        self.cam, self.running, self.synced = mujoco.MjvCamera(), True, 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.stop.wait)
        self.thread.start()

    def lock(self):
        return contextlib.nullcontext()

    def sync(self):
        self.synced += 1

    def is_running(self):
        return self.running

    def close(self):
        self.running = False
        self.stop.set()


@pytest.fixture
def window(monkeypatch):
    """(environment, viewer, stand-in, names of pressed keys)"""
    opened, pressed = [], []

    def launch_passive(*args, **settings):
        opened.append(Passive(*args, **settings))
        return opened[0]

    monkeypatch.setattr(jepa_envs.viewer, "_library", lambda: SimpleNamespace(launch_passive=launch_passive))
    env = jepa_envs.make("two_rooms", image_size=16, camera="tilted").unwrapped
    env.reset(seed=0)
    viewer = env.open_viewer(pressed.append)
    yield env, viewer, opened[0], pressed
    opened[0].close()
    env.close()


def test_it_shows_a_copy_as_the_simulation_goes_on(window):
    env, viewer, stand_in, _ = window
    before, picture = env.state(), env.observe()["tilted"]
    np.testing.assert_array_equal(stand_in.data.qpos, before["qpos"])
    stand_in.model.geom_rgba[:] = 0
    stand_in.model.opt.gravity[:] = 7
    stand_in.data.qpos[:] += 0.1
    assert env.state() == before and np.array_equal(env.observe()["tilted"], picture)
    env.step(env.action_space.high)
    viewer.show()
    np.testing.assert_array_equal(stand_in.data.qpos, env.state()["qpos"])
    assert stand_in.synced == 2 and env.state()["qpos"] != before["qpos"]


def test_it_looks_from_the_task_s_camera(window):
    env, _, stand_in, _ = window
    assert stand_in.cam.type == mujoco.mjtCamera.mjCAMERA_FIXED
    assert stand_in.model.camera(stand_in.cam.fixedcamid).name == "tilted"
    assert stand_in.panels == {"show_left_ui": False, "show_right_ui": False}


def test_keys_have_names(window):
    _, _, stand_in, pressed = window
    for code in (262, ord("7"), ord("="), 335, 257, ord("W"), 340):
        stand_in.press(code)
    assert pressed == ["right", "7", "=", "enter", "enter"]


def test_keys_are_glfw_s_and_mean_nothing_to_mujoco():
    glfw = pytest.importorskip("glfw")
    for code, name in KEYS.items():
        constant = {"-": "MINUS", "=": "EQUAL"}.get(name, name.upper().replace(" ", "_"))
        assert code in (getattr(glfw, f"KEY_{constant}"), getattr(glfw, f"KEY_KP_{constant}", None))
    shortcuts = {row[2] for row in (*mujoco.mjVISSTRING, *mujoco.mjRNDSTRING)}
    shortcuts |= {str(group) for group in range(mujoco.mjNGROUP)}
    assert not shortcuts & set(KEYS.values())


def test_closing_waits_for_the_window_s_thread(window):
    _, viewer, stand_in, _ = window
    assert viewer.is_open()
    viewer.close()
    assert not viewer.is_open() and not stand_in.thread.is_alive()


def test_no_display(monkeypatch):
    pytest.importorskip("glfw")
    monkeypatch.setenv("DISPLAY", ":9999")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    env = jepa_envs.make("two_rooms", image_size=16).unwrapped
    with pytest.raises(RuntimeError, match="no display to open a window on; set DISPLAY"):
        env.open_viewer(print)
