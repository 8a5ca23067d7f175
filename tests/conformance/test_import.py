"""Imported models compute what neuraloperator's do: outputs, gradients, numbers of parameters.

It is compared at its newest commit, or with release 2.0.0 where that is right, which is at even
sizes: put a checkout of the one or the other on PYTHONPATH to run this.
"""

import warnings

import pytest
import torch

from tests import imports
from tests.imports import Variant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

NEWEST = hasattr(reference, "RNO")  # which release 2.0.0 has not
LATER = {"conv_bias_kernel", "norm_groups", "enforce_hermitian_symmetry"}  # arguments that it lacks

PLANE = ((16, 20), (24, 17), (33, 32))
LINE = ((24,), (37,), (64,))
SPACE = ((8, 10, 12), (9, 12, 8), (12, 12, 12))
BASE = {"in_channels": 2, "out_channels": 1, "hidden_channels": 8, "n_layers": 3}


def fno(name: str, sizes=PLANE, kind: str = "FNO", channels: str = "R", **named) -> Variant:
    field = torch.complex64 if channels == "C" else torch.float32
    return Variant(name, kind, BASE | {"n_modes": (8, 6)} | named, sizes, dtype=field)


def sfno(name: str, **named) -> Variant:
    sizes = ((17, 24), (24, 32), (33, 50))
    return Variant(name, "SFNO", BASE | {"n_modes": (8, 10), "n_layers": 2} | named, sizes)


def local(name: str, sizes=((16, 16), (24, 24), (33, 33)), **named) -> Variant:
    usual = {"n_modes": (6, 6), "default_in_shape": [16, 16], "domain_length": [2, 2]}
    return Variant(name, "LocalNO", BASE | usual | named, sizes)


def uqno(name: str, base: dict, residual: dict | None = None) -> Variant:
    return Variant(name, "UQNO", {"base": base, "residual": residual}, PLANE)


def sizes(variant: Variant) -> list[tuple[int, ...]]:
    """Those where it is right; an odd size is made even for release 2.0.0, but on a sphere."""
    if NEWEST or variant.kind == "SFNO":
        return list(variant.sizes)
    return [tuple(n + n % 2 for n in size) for size in variant.sizes]


def built(variant: Variant) -> torch.nn.Module:
    """The model of neuraloperator."""
    if variant.kind != "UQNO":
        return getattr(reference, variant.kind)(**variant.named)
    parts = [None if x is None else reference.FNO(**(BASE | x)) for x in variant.named.values()]
    return reference.UQNO(*parts)


def uno(name: str, sizes=((16, 24), (32, 32), (48, 40)), **named) -> Variant:
    usual = {
        "in_channels": 2,
        "out_channels": 1,
        "hidden_channels": 6,
        "lifting_channels": 10,
        "projection_channels": 9,
        "n_layers": 5,
        "uno_out_channels": [6, 8, 8, 6, 6],
        "uno_n_modes": [[6, 6]] * 5,
        "uno_scalings": [[1.0, 1.0], [0.5, 0.5], [1, 1], [2, 2], [1, 1]],
        "channel_mlp_skip": "linear",
    }
    return Variant(name, "UNO", usual | named, sizes)


VARIANTS = [
    fno("default"),
    fno("odd modes", n_modes=(7, 5)),
    fno("mixed modes", n_modes=(7, 6)),
    fno("other mixed modes", n_modes=(6, 5)),
    fno("one axis", LINE, n_modes=(12,)),
    fno("one axis, odd modes", LINE, n_modes=(11,)),
    fno("three axes", SPACE, n_modes=(6, 4, 5)),
    fno("three axes, mixed modes", SPACE, n_modes=(5, 6, 4)),
    fno("four axes", ((6, 8, 7, 6), (6, 6, 6, 8), (8, 8, 8, 8)), n_modes=(4, 3, 4, 4), n_layers=2),
    fno("no coordinates", positional_embedding=None),
    fno("one layer", n_layers=1),
    fno("ratios", lifting_channel_ratio=1.5, projection_channel_ratio=4),
    fno("instance norm", norm="instance_norm"),
    fno("group norm", norm="group_norm"),
    fno("group norm of two groups", norm="group_norm", norm_groups=2),
    fno("batch norm", norm="batch_norm"),
    fno("relu", non_linearity=torch.nn.functional.relu),
    fno("silu module", non_linearity=torch.nn.SiLU()),
    fno("tanh", non_linearity=torch.tanh),
    fno("stabilizer", stabilizer="tanh"),
    fno("preactivation", preactivation=True),
    fno("preactivation and norm", preactivation=True, norm="group_norm"),
    fno("no channel mlp", use_channel_mlp=False),
    fno("no channel mlp, norm", use_channel_mlp=False, norm="group_norm"),
    fno("wide channel mlp", channel_mlp_expansion=2.0, channel_mlp_dropout=0.1),
    fno("linear mlp skip", channel_mlp_skip="linear"),
    fno("identity skips", channel_mlp_skip="identity", fno_skip="identity"),
    fno("soft fno skip", fno_skip="soft-gating"),
    fno("no skips", channel_mlp_skip=None, fno_skip=None),
    fno("local bias", conv_bias_kernel=3),
    fno("local bias on a line", LINE, n_modes=(8,), conv_bias_kernel=5),
    fno("separable", separable=True),
    fno("half precision asked for, full on this machine", enforce_hermitian_symmetry=False),
    fno("resolution change", resolution_scaling_factor=[1, 2, 1]),
    fno("resolution change on a line", LINE, n_modes=(8,), resolution_scaling_factor=[2, 1, 1]),
    fno("padding", ((16, 24), (32, 32), (40, 8)), domain_padding=0.125),
    fno("resolution down and up", ((16, 24), (24, 16)), n_layers=2,
        resolution_scaling_factor=[0.5, 2]),
    fno("the greatest frequency where the resolution falls on a line", ((16,), (18,)), n_modes=(8,),
        resolution_scaling_factor=[1, 0.5, 1]),
    fno("the greatest frequency where it grows on a line", ((9,), (16,)), n_modes=(8,),
        resolution_scaling_factor=[1, 2, 1]),
    fno("resolution up in every layer", n_layers=2, resolution_scaling_factor=2.0),
    fno("resolution change in three axes without skips", SPACE, n_modes=(4, 4, 4),
        resolution_scaling_factor=[1, 2, 1], fno_skip=None, channel_mlp_skip=None),
    fno("factors of one", resolution_scaling_factor=1.0),
    fno("padding that is rounded", domain_padding=0.1),
    fno("padding of each axis", domain_padding=[0.1, 0.2]),
    fno("padding of one axis", SPACE, n_modes=(4, 4, 4), domain_padding=[0, 0.3, 0]),
    fno("Tucker", factorization="tucker", rank=0.5),
    fno("Tucker, reconstructed", factorization="Tucker", rank=0.3, implementation="reconstructed"),
    fno("Tucker with whole ranks", factorization="tucker", rank=[4, 4, 3, 2]),
    fno("CP", factorization="cp", rank=0.5),
    fno("TT", factorization="tt", rank=0.3),
    fno("complex functions", channels="C", complex_data=True),
    fno("complex functions on a line", LINE, channels="C", n_modes=(8,), complex_data=True),
    fno("complex, without coordinates, odd modes", channels="C", n_modes=(7, 5),
        complex_data=True, positional_embedding=None, channel_mlp_skip="linear",
        stabilizer="tanh"),
    fno("complex, preactivation, no channel mlp", channels="C", complex_data=True,
        preactivation=True, use_channel_mlp=False, factorization="tucker", rank=0.4),
    fno("complex, identity skips", channels="C", complex_data=True, fno_skip="identity",
        channel_mlp_skip="identity"),
    fno("complex, identity and soft skips", channels="C", complex_data=True,
        fno_skip="soft-gating", channel_mlp_skip="identity", preactivation=True),
    fno("complex, instance norm", channels="C", complex_data=True, norm="instance_norm"),
    fno("complex, group norm of two groups", channels="C", complex_data=True, norm="group_norm",
        norm_groups=2, use_channel_mlp=False, fno_skip="identity", domain_padding=0.15),
    fno("complex, tanh asked for", channels="C", complex_data=True, non_linearity=torch.tanh),
    fno("dense by name", factorization="dense"),
    fno("TFNO", kind="TFNO"),
    fno("TFNO in three axes", SPACE, kind="TFNO", n_modes=(4, 4, 4), rank=0.2),
    uno("default"),
    uno("levels keep their grid", uno_scalings=[[1, 1]] * 5),
    uno("norm", norm="group_norm"),
    uno("Tucker", factorization="tucker", rank=0.4),
    uno("soft skips at one width", hidden_channels=6, uno_out_channels=[6] * 5,
        horizontal_skips_map={}, channel_mlp_skip="soft-gating"),
    uno("two levels down", uno_scalings=[[0.5, 0.5], [0.5, 0.5], [1, 1], [2, 2], [2, 2]],
        uno_n_modes=[[4, 4]] * 5, sizes=((16, 32), (32, 32), (48, 64))),
    uno("a finer output", uno_scalings=[[1, 1], [0.5, 0.5], [1, 1], [2, 2], [2, 2]]),
    uno("on a line", ((16,), (32,), (40,)), uno_n_modes=[[6]] * 5,
        uno_scalings=[[1], [0.5], [1], [2], [1]]),
    uno("padding", uno_scalings=[[1, 1]] * 5, domain_padding=[0.15, 0.2]),
    uno("identity skips", horizontal_skip="identity", preactivation=True),
    sfno("default"),
    sfno("without coordinates", positional_embedding=None),
    sfno("as many orders as degrees", n_modes=(6, 12)),
    sfno("more orders asked for than there are", n_modes=(5, 14)),
    sfno("norm", norm="instance_norm"),
    sfno("preactivation, no channel mlp", preactivation=True, use_channel_mlp=False),
    sfno("factors of one", resolution_scaling_factor=1.0),
    sfno("Tucker", factorization="tucker", rank=0.5),
    sfno("CP", factorization="cp", rank=0.5),
    sfno("TT", factorization="tt", rank=0.5),
    local("without local convolution", disco_layers=False),
    local("without differences", diff_layers=False, radius_cutoff=0.25),
    local("both", radius_cutoff=0.25),
    local("both in some layers", radius_cutoff=0.25, disco_layers=[True, False, True],
          diff_layers=[False, True, True]),
    local("a kernel of other functions", radius_cutoff=0.375, disco_kernel_shape=[3, 5]),
    local("rings only", radius_cutoff=0.375, disco_kernel_shape=[4, 1], disco_bias=False),
    local("channels apart", disco_layers=False, mix_derivatives=False, fin_diff_kernel_size=5),
    local("zeros beyond the edges", radius_cutoff=0.25, conv_padding_mode="zeros"),
    local("norm", radius_cutoff=0.25, norm="group_norm"),
    local("channel mlp", radius_cutoff=0.25, use_channel_mlp=True, norm="instance_norm"),
    local("the default radius, which leaves rounding noise"),
    local("a plane that is not square", sizes=((16, 24), (32, 48), (24, 36)),
          default_in_shape=[16, 24], disco_layers=False),
    local("padding", radius_cutoff=0.25, domain_padding=0.25),
    local("on a line", sizes=((24,), (48,), (37,)), n_modes=(8,), default_in_shape=[24],
          disco_layers=False),
    uqno("one operator twice", {"n_modes": (6, 5)}),
    uqno("another for the band", {"n_modes": (8, 8)}, {"n_modes": (4, 4), "n_layers": 1}),
    uqno("factors and norms", {"n_modes": (6, 6), "factorization": "tucker", "rank": 0.5},
         {"n_modes": (6, 6), "norm": "instance_norm"}),
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: f"{x.kind}: {x.name}")
def test_an_imported_model_is_the_references(variant):
    if not NEWEST and LATER & set(variant.named):
        pytest.skip(f"release 2.0.0 has no {', '.join(LATER & set(variant.named))}")
    torch.manual_seed(0)
    theirs = imports.made(built(variant))
    found = imports.imported(theirs)
    inputs = [torch.randn(2, variant.channels, *x, dtype=variant.dtype) for x in sizes(variant)]
    gaps = imports.gaps(theirs, found, inputs)
    assert max(gaps.values()) <= imports.TOLERANCE, gaps
    assert imports.counted(found) == imports.parameters(theirs) - imports.redundant(theirs, found)
