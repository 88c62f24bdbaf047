"""The introduction to TorchScript, listing by listing, with what the page shows below each.

The numbers are those of the page, digit for digit; the texts are its `.graph`, `.code` and module
printings, with the words restored that its extraction dropped.
"""

from __future__ import annotations

from pathlib import Path

from tests.listings import run_listings

# A listing and what it prints.
PAGE: list[tuple[str, str]] = [
    (
        """\
torch.manual_seed(191009)

class MyCell(torch.nn.Module):
    def __init__(self):
        super(MyCell, self).__init__()

    def forward(self, x, h):
        new_h = torch.tanh(x + h)
        return new_h, new_h

# The page's first cell had been run once before: its draws are the second ones.
x, h = torch.rand(3, 4), torch.rand(3, 4)
my_cell = MyCell()
x = torch.rand(3, 4)
h = torch.rand(3, 4)
print(my_cell(x, h))
""",
        """\
(tensor([[0.8951, 0.9477, 0.8354, 0.7361],
        [0.8297, 0.7231, 0.8003, 0.8989],
        [0.7820, 0.6564, 0.7702, 0.2425]]), tensor([[0.8951, 0.9477, 0.8354, 0.7361],
        [0.8297, 0.7231, 0.8003, 0.8989],
        [0.7820, 0.6564, 0.7702, 0.2425]]))
""",
    ),
    (
        """\
class MyCell(torch.nn.Module):
    def __init__(self):
        super(MyCell, self).__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x, h):
        new_h = torch.tanh(self.linear(x) + h)
        return new_h, new_h

my_cell = MyCell()
print(my_cell)
print(my_cell(x, h))
""",
        """\
MyCell(
  (linear): Linear(in_features=4, out_features=4, bias=True)
)
(tensor([[-0.0523,  0.7750,  0.1299,  0.7710],
        [-0.0793,  0.3363, -0.1186,  0.6945],
        [-0.0596,  0.4099,  0.3653,  0.3728]], grad_fn=<TanhBackward0>), tensor([[-0.0523, \
 0.7750,  0.1299,  0.7710],
        [-0.0793,  0.3363, -0.1186,  0.6945],
        [-0.0596,  0.4099,  0.3653,  0.3728]], grad_fn=<TanhBackward0>))
""",
    ),
    (
        """\
class MyDecisionGate(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        else:
            return -x

class MyCell(torch.nn.Module):
    def __init__(self):
        super(MyCell, self).__init__()
        self.dg = MyDecisionGate()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x, h):
        new_h = torch.tanh(self.dg(self.linear(x)) + h)
        return new_h, new_h

my_cell = MyCell()
print(my_cell)
print(my_cell(x, h))
""",
        """\
MyCell(
  (dg): MyDecisionGate()
  (linear): Linear(in_features=4, out_features=4, bias=True)
)
(tensor([[0.5886, 0.6279, 0.6672, 0.8669],
        [0.6514, 0.0418, 0.6567, 0.6881],
        [0.4862, 0.2474, 0.6690, 0.5180]], grad_fn=<TanhBackward0>), tensor([[0.5886, 0.6279, \
0.6672, 0.8669],
        [0.6514, 0.0418, 0.6567, 0.6881],
        [0.4862, 0.2474, 0.6690, 0.5180]], grad_fn=<TanhBackward0>))
""",
    ),
    (
        """\
class MyCell(torch.nn.Module):
    def __init__(self):
        super(MyCell, self).__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x, h):
        new_h = torch.tanh(self.linear(x) + h)
        return new_h, new_h

my_cell = MyCell()
x, h = torch.rand(3, 4), torch.rand(3, 4)
traced_cell = torch.jit.trace(my_cell, (x, h))
print(traced_cell)
print(traced_cell(x, h))
""",
        """\
MyCell(
  original_name=MyCell
  (linear): Linear(original_name=Linear)
)
(tensor([[ 0.4021,  0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>), tensor([[ 0.4021, \
 0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>))
""",
    ),
    (
        """\
print(traced_cell.graph)
""",
        """\
graph(%self.1 : __torch__.MyCell,
      %x : Float(3, 4, strides=[4, 1], requires_grad=0, device=cpu),
      %h : Float(3, 4, strides=[4, 1], requires_grad=0, device=cpu)):
  %linear : __torch__.torch.nn.modules.linear.Linear = prim::GetAttr[name="linear"](%self.1)
  %20 : Tensor = prim::CallMethod[name="forward"](%linear, %x)
  %11 : int = prim::Constant[value=1]()
  %12 : Float(3, 4, strides=[4, 1], requires_grad=1, device=cpu) = aten::add(%20, %h, %11)
  %13 : Float(3, 4, strides=[4, 1], requires_grad=1, device=cpu) = aten::tanh(%12)
  %14 : (Float(3, 4, strides=[4, 1], requires_grad=1, device=cpu), Float(3, 4, strides=[4, 1], \
requires_grad=1, device=cpu)) = prim::TupleConstruct(%13, %13)
  return (%14)

""",
    ),
    (
        """\
print(traced_cell.code)
""",
        """\
def forward(self,
    x: Tensor,
    h: Tensor) -> Tuple[Tensor, Tensor]:
  linear = self.linear
  _0 = torch.tanh(torch.add((linear).forward(x, ), h))
  return (_0, _0)

""",
    ),
    (
        """\
print(my_cell(x, h))
print(traced_cell(x, h))
""",
        """\
(tensor([[ 0.4021,  0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>), tensor([[ 0.4021, \
 0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>))
(tensor([[ 0.4021,  0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>), tensor([[ 0.4021, \
 0.7634,  0.6591, -0.3496],
        [ 0.7640,  0.6614,  0.2497, -0.1470],
        [ 0.4033,  0.2158,  0.3466, -0.4910]], grad_fn=<TanhBackward0>))
""",
    ),
    (
        """\
class MyDecisionGate(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        else:
            return -x

class MyCell(torch.nn.Module):
    def __init__(self, dg):
        super(MyCell, self).__init__()
        self.dg = dg
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x, h):
        new_h = torch.tanh(self.dg(self.linear(x)) + h)
        return new_h, new_h

my_cell = MyCell(MyDecisionGate())
traced_cell = torch.jit.trace(my_cell, (x, h))

print(traced_cell.dg.code)
print(traced_cell.code)
""",
        """\
def forward(self,
    argument_1: Tensor) -> Tensor:
  return torch.neg(argument_1)

def forward(self,
    x: Tensor,
    h: Tensor) -> Tuple[Tensor, Tensor]:
  dg = self.dg
  linear = self.linear
  _0 = torch.add((dg).forward((linear).forward(x, ), ), h)
  _1 = torch.tanh(_0)
  return (_1, _1)

""",
    ),
    (
        """\
scripted_gate = torch.jit.script(MyDecisionGate())

my_cell = MyCell(scripted_gate)
scripted_cell = torch.jit.script(my_cell)

print(scripted_gate.code)
print(scripted_cell.code)
""",
        """\
def forward(self,
    x: Tensor) -> Tensor:
  if bool(torch.gt(torch.sum(x), 0)):
    _0 = x
  else:
    _0 = torch.neg(x)
  return _0

def forward(self,
    x: Tensor,
    h: Tensor) -> Tuple[Tensor, Tensor]:
  dg = self.dg
  linear = self.linear
  _0 = torch.add((dg).forward((linear).forward(x, ), ), h)
  new_h = torch.tanh(_0)
  return (new_h, new_h)

""",
    ),
    (
        """\
# New inputs
x, h = torch.rand(3, 4), torch.rand(3, 4)
print(scripted_cell(x, h))
""",
        """\
(tensor([[0.1675, 0.9159, 0.5259, 0.8139],
        [0.8376, 0.9887, 0.7665, 0.7780],
        [0.4424, 0.9728, 0.6343, 0.8376]], grad_fn=<TanhBackward0>), tensor([[0.1675, 0.9159, \
0.5259, 0.8139],
        [0.8376, 0.9887, 0.7665, 0.7780],
        [0.4424, 0.9728, 0.6343, 0.8376]], grad_fn=<TanhBackward0>))
""",
    ),
    (
        """\
class MyRNNLoop(torch.nn.Module):
    def __init__(self):
        super(MyRNNLoop, self).__init__()
        self.cell = torch.jit.trace(MyCell(scripted_gate), (x, h))

    def forward(self, xs):
        h, y = torch.zeros(3, 4), torch.zeros(3, 4)
        for i in range(xs.size(0)):
            y, h = self.cell(xs[i], h)
        return y, h

rnn_loop = torch.jit.script(MyRNNLoop())
print(rnn_loop.code)
""",
        """\
def forward(self,
    xs: Tensor) -> Tuple[Tensor, Tensor]:
  h = torch.zeros([3, 4])
  y = torch.zeros([3, 4])
  y0 = y
  h0 = h
  for i in range(torch.size(xs, 0)):
    cell = self.cell
    _0 = (cell).forward(torch.select(xs, 0, i), h0, )
    y1, h1, = _0
    y0, h0 = y1, h1
  return (y0, h0)

""",
    ),
    (
        """\
class WrapRNN(torch.nn.Module):
    def __init__(self):
        super(WrapRNN, self).__init__()
        self.loop = torch.jit.script(MyRNNLoop())

    def forward(self, xs):
        y, h = self.loop(xs)
        return torch.relu(y)

traced = torch.jit.trace(WrapRNN(), (torch.rand(10, 3, 4)))
print(traced.code)
""",
        """\
def forward(self,
    xs: Tensor) -> Tensor:
  loop = self.loop
  _0, y, = (loop).forward(xs, )
  return torch.relu(y)

""",
    ),
    (
        """\
traced.save("wrapped_rnn.pt")

loaded = torch.jit.load("wrapped_rnn.pt")

print(loaded)
print(loaded.code)
""",
        """\
RecursiveScriptModule(
  original_name=WrapRNN
  (loop): RecursiveScriptModule(
    original_name=MyRNNLoop
    (cell): RecursiveScriptModule(
      original_name=MyCell
      (dg): RecursiveScriptModule(original_name=MyDecisionGate)
      (linear): RecursiveScriptModule(original_name=Linear)
    )
  )
)
def forward(self,
    xs: Tensor) -> Tensor:
  loop = self.loop
  _0, y, = (loop).forward(xs, )
  return torch.relu(y)

""",
    ),
]


def test_the_tutorial(tmp_path: Path) -> None:
    printed, warnings = run_listings([listing for listing, _ in PAGE], tmp_path)
    for (listing, shown), found in zip(PAGE, printed):
        assert found == shown, listing
    assert warnings.count("TracerWarning") == 1
    assert "TracerWarning: Converting a tensor to a Python boolean might cause" in warnings
    assert "  if x.sum() > 0:" in warnings
