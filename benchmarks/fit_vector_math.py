"""Computes the coefficients in llvm_backend/math_tables.py: `python benchmarks/fit_vector_math.py`.

Each is a minimax fit by the Remez exchange on a dense grid in 60-digit arithmetic (needs mpmath):
of all polynomials P of a degree, the one whose largest |weight * (f - shape * P)| is least.
Rational fits linearise P/Q and reweigh (Loeb's iteration). Printed beside each: the largest error.
"""

from __future__ import annotations

from typing import Callable

from mpmath import mp, mpf

mp.dps = 60
Function = Callable[[mpf], mpf]


def grid(a: float, b: float, n: int) -> list[mpf]:
    """n points of [a, b], dense at the ends, without the ends where a fit divides by zero."""
    return [(mpf(a) + b) / 2 - (mpf(b) - a) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * n))
            for k in range(n)]


def remez(f: Function, shape: Function, weight: Function, a: float, b: float,
          degree: int) -> tuple[list[mpf], mpf]:
    """Coefficients, lowest first, of the minimax P in f ~ shape * P on [a, b], and the error."""
    n = degree + 2
    points = grid(a, b, 40 * n)
    fs = [f(x) for x in points]
    ss = [shape(x) for x in points]
    ws = [weight(x) for x in points]
    chosen = [round((len(points) - 1) * (1 - mp.cos(mp.pi * k / (n - 1))) / 2) for k in range(n)]
    for _ in range(30):
        rows = mp.matrix(n, n)
        right = mp.matrix(n, 1)
        for r, i in enumerate(chosen):
            for c in range(degree + 1):
                rows[r, c] = ss[i] * points[i] ** c
            rows[r, degree + 1] = (-1) ** r / ws[i]
            right[r] = fs[i]
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[c] for c in range(degree + 1)]
        level = abs(solution[degree + 1])
        errors = [w * (y - s * mp.polyval(coefficients[::-1], x))
                  for x, y, s, w in zip(points, fs, ss, ws)]
        worst = max(abs(e) for e in errors)
        if worst <= level * mpf("1.001"):
            break
        # One extremum of each run of equal sign; drop the smallest at an end while too many.
        runs: list[int] = []
        for i, e in enumerate(errors):
            if runs and (errors[runs[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[runs[-1]]):
                    runs[-1] = i
            else:
                runs.append(i)
        while len(runs) > n:
            if abs(errors[runs[0]]) < abs(errors[runs[-1]]):
                runs.pop(0)
            else:
                runs.pop()
        if len(runs) < n:
            break
        chosen = runs
    return coefficients, worst


def rational(f: Function, shape: Function, weight: Function, a: float, b: float, top: int,
             bottom: int) -> tuple[list[mpf], list[mpf], mpf]:
    """(P, Q, error) of f ~ shape * P / Q with Q's constant 1: weighted least squares, reweighed
    towards the largest error (Lawson)."""
    points = grid(a, b, 30 * (top + bottom + 2))
    fs, ss = [f(x) for x in points], [shape(x) for x in points]
    ws = [weight(x) for x in points]
    q = [mpf(1)] * len(points)
    lawson = [mpf(1)] * len(points)
    best = None
    for _ in range(40):
        m, n = len(points), top + 1 + bottom
        rows, right = mp.matrix(m, n), mp.matrix(m, 1)
        for r in range(m):
            k = mp.sqrt(lawson[r]) * ws[r] / q[r]
            for c in range(top + 1):
                rows[r, c] = k * ss[r] * points[r] ** c
            for c in range(1, bottom + 1):
                rows[r, top + c] = -k * fs[r] * points[r] ** c
            right[r] = k * fs[r]
        t = rows.T
        solution = mp.lu_solve(t * rows, t * right)
        ps = [solution[c] for c in range(top + 1)]
        qs = [mpf(1)] + [solution[top + c] for c in range(1, bottom + 1)]
        q = [mp.polyval(qs[::-1], x) for x in points]
        errors = [abs(w * (y - s * mp.polyval(ps[::-1], x) / d))
                  for x, y, s, w, d in zip(points, fs, ss, ws, q)]
        worst = max(errors)
        if best is None or worst < best[2]:
            best = ps, qs, worst
        lawson = [k * e for k, e in zip(lawson, errors)]
        total = sum(lawson) / len(lawson)
        lawson = [k / total for k in lawson]
    return best


def show(name: str, coefficients: list[mpf], error: mpf) -> None:
    """One row of the table, lowest degree first, with the error in bits."""
    bits = mp.nstr(-mp.log(error, 2), 4)
    print(f"# 2^-{bits}")
    print(f"{name} = (")
    for c in coefficients:
        print(f"    {mp.nstr(c, 19, min_fixed=0, max_fixed=0)},")
    print(")", flush=True)


def one(x: mpf) -> mpf:
    return mpf(1)


def fits() -> None:
    """The tables, in the file's order."""
    half_ln2 = mp.log(2) / 2 * mpf("1.0005")
    for name, degree in (("F32", 6), ("F64", 11)):
        # exp(r) = 1 + r + r^2 P(r)
        show(f"EXP_{name}", *remez(lambda r: (mp.exp(r) - 1 - r), lambda r: r * r,
                                   lambda r: 1 / mp.exp(r), -half_ln2, half_ln2, degree - 2))
    for name, degree in (("F32", 6), ("F64", 11)):
        # 2^r = 1 + r P(r)
        show(f"EXP2_{name}", *remez(lambda r: mpf(2) ** r - 1, lambda r: r,
                                    lambda r: 1 / mpf(2) ** r, -0.5002, 0.5002, degree - 1))
    for name, degree in (("F32", 7), ("F64", 12)):
        # expm1(r) = r + r^2 P(r)
        show(f"EXPM1_{name}", *remez(lambda r: mp.expm1(r) - r, lambda r: r * r,
                                     lambda r: 1 / mp.expm1(r), -half_ln2, half_ln2, degree - 2))
    # log(1 + f) = f - f^2/2 + f^3 P(f)
    low, high = mp.sqrt(2) / 2 - 1, mp.sqrt(2) - 1
    show("LOG_F32", *remez(lambda f: mp.log1p(f) - f + f * f / 2, lambda f: f**3,
                           lambda f: 1 / mp.log1p(f), low, high, 7))
    # 2 atanh(s) = 2 s + s z P(z), z = s^2
    top = (high / (2 + high)) ** 2 * mpf("1.001")
    show("LOG_F64", *remez(lambda z: 2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z),
                           lambda z: z * mp.sqrt(z), lambda z: 1 / mp.sqrt(z), 0, top, 6))
    # 2 atanh(s) = 2 s + 2/3 s z + s z^2 P(z)
    show("LOG_LONG", *remez(lambda z: 2 * mp.atanh(mp.sqrt(z)) - (2 + 2 * z / 3) * mp.sqrt(z),
                            lambda z: z * z * mp.sqrt(z), lambda z: 1 / mp.sqrt(z), 0, top, 8))
    quarter = (mp.pi / 4 * mpf("1.02")) ** 2
    for name, sine, cosine in (("F32", 2, 2), ("F64", 5, 5)):
        # sin r = r + r z P(z); cos r = 1 - z/2 + z^2 P(z), z = r^2
        show(f"SIN_{name}", *remez(lambda z: mp.sin(mp.sqrt(z)) - mp.sqrt(z),
                                   lambda z: z * mp.sqrt(z), lambda z: 1 / mp.sqrt(z), 0, quarter,
                                   sine))
        show(f"COS_{name}", *remez(lambda z: mp.cos(mp.sqrt(z)) - 1 + z / 2, lambda z: z * z, one,
                                   0, quarter, cosine))
    for name, degree in (("F32", 4), ("F64", 12)):
        # asin x = x + x z P(z), z = x^2 <= 1/4
        show(f"ASIN_{name}", *remez(lambda z: mp.asin(mp.sqrt(z)) - mp.sqrt(z),
                                    lambda z: z * mp.sqrt(z), lambda z: 1 / mp.sqrt(z), 0,
                                    0.2501, degree))
    eighth = mp.tan(mp.pi / 8) ** 2 * mpf("1.0001")
    for name, degree in (("F32", 4), ("F64", 10)):
        # atan x = x + x z P(z), z = x^2 <= tan(pi/8)^2
        show(f"ATAN_{name}", *remez(lambda z: mp.atan(mp.sqrt(z)) - mp.sqrt(z),
                                    lambda z: z * mp.sqrt(z), lambda z: 1 / mp.sqrt(z), 0, eighth,
                                    degree))
    # erf x = x + x P(x^2), |x| <= 1
    show("ERF_F64", *remez(lambda z: mp.erf(mp.sqrt(z)) - mp.sqrt(z), mp.sqrt,
                           lambda z: 1 / mp.sqrt(z), 0, 1.001, 12))
    # (1 + 2 x) exp(x^2) erfc(x) = P(t), t = (x - 4) / (x + 4), x >= 0

    def scaled_erfc(t: mpf) -> mpf:
        x = 4 * (1 + t) / (1 - t)
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)

    show("ERFC_F64", *remez(scaled_erfc, one, one, -1, mpf(24) / 32, 23))
    # f32: erf x = x + x P(x^2), |x| <= 0.86; -log2(erfc x) = P(x), 0.85 <= x <= 4
    show("ERF_F32", *remez(lambda z: mp.erf(mp.sqrt(z)) - mp.sqrt(z), mp.sqrt,
                           lambda z: 1 / mp.erf(mp.sqrt(z)), 0, 0.86**2, 5))
    show("ERFC_LOG2_F32", *remez(lambda x: -mp.log(mp.erfc(x), 2), one, mp.erfc, 0.85, 4, 6))
    # log2(erfc x) = P(x), 0 <= x <= 4
    show("LOG2_ERFC_F32", *remez(lambda x: mp.log(mp.erfc(x), 2), one, mp.erfc, 0, 4, 8))
    # erfinv x = x P(w), w = -log(1 - x^2) <= 5; above: x P(sqrt w); one Halley step follows
    show("ERFINV_MIDDLE", *remez(inverse_ratio, one, lambda w: 1 / inverse_ratio(w), 0, 5, 8))
    show("ERFINV_TAIL", *remez(lambda s: inverse_ratio(s * s), one,
                               lambda s: 1 / inverse_ratio(s * s), 2.23, 6.1, 8))
    # lgamma x = u (u - 1) P(u) / Q(u), u = x - 1, 1 <= x <= 8
    p, q, e = rational(gamma_ratio, one, lambda u: 1 / gamma_ratio(u), 0, 7, 10, 9)
    show("LGAMMA_TOP", p, e)
    show("LGAMMA_BOTTOM", q, e)


def inverse_ratio(w: mpf) -> mpf:
    """erfinv(x) / x for x = sqrt(1 - exp(-w)); through erfc where x is close to 1."""
    x = mp.sqrt(-mp.expm1(-w))
    if w < 5:
        return mp.erfinv(x) / x
    rest = mp.exp(-w) / (1 + x)
    return mp.findroot(lambda y: mp.log(mp.erfc(y) / rest), mp.sqrt(w) * 0.9 + 0.05) / x


def gamma_ratio(u: mpf) -> mpf:
    x = u + 1
    if min(abs(x - 1), abs(x - 2)) < mpf("1e-12"):
        x += mpf("1e-10")
    return mp.loggamma(x) / ((x - 1) * (x - 2))


if __name__ == "__main__":
    fits()
