"""The expressions of random TorchScript programs (random_scripts.py): types, and values of a type.

Every variable keeps the type it began with, dtype and shape of a tensor included. Numbers stay
small, and those that decide about control flow are rounded first, so that the last bits of a sum
decide nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

INT, FLOAT, BOOL, STR = "int", "float", "bool", "str"


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return "Tensor"


@dataclass(frozen=True)
class Items:
    """A list; `length` is None where the generator does not follow it."""

    element: object
    length: int | None

    def __str__(self) -> str:
        return f"List[{self.element}]"


@dataclass(frozen=True)
class Pairs:
    """A dict with at least these keys."""

    key: str
    element: object
    keys: tuple

    def __str__(self) -> str:
        return f"Dict[{self.key}, {self.element}]"


@dataclass(frozen=True)
class Tuple:
    elements: tuple

    def __str__(self) -> str:
        return f"Tuple[{', '.join(map(str, self.elements))}]"


@dataclass(frozen=True)
class Maybe:
    element: object

    def __str__(self) -> str:
        return f"Optional[{self.element}]"


@dataclass(frozen=True)
class Function:
    name: str
    parameters: tuple
    result: object
    method: bool


WORDS = ("sum", "mean", "max", "none", "relu")


class Expressions:
    """Writes expressions over the variables in scope. Everything random comes from `r`."""

    def __init__(self, seed: int):
        self.r = random.Random(seed)
        self.scopes: list[dict[str, object]] = []
        self.functions: list[Function] = []
        self.attributes: dict[str, object] = {}
        self.in_method = False
        n, m = self.r.sample((2, 3, 4, 5), 2)
        self.shapes = [(n, m), (m,), (n,), (), (2, n, m), (n, m)]
        self.floats = self.r.choice(("float32", "float32", "float64"))

    # Choices

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    def pick(self, *weighted: tuple[float, Callable]) -> Callable:
        return self.r.choices([c for _, c in weighted], [w for w, _ in weighted])[0]

    def variables(self, fits: Callable[[object], bool]) -> list[str]:
        visible = {name: t for scope in self.scopes for name, t in scope.items()}
        return [name for name, t in visible.items() if fits(t)]

    def type_of(self, name: str) -> object:
        for scope in self.scopes[::-1]:
            if name in scope:
                return scope[name]
        raise KeyError(name)

    def some_tensor(self) -> Tensor:
        dtype = self.r.choices((self.floats, "int64", "bool"), (8, 3, 1))[0]
        return Tensor(dtype, self.r.choice(self.shapes))

    def some_type(self, depth: int = 0) -> object:
        kinds = [(4, "tensor"), (2, INT), (1, FLOAT), (1, BOOL)]
        if depth < 2:
            kinds += [(1.2, "list"), (0.6, "tuple"), (0.7, "maybe"), (0.5, "dict"), (0.2, STR)]
        kind = self.r.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
        if kind == "tensor":
            return self.some_tensor()
        if kind == "list":
            element = self.r.choice([INT, FLOAT, self.some_tensor(), self.some_tensor()])
            return Items(element, self.r.randint(1, 4))
        if kind == "tuple":
            return Tuple(tuple(self.some_type(depth + 1) for _ in range(self.r.randint(2, 3))))
        if kind == "maybe":
            return Maybe(self.r.choice([INT, FLOAT, self.some_tensor(), self.some_tensor()]))
        if kind == "dict":
            key = self.r.choice([INT, STR])
            keys = self.r.sample(range(5), 2) if key == INT else self.r.sample(("a", "b", "c"), 2)
            return Pairs(key, self.r.choice([INT, self.some_tensor()]), tuple(keys))
        return kind

    # Expressions

    def expression(self, t: object, depth: int = 2) -> str:
        """Source of a value of the type."""
        same = self.variables(lambda other: other == t)
        if same and self.chance(0.45):
            return self.r.choice(same)
        if isinstance(t, Tensor):
            return self.tensor(t, depth)
        if isinstance(t, Items):
            return self.list_of(t, depth)
        if isinstance(t, Tuple):
            return f"({', '.join(self.expression(e, depth - 1) for e in t.elements)})"
        if isinstance(t, Maybe):
            options = self.variables(lambda other: other in (t, t.element))
            if options and self.chance(0.5):
                return self.r.choice(options)
            return "None" if self.chance(0.2) else self.expression(t.element, depth)
        if isinstance(t, Pairs):
            pairs = ", ".join(f"{k!r}: {self.expression(t.element, depth - 1)}" for k in t.keys)
            return f"{{{pairs}}}"
        made = {INT: self.integer, FLOAT: self.number, BOOL: self.condition, STR: self.text}
        return made[t](depth)  # type: ignore[index]

    def stored(self, t: object) -> str | None:
        """An element of a list, dict, tuple or attribute, or a call, of the type."""
        found = []
        for name in self.variables(lambda t: isinstance(t, (Items, Pairs, Tuple))):
            other = self.type_of(name)
            if isinstance(other, Items) and other.element == t:
                found.append(f"{name}[{self.position(other.length or 2)}]")
            elif isinstance(other, Pairs) and other.element == t:
                found.append(f"{name}[{self.r.choice(other.keys)!r}]")
            elif isinstance(other, Tuple):
                found += [f"{name}[{i}]" for i, e in enumerate(other.elements) if e == t]
        if self.in_method:
            found += [f"self.{name}" for name, other in self.attributes.items() if other == t]
        return self.r.choice(found) if found else None

    def call(self, t: object, depth: int) -> str | None:
        usable = [f for f in self.functions if f.result == t and (self.in_method or not f.method)]
        if not usable or depth < 1:
            return None
        f = self.r.choice(usable)
        args = ", ".join(self.expression(p, depth - 1) for p in f.parameters)
        return f"self.{f.name}({args})" if f.method else f"{f.name}({args})"

    def position(self, n: int) -> str:
        """An index into n elements: mostly within bounds."""
        if self.chance(0.6):
            return str(self.r.randint(-n, n - 1)) if n else "0"
        index = self.expression(INT, 0)
        return f"({index}) % {n}" if n and self.chance(0.85) else index

    def literal(self, t: str) -> str:
        if t == INT:
            return str(self.r.randint(-3, 6))
        return str(self.r.randint(-16, 16) / 8) if t == FLOAT else str(self.chance(0.5))

    def integer(self, depth: int) -> str:
        stored = self.stored(INT) if self.chance(0.3) else None
        if stored:
            return stored
        if depth < 1:
            names = self.variables(lambda t: t == INT)
            return self.r.choice(names) if names and self.chance(0.7) else self.literal(INT)
        called = self.call(INT, depth) if self.chance(0.2) else None
        if called:
            return called
        e = lambda: self.expression(INT, depth - 1)  # noqa: E731
        t = self.some_tensor()
        made = self.pick(
            (3, lambda: self.literal(INT)),
            (3, lambda: f"({e()} {self.r.choice('+-*')} {e()}) % {self.r.choice((3, 5, 7, 11))}"),
            (1, lambda: f"({e()} // {self.r.choice((2, 3, -2))})"),
            (0.3, lambda: f"({e()} {self.r.choice(('//', '%'))} max({e()}, 1))"),
            (1, lambda: f"{self.r.choice(('min', 'max'))}({e()}, {e()})"),
            (0.5, lambda: f"abs({e()})"),
            (1, lambda: f"int({self.condition(depth - 1)})"),
            (1.5, lambda: self.size()),
            (1.5, lambda: f"int(torch.clamp({self.exact(t)}.sum(), -20, 20).item())"),
            (0.7, lambda: f"int(({self.exact(t)} > {self.literal(INT)}).sum())"),
            (0.7, lambda: f"({self.literal(INT)} if {self.condition(depth - 1)} else {e()})"),
            (0.4, lambda: f"int({self.literal(FLOAT)} * {self.literal(FLOAT)})"),
        )
        return made()

    def size(self) -> str:
        name = self.a(lambda t: isinstance(t, (Tensor, Items, Pairs)))
        if name is None:
            return self.literal(INT)
        t = self.type_of(name)
        if not isinstance(t, Tensor):
            return f"len({name})"
        if not t.shape:
            return f"{name}.numel()"
        d = self.r.randint(-len(t.shape), len(t.shape) - 1)
        return self.r.choice((f"{name}.size({d})", f"{name}.shape[{d}]", f"{name}.dim()"))

    def a(self, fits: Callable[[object], bool]) -> str | None:
        names = self.variables(fits)
        return self.r.choice(names) if names else None

    def exact(self, t: Tensor) -> str:
        """A tensor whose numbers are rounded, for decisions."""
        x = self.expression(t, 0)
        return f"({x}).round()" if t.dtype.startswith("float") else f"({x}).to(torch.int64)"

    def number(self, depth: int) -> str:
        stored = self.stored(FLOAT) if self.chance(0.3) else None
        if stored or depth < 1:
            return stored or self.a(lambda t: t == FLOAT) or self.literal(FLOAT)
        e = lambda: self.expression(FLOAT, depth - 1)  # noqa: E731
        t = Tensor(self.floats, self.r.choice(self.shapes))
        made = self.pick(
            (3, lambda: self.literal(FLOAT)),
            (2, lambda: f"({e()} {self.r.choice('+-')} {e()}) * 0.5"),
            (1, lambda: f"max(-4.0, min({e()} * {e()}, 4.0))"),
            (1, lambda: f"float({self.expression(INT, depth - 1)})"),
            (1, lambda: f"({e()} / {self.r.choice((2.0, -4.0, 8.0))})"),
            (0.5, lambda: f"abs({e()})"),
            (1, lambda: f"float(({self.expression(t, 0)}).sum())"),
            (1, lambda: f"float(({self.exact(t)}).{self.r.choice(('max', 'min'))}())"),
            (0.4, lambda: f"{self.expression(INT, depth - 1)} / {self.r.choice((2, 3, -4))}"),
        )
        return made()

    def condition(self, depth: int) -> str:
        stored = self.stored(BOOL) if self.chance(0.2) else None
        if stored:
            return stored
        n = lambda: self.expression(INT, depth - 1)  # noqa: E731
        comparison = self.r.choice(("<", "<=", ">", ">=", "==", "!="))
        options = [
            (3, lambda: f"{n()} {comparison} {n()}"),
            (1, lambda: f"{self.expression(FLOAT, depth - 1)} {self.r.choice('<>')} "
                        f"{self.literal(FLOAT)}"),
            (3, lambda: f"bool({self.exact(self.some_tensor())}.sum() {comparison} "
                        f"{self.literal(INT)})"),
            (1.5, lambda: f"bool(({self.exact(self.some_tensor())} {self.r.choice('<>')} "
                          f"{self.literal(INT)}).{self.r.choice(('any', 'all'))}())"),
            (0.5, lambda: self.a(lambda t: t == BOOL) or "True"),
        ]
        if depth > 0:
            options += [
                (1, lambda: f"({self.condition(depth - 1)} {self.r.choice(('and', 'or'))} "
                            f"{self.condition(depth - 1)})"),
                (0.7, lambda: f"(not {self.condition(depth - 1)})"),
            ]
        maybe = self.a(lambda t: isinstance(t, Maybe))
        if maybe:
            options.append((1, lambda: f"{maybe} is {self.r.choice(('', 'not '))}None"))
        numbers = self.a(lambda t: isinstance(t, Items) and t.element == INT)
        if numbers:
            options.append((0.7, lambda: f"{n()} in {numbers}"))
        text = self.a(lambda t: t == STR)
        if text:
            options.append((0.7, lambda: f"{text} == {self.r.choice(WORDS)!r}"))
        return self.pick(*options)()

    def text(self, depth: int) -> str:
        if depth > 0 and self.chance(0.3):
            return f"'{{}}-{{}}'.format({self.text(0)}, {self.literal(INT)})"
        return repr(self.r.choice(WORDS))

    def list_of(self, t: Items, depth: int) -> str:
        n = t.length if t.length is not None else self.r.randint(0, 3)
        if n == 0:
            return f"torch.jit.annotate({t}, [])"
        if self.chance(0.2) and t.element == INT:
            return f"[{self.r.randint(-2, 3)} * k for k in range({n})]"
        if self.chance(0.2) and isinstance(t.element, Tensor) and depth > 0:
            whole = Tensor(t.element.dtype, (n, *t.element.shape))
            if len(whole.shape) <= 3:
                return f"[v for v in {self.expression(whole, depth - 1)}]"
        return f"[{', '.join(self.expression(t.element, depth - 1) for _ in range(n))}]"

    # Tensors

    def tensor(self, t: Tensor, depth: int) -> str:
        for attempt, p in ((self.stored(t), 0.25), (self.part(t), 0.25)):
            if attempt and self.chance(p):
                return attempt
        called = self.call(t, depth) if self.chance(0.25) else None
        if called:
            return called
        if depth < 1:
            return self.a(lambda other: other == t) or self.created(t)
        e = lambda other=t: self.expression(other, depth - 1)  # noqa: E731
        options: list[tuple[float, Callable]] = [
            (1, lambda: self.created(t)),
            (1, lambda: f"({e()}).clone()"),
            (1, lambda: f"torch.where({e(Tensor('bool', t.shape))}, {e()}, {e()})"),
            (0.7, lambda: f"({e()} if {self.condition(depth - 1)} else {e()})"),
        ]
        if len(t.shape) >= 2:
            turned = Tensor(t.dtype, (*t.shape[:-2], t.shape[-1], t.shape[-2]))
            options.append((0.7, lambda: f"({e(turned)}).transpose(-1, -2)"))
        if t.shape and t.shape[0] <= 4:
            inner = Tensor(t.dtype, t.shape[1:])
            parts = lambda: ", ".join(e(inner) for _ in range(t.shape[0]))  # noqa: E731
            options.append((0.7, lambda: f"torch.stack([{parts()}])"))
        if t.dtype == "bool":
            other = Tensor(self.r.choice((self.floats, "int64")), t.shape)
            options += [
                (3, lambda: f"({self.exact(other)} {self.r.choice(('<', '>=', '=='))} "
                            f"{self.literal(INT)})"),
                (1, lambda: f"({e()} {self.r.choice('&|^')} {e()})"),
                (1, lambda: f"(~{e()})"),
            ]
            return self.pick(*options)()
        smaller = Tensor(t.dtype, t.shape[self.r.randint(0, len(t.shape)):])
        number = INT if t.dtype == "int64" else self.r.choice((INT, FLOAT))
        options += [
            (3, lambda: f"({e()} {self.r.choice('+-')} {e(smaller)})"),
            (2, lambda: f"({e()} {self.r.choice('+-')} {self.expression(number, depth - 1)})"),
            (1.5, lambda: f"torch.clamp({e()} * {e(smaller)}, -8, 8)"),
            (1, lambda: f"torch.{self.r.choice(('relu', 'abs', 'neg'))}({e()})"),
            (1, lambda: f"torch.{self.r.choice(('maximum', 'minimum'))}({e()}, {e(smaller)})"),
            (1, lambda: f"({e()}).masked_fill({e(Tensor('bool', t.shape))}, {self.literal(INT)})"),
        ]
        if t.shape:
            last = self.r.randint(-len(t.shape), len(t.shape) - 1)
            options.append((0.5, lambda: f"({e()}).flip([{last}])"))
        if len(t.shape) < 3:
            d = self.r.randint(0, len(t.shape))
            wide = Tensor(t.dtype, (*t.shape[:d], self.r.randint(1, 4), *t.shape[d:]))
            options += [
                (1, lambda: f"({e(wide)}).sum({d})"),
                (0.5, lambda: f"({e(wide)}).{self.r.choice(('max', 'min'))}({d})[0]"),
            ]
        if t.dtype == "int64":
            options += [
                (1, lambda: f"({self.exact(Tensor(self.floats, t.shape))}).to(torch.int64)"),
                (1, lambda: f"({e()} % {self.r.randint(2, 5)})"),
            ]
        else:
            options += [
                (1, lambda: f"({e(Tensor('int64', t.shape))}).to(torch.{t.dtype})"),
                (1, lambda: f"torch.{self.r.choice(('tanh', 'sigmoid'))}({e()})"),
                (1, lambda: f"({e()} * {self.literal(FLOAT)})"),
            ]
            if len(t.shape) == 2:
                k = self.r.randint(1, 4)
                left, right = Tensor(t.dtype, (t.shape[0], k)), Tensor(t.dtype, (k, t.shape[1]))
                options.append((1, lambda: f"torch.clamp({e(left)} @ {e(right)}, -8, 8)"))
        return self.pick(*options)()

    def created(self, t: Tensor) -> str:
        shape, dtype = list(t.shape), f"dtype=torch.{t.dtype}"
        if t.dtype == "bool":
            return f"torch.full({shape}, {self.chance(0.5)}, {dtype})"
        n = 1
        for size in shape:
            n *= size
        return self.r.choice((
            f"torch.zeros({shape}, {dtype})",
            f"torch.full({shape}, {self.literal(INT if t.dtype == 'int64' else FLOAT)}, {dtype})",
            f"(torch.arange({n}, {dtype}) - {self.r.randint(0, 3)}).reshape({shape})",
        ))

    def part(self, t: Tensor) -> str | None:
        """A view of that type of a variable."""
        found: list[str] = []
        for name in self.variables(lambda v: isinstance(v, Tensor) and v.dtype == t.dtype):
            shape = self.type_of(name).shape  # type: ignore[attr-defined]
            if shape[1:] == t.shape and shape:
                found.append(f"{name}[{self.position(shape[0])}]")
            if shape[:-1] == t.shape and shape:
                found.append(f"{name}[..., {self.position(shape[-1])}]")
            if t.shape and shape[1:] == t.shape[1:] and shape and shape[0] > t.shape[0]:
                k = self.r.randint(0, shape[0] - t.shape[0])
                found.append(f"{name}[{k}:{k + t.shape[0]}]")
            if shape[::-1] == t.shape and len(shape) == 2:
                found.append(f"{name}.t()")
        return self.r.choice(found) if found else None
