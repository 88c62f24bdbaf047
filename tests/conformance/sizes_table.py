"""One artifact for all sizes, such as `x:f32[N,3,H,W]`, beside PyTorch at each and beside an artifact
of fixed sizes at the first of them (1x3x224x224).

Times are of the processor, ours and ours by turns: what else the machine does counts less.
"""

from __future__ import annotations

import io
import multiprocessing
import time

from tests.conformance.torchvision_table import build

# (batch, height, width), odd and small ones among them.
SIZES = [(1, 224, 224), (1, 33, 33), (2, 64, 96), (3, 97, 131), (1, 256, 256), (4, 128, 160),
         (1, 320, 200), (8, 40, 40), (1, 224, 180), (2, 225, 223), (5, 65, 32), (1, 448, 448),
         (16, 32, 32), (1, 100, 300), (3, 192, 192), (1, 511, 257), (2, 160, 161), (7, 48, 80),
         (1, 384, 128), (1, 640, 480)]
# How many of them a model is tried with, and how much slower than the fixed artifact it may be.
CASES = {"resnet18": (20, 1.3), "mobilenet_v2": (8, 1.5), "efficientnet_b0": (5, 1.5),
         "densenet121": (4, 1.5), "squeezenet1_1": (8, 1.5), "shufflenet_v2_x1_0": (5, 1.5),
         "convnext_tiny": (4, 1.5)}
TOLERANCE = 1e-4  # of the largest magnitude
TURNS = 21


def _case(name: str) -> tuple:
    """The model, the inputs' text, inputs of several sizes (the fixed artifact's first)."""
    import torch

    if name in CASES:
        sizes = SIZES[:CASES[name][0]]
        return build(name, 224), ["x:f32[N,3,H,W]"], [(torch.randn(n, 3, h, w),)
                                                      for n, h, w in sizes]
    from tests.conformance.sizes_models import MODELS

    make, specs, draw, sizes, _ = MODELS[name]
    return make().eval(), specs, [draw(*size) for size in sizes]


def _limits() -> dict[str, tuple[int, float]]:
    """Of every model: with how many sizes it is tried, how much slower it may be."""
    from tests.conformance.sizes_models import MODELS

    return CASES | {name: (len(m[3]), m[4]) for name, m in MODELS.items()}


def _flat(results) -> list:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def measure(name: str) -> tuple[float, float, float, float]:
    """Seconds to compile, the largest relative error, milliseconds of both artifacts."""
    import torch

    import aot

    torch.set_num_threads(1)
    torch.manual_seed(3)
    model, specs, inputs = _case(name)
    with torch.no_grad():
        traced = torch.jit.trace(model, inputs[0], check_trace=False)
    archive = io.BytesIO()
    torch.jit.save(traced, archive)
    module = aot.jit.load(io.BytesIO(archive.getvalue()))
    begun = time.process_time()
    every = aot.compile(module, inputs=specs)
    seconds = time.process_time() - begun
    fixed = aot.compile(module, inputs=[
        f"{spec.partition('[')[0]}[{','.join(map(str, x.shape))}]"
        for spec, x in zip(specs, inputs[0])])
    worst = 0.0
    for given in inputs:
        with torch.no_grad():
            expected = _flat(traced(*given))
        found = _flat(every(*(x.numpy() for x in given)))
        for a, b in zip(found, (x.numpy() for x in expected), strict=True):
            assert a.shape == b.shape
            worst = max(worst, float(abs(a - b).max() / abs(b).max()))
    given = [x.numpy() for x in inputs[0]]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for run, taken in zip((every, fixed), times):
            begun = time.thread_time()
            run(*given)
            taken.append(1e3 * (time.thread_time() - begun))
    return seconds, worst, min(times[0]), min(times[1])


def print_table(only: str = "", seconds: float = 240.0) -> int:
    """Prints the table; returns how many models do not hold."""
    print("\n## One artifact for all sizes\n")
    print("| model | sizes | compile s | error | ms at the first | fixed artifact's ms | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    failed = 0
    limits = _limits()
    cases = [name for name in limits if only in name]
    context = multiprocessing.get_context("spawn")
    for name in cases:
        with context.Pool(1) as pool:  # an abort of a model is a line of the table, not its end
            try:
                found = pool.apply_async(measure, (name,)).get(seconds)
            except Exception as error:  # every kind of failure is a result here
                print(f"| {name} | {' '.join(f'{type(error).__name__}: {error}'.split())[:120]} |")
                failed += 1
                continue
        compiling, worst, ours, fixed = found
        count, most = limits[name]
        holds = worst <= TOLERANCE and ours <= most * fixed
        failed += not holds
        print(f"| {name} | {count} | {compiling:.2f} | {worst:.1e} | {ours:.3f} | {fixed:.3f} | "
              f"{ours / fixed:.2f}{'' if holds else ' (too much)'} |", flush=True)
    print(f"\n{len(cases) - failed} of {len(cases)} hold.", flush=True)
    return failed
