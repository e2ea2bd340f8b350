"""Which function is meant: a name that another function does not have, and the same one in the next process has again.

A function is told by its code, its defaults and the values that it closes over, not by where its text stands. What cannot
be looked into, such as a connection, is told by its type; two of those in one process are told apart by a number. Names
that a function takes from its module are looked up when it is called, as everywhere in Python.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import count
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.identifiers import digest, digest_json

_MOST_VALUES, _DEEPEST = 10_000, 50
_functions: dict[str, tuple[Callable[..., Any], list[Any]]] = {}
_lock = threading.Lock()


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, such as ``__main__:yield_g@3f2a9c1b77d0``, under which :func:`find` gives it."""
    looked = _Look()
    short = readable(function)
    base = f"{short}@{digest_json(looked.at(function))[7:19]}"
    with _lock:
        for number in count(1):
            name = base if number == 1 else f"{base}~{number}"
            known = _functions.setdefault(name, (function, looked.closed))
            if _same(known[1], looked.closed):
                # Without its digest, a name means the function that was named last.
                _functions[short] = known
                return name
    raise AssertionError  # pragma: no cover - the loop above does not end


def readable(function: Callable[..., Any]) -> str:
    """Return module and name of a function, as a person reads them."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or 'builtins'}:{named.__qualname__}"


def find(name: str) -> Callable[..., Any]:
    """Return the function with a name: one that was named in this process, or that its module has.

    Raises
    ------
    NotFound
        Saying what to run again.
    """
    if name in _functions:
        return _functions[name][0]
    short = name.partition("@")[0]
    module, _, path = short.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise NotFound(
            f"The function {short!r} is not known in this process. Run the cell that defines it again; where it is made "
            "inside a call, as a lambda is, describe the experiment with it again, and do not launch it."
        )
    if "@" in name and name_of(found) != name:
        raise NotFound(
            f"The function {short!r} is another one than the experiment was launched with. Run the cell with its earlier "
            "text again; or stop the experiment, and launch one with the new function."
        )
    made: Callable[..., Any] = found
    return made


def check_takes(function: Callable[..., Any], always: list[str], sometimes: list[str]) -> str:
    """Return why a function cannot be called with parameters of these names; empty where it can."""
    try:
        takes = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # written in C, and does not say
    for names in ([*always, *sometimes], always):
        try:
            takes.bind(**dict.fromkeys(names))
        except TypeError as error:
            return str(error)
    return ""


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


class _Look:
    """Looks at values, and keeps those that it cannot look into in `closed`."""

    def __init__(self) -> None:
        self.closed: list[Any] = []
        self._seen: dict[
            int, tuple[int, Any]
        ] = {}  # with the value, so that no other gets its identity meanwhile
        self._depth = 0

    def at(self, value: Any) -> Any:
        """Return what tells a value from others, as JSON values."""
        if value is None or isinstance(value, bool | int | float | complex | str) or value is Ellipsis:
            return [type(value).__name__, repr(value)]
        if isinstance(value, bytes):
            return ["bytes", digest(value)]
        if id(value) in self._seen:
            return ["seen", self._seen[id(value)][0]]
        self._seen[id(value)] = (len(self._seen), value)
        if len(self._seen) > _MOST_VALUES or self._depth > _DEEPEST:
            return self._type_only(value)
        self._depth += 1
        try:
            return self._into(value)
        finally:
            self._depth -= 1

    def _into(self, value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
        match value:
            case CodeType():
                return ["code", *self._code(value)]
            case FunctionType():
                parts = (value.__code__, value.__defaults__, value.__kwdefaults__)
                return ["function", readable(value), *map(self.at, parts), self._cells(value)]
            case MethodType():
                return ["method", self.at(value.__func__), self.at(value.__self__)]
            case BuiltinFunctionType():
                return ["builtin", readable(value), self.at(value.__self__)]
            case functools.partial():
                return ["partial", *map(self.at, (value.func, value.args, value.keywords))]
            case ModuleType():
                return ["module", value.__name__]
            case tuple() | list():
                return [type(value).__name__, *map(self.at, value)]
            case set() | frozenset():
                # Their order is another one in each process.
                return [type(value).__name__, *sorted(repr(self.at(each)) for each in value)]
            case Mapping():
                return [type(value).__name__, *[[self.at(k), self.at(v)] for k, v in value.items()]]
            case type():
                return ["class", readable(value)]
        return self._object(value)

    def _code(self, code: CodeType) -> list[Any]:
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        return [digest(code.co_code), *map(list, names), *counts, self.at(code.co_consts)]

    def _cells(self, function: FunctionType) -> list[Any]:
        found = []
        for cell in function.__closure__ or ():
            try:
                found.append(self.at(cell.cell_contents))
            except ValueError:  # it has no value yet
                found.append(["empty"])
        return found

    def _object(self, value: Any) -> Any:
        kind = type(value)
        array = getattr(value, "dtype", None)
        try:
            if hasattr(value, "tobytes") and array is not None and not getattr(array, "hasobject", True):
                return ["array", str(array), list(getattr(value, "shape", ())), digest(value.tobytes())]
            made = value.__reduce_ex__(2)
        except Exception:  # noqa: BLE001 - whatever its class does there, it cannot be looked into
            return self._type_only(value)
        if isinstance(made, str) or made[0] is not copyreg.__newobj__ or any(made[3:]):  # type: ignore[attr-defined]
            return self._type_only(value)
        call = [self.at(kind.__call__)] if callable(value) else []
        return ["object", readable(kind), self.at(made[1][1:]), self.at(made[2]), *call]

    def _type_only(self, value: Any) -> Any:
        self.closed.append(value)
        return ["closed", readable(value) if callable(value) else readable(type(value))]
