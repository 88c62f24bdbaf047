"""The attributes that a program has set, after branches that set different ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering.evaluate_prims import get_attribute

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def complete_attributes(ev: Evaluator, container: object, *contents: dict) -> None:
    """Where the container has the attributes that an object was given: an attribute that it, or one
    of its contents after some branch, lacks is what it is in the archive."""
    for obj, attributes in ev.memory.attributes.values():
        if attributes is container:
            for name in dict.fromkeys(n for content in contents for n in content):
                if name not in attributes and name in obj.attributes:
                    attributes[name] = get_attribute(ev, obj, name)
            for content in contents:
                found = {name: content.get(name, value) for name, value in attributes.items()}
                content.clear()
                content.update(found)
