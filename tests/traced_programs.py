"""Programs to trace, by name, written for `t`, which is aot or torch."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def functions(t: ModuleType) -> dict[str, Any]:
    """Functions of one tensor of shape (3, 4)."""
    one = t.ones(3, 4)
    small = t.tensor([1.5, 2.0, 3.0, 4.0])

    def chain(x):
        y = t.relu(x + 1)
        return y + 1.5

    def write(x):
        z = x.clone()
        z[0] = 1.0
        z[:, 1] = x[:, 0]
        return z

    def loop(x, n=3):
        for _ in range(n):
            x = t.tanh(x)
        return x

    return {
        "add": lambda x: x + 1,
        "chain": chain,
        "size in view": lambda x: x.view(x.size(0), -1),
        "size from the end": lambda x: x.view(-1, x.size(-1), 1),
        "shape arithmetic": lambda x: x.view(x.shape[0] * 2, -1) * x.shape[1],
        "cat": lambda x: t.cat([x, x * 2], 0),
        "split": lambda x: x.split(2, 1)[1],
        "max": lambda x: t.max(x, 1),
        "zeros": lambda x: x + t.zeros(3, 4),
        "large constant": lambda x: x + one,
        "small constant": lambda x: x + small,
        "in place": lambda x: x.clone().add_(1).mul_(2),
        "select, slice": lambda x: x[0, 1:],
        "None index": lambda x: x[:, None],
        "tensor index": lambda x: x[t.tensor([0, 1])],
        "write": write,
        "to": lambda x: x.to(t.float64).float(),
        "unused": lambda x: (x * 3, x + 2)[1],
        "nested tuple": lambda x: ((x, x + 1), x * 2),
        "list": lambda x: [x, x + 1],
        "itself": lambda x: x,
        "loop": loop,
        "gate": lambda x: x if x.sum() > 0 else -x,
        "len": lambda x: x * len(x),
        "rows": lambda x: sum(row for row in x),
        "where": lambda x: t.where(x > 0.5, x, 0.0),
        "softmax": lambda x: x.softmax(-1),
        "mean": lambda x: x.mean(1, keepdim=True),
        "sum of dims": lambda x: x.sum(dim=(0, 1)),
        "permute": lambda x: x.permute(1, 0).contiguous().reshape(-1),
        "transpose": lambda x: x.t() @ x.T.t(),
        "matmul": lambda x: t.matmul(x, x.transpose(0, 1)),
        "power": lambda x: x ** 2 - 1 / x,
        "from the right": lambda x: 1 - x,
        "expand": lambda x: x[:, None].expand(-1, 2, -1),
        "masked_fill": lambda x: x.masked_fill(x > 0.5, 0.0),
        "full": lambda x: x + t.full((3, 4), 2.0),
        "arange": lambda x: x + t.arange(x.size(1)),
        "like": lambda x: t.zeros_like(x) + x.new_zeros(3, 4),
        "numel": lambda x: x / x.numel(),
        "dim": lambda x: x * x.dim() * x.shape[-1],
        "detach": lambda x: x.clone().detach(),
        "type_as": lambda x: (x > 0.5).float().type_as(x),
        "clamp": lambda x: x.clamp(0, 1).clamp(min=0.5),
        "exp, log": lambda x: t.log(t.exp(x) + 1).sqrt(),
        "comparison": lambda x: (x == 1) | (x < 0.5) & (x >= 0),
        "stack": lambda x: t.stack([x, x, x], dim=1),
        "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
        "tensor scalar": lambda x: x + t.tensor(2.5),
        "dropout": lambda x: t.nn.functional.dropout(x, 0.5, False),
        "gelu": lambda x: t.nn.functional.gelu(x),
        "sigmoid": lambda x: t.sigmoid(x) * x,
        "cumsum": lambda x: x.cumsum(1),
        "argmax": lambda x: x.argmax(dim=1),
        "abs, neg": lambda x: (-x).abs(),
        "outer": lambda x: x[0].outer(x[1]),
        "topk": lambda x: x.topk(2, dim=1),
        "sort": lambda x: x.sort(dim=1)[0],
        "gather": lambda x: x.gather(1, t.zeros(3, 1, dtype=t.int64)),
        "einsum": lambda x: t.einsum("ij,kj->ik", x, x),
        "cross_entropy": lambda x: t.nn.functional.cross_entropy(x, t.tensor([1, 2, 0])),
        "attention": lambda x: t.nn.functional.scaled_dot_product_attention(x, x, x),
        "pad": lambda x: t.nn.functional.pad(x, (1, 1)),
        "normalize": lambda x: t.nn.functional.normalize(x, dim=1),
        "tril, triu": lambda x: x.tril() + t.triu(t.ones(3, 4)),
        "mask index": lambda x: x[x > 0.5],
        "all": lambda x: (x > 0).all(),
        "flip, roll": lambda x: x.flip(0).roll(1, 0),
        "repeat": lambda x: x.repeat(2, 1),
        "addmm": lambda x: t.addmm(x, x, t.ones(4, 4)),
        "linspace": lambda x: t.linspace(0, 1, 4) * x,
        "eye": lambda x: t.eye(4) @ x.t(),
        "integers": lambda x: (x * 10).long() // 3 % 2,
        "not": lambda x: ~(x > 0),
        "index_select": lambda x: x.index_select(1, t.tensor([0, 2])),
        "lerp": lambda x: t.lerp(x, x * 2, 0.5) + t.addcmul(x, x, x),
        "minimum": lambda x: t.min(x, t.max(x, x * 0.5)) + x.amax(1, keepdim=True),
        "log_softmax": lambda x: t.nn.functional.log_softmax(x, dim=1),
    }


def modules(t: ModuleType) -> dict[str, tuple[Any, tuple]]:
    """Modules, each with its example inputs."""
    nn = t.nn

    class Cell(nn.Module):
        def __init__(self, gate=None):
            super().__init__()
            self.gate = gate if gate is not None else nn.Identity()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, h):
            new_h = t.tanh(self.gate(self.linear(x)) + h)
            return new_h, new_h

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 4)
            self.p = nn.Parameter(t.rand(4))
            self.unused = nn.ReLU()
            self.register_buffer("b", t.ones(4))

        def forward(self, x):
            y = self.l(x) * self.p
            z = self.l(y + 1)
            return z + self.b + self.p

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 4)
            self.b = nn.BatchNorm1d(4)

        def forward(self, a, b=None, k=3):
            return self.l(a) + k, self.b(a)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.i = Inner()
            self.l2 = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, x):
            a, b = self.i(x, k=4)
            for layer in self.l2:
                a = layer(a)
            w = self.i.l.weight.sum()
            return a + b + w

    class Idle(nn.Module):
        """Calls a module whose result nobody reads."""

        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 4, bias=False)
            self.m = nn.Linear(4, 4)

        def forward(self, x):
            self.l(x)
            return self.m(x)

    class Containers(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 4)

        def forward(self, x):
            h = self.l(x)
            return (h * 2, [h, x], {"a": h})

    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.i = Containers()

        def forward(self, x):
            a, b, c = self.i(x)
            return c["a"] + b[0], a

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4)))

        def forward(self, x):
            return self.a(x) * 2

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = self.a

        def forward(self, x):
            return self.b(self.a(x))

    class Hooked(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 4)
            self.l.register_forward_hook(lambda module, args, output: output * 2)

        def forward(self, x):
            return self.l(x) + 1

    class Gate(nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            else:
                return -x

    class Nested(nn.Module):
        def forward(self, pair, more):
            return pair[0] + pair[1] + more["k"]

    class Loop(nn.Module):
        def __init__(self, x, h):
            super().__init__()
            self.cell = t.jit.trace(Cell(t.jit.script(Gate())), (x, h))

        def forward(self, xs):
            h, y = t.zeros(3, 4), t.zeros(3, 4)
            for i in range(xs.size(0)):
                y, h = self.cell(xs[i], h)
            return y, h

    class Wrap(nn.Module):
        def __init__(self, loop):
            super().__init__()
            self.loop = loop

        def forward(self, xs):
            y, h = self.loop(xs)
            return t.relu(y)

    t.manual_seed(0)
    x, h = t.rand(3, 4), t.rand(3, 4)
    image = t.rand(1, 3, 8, 8)
    sequence = t.rand(2, 5, 8)
    return {
        "cell": (Cell(), (x, h)),
        "the same tensor twice": (Cell(), (x, x)),
        "Sequential": (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), (x,)),
        "a module twice": (Twice(), (x,)),
        "modules in modules": (Outer().eval(), (x,)),
        "an idle module": (Idle(), (x,)),
        "several results": (Several(), (x,)),
        "deep": (Deep(), (x,)),
        "tied weights": (Tied(), (x,)),
        "a module with two names": (Shared(), (x,)),
        "a hook": (Hooked(), (x,)),
        "a gate": (Cell(Gate()), (x, h)),
        "a scripted gate": (Cell(t.jit.script(Gate())), (x, h)),
        "a scripted loop": (Wrap(t.jit.script(Loop(x, h))), (t.rand(10, 3, 4),)),
        "a traced module": (nn.Sequential(t.jit.trace(nn.Linear(4, 4), x), nn.ReLU()), (x,)),
        "tuples and dicts": (Nested(), ((x, h), {"k": x + h})),
        "Identity": (nn.Identity(), (x,)),
        "Conv2d": (nn.Conv2d(3, 4, 3, padding=1), (image,)),
        "Conv1d": (nn.Conv1d(5, 4, 3, stride=2, bias=False), (sequence,)),
        "ConvTranspose2d": (nn.ConvTranspose2d(3, 4, 2, stride=2), (image,)),
        "BatchNorm2d": (nn.BatchNorm2d(3).eval(), (image,)),
        "MaxPool2d": (nn.MaxPool2d(2), (image,)),
        "AvgPool2d": (nn.AvgPool2d(2), (image,)),
        "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((1, 1)), (image,)),
        "Flatten": (nn.Flatten(), (image,)),
        "LayerNorm": (nn.LayerNorm(4), (x,)),
        "GroupNorm": (nn.GroupNorm(1, 3), (image,)),
        "Embedding": (nn.Embedding(5, 3), (t.tensor([1, 2]),)),
        "Dropout": (nn.Dropout(0.5).eval(), (x,)),
        "GELU": (nn.GELU(), (x,)),
        "SiLU": (nn.SiLU(), (x,)),
        "LeakyReLU": (nn.LeakyReLU(0.1), (x,)),
        "ELU": (nn.ELU(), (x,)),
        "Softmax": (nn.Softmax(dim=-1), (x,)),
        "Hardswish": (nn.Hardswish(), (x,)),
        "Sigmoid": (nn.Sigmoid(), (x,)),
        "Upsample": (nn.Upsample(scale_factor=2, mode="nearest"), (image,)),
        "ZeroPad2d": (nn.ZeroPad2d(1), (image,)),
        "LSTM": (nn.LSTM(8, 4), (sequence,)),
        "GRU": (nn.GRU(8, 4), (sequence,)),
        "MultiheadAttention": (nn.MultiheadAttention(8, 2), (sequence, sequence + 1, sequence + 2)),
        "Bilinear": (nn.Bilinear(4, 4, 2), (x, h)),
        "CosineSimilarity": (nn.CosineSimilarity(), (x, h)),
        "PReLU": (nn.PReLU(), (x,)),
        "PixelShuffle": (nn.PixelShuffle(2), (t.rand(1, 4, 2, 2),)),
        "Unfold": (nn.Unfold(2), (image,)),
        "InstanceNorm2d": (nn.InstanceNorm2d(3), (image,)),
        "a small network": (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(36, 2)).eval(), (image,)),
    }
