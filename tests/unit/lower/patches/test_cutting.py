"""Cutting and stitching of patches against slices of padded arrays, and against neuraloperator."""

import itertools

import numpy as np
import pytest
import torch

from opdsl.ir.axes import Axis
from opdsl.ir.patches.layout import AxisPatches, Decomposition
from opdsl.ir.spaces import Domain
from opdsl.lower.patches.cutting import cut, cut_levels, stitch, without_overlap

MODES = {"edge": "edge", "zero": "constant", "circular": "wrap"}
SIZES = {1: (37,), 2: (16, 21), 3: (9, 8, 12)}
PARTS = {1: (3,), 2: (2, 4), 3: (2, 1, 3)}


def divided(size, parts, levels=2, overlap=0.25, padding="edge"):
    axes = tuple(Axis(name=f"x{i}") for i in range(len(size)))
    domain = Domain(name="D", axes=axes)
    return Decomposition(parts, levels, overlap, padding).axes(domain, size)


def by_slices(x, axes, position, level):
    """Cut a window by padding the whole array far beyond its ends."""
    far = 2 ** (level + 1) * max(x.shape)
    padded = np.pad(x, [(0, 0), (0, 0)] + [(far, far)] * len(axes), mode=MODES[axes[0].padding])
    slices = [slice(None)] * 2
    for axis, number in zip(axes, position, strict=True):
        if axis.parts == 1:
            slices.append(slice(far, far + axis.points))
            continue
        stride = 2**level
        before = int(np.ceil(axis.own * (1 - 1 / stride) / 2)) + axis.halo
        first = far + number * axis.points // axis.parts - stride * before
        slices.append(slice(first, first + stride * (axis.own + 2 * axis.halo), stride))
    return padded[tuple(slices)]


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_windows_are_slices_of_a_padded_array(dims, padding):
    size = SIZES[dims]
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    axes = divided(size, PARTS[dims], padding=padding)
    for position in itertools.product(*(range(a.parts) for a in axes)):
        windows = cut_levels(x, axes, position, 2)
        expected = [by_slices(x.numpy(), axes, position, level) for level in range(3)]
        assert torch.equal(windows, torch.from_numpy(np.concatenate(expected, 1)))


@pytest.mark.parametrize(
    ("sampling", "width", "part"),
    [("interior", 20, 20 / 41), ("centres", 20, 20 / 40), ("both", 18, 17 / 39)],
)
def test_the_spacing_of_a_patch_is_that_of_the_whole_axis(sampling, width, part):
    axes = (Axis(name="x", sampling=sampling),)
    (axis,) = Decomposition((4,), 0, 0.5, "edge").axes(Domain(name="D", axes=axes), (40,))
    assert (axis.own, axis.width) == (10, width)
    assert axis.part_of_axis(sampling) == pytest.approx(part)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_stitched_patches_are_the_whole(dims, overlap):
    size = SIZES[dims]
    x = torch.randn(2, 3, *size)
    axes = divided(size, PARTS[dims], overlap=overlap)
    whole = stitch(lambda p: without_overlap(cut(x, axes, p), axes), axes)
    assert torch.equal(whole, x)


@pytest.mark.parametrize("points", range(3, 40))
def test_every_point_is_pasted_once_and_patches_are_alike(points):
    axis = AxisPatches(points, 3, -(-points // 3), 0, "edge")
    pasted = [axis.begin(i) + j for i in range(3) for j in range(axis.count(i))]
    assert pasted == list(range(points))
    assert all(0 < axis.count(i) <= axis.own for i in range(3))
    assert axis.begin(2) + axis.own == points


def test_the_windows_of_a_linear_function_are_linear_with_the_spacing_of_their_level():
    x = torch.arange(64.0).reshape(1, 1, 64)
    axes = divided((64,), (4,), overlap=0.0)
    for level in range(3):
        window = cut(x, axes, (1,), level)[0, 0]
        inside = window[(window > 0) & (window < 63)]
        assert torch.equal(inside.diff(), torch.full((len(inside) - 1,), 2.0**level))
        middle = (window[0] + window[-1] + 2**level) / 2
        assert abs(float(middle) - 24) <= 2**level  # the patch is [16, 32)


def test_the_gradient_of_cutting_counts_how_often_a_point_is_seen():
    x = torch.zeros(1, 1, 12, requires_grad=True)
    axes = divided((12,), (2,), levels=0, overlap=0.5)
    sum(cut(x, axes, (i,)).sum() for i in range(2)).backward()
    # own 6 points, overlap round(0.5 * 5) = 2; the ends are repeated beyond the domain
    assert x.grad.flatten().tolist() == [3, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 3]


@pytest.mark.parametrize(("levels", "fraction"), [(1, 0.0), (1, 0.125), (2, 0.0), (2, 0.25)])
def test_patches_are_those_of_neuraloperator(levels, fraction):
    patching = pytest.importorskip("neuralop.training.patching")
    x = torch.randn(2, 3, 32, 32)
    other = patching.MultigridPatching2D(
        torch.nn.Identity(), levels=levels, padding_fraction=fraction
    )
    expected, _ = other.patch(x, x)
    parts = 2**levels
    own, halo = 32 // parts, round(32 * fraction)
    axis = AxisPatches(32, parts, own, halo, "circular")
    axes = (axis, axis)
    positions = list(itertools.product(range(parts), repeat=2))
    windows = torch.stack([cut_levels(x, axes, p, levels) for p in positions], 1)
    assert torch.equal(windows.flatten(0, 1), expected)
    assert torch.equal(stitch(lambda p: without_overlap(cut(x, axes, p), axes), axes), x)
