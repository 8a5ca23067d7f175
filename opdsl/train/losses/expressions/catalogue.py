"""The errors, operators and functions of expressions by name: what they take and what they mean.

`errors` and `evaluation` compute them; this table is what the check and the reference read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OptionKind = Literal["number", "positive", "fraction", "count", "bool", "axis", "side", "function"]
Domains = Literal["any", "grid", "waves", "ends", "derivatives"]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """An error of functions, one number for each sample.

    Attributes:
        description: the formula, for the reference.
        options: by name, with the kind of their value; those in `required` have no default.
        relative: whether it is divided by the size of the truth, so that it needs one.
        degree: how it grows with the unit of the function; None if it is no power of the unit.
        domains: where it exists: `any`, `grid` (a regular grid), `waves` (a regular grid or a
            sphere), `ends` (a grid with points at an end), `derivatives` (where first derivatives
            exist).
        channels: whether each channel has an error of its own unless `per` says otherwise.
        scattered: whether functions may be packed, on points that each sample has of its own.
    """

    description: str
    options: dict[str, OptionKind] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    relative: bool = False
    degree: int | None = 1
    domains: Domains = "any"
    channels: bool = False
    scattered: bool = True


P: dict[str, OptionKind] = {"p": "positive"}
BAND: dict[str, OptionKind] = {"low": "count", "high": "count"}
FACES: dict[str, OptionKind] = {"axis": "axis", "side": "side"}

# ||e||_p^p is the mean over the domain of the sum over channels of |e|^p: norms are those of a
# domain of measure 1, and do not depend on the number of points or on the unit of length
ERRORS: dict[str, ErrorKind] = {
    "l2": ErrorKind("||u - v||, the root of the mean over the domain of |u - v|^2"),
    "rel_l2": ErrorKind("||u - v|| / ||v||", relative=True, degree=0),
    "lp": ErrorKind("||u - v||_p", P, ("p",)),
    "rel_lp": ErrorKind("||u - v||_p / ||v||_p", P, ("p",), relative=True, degree=0),
    "mse": ErrorKind("the mean of (u - v)^2 over points and channels", degree=2),
    "rmse": ErrorKind("the root of `mse` of each sample"),
    "mae": ErrorKind("the mean of |u - v|"),
    "huber": ErrorKind(
        "the mean of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)",
        {"delta": "positive"},
        degree=None,
    ),
    "quantile": ErrorKind(
        "the mean of max(q r, (q - 1) r), r = v - u, which the quantile q of v makes least",
        {"q": "fraction"},
        ("q",),
    ),
    "crps": ErrorKind(
        "the continuous ranked probability score of members, which are channels, or of a normal "
        "distribution with mean u and the deviation |w|",
        {"deviation": "function", "fair": "bool"},
    ),
    "h1": ErrorKind(
        "||u - v||_H1, with derivatives by differences of second order", domains="grid"
    ),
    "rel_h1": ErrorKind(
        "||u - v||_H1 / ||v||_H1, with derivatives by differences of second order",
        relative=True,
        degree=0,
        domains="grid",
    ),
    "h1_spectral": ErrorKind(
        "||u - v||_H1 with derivatives in the basis of the domain", domains="derivatives"
    ),
    "rel_h1_spectral": ErrorKind(
        "||u - v||_H1 / ||v||_H1 with derivatives in the basis of the domain",
        relative=True,
        degree=0,
        domains="derivatives",
    ),
    "h_div": ErrorKind(
        "the root of ||u - v||^2 + ||div(u - v)||^2, of vector fields", domains="derivatives"
    ),
    "rel_h_div": ErrorKind(
        "`h_div` of u - v divided by that of v", relative=True, degree=0, domains="derivatives"
    ),
    "bands": ErrorKind(
        "the root mean square of the part of u - v with wave numbers low <= |k| < high; on a "
        "sphere, with degrees low <= l < high",
        BAND,
        domains="waves",
    ),
    "rel_bands": ErrorKind(
        "`bands` of u - v divided by `bands` of v", BAND, relative=True, degree=0, domains="waves"
    ),
    "nrmse": ErrorKind(
        "rmse / root mean square of v, of each channel (PDEBench)",
        relative=True,
        degree=0,
        channels=True,
    ),
    "vrmse": ErrorKind(
        "the root of mse / (variance of v + 1e-7), of each channel (The Well)",
        degree=None,
        channels=True,
    ),
    "max_error": ErrorKind("the greatest |u - v|"),
    "boundary": ErrorKind(
        "the mean of (u - value)^2 over the points at the ends of the axes",
        {"value": "function", **FACES},
        degree=2,
        domains="ends",
        scattered=False,
    ),
    "brmse": ErrorKind(
        "the root mean square error at the ends of the axes, of each channel (PDEBench)",
        FACES,
        domains="ends",
        channels=True,
        scattered=False,
    ),
}

# options that every error takes
PER = ("channel", "function")
UNITS = ("physical", "normalised")


@dataclass(frozen=True, slots=True)
class OperatorKind:
    """A derivative or an integral.

    Attributes:
        description: the formula, for the reference.
        args: how many functions it takes.
        derivative: whether it needs a domain with derivatives.
    """

    description: str
    args: int = 1
    derivative: bool = True


OPERATORS: dict[str, OperatorKind] = {
    "grad": OperatorKind(
        "the derivatives of each channel along each axis but time, channel by channel"
    ),
    "div": OperatorKind("the divergence of vector fields, whose components are channels"),
    "curl": OperatorKind("the curl: one channel in two dimensions, three in three"),
    "laplace": OperatorKind("the sum of the second derivatives of each channel"),
    "d": OperatorKind("`d(u, x)` the derivative along an axis, `d(u, x, y)` along several"),
    "dt": OperatorKind("the derivative along the axis of time, or along the steps of a rollout"),
    "velocity": OperatorKind("the velocity without divergence whose curl is the function"),
    "diffusion": OperatorKind("div(a grad(u)) in conservative form, for coefficients that jump", 2),
    "mean": OperatorKind("the mean of each channel over the domain", derivative=False),
    "integrate": OperatorKind("the integral of each channel over the domain", derivative=False),
}

POINTWISE = ("abs", "cos", "exp", "log", "sin", "sqrt", "sum", "tanh")
TRUTH = "truth"
RAMP = "ramp"
