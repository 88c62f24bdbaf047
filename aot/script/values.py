"""What an expression may stand for while a program is compiled, beside a value of the Graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from lowering.graph import Function, Value
from lowering.types import ClassType, EnumType, InterfaceType, TupleType, Type


@dataclass(frozen=True)
class PythonObject:
    """A Python object that only its attributes make useful: a module, a class of enumerations."""

    object: object


@dataclass(frozen=True)
class Operator:
    """An operator, or a method of a value where `receiver` is set."""

    name: str
    receiver: Value | None = None


@dataclass(frozen=True)
class Special:
    """A function that the compiler itself knows: range, len, isinstance, annotate ..."""

    name: str


@dataclass(frozen=True)
class FunctionRef:
    """A compiled function. It becomes a constant of the Graph where it is called."""

    function: Function


@dataclass(frozen=True)
class Overloads:
    """A function with several declared signatures; the first that fits is called."""

    functions: tuple[Function, ...]
    receiver: Value | None = None


@dataclass(frozen=True)
class MethodRef:
    """A method of an object of the program."""

    receiver: Value
    name: str
    function: Function


@dataclass(frozen=True)
class ClassRef:
    """A class: calling it makes an object (or a NamedTuple), its attributes are static methods
    or the members of an enumeration."""

    type: ClassType | TupleType | EnumType | InterfaceType


@dataclass(frozen=True)
class Cast:
    """int, float, bool, str, complex as functions."""

    type: Type
    operator: str


@dataclass
class Several:
    """A tuple of things, not all values of the Graph."""

    items: list


@dataclass
class ModuleItems:
    """The members of a module container: names (None for a list), and what they are. `keys` and
    `values` say what iteration gives: names, modules or both."""

    receiver: Value
    names: list[str]
    members: list
    kind: str = "list"  # list, dict


@dataclass
class Iteration:
    """range(), enumerate(), zip(): what a `for` loop runs over. `kind` is range, zip or value.

    A range has `parts` start, stop, step; `plain` says that only the stop was given. A zip has
    Iterations or values as parts.
    """

    kind: str
    parts: list = field(default_factory=list)
    plain: bool = False
    endless: Value | None = None
    length: int | None = None


@dataclass(frozen=True)
class Dispatch:
    """Two functions; a constant argument chooses: the parameter `flag`, at position `index`."""

    if_false: Function
    if_true: Function
    flag: str
    index: int


@dataclass(frozen=True)
class Ignored:
    """A Python function that is not compiled. `function` is its signature; a call runs `python`,
    or raises at run time where that is None. Methods are called on `receiver`."""

    function: Function
    python: Callable | None
    receiver: Value | None = None


def described(meaning: object) -> str:
    """What an expression stands for, in a message to the user."""
    if isinstance(meaning, Value):
        return f"a value of type '{meaning.type.annotation()}'"
    if isinstance(meaning, PythonObject):
        return f"a Python object of type '{type(meaning.object).__name__}'"
    for kinds, words in (
        ((Operator, Special, FunctionRef, Overloads, Dispatch, Ignored, Cast), "a function"),
        ((MethodRef,), "a method"), ((ClassRef,), "a class"), ((Several,), "a tuple"),
        ((ModuleItems,), "a container of modules"), ((Iteration,), "range(), enumerate() or zip()"),
    ):
        if isinstance(meaning, kinds):
            return words
    return "this"
