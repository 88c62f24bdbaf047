"""Substitution in scalar expressions."""

from __future__ import annotations

from lowering import expr as E


def test_what_folds_away_is_not_substituted_twice() -> None:
    """i0*4 + i2 with (0, i0, i1) for (i0, i1, i2) is i1, though i1 itself stands for i0."""
    e = E.binary("add", E.binary("mul", E.index(0), 4), E.index(2))
    found = E.substitute(e, (E.const(0), E.index(0), E.index(1)))
    assert found == E.index(1)


def test_all_indices_change_at_once() -> None:
    e = E.binary("add", E.binary("mul", E.index(0), 4), E.index(1))
    swapped = E.binary("add", E.binary("mul", E.index(1), 4), E.index(0))
    assert E.substitute(e, (E.index(1), E.index(0))) == swapped
