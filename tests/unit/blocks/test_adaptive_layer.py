"""`std.fourier.AdaptiveLayer`: the formula, by torch's own transforms."""

import torch

import opdsl

PROGRAM = """
edition 2026

from std.fourier import AdaptiveLayer

model Mixed {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 12)
  input v : D -> R^4
  output w : D -> R^4

  w = AdaptiveLayer(v, modes = 2, blocks = 2)
}
"""


@torch.no_grad()
def test_frequencies_that_are_cut_still_pass_beside_the_network():
    """Guibas et al., section 4: the result of the mixing is added to all of its input.

    With the networks silent what is left is v + norm(v), also above the modes.
    """
    torch.manual_seed(0)
    module = opdsl.compile(PROGRAM).double()
    for name, x in module.named_parameters():
        if "spectral_mlp" in name or "linear_2" in name:
            x.zero_()
    x = torch.arange(12, dtype=torch.float64) * (2 * torch.pi / 12)
    wave = torch.cos(5 * x)[:, None].expand(12, 12)  # far above 2
    v = torch.stack([wave, 2 * wave, -wave, wave * wave])[None]
    even = torch.nn.functional.layer_norm(v.movedim(1, -1), (4,)).movedim(-1, 1)
    torch.testing.assert_close(module(v), v + even)
