"""Random TorchScript programs: Python source that torch.jit.script takes, a function of a seed.

A program is a file with helper functions and a module: nested control flow on data and on sizes,
lists, dicts, tuples, Optional, strings, views and in-place operators, attributes, early exits,
raises, asserts, indices that may be out of range. No division by zero: it kills PyTorch. The last
result of forward sums up the variables that are in scope where it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.random_script_values import (
    BOOL, FLOAT, INT, STR, WORDS, Expressions, Function, Items, Maybe, Pairs, Tensor, Tuple,
)  # fmt: skip

HEADER = """import torch
from torch import Tensor
from typing import Dict, List, Optional, Tuple
"""
CALLS = 3
# How often, of the times there is room for it, a list changes its length under a condition or in a
# loop.
GROWING = 0.6
# What the compiler refuses, with its reason, and how often it is written all the same: a loop gives
# a variable another tensor, which shares its memory with the first one or a third, and one of them
# is written in place.
REBINDING = 0.0
SUMMARY = Tensor("float64", (1,))  # the type of forward's last result; nothing else has it


@dataclass
class Program:
    """Source with a module class M, and the arguments of calls of an instance, one after the other:
    numbers, texts, and tensors as (dtype, shape, numbers)."""

    seed: int
    source: str
    calls: list[list[object]]


def program(seed: int) -> Program:
    """The program of a seed."""
    return _Writer(seed).program(seed)


class _Writer(Expressions):
    """Writes statements, functions and the module."""

    def __init__(self, seed: int):
        super().__init__(seed)
        self.lines: list[str] = []
        self.depth = 0
        self.names = 0
        self.fixed: set[str] = set()  # what no statement assigns: loop variables and counters
        self.loops: list[str] = []  # what stands around the statement: 'for', 'while'
        self.budget = 0  # statements that the function may still have
        self.result: object = None
        self.certain = 0  # the depth of blocks that run, and so often, whatever the data
        self.jumps = False  # the loop may be left earlier
        self.grown = False  # a list has grown in the loop

    def program(self, seed: int) -> Program:
        self.lines.append(HEADER)
        for _ in range(self.r.randint(0, 3)):
            self.function(f"f{len(self.functions)}", False)
        self.lines.append("class M(torch.nn.Module):")
        with self.indented():
            self.module_attributes()
            for _ in range(self.r.randint(0, 2)):
                self.function(f"m{len(self.functions)}", True)
            parameters = self.function("forward", True)
        calls = [[self.argument(t) for t in parameters] for _ in range(CALLS)]
        return Program(seed, "\n".join(self.lines) + "\n", calls)

    def argument(self, t: object) -> object:
        if isinstance(t, Tensor):
            n = 1
            for size in t.shape:
                n *= size
            low, high = {"bool": (0, 1), "int64": (-4, 6)}.get(t.dtype, (-16, 16))
            scale = 8 if t.dtype.startswith("float") else 1
            return t.dtype, t.shape, [self.r.randint(low, high) / scale for _ in range(n)]
        return {INT: self.r.randint(-2, 5), FLOAT: self.r.randint(-16, 16) / 8,
                BOOL: self.chance(0.5), STR: "sum"}[t]  # type: ignore[index]

    # Lines and scopes

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def block(self, head: str, **names: object) -> Iterator[None]:
        """An indented block with a scope of its own, never empty."""
        self.line(head)
        self.scopes.append(dict(names))
        with self.indented():
            yield
        self.scopes.pop()

    def fresh(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def define(self, t: object, source: str) -> str:
        name = self.fresh()
        annotated = isinstance(t, (Maybe, Items, Pairs, Tuple))
        self.line(f"{name}: {t} = {source}" if annotated else f"{name} = {source}")
        self.scopes[-1][name] = t
        return name

    def assignable(self, fits: Callable[[object], bool]) -> str | None:
        names = [n for n in self.variables(fits) if n not in self.fixed]
        return self.r.choice(names) if names else None

    # Functions and the module

    def module_attributes(self) -> None:
        kinds = self.r.sample(("weight", "buffer", "count", "level", "mode"), self.r.randint(1, 4))
        made = {"weight": Tensor(self.floats, self.r.choice(self.shapes)),
                "buffer": Tensor(self.floats, self.r.choice(self.shapes)),
                "count": INT, "level": FLOAT, "mode": STR}
        with self.block("def __init__(self) -> None:"):
            self.line("super().__init__()")
            for kind in kinds:
                t = self.attributes[kind] = made[kind]
                if kind in ("weight", "buffer"):
                    register = f"self.register_{'parameter' if kind == 'weight' else 'buffer'}"
                    source = self.created(t)
                    if kind == "weight":
                        source = f"torch.nn.Parameter({source}, requires_grad=False)"
                    self.line(f"{register}({kind!r}, {source})")
                else:
                    value = repr(self.r.choice(WORDS)) if t == STR else self.literal(t)
                    self.line(f"self.{kind} = {value}")
        self.line("")

    def function(self, name: str, method: bool) -> tuple:
        """Writes a function; forward gives back several values. Returns its parameters' types."""
        forward = name == "forward"
        plain = [INT, FLOAT, BOOL, self.some_tensor(), self.some_tensor(), self.some_tensor()]
        if forward:
            parameters = [Tensor(self.floats, self.shapes[0])]
            parameters += self.r.choices(plain, k=self.r.randint(1, 4))
            self.result = Tuple(tuple(self.some_type(1) for _ in range(self.r.randint(2, 4))))
            if any(e == STR or isinstance(e, Maybe) for e in self.result.elements):
                self.result = Tuple((self.some_tensor(), INT, self.some_tensor()))
            self.result = Tuple((*self.result.elements, SUMMARY))
        else:
            plain += [Maybe(self.some_tensor()), Items(self.r.choice([INT, self.some_tensor()]), 2)]
            parameters = self.r.choices(plain, k=self.r.randint(1, 3))
            self.result = self.some_type()
        self.budget = 14 if forward else 5
        names = [self.fresh() for _ in parameters]
        texts = [f"{n}: {t}" for n, t in zip(names, parameters)]
        if method:
            texts.insert(0, "self")
        self.in_method, self.loops, self.jumps, self.grown = method, [], False, False
        self.certain = self.depth + 1
        self.scopes.append({})
        head = f"def {name}({', '.join(texts)}) -> {self.result}:"
        with self.block(head, **dict(zip(names, parameters))):
            self.statements(6 if forward else 3)
            self.returns()
        self.scopes.pop()
        self.line("")
        self.functions.append(Function(name, tuple(parameters), self.result, method))
        return tuple(parameters)

    def returns(self) -> None:
        if not (isinstance(self.result, Tuple) and self.result.elements[-1] == SUMMARY):
            return self.line(f"return {self.expression(self.result)}")
        values = [self.expression(t) for t in self.result.elements[:-1]]
        self.line(f"return ({', '.join(values)}, {self.summary()})")

    def summary(self) -> str:
        """One number of all variables in scope, so that what happens to them shows."""
        terms = ["0.0"]
        for name in self.variables(lambda t: True):
            t, weight = self.type_of(name), self.r.choice(("0.5", "2.0", "3.0"))
            if isinstance(t, Items):
                terms.append(f"{weight} * len({name})")
                if isinstance(t.element, Tensor) and t.length:
                    name, t = f"{name}[-1]", t.element
            if isinstance(t, Tensor):
                terms.append(f"{weight} * float({name}.to(torch.float64).sum())")
            elif t in (INT, FLOAT, BOOL):
                terms.append(f"{weight} * float({name})")
        return f"torch.full([1], {' + '.join(terms)}, dtype=torch.float64)"

    # Statements

    def statements(self, least: int) -> None:
        for _ in range(self.r.randint(least, least + 3)):
            self.statement()

    def statement(self) -> None:
        self.budget -= 1
        simple = [
            (4, self.assign_new), (3, self.assign), (3, self.in_place), (2, self.write_part),
            (1.5, self.list_statement), (0.7, self.dict_statement), (1, self.unpack),
            (0.6, self.complain), (1, self.attribute), (1.2, self.alias), (0.7, self.refine),
        ]
        if self.loops:
            simple.append((0.7, self.leave_loop))
        nested = [(3, self.branch), (1.6, self.for_loop), (1, self.while_loop), (0.5, self.leave)]
        deep = len(self.lines) > 120 or self.budget < 0 or self.depth > 6
        self.pick(*(simple if deep else simple + nested))()

    def body(self) -> None:
        for _ in range(self.r.randint(1, 3)):
            self.statement()

    def assign_new(self) -> None:
        t = self.some_type()
        self.define(t, self.expression(t))

    def assign(self) -> None:
        name = self.assignable(lambda t: not isinstance(t, (Items, Pairs)))
        if name is None:
            return self.assign_new()
        t = self.type_of(name)
        if self.loops and self.depth != self.certain and not self.chance(REBINDING) and (
                name not in self.scopes[-1] and t not in (INT, FLOAT, BOOL, STR)):
            if isinstance(t, Tensor):
                return self.line(f"{name}.copy_(({self.expression(t)}).clone())")
            return self.assign_new()
        if t in (INT, FLOAT) and self.chance(0.4):
            self.line(f"{name} {self.r.choice('+-')}= {self.expression(t, 1)}")
        elif isinstance(t, Maybe):  # None would be its type from here on
            self.line(f"{name} = {self.expression(t.element)}")
        else:
            self.line(f"{name} = {self.expression(t)}")

    def in_place(self) -> None:
        name = self.assignable(lambda t: isinstance(t, Tensor) and t.dtype != "bool")
        if name is None:
            return self.assign_new()
        t = self.type_of(name)
        part = self.target(name, t)
        smaller = Tensor(t.dtype, t.shape[self.r.randint(0, len(t.shape)):])
        value = f"({self.expression(smaller, 1)}).clone()"  # it may overlap with what is written
        self.line(self.r.choice((
            f"{name} += {value}", f"{name} -= {value}", f"{name} *= {self.literal(INT)}",
            f"{part}.add_({value})", f"{name}.sub_({value})", f"{part}.clamp_(-4, 4)",
            f"{part}.neg_()", f"{part}.zero_()", f"{name}.copy_({value})",
            f"{part}.fill_({self.literal(INT)})", f"{part}.mul_({self.literal(INT)})",
        )) if part == name or not smaller.shape else f"{part}.mul_({self.literal(INT)})")

    def target(self, name: str, t: Tensor) -> str:
        """The tensor itself, or a view of it to write through."""
        if not t.shape or self.chance(0.4):
            return name
        k = self.r.randint(0, t.shape[0] - 1)
        options = [f"{name}[{self.position(t.shape[0])}]", f"{name}[{k}:]", f"{name}[:{k + 1}]",
                   f"{name}[..., {self.position(t.shape[-1])}]", f"{name}.view(-1)",
                   f"{name}[::2]", f"{name}.select(0, {k})", f"{name}.narrow(0, {k}, 1)"]
        if len(t.shape) >= 2:
            options += [f"{name}.transpose(0, 1)", f"{name}[:, {self.position(t.shape[1])}]"]
        found = self.r.choice(options)
        return f"{name}[0]" if "view" in found and self.chance(0.8) else found

    def write_part(self) -> None:
        name = self.assignable(lambda t: isinstance(t, Tensor) and t.shape != ())
        if name is None:
            return self.assign_new()
        t = self.type_of(name)
        row, scalar = Tensor(t.dtype, t.shape[1:]), Tensor(t.dtype, ())
        k, at = self.r.randint(0, t.shape[0] - 1), self.position(t.shape[0])
        number = {"bool": BOOL, "int64": INT}.get(t.dtype, FLOAT)
        mask = Tensor("bool", t.shape)
        of_row, of_all = (f"({self.expression(e, 1)}).clone()" for e in (row, t))
        options = [
            f"{name}[{at}] = {of_row}", f"{name}[{k}:] = {of_row}", f"{name}[:] = {of_all}",
            f"{name}[..., {self.position(t.shape[-1])}] = {self.expression(number, 1)}",
            f"{name}[({self.expression(mask, 1)}).clone()] = {self.literal(number)}",
        ]
        if t.dtype != "bool":
            options += [f"{name}[{at}] += {of_row}",
                        f"{name}[{k}:] -= ({self.expression(scalar, 1)}).clone()"]
        self.line(self.r.choice(options))

    def alias(self) -> None:
        """A second name for a tensor, or a view of it under a name, often written afterwards."""
        name = self.a(lambda t: isinstance(t, Tensor) and t.shape != () and t.dtype != "bool")
        if name is None:
            return self.assign_new()
        t = self.type_of(name)
        made, shape = self.r.choice((
            (name, t.shape), (f"{name}[{self.position(t.shape[0])}]", t.shape[1:]),
            (f"{name}[..., 0]", t.shape[:-1]), (f"{name}.transpose(0, -1)",
                                                (t.shape[-1], *t.shape[1:-1], t.shape[0])
                                                if len(t.shape) > 1 else t.shape),
            (f"{name}[:1]", (1, *t.shape[1:])), (f"{name}.unsqueeze(0)", (1, *t.shape)),
        ))
        view = self.define(Tensor(t.dtype, shape), made)
        if self.chance(0.6):
            self.line(f"{view}.{self.r.choice(('add_(1)', 'mul_(2)', 'neg_()', 'clamp_(-3, 3)'))}")

    def list_statement(self) -> None:
        name = self.assignable(lambda t: isinstance(t, Items))
        if name is None:
            t = Items(self.r.choice([INT, self.some_tensor()]), self.r.randint(0, 3))
            name = self.define(t, self.expression(t))
        t = self.type_of(name)
        element = self.expression(t.element, 1)
        n = t.length
        in_bounds = self.position(n or 2)
        options = [f"{name}[{in_bounds}] = {element}", f"{name}.reverse()"]
        if t.element in (INT, FLOAT):
            options.append(f"{name}.sort()" if self.chance(0.5) else f"{name}[-1] += 1")
        if self.depth == self.certain and not self.jumps or self.chance(GROWING):
            self.grown = bool(self.loops)
            options += [f"{name}.append({element})"] * 3
            options += [f"{name}.insert({self.r.randint(0, n or 2)}, {element})",
                        f"{name} += [{element}]", f"{name}.extend([{element}, {element}])"]
            if n is None or n > 1:
                options += [f"{name}.pop()", f"{name}.pop({self.position(n or 2)})",
                            f"{name} = {name}[1:]"]
        chosen = self.r.choice(options)
        self.line(chosen)
        if not any(word in chosen for word in ("] = ", "reverse", "sort", "[-1]")):
            for scope in self.scopes:
                if name in scope:
                    scope[name] = Items(t.element, None)

    def dict_statement(self) -> None:
        name = self.assignable(lambda t: isinstance(t, Pairs))
        if name is None:
            t = Pairs(STR, self.r.choice([INT, self.some_tensor()]), ("a", "b"))
            name = self.define(t, self.expression(t))
        t = self.type_of(name)
        key = repr(self.r.choice(t.keys))
        other = repr(self.r.choice("abcd") if t.key == STR else self.r.randint(0, 5))
        kind = self.r.randrange(4)
        if kind == 0:
            self.line(f"{name}[{key}] = {self.expression(t.element, 1)}")
        elif kind == 1 and self.depth == self.certain:
            self.line(f"{name}[{other}] = {self.expression(t.element, 1)}")
        elif kind == 2:
            with self.block(f"if {other} in {name}:"):
                self.line(f"{name}[{other}] = {self.expression(t.element, 1)}")
        else:
            k, v = self.fresh(), self.fresh()
            with self.block(f"for {k}, {v} in {name}.items():", **{k: t.key, v: t.element}):
                self.fixed |= {k, v}
                self.loops.append("items")
                self.body()
                self.loops.pop()

    def unpack(self) -> None:
        t = self.some_type(2), self.some_type(2)
        names = self.fresh(), self.fresh()
        self.line(f"{', '.join(names)} = {', '.join(self.expression(e) for e in t)}")
        self.scopes[-1].update(zip(names, t))

    def complain(self) -> None:
        """An assert, or a raise under a condition."""
        n = self.a(lambda t: t == INT) or "7"
        if self.chance(0.5):
            self.line(f"assert {self.condition(1)} or {self.condition(0)}, 'assert {self.names}'")
            return
        with self.block(f"if {self.condition(1)} and {self.condition(1)}:"):
            kind = self.r.choice(("RuntimeError", "ValueError", "Exception"))
            text = self.r.choice((f"'raise {self.names}'", f"'found {{}}'.format({n})",
                                  f"f'found {{{n}}} here'"))
            self.line(f"raise {kind}({text})")

    def attribute(self) -> None:
        kinds = [k for k in self.attributes if k not in ("weight", "mode")]
        if not self.in_method or not kinds:
            return self.assign()
        kind = self.r.choice(kinds)
        t = self.attributes[kind]
        if kind != "buffer":
            step = self.literal(t) if self.chance(0.5) else self.expression(t, 1)
            self.line(f"self.{kind} {self.r.choice(('=', '+=', '-='))} {step}")
        elif self.chance(0.5):
            self.line(f"self.buffer.{self.r.choice(('add_', 'copy_', 'sub_'))}"
                      f"(({self.expression(t, 1)}).clone())")
        else:
            self.line(f"self.buffer = torch.clamp({self.expression(t, 1)}, -8, 8)")

    def refine(self) -> None:
        name = self.a(lambda t: isinstance(t, Maybe))
        if name is None:
            t = Maybe(self.r.choice([INT, self.some_tensor()]))
            name = self.define(t, self.expression(t))
        t = self.type_of(name)
        with self.block(f"if {name} is not None:", **{name: t.element}):
            self.body()
        if self.chance(0.5):
            with self.block("else:"):
                self.body()

    def branch(self) -> None:
        with self.block(f"if {self.condition(2)}:"):
            self.body()
        while self.chance(0.25):
            with self.block(f"elif {self.condition(1)}:"):
                self.body()
        if self.chance(0.5):
            with self.block("else:"):
                self.body()

    def for_loop(self) -> None:
        k, v = self.fresh(), self.fresh()
        heads: list[tuple[str, dict]] = [
            (f"for {k} in range({self.r.randint(1, 4)}):", {k: INT}),
            (f"for {k} in range({self.r.randint(0, 2)}, {self.r.randint(2, 5)}, 2):", {k: INT}),
            (f"for {k} in range(min(({self.expression(INT, 1)}), 5)):", {k: INT}),
        ]
        items = self.a(lambda t: isinstance(t, Items))
        if items:
            element = self.type_of(items).element
            heads += [(f"for {v} in {items}:", {v: element}),
                      (f"for {k}, {v} in enumerate({items}):", {k: INT, v: element}),
                      (f"for {k}, {v} in zip(range(3), {items}):", {k: INT, v: element})]
        rows = self.a(lambda t: isinstance(t, Tensor) and t.shape != ())
        if rows:
            t = self.type_of(rows)
            heads += [(f"for {v} in {rows}:", {v: Tensor(t.dtype, t.shape[1:])}),
                      (f"for {k} in range({rows}.size(0)):", {k: INT})]
        head, names = self.r.choice(heads)
        steady = self.depth == self.certain and "min(" not in head
        self.certain += steady
        with self.block(head, **names):
            self.fixed |= {k, v, *([items] if items else [])}
            self.loops.append("for")
            self.body()
            self.loops.pop()
            self.fixed.discard(items or "")
        self.certain -= steady
        if not self.loops:
            self.jumps = self.grown = False

    def while_loop(self) -> None:
        k = self.define(INT, "0")
        self.fixed.add(k)
        most = self.r.randint(1, 5)
        head = f"while {k} < {most} and {self.condition(1)}:" if self.chance(0.7) else "while True:"
        with self.block(head):
            self.line(f"{k} += 1")
            if head == "while True:":
                with self.block(f"if {k} > {most}:"):
                    self.line("break")
            self.loops.append("while")
            self.body()
            self.loops.pop()

    def leave_loop(self) -> None:
        if self.grown and not self.chance(GROWING):
            return self.assign()
        self.jumps = True
        with self.block(f"if {self.condition(1)}:"):
            if self.chance(0.3):
                self.statement()
            self.line(self.r.choice(("break", "continue")))

    def leave(self) -> None:
        if self.grown and not self.chance(GROWING):
            return self.assign()
        self.jumps = self.jumps or bool(self.loops)
        with self.block(f"if {self.condition(1)}:"):
            self.returns()
