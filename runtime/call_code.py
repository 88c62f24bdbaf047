"""The Python function that calls one method, written for its signature like a namedtuple's class.

For one input and one output of fixed sizes it is

    def call(x0):
        if not (type(x0) is ndarray and x0.dtype is t0 and x0.shape == s0
                and (flags := x0.flags).c_contiguous and flags.aligned):
            x0 = fit0(x0)
        y0 = empty(z0, r0)
        instance = acquire()
        try:
            frame = instance.frames[index] or make_frame(instance)
            c0, c1 = frame.cells
            c0.value = words[(id(x0) >> 3) + header]
            c1.value = words[(id(y0) >> 3) + header]
            status = run(*frame.addresses)
            if status:
                raise failure(instance, status, name)
        finally:
            release(instance)
        return y0

which takes 1.1 microseconds more than the C call; loops over the values take half as long again.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator

import numpy as np

from runtime.description import MethodDescription, ValueInfo
from runtime.structure import Constant, Leaf, Structure, complex_numbers, leaf_count

_FITS = ("type({x}) is ndarray and {x}.dtype is t{k} and {x}.shape == s{k} "
         "and (flags := {x}.flags).c_contiguous and flags.aligned")


def call_function(method: MethodDescription, results: Structure, address: str,
                  names: dict[str, Any]) -> Callable[..., Any]:
    """The function. It takes the flat list of the inputs as its arguments.

    results: how the outputs make up its result; address: an expression of {x}, the address of an
    array's data. names: what the text refers to beside what is added here, by name: acquire,
    release, failure, make_frame, run, index, name; fit0, fit1, ... for the inputs; learn(inputs) ->
    sizes and concrete(shape, sizes) where there are named dims; copied(frame, output) where the
    model makes an output; put_back(given, input, output) where the program writes an input; what
    `address` names."""
    names = {"ndarray": np.ndarray, "empty": np.empty, **names}
    named_dims = any(_named(v) for v in method.inputs + method.outputs)
    inputs = [f"x{k}" for k in range(len(method.inputs))]
    outputs = [f"y{k}" for k in range(len(method.outputs))]
    # Inputs that the program writes, by the outputs that have what it leaves in them.
    places = {info.name: x for x, info in zip(inputs, method.inputs)}
    written = {y: places[info.name] for y, info in zip(outputs, method.outputs)
               if outputs.index(y) >= leaf_count(results)}
    lines = [f"given_{x} = {x}" for x in written.values()]
    for k, (x, info) in enumerate(zip(inputs, method.inputs)):
        if info.kind == "tensor":
            names[f"t{k}"], names[f"s{k}"] = info.dtype.storage, info.shape
            lines.append(f"if not ({_FITS.format(x=x, k=k)}):")
            lines.append(f"    {x} = fit{k}({x})")
        else:
            lines.append(f"{x} = fit{k}({x})")
    if named_dims:
        lines.append(f"sizes = learn({_tuple(inputs)})")
    for k, (y, info) in enumerate(zip(outputs, method.outputs)):
        if info.kind == "tensor" and not info.made:
            names[f"z{k}"], names[f"r{k}"] = info.shape, info.dtype.storage
            shape = f"concrete(z{k}, sizes)" if _named(info) else f"z{k}"
            lines.append(f"{y} = empty({shape}, r{k})")

    # The instance last, so that nothing but the call itself holds it.
    lines += ["instance = acquire()", "try:",
              "    frame = instance.frames[index] or make_frame(instance)"]
    cells = [f"c{k}" for k in range(len(inputs + outputs))]
    if cells:
        lines.append(f"    {_tuple(cells)} = frame.cells")
    for c, x, info in zip(cells, inputs + outputs, method.inputs + method.outputs):
        if info.kind == "tensor" and not info.made:
            lines.append(f"    {c}.value = {address.format(x=x)}")
        elif x in inputs:
            lines.append(f"    {c}.value = {x}")
    if named_dims:
        lines += ["    for shape, info in frame.shapes:",
                  "        shape[:] = concrete(info.shape, sizes)"]
    lines += ["    status = run(*frame.addresses)",
              "    if status:",
              "        raise failure(instance, status, name)"]
    for k, (y, info) in enumerate(zip(outputs, method.outputs)):
        if info.made:
            lines.append(f"    {y} = copied(frame, {k})")
        elif info.kind == "str":
            lines.append(f"    {y} = c{len(inputs) + k}.value.decode('utf-8', 'surrogatepass')")
        elif info.kind != "tensor":
            lines.append(f"    {y} = c{len(inputs) + k}.value")
    lines += [f"    put_back(given_{x}, {x}, {y})" for y, x in written.items()]
    lines += ["finally:", "    release(instance)",
              f"return {_expression(results, iter(outputs), names)}"]
    text = "\n    ".join([f"def call({', '.join(inputs)}):", *lines])
    exec(compile(text, f"<call of {method.name}>", "exec"), names)
    return names.pop("call")  # or the two would keep each other alive


def _expression(results: Structure, outputs: Iterator[str], names: dict[str, Any]) -> str:
    """Python's expression for a structure of the next outputs."""
    if isinstance(results, Leaf):
        forms = {"L": "{}.tolist()", "R": "list({})", "C": "complex_numbers({})"}
        names["complex_numbers"] = complex_numbers
        return forms.get(results.kind, "{}").format(next(outputs))
    if isinstance(results, Constant):
        return repr(results.value)
    there = next(outputs) if results.kind == "optional" else ""
    items = [_expression(item, outputs, names) for item in results.items]
    if there:
        return f"({items[0]} if {there} else None)"
    if results.kind == "list":
        return f"[{', '.join(items)}]"
    if results.kind == "dict":
        pairs = (f"{key!r}: {item}" for key, item in zip(results.keys, items))
        return f"{{{', '.join(pairs)}}}"
    if results.kind == "named":
        made = f"tuple{len(names)}"  # its class, under a name that nothing has
        names[made] = results.type
        return f"{made}({', '.join(items)})"
    return _tuple(items)


def _named(info: ValueInfo) -> bool:
    return not info.made and any(size < 0 for size in info.shape)


def _tuple(names: list[str]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"
