"""Attention among slices beside the code that its authors publish (thuml/Transolver)."""

import pytest
import torch

from opdsl.nn.layers.slice_attention import SliceAttention

theirs = pytest.importorskip(
    "Physics_Attention",
    reason="needs the folder PDE-Solving-StandardBenchmark/model of thuml/Transolver on the path",
    exc_type=ImportError,
)

NAMES = {
    "assigned": "in_project_x",
    "carried": "in_project_fx",
    "slice": "in_project_slice",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "out": "to_out.0",
}


@pytest.mark.parametrize(("channels", "slices", "heads"), [(16, 8, 4), (12, 32, 1)])
def test_the_same_weights_are_the_same_layer(channels, slices, heads):
    torch.manual_seed(0)
    ours = SliceAttention(channels, slices, heads).double()
    with torch.no_grad():
        ours.temperature.uniform_(0.3, 1.0)
    kwargs = {"heads": heads, "dim_head": channels // heads, "slice_num": slices}
    reference = theirs.Physics_Attention_Irregular_Mesh(channels, **kwargs).double().eval()
    weights = {"temperature": ours.temperature.reshape(1, heads, 1, 1)}
    for name, x in ours.state_dict().items():
        layer, _, kind = name.partition(".")
        if kind:
            weights[f"{NAMES[layer]}.{kind}"] = x
    reference.load_state_dict(weights)
    x = torch.randn(2, 300, channels, dtype=torch.float64)
    with torch.no_grad():
        # theirs adds 1e-5 to the points in a slice, which ours does not
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-5, atol=1e-5)
