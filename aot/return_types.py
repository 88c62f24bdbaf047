"""Results of operators with several named results: `x.max(0).values`."""

from __future__ import annotations

import functools
import re

_RESULTS = re.compile(r"->\s*\((.*)\)\s*$", re.S)


class _Named(tuple):
    """A tuple whose elements also have names; prints as PyTorch's structured results do."""

    fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = ",\n".join(f"{f}={v!r}" for f, v in zip(self.fields, self))
        return f"torch.return_types.{type(self).__name__}(\n{parts})"


@functools.cache
def return_type(name: str, text: str) -> type | None:
    """The type of the results of the operator with this schema text; None if they have no names."""
    found = _RESULTS.search(text)
    if found is None:
        return None
    parts = [p.split() for p in found.group(1).split(",")]
    if len(parts) < 2 or any(len(p) != 2 for p in parts):
        return None
    fields = tuple(p[1] for p in parts)
    members: dict[str, object] = {"fields": fields}
    for k, field in enumerate(fields):
        members[field] = property(lambda self, k=k: self[k])
    return type(name.rpartition("::")[2], (_Named,), members)
