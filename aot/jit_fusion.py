"""The switches of fusion, under the names that PyTorch gives its own.

They govern the code that calls of scripted and traced functions compile to (aot/jit_call.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

# The tensor passes that merge one operation into another.
FUSION_PASSES = frozenset(("fuse",))


@dataclass
class _Settings:
    fuse: bool = True
    # (kind, how many compilations) as set_fusion_strategy has them.
    strategy: list[tuple[str, int]] = field(
        default_factory=lambda: [("STATIC", 2), ("DYNAMIC", 10)])


_settings = _Settings()
_strict = threading.local()


def enable_onednn_fusion(enabled: bool) -> None:
    """Switch fusion on or off for what is compiled from now on. It is on at first; without it each
    operator is a loop of its own."""
    _settings.fuse = bool(enabled)


def onednn_fusion_enabled() -> bool:
    """Whether operators are fused."""
    return _settings.fuse


def passes_left_out() -> frozenset[str]:
    """The passes that compilation leaves out."""
    return frozenset() if _settings.fuse else FUSION_PASSES


def set_fusion_strategy(strategy: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Set how often a function is compiled for arguments of new shapes; returns what was set.

    `strategy` is a list of ("STATIC" or "DYNAMIC", number). Code here is always of static shapes:
    the numbers' sum is what counts. Arguments of further shapes are interpreted. ValueError for
    other words or negative numbers.
    """
    for kind, depth in strategy:
        if kind not in ("STATIC", "DYNAMIC") or depth < 0:
            raise ValueError(f"expected ('STATIC' or 'DYNAMIC', number), found {(kind, depth)}")
    before, _settings.strategy = _settings.strategy, list(strategy)
    return before


def most_shapes() -> int:
    """For how many shapes of arguments a function is compiled."""
    return sum(depth for _, depth in _settings.strategy)


class strict_fusion:
    """`with strict_fusion():` a scripted or traced function that does not run as compiled, fused
    code raises CompileError, with the reason, instead of running in the interpreter."""

    def __enter__(self) -> strict_fusion:
        _strict.depth = getattr(_strict, "depth", 0) + 1
        return self

    def __exit__(self, *error: Any) -> None:
        _strict.depth -= 1


def is_strict() -> bool:
    """Whether the thread is inside `strict_fusion`."""
    return getattr(_strict, "depth", 0) > 0
