import pytest
import torch

from opdsl.nn import resample
from opdsl.nn.spectral.resample import MATRIX_PRODUCT_LIMIT, _resample_fft

SIZES = [((8,), (12,)), ((9, 8), (4, 16)), ((10, 7), (10, 5)), ((6, 4, 8), (3, 8, 8))]


@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_resampling_by_products_is_that_by_transforms(grid, size, dtype, off):
    torch.manual_seed(0)
    x = torch.randn(2, *grid, 3, dtype=dtype, requires_grad=True)
    found, there = resample(x, size), _resample_fft(x, size)
    g = torch.randn_like(there)
    assert (found - there).norm() <= off * there.norm()
    own, back = (torch.autograd.grad(y, x, g)[0] for y in (found, there))
    assert (own - back).norm() <= off * back.norm()


def test_long_axes_are_resampled_by_transforms():
    x = torch.randn(1, MATRIX_PRODUCT_LIMIT + 2, 1)
    assert torch.equal(
        resample(x, (MATRIX_PRODUCT_LIMIT // 2,)), _resample_fft(x, (MATRIX_PRODUCT_LIMIT // 2,))
    )
