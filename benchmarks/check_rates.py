"""How long a check takes as programs grow.

    python benchmarks/check_rates.py

Prints lines, nodes and seconds for models of 500, 1000, 2000 and 4000 lines, each line a layer.
"""

from __future__ import annotations

import time

from opdsl.compiler import check

HEAD = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import ChannelMLP

model Long {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
  input a : D -> R^8
  output u : D -> R^8

"""
STEPS = (
    "{0} = {1} |> FourierLayer(modes = 8)",
    "{0} = {1} |> residual {{ norm(kind = layer) |> ChannelMLP() }}",
    "{0} = {1} + linear({1}, out = 8)",
    "{0} = concat({1}, coords(D)) |> linear(out = 8) |> gelu()",
)


def program(lines: int) -> str:
    """A model of so many lines, one layer behind the other."""
    count = lines - HEAD.count("\n") - 2
    names = ["a", *(f"h{i}" for i in range(count - 1)), "u"]
    body = [STEPS[i % len(STEPS)].format(names[i + 1], names[i]) for i in range(count)]
    return HEAD + "".join(f"  {x}\n" for x in body) + "}\n"


def main() -> None:
    """Print the table."""
    check(program(50))  # imports and caches are not counted
    for lines in (500, 1000, 2000, 4000):
        text = program(lines)
        began = time.perf_counter()
        checked = check(text)
        took = time.perf_counter() - began
        assert not checked.diagnostics, checked.diagnostics[0].message
        nodes = len(checked.sound().nodes)
        print(
            f"{lines:5} lines  {nodes:6} nodes  {took:6.2f} s  {1e3 * took / lines:.2f} ms a line"
        )


if __name__ == "__main__":
    main()
