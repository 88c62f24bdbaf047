"""The models of the archives: each function returns a scripted module and the calls to record."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4), nn.Hardswish()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def conv_trace() -> tuple:
    """Convolution, batch norm, depth of modules, residual; the trace carries its example input."""
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), Residual()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    model = nn.Sequential(*layers, *head)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 11, 13)
    return torch.jit.trace(model.eval(), x), [("forward", x)]


def mlp_script() -> tuple:
    """A scripted Sequential, unfrozen: `training` is read at run time."""
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 3), nn.Softmax(-1))
    x = torch.randn(4, 6)
    return torch.jit.script(model.eval()), [("forward", x), ("forward", x[:1])]


def frozen_constants() -> tuple:
    """A frozen module: all weights are in constants.pkl."""
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Tanh()).eval()
    x = torch.randn(2, 3, 9)
    return torch.jit.freeze(torch.jit.script(model)), [("forward", x)]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(12, 4)

    def forward(
        self, x: Tensor, state: Optional[Tuple[Tensor, Tensor]] = None
    ) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:
        y, state = self.lstm(x, state)
        z, _ = self.gru(y)
        return z, state


def recurrent_script() -> tuple:
    """LSTM and GRU: overloads forward__0, Optional and nested tuple arguments."""
    x, state = torch.randn(2, 3, 5), (torch.randn(4, 2, 6), torch.randn(4, 2, 6))
    return torch.jit.script(Recurrent().eval()), [("forward", x, None), ("forward", x, state)]


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.layers(self.embedding(ids), src_key_padding_mask=mask)


def transformer_trace() -> tuple:
    """Embedding, attention with a padding mask, layer norm; traced with gradients enabled."""
    ids = torch.randint(0, 20, (2, 7))
    mask = torch.arange(7).expand(2, 7) >= torch.tensor([[7], [5]])
    traced = torch.jit.trace(Encoder().eval(), (ids, mask), check_trace=False)
    return traced, [("forward", ids, mask)]


class Control(nn.Module):
    def forward(self, x: Tensor, n: int, names: Dict[str, int]) -> Tuple[Tensor, List[int], str]:
        seen: List[int] = []
        for i in range(n):
            if i % 2 == 1:
                continue
            if i > 6:
                break
            if bool(x.sum() > 0):
                x = x - i
            else:
                x = x * 0.5 + 1
            seen.append(i)
        while float(x.abs().max()) > 2.0:
            x = x / 2
        for key, value in names.items():
            if key == "scale":
                x = x * value
        assert x.dim() == 2, "two dims are expected"
        return x, seen, "{} rows".format(x.size(0))


def control_script() -> tuple:
    """for, while, break, continue, an if on a tensor's value, dict, list, string, assert."""
    x = torch.randn(3, 4)
    names = {"other": 5, "scale": 3}
    return torch.jit.script(Control()), [
        ("forward", x, 5, names),
        ("forward", -x, 12, {"other": 1}),
    ]


class Counter(nn.Module):
    total: Tensor
    count: int

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.total += x.sum(0)
        return self.total / self.count

    @torch.jit.export
    def reset(self) -> int:
        count = self.count
        self.count = 0
        self.total.zero_()
        return count


def stateful_script() -> tuple:
    """A buffer and an int that calls change; two methods."""
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    calls = [("forward", a), ("forward", b), ("reset",), ("forward", b)]
    return torch.jit.script(Counter()), calls


class Pair(NamedTuple):
    first: Tensor
    second: Optional[Tensor]


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(24, dtype=torch.float32)
        self.register_buffer("strided", base[1::2].reshape(3, 4).t())
        self.register_buffer("expanded", torch.tensor([1.0, 2.0]).unsqueeze(1).expand(2, 3))
        self.register_buffer("same", self.strided)
        for dtype in ("float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8"):
            self.register_buffer("v_" + dtype, torch.tensor([1, 2, 3]).to(getattr(torch, dtype)))
        self.register_buffer("v_bool", torch.tensor([True, False, True]))

    def forward(self, x: Tensor) -> Tuple[Pair, List[Tensor]]:
        y = x.clone()
        y[:, 1:3] += self.strided[:2, :2]
        y[0] = 7.0
        sums = [
            self.v_float64 + self.v_int64,
            self.v_float16 * 2,
            self.v_bfloat16 + self.v_bfloat16,
            self.v_int8 + self.v_int16,
            self.v_int32 // 2,
            self.v_uint8 - 2,
            self.v_bool & (self.v_int64 > 1),
            self.v_int64 / 2,
            torch.div(self.v_int32, 2, rounding_mode="trunc"),
            self.expanded.sum(0),
            self.same.view(-1) if self.same.is_contiguous() else self.same.reshape(-1),
        ]
        return Pair(y, None), sums


def dtypes_script() -> tuple:
    """Every storage dtype, shared and strided storages, promotion, slices written in place."""
    return torch.jit.script(Views()), [("forward", torch.randn(2, 4))]


def cell(x: Tensor, h: Tensor) -> Tensor:
    if bool(x.sum() > 0):
        return torch.tanh(x + h)
    return torch.tanh(x - h)


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, xs: Tensor) -> Tuple[Tensor, Tensor]:
        h = torch.zeros(3, 4)
        y = torch.zeros(3, 4)
        for i in range(xs.size(0)):
            y = cell(self.linear(xs[i]), h)
            h = y
        return y, h


def loop_script() -> tuple:
    """A loop over the first size with a data-dependent branch: it stays a loop when compiled."""
    return torch.jit.script(Loop()), [("forward", torch.randn(9, 3, 4))]


class Pieces(nn.Module):
    def forward(self, x: Tensor, index: Tensor) -> Dict[str, Tensor]:
        values, order = torch.topk(x, 3, dim=1)
        a, b = x.chunk(2, dim=1)
        return {
            "topk": values + order,
            "cat": torch.cat([b, a], 1).cumsum(1),
            "gather": x.gather(1, index),
            "where": torch.where(x > 0, x, x.exp()),
            "std": x.std(dim=0, unbiased=True),
            "sort": torch.sort(x, dim=1, descending=True)[0],
            "einsum": torch.einsum("ij,kj->ik", x, x),
            "interpolated": nn.functional.interpolate(x[None], scale_factor=2.0, mode="linear"),
            "padded": nn.functional.pad(x, [1, 2], value=0.5),
            "normed": nn.functional.layer_norm(x, [6]),
            "clamped": x.clamp(-0.5, 0.5).argmax(1).to(torch.int32),
        }


def pieces_script() -> tuple:
    """A dict of results of operators of every family."""
    return torch.jit.script(Pieces()), [("forward", torch.randn(4, 6), torch.randint(0, 6, (4, 2)))]


ALL = (
    conv_trace,
    mlp_script,
    frozen_constants,
    recurrent_script,
    transformer_trace,
    control_script,
    stateful_script,
    dtypes_script,
    loop_script,
    pieces_script,
)
