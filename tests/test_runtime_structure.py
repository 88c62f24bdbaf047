"""Structures of arguments and results: the texts of aot.h's grammar, and values through them."""

from __future__ import annotations

from collections import namedtuple

import pytest

from runtime.description import MethodDescription, c_identifier, entry_symbols, is_c_identifier
from runtime.dtypes import f32
from runtime.description import ModelDescription, ValueInfo
from runtime.errors import InputError, RuntimeFailure
from runtime.structure import arguments_text, build, flatten, leaf_count, parse, text_of
from llvm_backend.header import header_text


class Leaf(int):
    pass


def is_leaf(value: object) -> bool:
    return isinstance(value, Leaf)


Point = namedtuple("Point", ["x", "y"])
L = [Leaf(i) for i in range(6)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (L[0], "T"),
        (None, "N"),
        ((), "()"),
        ((L[0],), "(T)"),
        ((L[0], L[1]), "(T,T)"),
        ([], "[]"),
        ([L[0], [L[1]], None], "[T,[T],N]"),
        ({}, "{}"),
        ({"out": L[0], "it's": (L[1], "a\\b"), 3: L[2], -4: None},
         r"{'out':T,'it\'s':(T,'a\\b'),3:T,-4:N}"),
        (Point(L[0], [L[1], L[2]]), "Point(x=T,y=[T,T])"),
        ("text with T, N and (brackets]", "'text with T, N and (brackets]'"),
        ("Größe", "'Größe'"),
    ],
)
def test_text_and_value_agree(value: object, text: str) -> None:
    assert text_of(value, is_leaf) == text
    structure = parse(text)
    leaves: list[object] = []
    flatten(structure, value, "x", leaves)
    assert leaves == L[: leaf_count(structure)]
    again = build(structure, iter(leaves))
    assert again == value and type(again).__name__ == type(value).__name__
    if isinstance(value, dict):
        assert list(again) == list(value)


def test_arguments() -> None:
    text = arguments_text({"x": "T", "state": "(T,T)", "mode": "'fast'"})
    assert text == "(x=T,state=(T,T),mode='fast')" and arguments_text({}) == "()"
    structure = parse(text)
    assert structure.kind == "named" and structure.keys == ("x", "state", "mode")
    assert parse(arguments_text({"T": "T", "class": "N", "_x": "T"})).keys == ("T", "class", "_x")


@pytest.mark.parametrize(
    "text",
    ["", "X", "T,T", "T T", "(", ")", "(T", "(T,)", "(,)", "[T)", "{T}", "{'a'}", "{'a':}", "(x=)",
     "(x=T,T)", "(T,x=T)", "(=T)", "'", "'a", "'\\n'", "1", "{1.5:T}", "{x:T}", "P(T)", "P[T]", "P",
     "(x=T", "T)", "é'", " T", "T\n", "{'a':T,}", "(T\0)"],
)
def test_malformed_texts(text: str) -> None:
    with pytest.raises(RuntimeFailure, match="malformed"):
        parse(text)


def test_values_that_do_not_fit() -> None:
    for text, value, message in (
        ("(T,T)", (1,), r"'x': expected a tuple of 2, found 1 items"),
        ("[T]", 1, r"'x': expected a list of 1, found int"),
        ("[T,(T)]", [1, (2, 3)], r"'x\[1\]': expected a tuple of 1, found 2"),
        ("{'a':T}", {"b": 1}, r"'x': expected a dict with keys \['a'\], found \['b'\]"),
        ("{'a':[T]}", {"a": 1}, r"'x\['a'\]': expected a list of 1"),
        ("N", 1, r"'x': expected None, which the model was compiled for, found 1"),
        ("'a'", "b", r"expected 'a'"),
    ):
        with pytest.raises(InputError, match=message):
            flatten(parse(text), value, "x", [])


def test_what_has_no_text() -> None:
    for value in (1.5, {1.5: L[0]}, {True: L[0]}, object()):
        with pytest.raises(TypeError):
            text_of(value, is_leaf)


# ---- Names in C ---------------------------------------------------------------------------------


def test_c_names() -> None:
    assert c_identifier("größe") == "gr_u00f6_u00dfe" and c_identifier("layer.0") == "layer_0"
    assert c_identifier("0") == "_0" and c_identifier("") == "_"
    assert is_c_identifier("a_1") and not is_c_identifier("_a") and not is_c_identifier("1a")
    names = ("forward", "init", "init_", "message", "größe")
    assert entry_symbols("m", names) == [
        "m_forward", "m_init__", "m_init_", "m_message_", "m_gr_u00f6_u00dfe"]
    assert entry_symbols("m", ("f", "f", "f_2", "f")) == ["m_f", "m_f_2_", "m_f_2", "m_f_3"]


def test_parameters_of_any_name() -> None:
    """Words of C, equal names, and texts that would end a comment are all made harmless."""
    names = ("int", "x", "x", "instance", "a.b", "a_b", "linux", "N")
    method = MethodDescription(
        "do*/it", tuple(ValueInfo(n, f32, (2, -1)) for n in names),
        (ValueInfo("x", f32, ()),), "()", "T", dim_names=("N", "*/"),
    )
    model = ModelDescription("m", (method,), 64, producer="a */ b \\")
    header = header_text(model)
    assert header.count("/*") == header.count("*/")
    start = header.index("aot_status m_do__it(")
    prototype = " ".join(header[start : header.index(";", start)].split())
    assert prototype == (
        "aot_status m_do__it(m_instance *instance, const float *int_, const float *x, "
        "const float *x_, const float *instance_, const float *a_b, const float *a_b_, "
        "const float *linux_, const float *N, float *x__, int64_t N_, int64_t __)"
    )
