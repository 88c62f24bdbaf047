"""C functions that are operators: what they look like, and where they are.

A compiled model refers to such a function by its symbol, as the generated header declares it:

    aot_status mylib_clip2(const aot_tensor *x, double lo, aot_tensor *out0, const char **message);
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The C parameters of a schema's types; {} is the parameter's name.
C_PARAMETERS = {
    "Tensor": "const aot_tensor *{}", "Tensor?": "const aot_tensor *{}",
    "Tensor[]": "const aot_tensor *{0}, int64_t {0}_count",
    "int": "int64_t {}", "float": "double {}", "bool": "bool {}", "str": "const char *{}",
    "int?": "const int64_t *{}", "float?": "const double *{}", "bool?": "const bool *{}",
    "int[]": "const int64_t *{0}, int64_t {0}_count",
    "float[]": "const double *{0}, int64_t {0}_count",
}
C_RESULTS = {"Tensor": "aot_tensor *{}", "int": "int64_t *{}", "float": "double *{}",
             "bool": "bool *{}", "sizes": "int64_t *{}"}
MOST_MESSAGE = 1000  # bytes of a function's message; what is longer is cut


@dataclass(frozen=True)
class ForeignFunction:
    """A C function. parameters, results: (type, name) in the schema's words, keys of C_PARAMETERS
    and C_RESULTS ('sizes': it says how large another function's result is)."""

    operator: str
    symbol: str
    parameters: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]

    def declaration(self, reserved: frozenset[str] = frozenset()) -> str:
        """Its prototype in C; parameters whose names are reserved get an underscore."""
        taken = reserved | {"message", *(name for _, name in self.results)}
        words = [C_PARAMETERS[kind].format(name + "_" * (name in taken))
                 for kind, name in self.parameters]
        words += [C_RESULTS[kind].format(name) for kind, name in self.results]
        return f"aot_status {self.symbol}({', '.join([*words, 'const char **message'])});"


# Where functions are


@dataclass(frozen=True)
class Place:
    """Where a function may be: a C file, a shared library, or an address in this process."""

    source: Path | None = None
    library: Path | None = None
    address: int | None = None

    @property
    def linked(self) -> Path | None:
        """What a linker is given."""
        return self.source or self.library


_places: dict[str, tuple[Place, ...]] = {}


def implement(symbols: Iterable[str], places: Sequence[Place]) -> None:
    """Says where functions may be; the first place that has one is taken."""
    for symbol in symbols:
        _places[symbol] = tuple(places)


def places_of(symbol: str) -> tuple[Place, ...]:
    """Where a function may be."""
    return _places.get(symbol, ())


def files_of(symbols: Iterable[str]) -> list[Path]:
    """The C files and libraries that a linker needs."""
    found = [p.linked for s in symbols for p in _places.get(s, ()) if p.linked is not None]
    return list(dict.fromkeys(found))
