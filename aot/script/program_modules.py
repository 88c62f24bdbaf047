"""Modules of a program: their attributes, submodules and methods."""

from __future__ import annotations


class Modules:
    """The part of a program that knows modules."""

    def __init__(self) -> None:
        self.properties: dict = {}

    def member(self, type_, name, node, env):
        if name in type_.attributes:
            return type_.attributes[name]
        if (type_, name) in self.properties:
            return self.properties[type_, name]
        if name in type_.methods:
            return type_.methods[name]
        return self.static_method(type_, name)

    def getter(self, type_, name):
        return type_.methods[f"__{name}_getter"]

    def has_setter(self, type_, name):
        return f"__{name}_setter" in type_.methods

    def setter(self, type_, name):
        return type_.methods[f"__{name}_setter"]

    def has_member(self, type_, name) -> bool:
        return name in type_.attributes or name in type_.methods or (type_, name) in self.properties

    def why_missing(self, type_, name) -> str:
        return ""

    def container_of(self, value):
        return None
