"""The language of --input."""

from __future__ import annotations

import numpy as np
import pytest

from aot.inputs import (
    ConstantInput,
    DictInput,
    ScalarInput,
    SequenceInput,
    TensorInput,
    input_of_value,
    parse_input,
    parse_inputs,
)
from aot.specs import _hint
from runtime import dtypes
from runtime.errors import InputError

F32_1X2 = TensorInput("", dtypes.f32, (1, 2))
EMPTY = SequenceInput("", "list", ())


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("x:f32[1,3,224,224]", TensorInput("x", dtypes.f32, (1, 3, 224, 224))),
        (" ids : i64[ 1, 128 ] ", TensorInput("ids", dtypes.i64, (1, 128))),
        ("x:float64[]", TensorInput("x", dtypes.f64, ())),
        ("x:bf16[0]", TensorInput("x", dtypes.bf16, (0,))),
        ("mask:bool[4]", TensorInput("mask", dtypes.bool_, (4,))),
        ("n:int", ScalarInput("n", "int")),
        ("s:str", ScalarInput("s", "str")),
        ("f:float", ScalarInput("f", "float")),
        ("flag:bool", ScalarInput("flag", "bool")),
        ("n:int=-5", ConstantInput("n", -5)),
        ("f:float=0.5", ConstantInput("f", 0.5)),
        ("f:float=inf", ConstantInput("f", float("inf"))),
        ("flag:bool=true", ConstantInput("flag", True)),
        ("flag:bool=0", ConstantInput("flag", False)),
        ("s:str=abc", ConstantInput("s", "abc")),
        ("s:str=", ConstantInput("s", "")),
        ("s:str=a[0]=b:c", ConstantInput("s", "a[0]=b:c")),
        ("none", ConstantInput("", None)),
        ("mask:none", ConstantInput("mask", None)),
        ("h:(f32[1,2],int)", SequenceInput("h", "tuple", (F32_1X2, ScalarInput("", "int")))),
        ("h:[ f32[1,2], ]", SequenceInput("h", "list", (F32_1X2,))),
        ("h:[]", SequenceInput("h", "list", ())),
        ("h:([],none)", SequenceInput("h", "tuple", (EMPTY, ConstantInput("", None)))),
    ],
)
def test_parse(spec: str, expected: object) -> None:
    parsed = parse_input(spec)
    assert parsed == expected
    assert parse_input(str(parsed)) == parsed


def test_constants_keep_their_type() -> None:
    kinds = [type(getattr(parse_input(s), "value")) for s in ("n:int=1", "f:float=1", "b:bool=1")]
    assert kinds == [int, float, bool]


@pytest.mark.parametrize(
    "spec, problem",
    [
        ("", "no colon"),
        ("x", "no colon"),
        (":f32[1]", "no identifier"),
        ("1x:f32[1]", "no identifier"),
        ("x:", "unknown type ''"),
        ("x:f32", "needs its shape: write x:f32[DIMS]"),
        ("x:f31[1]", "unknown dtype 'f31'"),
        ("x:float[1]", "f32 is PyTorch's float tensor"),
        ("x:f32[1,-1]", "found '-1'"),
        ("x:f32[1,]", "found ''"),
        ("x:f32[1.5]", "found '1.5'"),
        ("x:f32[N*2,3]", "a dim is a number"),
        ("x:f32[1", "no DTYPE[DIM,DIM,...]"),
        ("x:f32[1]]", "no DTYPE[DIM,DIM,...]"),
        ("x:f32[99999999,99999999]", "at most"),
        ("x:f32[9999999999999999999]", "a dim is a number"),
        ("x:f32[²]", "a dim is a number"),
        ("n:int=5.5", "expected an int, found '5.5'"),
        ("n:int=", "expected an int, found ''"),
        ("n:int=99999999999999999999", "64 bits"),
        ("f:float=x", "expected a float"),
        ("b:bool=yes", "true or false, found 'yes'"),
        ("x:f32=1", "a tensor cannot be given as a constant"),
        ("x:complex=1", "unknown type 'complex'"),
        ("h:(f32[1],int", "not closed"),
        ("h:(f32[1]),int)", "closed that was not opened"),
        ("h:(f32[1)", "a bracket is not closed"),
        ("h:(f32,int)", "needs its shape"),
        ("x:complex", "unknown type 'complex'"),
    ],
)
def test_errors_say_what_is_wrong(spec: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        parse_input(spec)
    assert problem in str(error.value)
    assert f"--input '{spec}'" in str(error.value)


def test_a_name_is_used_once() -> None:
    assert len(parse_inputs(["x:f32[1]", "y:f32[1]", "none", "none"])) == 4
    with pytest.raises(InputError, match="'x' is used 2 times"):
        parse_inputs(["x:f32[1]", "x:f32[1]"])


def test_examples() -> None:
    assert input_of_value(np.zeros((2, 3), np.float16), "x") == TensorInput("x", dtypes.f16, (2, 3))
    assert input_of_value(np.int64(3)) == TensorInput("", dtypes.i64, ())
    state = input_of_value((np.zeros((1, 2), np.float32), [1]), "h")
    assert str(state) == "h:(f32[1,2],[int=1])"
    assert input_of_value({"a": 2}) == DictInput("", ("a",), (ConstantInput("", 2),))
    assert input_of_value(True) == ConstantInput("", True)
    with pytest.raises(InputError, match="complex64"):
        input_of_value(np.zeros(1, np.complex64))
    with pytest.raises(InputError, match="a set"):
        input_of_value({1})


@pytest.mark.parametrize(
    "type_text, hint",
    [
        ("Tensor", "f32[1,3,224,224]"),
        ("int", "int"),
        ("Tensor?", "none"),
        ("int[]", "[int,int]"),
        ("(Tensor, int)", "(f32[1,3,224,224],int)"),
        ("Dict(str, int)", None),
        ("__torch__.State", None),
    ],
)
def test_hints_can_be_typed(type_text: str, hint: str | None) -> None:
    assert _hint(type_text) == hint
    if hint is not None:
        parse_input(f"x:{hint}")
