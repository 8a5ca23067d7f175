"""A pointwise model of one input and waves to learn from, trained in milliseconds."""

import numpy as np

PROGRAM = """edition 2026

model Line {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input a : D -> R^1
  output u : D -> R^1
  param width : int = 2
  u = a |> linear(out = width) |> gelu() |> linear(out = 1)
}
"""


def waves(count=12, seed=0):
    random = np.random.default_rng(seed)
    a = random.normal(size=(count, 1, 8)).astype("float32")
    return {"a": a, "u": 2 * a + 1}
