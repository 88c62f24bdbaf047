"""The other tutorials: tracing and scripting in one program, a module with control flow, saving."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.listings import run_listings

CELL = '''
class MyCell(torch.nn.Module):
    def __init__(self):
        super(MyCell, self).__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, input, h):
        new_h = torch.tanh(self.linear(input) + h)
        return new_h, new_h

my_cell = MyCell()
x, h = torch.rand(3, 4), torch.rand(3, 4)
traced_cell = torch.jit.trace(my_cell, (x, h))
print(traced_cell.code)
'''
CELL_CODE = '''\
def forward(self,
    input: Tensor,
    h: Tensor) -> Tuple[Tensor, Tensor]:
  linear = self.linear
  _0 = torch.add((linear).forward(input, ), h)
  _1 = torch.tanh(_0)
  return (_1, _1)

'''
MODULE = '''
class MyModule(torch.nn.Module):
    def __init__(self, N, M):
        super(MyModule, self).__init__()
        self.weight = torch.nn.Parameter(torch.rand(N, M))

    def forward(self, input):
        if input.sum() > 0:
            output = self.weight.mv(input)
        else:
            output = self.weight + input
        return output

my_module = MyModule(10,20)
sm = torch.jit.script(my_module)
print(sm.code)
ones = torch.ones(20)
print(bool((sm(ones) == my_module(ones)).all()), sm(-ones).shape)
'''
MODULE_CODE = '''\
def forward(self,
    input: Tensor) -> Tensor:
  if bool(torch.gt(torch.sum(input), 0)):
    weight = self.weight
    output = torch.mv(weight, input)
  else:
    weight0 = self.weight
    output = torch.add(weight0, input)
  return output

True torch.Size([10, 20])
'''
SCRIPT_CALLS_TRACE = '''
def foo(x, y):
    return 2 * x + y

traced_foo = torch.jit.trace(foo, (torch.rand(3), torch.rand(3)))

@torch.jit.script
def bar(x):
    return traced_foo(x, x)

print(bar.code)
print(bar(torch.ones(3)))
'''
SCRIPT_CALLS_TRACE_CODE = '''\
def bar(x: Tensor) -> Tensor:
  return __torch__.foo(x, x, )

tensor([3., 3., 3.])
'''
TRACE_CALLS_SCRIPT = '''
@torch.jit.script
def foo(x, y):
    if x.max() > y.max():
        r = x
    else:
        r = y
    return r

def bar(x, y, z):
    return foo(x, y) + z

torch.manual_seed(0)
traced_bar = torch.jit.trace(bar, (torch.rand(3), torch.rand(3), torch.rand(3)))
print(foo.code)
print(traced_bar.code)
a, b = torch.zeros(3), torch.ones(3)
print(traced_bar(a, b, b), traced_bar(b, a, b))
'''
TRACE_CALLS_SCRIPT_CODE = '''\
def foo(x: Tensor,
    y: Tensor) -> Tensor:
  _0 = bool(torch.gt(torch.max(x), torch.max(y)))
  if _0:
    r = x
  else:
    r = y
  return r

def bar(x: Tensor,
    y: Tensor,
    z: Tensor) -> Tensor:
  x0 = __torch__.foo(x, y, )
  return torch.add(x0, z)

tensor([2., 2., 2.]) tensor([2., 2., 2.])
'''
SCRIPT_MODULE = '''
class MyModule(torch.jit.ScriptModule):
    def __init__(self, N, M):
        super(MyModule, self).__init__()
        self.weight = torch.nn.Parameter(torch.rand(N, M))

    @torch.jit.script_method
    def forward(self, input):
        if bool(input.sum() > 0):
            output = self.weight.mv(input)
        else:
            output = self.weight + input
        return output

my_script_module = MyModule(2, 3)
print(my_script_module(torch.ones(3)).shape)
my_script_module.save("model.pt")
loaded = torch.jit.load("model.pt")
print(bool((loaded(torch.ones(3)) == my_script_module(torch.ones(3))).all()))
'''
PAGES = {
    "trace": (CELL, CELL_CODE),
    "script": (MODULE, MODULE_CODE),
    "script calls trace": (SCRIPT_CALLS_TRACE, SCRIPT_CALLS_TRACE_CODE),
    "trace calls script": (TRACE_CALLS_SCRIPT, TRACE_CALLS_SCRIPT_CODE),
    "ScriptModule": (SCRIPT_MODULE, "torch.Size([2])\nTrue\n"),
}


@pytest.mark.parametrize("name", PAGES)
def test_listing(name: str, tmp_path: Path) -> None:
    listing, shown = PAGES[name]
    (printed,), _ = run_listings([listing], tmp_path)
    assert printed == shown
