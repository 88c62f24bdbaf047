"""Detection: what is left of overlapping boxes.

Non-maximum suppression is a sort by score and a loop over the boxes from the best one down: a box
that still stands takes down all later ones that overlap it too much.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.build import compute, compute_dtype, cond, full, loop, sort
from lowering.expr import Expr
from lowering.ops.positions import mask_positions
from lowering.ops.table import aten
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, f64, i64


@aten("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", namespace="torchvision")
def nms(boxes, scores, iou_threshold):
    """Positions (i64) of the boxes that stay, best score first, of equal ones the first; boxes
    (n, 4) are x1, y1, x2, y2. A box goes if its intersection over union with a better one that
    stays is greater than the threshold."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"boxes should be a 2d tensor of 4 columns, got {list(boxes.shape)}")
    if scores.ndim != 1 or scores.shape[0] != boxes.shape[0]:
        raise RuntimeError(f"boxes and scores should have the same number of elements in dimension "
                           f"0, got {list(boxes.shape)} and {list(scores.shape)}")
    n = boxes.shape[0]
    if n == 0:
        return full((0,), 0, i64)
    most = E.load(iou_threshold) if isinstance(iou_threshold, Value) else iou_threshold
    order = sort(scores, 0, True)[1]
    working = compute_dtype(boxes.dtype)
    # A row a coordinate, so that lanes run over the boxes.
    rows = compute((4, n), lambda c, j: E.cast(E.load(boxes, [E.load(order, [j]), c]), working))
    areas = compute((n,), lambda j: _area([E.load(rows, [c, j]) for c in range(4)]))

    def turn(i: Value, standing: Value) -> list[Value]:
        at = E.load(i)

        def suppress() -> list[Value]:
            def stays(j: Expr) -> Expr:
                over = _overlap(rows, areas, at, j)
                goes = E.cast(over, f64) > most
                return E.load(standing, [j]) & ~(goes & (j > at))

            return [compute((n,), stays)]

        stands = compute((), lambda: E.load(standing, [at]))
        return cond(stands, suppress, lambda: [standing])

    trip = n if not isinstance(n, Size) else full((), n, i64)
    standing = loop(trip, [full((n,), True, bool_)], turn)[0]
    left = mask_positions(standing)[0]
    return compute(left.shape, lambda k: E.load(order, [E.load(left, [k])]))


def _area(box: list[Expr]) -> Expr:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def _overlap(rows: Value, areas: Value, i: Expr, j: Expr) -> Expr:
    """Intersection over union of the boxes i and j."""
    a, b = ([E.load(rows, [c, k]) for c in range(4)] for k in (i, j))
    width = E.maximum(E.minimum(a[2], b[2]) - E.maximum(a[0], b[0]), 0)
    height = E.maximum(E.minimum(a[3], b[3]) - E.maximum(a[1], b[1]), 0)
    both = width * height
    return both / (E.load(areas, [i]) + E.load(areas, [j]) - both)
