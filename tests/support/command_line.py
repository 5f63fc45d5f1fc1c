"""What a run of the command line left behind."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """The exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def assert_refused(outcome: Outcome, *words: str) -> None:
    """One line on standard error that has all words, nothing on standard output, and exit code 2."""
    code, out, err = outcome
    assert code == 2 and out == "", err
    assert err.count("\n") == 1 and err.startswith("error: "), err
    assert "unexpected" not in err and "Traceback" not in err
    for word in words:
        assert word in err, err
