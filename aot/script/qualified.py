"""The names that functions and classes of Python have in the program."""

from __future__ import annotations


def qualified_name(obj: object) -> str:
    """`__torch__.module.name`; the main module has no name, this library's modules are torch's."""
    name = getattr(obj, "__name__", None) or type(obj).__name__
    if name == "<lambda>":
        name = "_lambda"
    module = getattr(obj, "__module__", None) or "__main__"
    if module == "__main__":
        return f"__torch__.{name}"
    root, dot, rest = module.partition(".")
    if root == "aot":
        module = "torch" + dot + rest
    return f"__torch__.{module}.{name}"
