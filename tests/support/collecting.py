"""The options of ``jepa-robot collect`` in its tests, and where its workers write."""

from __future__ import annotations


def options(path, number, **changed):
    values = {"task": "panda_reach", "steps": 4, "seed": 5, "output": path, "episodes": number} | changed
    return [str(part) for key, value in values.items() for part in (f"--{key}", value)]


def shards(path):
    return path.with_name(f".{path.name}.shards")
