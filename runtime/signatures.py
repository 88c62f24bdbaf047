"""A method that was compiled for several signatures: a call runs the first that it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runtime.call import Method
from runtime.errors import InputError


class Signatures:
    """The methods of one name as one callable. InputError where none takes the arguments."""

    direct_count = -1  # a call goes through __call__ always, unlike one of a Method

    def __init__(self, methods: Sequence[Method]):
        self.methods = tuple(methods)
        self.name = methods[0].description.name
        self._all = [(m.description.takes, m) for m in methods]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return run_first(self.name, self._all, *args, **kwargs)

    def __repr__(self) -> str:
        return "\n  ".join([f"<method {self.name}:", *(str(m.description) for m in self.methods)])


def run_first(name: str, signatures: Sequence[tuple[str, Callable[..., Any]]], *args: Any,
              **kwargs: Any) -> Any:
    """The result of the first function that takes the arguments; the texts are for the InputError
    where none does. A function refuses arguments before it changes anything."""
    problems = [f"{name} was compiled for {len(signatures)} signatures, and none fits:"]
    for text, function in signatures:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            problems.append(f"  {text}: {str(error).removeprefix(f'{name}: ')}")
    raise InputError("\n".join(problems))
