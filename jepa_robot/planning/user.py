"""Functions of the user's own, named ``module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.protocols import Prediction, Target


def load_function(name: str, where: str) -> Callable[..., Any]:
    """The function ``function`` of ``module``, by ``module:function``; the current folder is looked into, too.

    Args:
        where: the setting that names it, for messages.

    Raises:
        ConfigError: not such a name, no such module or function, or the module cannot be imported.
    """

    def wrong(what: str, mend: str | None = None) -> ConfigError:
        return ConfigError(what, where=where, expected="module:function", mend=mend)

    module_name, _, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not module_name or not attribute:
        raise wrong(f"is {name!r}")
    if os.getcwd() not in sys.path:  # an installed command does not have it
        sys.path.append(os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise wrong(f"module {module_name!r} cannot be imported ({error})", "install what it imports") from error
        mend = "run where its file is, or put its folder on PYTHONPATH"
        raise wrong(f"there is no module {module_name!r}", mend) from error
    except Exception as error:  # a module may raise anything
        raise wrong(f"module {module_name!r} cannot be imported ({_described(error)})") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise wrong(f"module {module_name!r} has no {attribute!r}") from error
    if not callable(found):
        raise wrong(f"{name} is {type(found).__name__}, which cannot be called")
    return found


def call(function: Callable[..., Any], name: str, shapes: tuple[tuple[int, ...], ...], *arguments: Any) -> Tensor:
    """What the function answers: a floating-point tensor of one of the shapes.

    Raises:
        PlanningError: it raises an exception, or answers something else; names it.
    """
    try:
        answer = function(*arguments)
    except Exception as error:  # a user's function may raise anything
        raise PlanningError(f"raised {_described(error)}", where=name) from error
    if not isinstance(answer, Tensor) or tuple(answer.shape) not in shapes or not answer.is_floating_point():
        is_tensor = isinstance(answer, Tensor)
        found = f"{answer.dtype} {list(answer.shape)}" if is_tensor else type(answer).__name__
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise PlanningError(f"returned {found}", where=name, expected=f"a floating-point tensor {expected}")
    return answer


class UserEnergy:
    """An energy of the user's own: ``function(prediction, target)`` -> a floating-point tensor [E, S].

    See `jepa_robot.planning.protocols` for what it is given. Gradient-based optimizers differentiate it.

    Args:
        name: ``module:function``, see `load_function`.
        where: the setting that names it, for messages.
    """

    def __init__(self, name: str, where: str = "planner.energy.functions"):
        self.function, self.name = load_function(name, where), name

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """[E, S].

        Raises:
            PlanningError: the function raises an exception, or does not return such a tensor.
        """
        shape = tuple(prediction.actions.shape[:2])
        return call(self.function, self.name, (shape,), prediction, target)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
