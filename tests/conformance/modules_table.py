"""torch.nn's modules, traced, with random weights; and the 6 x 384 encoder on 128 tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance.case import Case


def _nn() -> Any:
    from torch import nn

    return nn


def function(f: Callable[..., Any]) -> Any:
    """A module around a function of tensors."""
    import torch

    class Function(torch.nn.Module):
        def forward(self, *values: Any) -> Any:
            return f(*values)

    return Function()


def floats(*shapes: tuple[int, ...]) -> Callable[[], tuple]:
    def make() -> tuple:
        import torch

        return tuple(torch.randn(shape) for shape in shapes)

    return make


def positive(*shape: int) -> Callable[[], tuple]:
    def make() -> tuple:
        import torch

        return (torch.rand(shape) + 0.1,)

    return make


def ids(limit: int, *shape: int) -> Callable[[], tuple]:
    def make() -> tuple:
        import torch

        return (torch.randint(0, limit, shape),)

    return make


def module(name: str, *arguments: Any, **options: Any) -> Callable[[], Any]:
    """A builder of nn.NAME(...) whose norms' statistics and special weights are not trivial."""

    def make() -> Any:
        import torch

        made = getattr(_nn(), name)(*arguments, **options)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            for key, buffer in made.named_buffers():
                if key.endswith("running_mean"):
                    buffer.normal_()
                elif key.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
        return made

    return make


ACTIVATIONS: dict[str, tuple] = {
    "CELU": (), "ELU": (0.7,), "GELU": (), "GLU": (1,), "Hardshrink": (), "Hardsigmoid": (),
    "Hardswish": (), "Hardtanh": (-0.5, 0.8), "LeakyReLU": (0.1,), "LogSigmoid": (),
    "LogSoftmax": (1,), "Mish": (), "PReLU": (6,), "ReLU": (), "ReLU6": (), "RReLU": (),
    "SELU": (), "SiLU": (), "Sigmoid": (), "Softmax": (1,), "Softmax2d": (), "Softmin": (1,),
    "Softplus": (2.0,), "Softshrink": (), "Softsign": (), "Tanh": (), "Tanhshrink": (),
    "Threshold": (0.1, 20.0),
}  # fmt: skip


def activations() -> Iterator[Case]:
    for name, arguments in ACTIVATIONS.items():
        yield Case(name, module(name, *arguments), floats((2, 6, 5, 7)))
    yield Case("GELU tanh", module("GELU", approximate="tanh"), floats((3, 33)))


def norms() -> Iterator[Case]:
    for n, shape in ((1, (3, 6, 9)), (2, (3, 6, 5, 7)), (3, (2, 6, 3, 4, 5))):
        yield Case(f"BatchNorm{n}d", module(f"BatchNorm{n}d", 6), floats(shape))
        yield Case(f"BatchNorm{n}d plain", module(f"BatchNorm{n}d", 6, affine=False), floats(shape))
        yield Case(f"InstanceNorm{n}d", module(f"InstanceNorm{n}d", 6), floats(shape))
        tracked = module(f"InstanceNorm{n}d", 6, affine=True, track_running_stats=True)
        yield Case(f"InstanceNorm{n}d tracked", tracked, floats(shape))
    untracked = module("BatchNorm2d", 6, track_running_stats=False)
    yield Case("BatchNorm2d batch statistics", untracked, floats((3, 6, 5, 7)))
    yield Case("GroupNorm", module("GroupNorm", 3, 6), floats((2, 6, 5, 7)))
    yield Case("LayerNorm", module("LayerNorm", 33), floats((4, 5, 33)))
    yield Case("LayerNorm 2 dims", module("LayerNorm", (5, 33)), floats((4, 5, 33)))
    yield Case(
        "LayerNorm no affine", module("LayerNorm", 7, elementwise_affine=False), floats((4, 7))
    )
    yield Case("RMSNorm", module("RMSNorm", 33), floats((4, 5, 33)))
    yield Case("LocalResponseNorm", module("LocalResponseNorm", 3), floats((2, 6, 5, 7)))


def poolings() -> Iterator[Case]:
    shapes = {1: (2, 4, 19), 2: (2, 4, 13, 17), 3: (2, 3, 7, 8, 9)}
    for n, shape in shapes.items():
        yield Case(f"MaxPool{n}d", module(f"MaxPool{n}d", 3, 2, 1), floats(shape))
        dilated = module(f"MaxPool{n}d", 2, 2, 0, 2, ceil_mode=True)
        yield Case(f"MaxPool{n}d dilated ceil", dilated, floats(shape))
        indices = module(f"MaxPool{n}d", 2, return_indices=True)
        yield Case(f"MaxPool{n}d indices", indices, floats(shape))
        yield Case(f"AvgPool{n}d", module(f"AvgPool{n}d", 3, 2, 1), floats(shape))
        ceil = module(f"AvgPool{n}d", 3, 2, 1, ceil_mode=True, count_include_pad=False)
        yield Case(f"AvgPool{n}d ceil, pads not counted", ceil, floats(shape))
        yield Case(f"AdaptiveAvgPool{n}d 1", module(f"AdaptiveAvgPool{n}d", 1), floats(shape))
        yield Case(f"AdaptiveAvgPool{n}d 5", module(f"AdaptiveAvgPool{n}d", 5), floats(shape))
        yield Case(f"AdaptiveMaxPool{n}d 5", module(f"AdaptiveMaxPool{n}d", 5), floats(shape))
        lp_shape = shape if n < 3 else (2, 3, 6, 6, 6)
        yield Case(f"LPPool{n}d", module(f"LPPool{n}d", 2, 2), _positive_of(lp_shape))
    divided = module("AvgPool2d", 2, divisor_override=3)
    yield Case("AvgPool2d divisor", divided, floats(shapes[2]))
    yield Case("AdaptiveAvgPool2d None", module("AdaptiveAvgPool2d", (None, 3)), floats(shapes[2]))
    yield Case("MaxUnpool2d", _unpool, floats((2, 4, 8, 10)))


def _positive_of(shape: tuple[int, ...]) -> Callable[[], tuple]:
    return positive(*shape)


def _unpool() -> Any:
    import torch.nn.functional as F

    def f(x: Any) -> Any:
        y, where = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(y, where, 2, output_size=(8, 10))

    return function(f)


def convolutions() -> Iterator[Case]:
    sizes = {1: (19,), 2: (13, 11), 3: (6, 7, 8)}
    for n, size in sizes.items():
        x = floats((2, 6, *size))
        options: dict[str, dict[str, Any]] = {
            "1x1": {"kernel_size": 1},
            "3": {"kernel_size": 3, "padding": 1},
            "stride": {"kernel_size": 3, "stride": 2},
            "dilation": {"kernel_size": 3, "dilation": 2, "padding": 2},
            "groups": {"kernel_size": 3, "groups": 3, "bias": False},
            "same": {"kernel_size": 4, "padding": "same"},
            "reflect": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
            "replicate": {"kernel_size": 3, "padding": 2, "padding_mode": "replicate"},
            "circular": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        }
        for kind, option in options.items():
            yield Case(f"Conv{n}d {kind}", module(f"Conv{n}d", 6, 9, **option), x)
        yield Case(f"Conv{n}d depthwise", module(f"Conv{n}d", 6, 12, 3, groups=6), x)
        transposed: dict[str, dict[str, Any]] = {
            "plain": {"kernel_size": 3},
            "stride": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
            "dilation": {"kernel_size": 3, "dilation": 2, "stride": 3},
            "groups": {"kernel_size": 4, "groups": 3, "stride": 2, "bias": False},
        }
        for kind, option in transposed.items():
            yield Case(f"ConvTranspose{n}d {kind}", module(f"ConvTranspose{n}d", 6, 9, **option), x)
    yield Case("Conv2d no batch", module("Conv2d", 6, 9, 3), floats((6, 13, 11)))
    yield Case(
        "Conv2d kernel 1x7", module("Conv2d", 6, 9, (1, 7), padding=(0, 3)), floats((1, 6, 9, 9))
    )
    yield Case("Conv2d 7x7 stride 4", module("Conv2d", 3, 20, 7, 4, 3), floats((1, 3, 61, 45)))


def paddings() -> Iterator[Case]:
    shapes = {1: (2, 3, 9), 2: (2, 3, 8, 9), 3: (2, 3, 6, 7, 8)}
    for n, shape in shapes.items():
        for kind in ("Zero", "Reflection", "Replication", "Circular"):
            yield Case(f"{kind}Pad{n}d", module(f"{kind}Pad{n}d", 2), floats(shape))
        yield Case(f"ConstantPad{n}d", module(f"ConstantPad{n}d", 1, 3.5), floats(shape))
    cropped = module("ConstantPad2d", (-1, 2, 1, -2), 0.5)
    yield Case("ConstantPad2d negative", cropped, floats(shapes[2]))
    yield Case("ReflectionPad2d uneven", module("ReflectionPad2d", (1, 2, 3, 0)), floats(shapes[2]))


def resizing() -> Iterator[Case]:
    shapes = {"linear": (2, 3, 9), "bilinear": (2, 3, 8, 9), "trilinear": (2, 3, 5, 6, 7)}
    shapes["bicubic"] = shapes["bilinear"]
    for mode, shape in shapes.items():
        for corners in (False, True):
            label = f"{mode}{' corners' if corners else ''}"
            scale = module("Upsample", scale_factor=2.5, mode=mode, align_corners=corners)
            yield Case(f"Upsample {label} x2.5", scale, floats(shape))
            down = module(
                "Upsample", size=(4,) * (len(shape) - 2), mode=mode, align_corners=corners
            )
            yield Case(f"Upsample {label} to 4", down, floats(shape))
    for shape in (shapes["linear"], shapes["bilinear"], shapes["trilinear"]):
        rank = len(shape) - 2
        yield Case(f"Upsample nearest {rank}d", module("Upsample", scale_factor=2), floats(shape))
        yield Case(f"Upsample nearest {rank}d to 5", module("Upsample", size=5), floats(shape))
        exact = module("Upsample", scale_factor=1.7, mode="nearest-exact")
        yield Case(f"Upsample nearest-exact {rank}d", exact, floats(shape))
    for mode in ("bilinear", "bicubic"):
        antialias = _interpolate(size=(5, 6), mode=mode, antialias=True)
        yield Case(f"interpolate {mode} antialias", antialias, floats((1, 3, 16, 18)))
    yield Case("interpolate area", _interpolate(size=(5, 6), mode="area"), floats((1, 3, 16, 18)))
    yield Case("PixelShuffle", module("PixelShuffle", 3), floats((2, 18, 4, 5)))
    yield Case("PixelUnshuffle", module("PixelUnshuffle", 3), floats((2, 2, 9, 6)))
    yield Case("ChannelShuffle", module("ChannelShuffle", 3), floats((2, 6, 4, 5)))
    unfold = module("Unfold", (3, 2), dilation=2, padding=1, stride=2)
    yield Case("Unfold", unfold, floats((2, 3, 10, 11)))
    yield Case("Fold", module("Fold", (8, 9), 3, stride=2, padding=1), floats((2, 27, 20)))
    for mode in ("bilinear", "nearest", "bicubic"):
        for border in ("zeros", "border", "reflection"):
            sample = _grid_sample(mode, border)
            yield Case(f"grid_sample {mode} {border}", sample, floats((2, 3, 6, 7), (2, 5, 4, 2)))


def _interpolate(**options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import torch.nn.functional as F

        return function(lambda x: F.interpolate(x, **options))

    return make


def _grid_sample(mode: str, border: str) -> Callable[[], Any]:
    def make() -> Any:
        import torch.nn.functional as F

        return function(
            lambda x, g: F.grid_sample(x, g, mode, padding_mode=border, align_corners=False)
        )

    return make


def recurrent() -> Iterator[Case]:
    for name in ("LSTM", "GRU", "RNN"):
        x = floats((7, 2, 5))
        yield Case(name, module(name, 5, 8), x)
        yield Case(f"{name} batch first", module(name, 5, 8, batch_first=True), x)
        deep = module(name, 5, 8, num_layers=2, bidirectional=True)
        yield Case(f"{name} 2 layers bidirectional", deep, x)
        yield Case(f"{name} no bias", module(name, 5, 8, bias=False), x)
        yield Case(f"{name} no batch", module(name, 5, 8), floats((7, 5)))
        given = _with_state(name)
        states = 2 if name == "LSTM" else 1
        yield Case(f"{name} given state", given, floats((7, 2, 5), *[(1, 2, 8)] * states))
    yield Case("LSTM projected", module("LSTM", 5, 8, proj_size=3), floats((7, 2, 5)))
    yield Case("RNN relu", module("RNN", 5, 8, nonlinearity="relu"), floats((7, 2, 5)))
    yield Case("LSTMCell", module("LSTMCell", 5, 8), floats((3, 5)))
    yield Case("GRUCell", module("GRUCell", 5, 8), floats((3, 5)))
    yield Case("RNNCell", module("RNNCell", 5, 8), floats((3, 5)))
    yield Case("LSTM 128->256, 64 steps", module("LSTM", 128, 256), floats((64, 1, 128)))


def _with_state(name: str) -> Callable[[], Any]:
    def make() -> Any:
        import torch

        class Stateful(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn = getattr(torch.nn, name)(5, 8)

            def forward(self, x: Any, *state: Any) -> Any:
                return self.rnn(x, state if len(state) > 1 else state[0])

        return Stateful()

    return make


def attention() -> Iterator[Case]:
    qkv = floats((5, 2, 16), (7, 2, 16), (7, 2, 16))
    for grad in (False, True):
        label = "grad" if grad else "no_grad"
        attend = module("MultiheadAttention", 16, 4)
        yield Case(f"MultiheadAttention {label}", attend, qkv, grad=grad)
        first = {"batch_first": True}
        yield Case(
            f"MultiheadAttention self {label}", _self_attention, floats((2, 5, 16)), grad=grad
        )
        layer = module("TransformerEncoderLayer", 16, 4, 32, **first)
        yield Case(f"TransformerEncoderLayer {label}", layer, floats((2, 9, 16)), grad=grad)
        pre = module(
            "TransformerEncoderLayer", 16, 4, 32, activation="gelu", norm_first=True, **first
        )
        yield Case(f"TransformerEncoderLayer pre {label}", pre, floats((2, 9, 16)), grad=grad)
        yield Case(
            f"TransformerEncoder {label}", _encoder(16, 4, 32, 3), floats((2, 9, 16)), grad=grad
        )
        decoder = module("TransformerDecoderLayer", 16, 4, 32, **first)
        both = floats((2, 5, 16), (2, 9, 16))
        yield Case(f"TransformerDecoderLayer {label}", decoder, both, grad=grad)
        yield Case(f"TransformerDecoder masked {label}", _decoder, both, grad=grad)
        yield Case(f"Transformer {label}", _transformer, both, grad=grad)
        yield Case(
            f"encoder 6x384, 128 tokens {label}",
            _encoder(384, 12, 1536, 6, activation="gelu"),
            floats((1, 128, 384)),
            grad=grad,
            faster=True,
        )
    yield Case("scaled_dot_product_attention causal", _attend, floats(*[(2, 4, 9, 8)] * 3))
    yield Case("scaled_dot_product_attention mask", _attend_masked, floats(*[(2, 4, 9, 8)] * 3))


def _self_attention() -> Any:
    import torch

    class SelfAttention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.attention(x, x, x, need_weights=False)[0]

    return SelfAttention()


def _encoder(width: int, heads: int, inner: int, layers: int, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        nn = _nn()
        layer = nn.TransformerEncoderLayer(width, heads, inner, batch_first=True, **options)
        return nn.TransformerEncoder(layer, layers)

    return make


def _decoder() -> Any:
    nn = _nn()
    layers = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), 2)

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, target: Any, memory: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            return self.layers(target, memory, tgt_mask=mask)

    return Masked()


def _transformer() -> Any:
    return _nn().Transformer(16, 4, 2, 2, 32, batch_first=True)


def _attend() -> Any:
    import torch.nn.functional as F

    return function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))


def _attend_masked() -> Any:
    import torch.nn.functional as F

    def f(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=q[..., :1] > -0.5, scale=0.3)

    return function(f)


def embeddings() -> Iterator[Case]:
    yield Case("Embedding", module("Embedding", 50, 12), ids(50, 3, 7))
    padded = module("Embedding", 50, 12, padding_idx=3)
    yield Case("Embedding padding", padded, ids(50, 3, 7))
    for mode in ("sum", "mean", "max"):
        yield Case(f"EmbeddingBag {mode}", module("EmbeddingBag", 50, 12, mode=mode), ids(50, 3, 7))
    yield Case("EmbeddingBag offsets", module("EmbeddingBag", 50, 12), _bags)
    yield Case("one_hot", _one_hot, ids(9, 4, 3))


def _bags() -> tuple:
    import torch

    return torch.randint(0, 50, (10,)), torch.tensor([0, 3, 3, 8])


def _one_hot() -> Any:
    import torch.nn.functional as F

    return function(lambda x: F.one_hot(x, 9))


def others() -> Iterator[Case]:
    yield Case("Linear", module("Linear", 33, 17), floats((5, 33)))
    yield Case("Linear vector", module("Linear", 33, 17), floats((33,)))
    yield Case("Linear 4 dims", module("Linear", 33, 17, bias=False), floats((2, 3, 4, 33)))
    yield Case("Bilinear", module("Bilinear", 5, 7, 4), floats((3, 5), (3, 7)))
    yield Case("Identity", module("Identity"), floats((3, 5)))
    yield Case("Dropout", module("Dropout"), floats((3, 5)))
    yield Case("Flatten", module("Flatten"), floats((3, 5, 2)))
    yield Case("Unflatten", module("Unflatten", 1, (2, 3)), floats((3, 6, 2)))
    yield Case("CosineSimilarity", module("CosineSimilarity"), floats((3, 5), (3, 5)))
    yield Case("PairwiseDistance", module("PairwiseDistance"), floats((3, 5), (3, 5)))
    for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss"):
        yield Case(name, module(name), floats((3, 5), (3, 5)))
    yield Case("CrossEntropyLoss", module("CrossEntropyLoss"), _labelled)
    yield Case("MLP 64-256-256-10", _mlp, floats((1, 64)))
    yield Case("MLP 64-256-256-10, batch 64", _mlp, floats((64, 64)))


def _labelled() -> tuple:
    import torch

    return torch.randn(6, 5), torch.randint(0, 5, (6,))


def _mlp() -> Any:
    nn = _nn()
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers)


CASES = [
    case
    for family in (
        activations,
        norms,
        poolings,
        convolutions,
        paddings,
        resizing,
        recurrent,
        attention,
        embeddings,
        others,
    )
    for case in family()
]
