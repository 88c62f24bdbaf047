"""Named dims: sizes of inputs that each call decides, such as the N of `x:f32[N,3]`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NamedDim:
    """A size of at least `low` and at most `high` (None: any), a multiple of `multiple`. Dims of
    one name are equal in every call."""

    name: str
    low: int = 1
    high: int | None = None
    multiple: int = 1

    def __str__(self) -> str:
        """As --input spells it: 'N', '2<=N<=64', 'H%32==0'."""
        text = self.name
        if self.low != 1:
            text = f"{self.low}<={text}"
        if self.high is not None:
            text = f"{text}<={self.high}"
        if self.multiple == 1:
            return text
        return f"{text}%{self.multiple}==0" if text == self.name else (
            f"{text} and {self.name}%{self.multiple}==0")

    @property
    def rule(self) -> str:
        """'N is from 2 to 64 and a multiple of 8'"""
        found = f"at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"
        if self.multiple != 1:
            found += f" and a multiple of {self.multiple}"
        return f"{self.name} is {found}"

    def allows(self, n: int) -> bool:
        return (self.low <= n and (self.high is None or n <= self.high)
                and n % self.multiple == 0)
