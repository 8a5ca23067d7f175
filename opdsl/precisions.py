"""The precisions in which a model can be computed, by the names of the setting `precision`."""

from __future__ import annotations

from typing import Literal

from opdsl.records import value

# `mixed` is bf16 on a CUDA device that has it, fp32 everywhere else
PrecisionName = Literal[
    "fp32", "tf32", "mixed", "bf16", "bf16_spectral", "fp16", "fp16_spectral", "fp64"
]

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}  # of one number


def relative_size(dtype: str) -> float:
    """Memory of one number relative to float32; narrower formats count as float32."""
    return max(1.0, BYTES.get(dtype, 4) / BYTES["float32"])


@value
class Precision:
    """Which dtype each part of a computation has.

    Attributes:
        weights: dtype of the parameters and of the samples.
        products: dtype of products under autocast; None without autocast.
        scaled: whether the loss is scaled up so that small gradients survive in float16.
        spectral: whether Fourier layers are in the dtype of the products as well.
        tf32: whether matrix products of float32 round their factors to ten bits after the first.
    """

    weights: str = "float32"
    products: str | None = None
    scaled: bool = False
    spectral: bool = False
    tf32: bool = False

    @property
    def results(self) -> str:
        """The narrowest dtype of results of layers."""
        return self.products or self.weights


PRECISIONS = {
    "fp64": Precision(weights="float64"),
    "fp32": Precision(),
    "tf32": Precision(tf32=True),
    "bf16": Precision(products="bfloat16"),
    "bf16_spectral": Precision(products="bfloat16", spectral=True),
    "fp16": Precision(products="float16", scaled=True),
    "fp16_spectral": Precision(products="float16", scaled=True, spectral=True),
}
