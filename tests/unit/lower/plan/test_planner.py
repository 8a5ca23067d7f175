import subprocess
import sys

import pytest

from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.block import Work
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.plan.planner import RATES, plan_kernels, predict
from tests.hand_built import Writer
from tests.operators import Wave, fourier, plane


def layer(modes, channels=64, to=None, dims=1):
    domain = Domain(name="D", axes=tuple(Axis(name=a, boundary="periodic") for a in "xyz"[:dims]))
    p = Writer(a=Space(domain=domain, channels=channels))
    block = SpectralConv(modes=modes, to=domain.coarsened(to) if to else None)
    return p.graph("Layer", {"k": p.node("k", block, "a")})


def test_few_kept_modes_are_computed_by_matrix_products_and_many_by_fast_transforms():
    # performance.md, section 3: 1-D 1024, 64 channels, batch 20
    chosen = {m: plan_kernels(layer((m,)), {"D": (1024,)}, 20).kernel("k") for m in (16, 256)}
    assert chosen == {16: "dft", 256: "fft"}


def test_the_fastest_prediction_is_chosen():
    choice = plan_kernels(fourier(), {"D": (64, 64)}, 4).choices["u.repeat.0.fourier_layer.k"]
    assert choice.milliseconds[choice.kernel] == min(choice.milliseconds.values())
    assert list(choice.milliseconds) == ["fft", "dft"]


def test_only_nodes_with_kernels_are_in_a_plan():
    found = plan_kernels(fourier(), {"D": (64, 64)})
    assert set(found.choices) == {f"u.repeat.{i}.fourier_layer.k" for i in range(2)}


def test_a_reason_tells_the_times_and_what_is_kept():
    choice = plan_kernels(layer((8, 4), dims=2), {"D": (64, 48)}).choices["k"]
    times = {k: f"{t:.3g} ms" for k, t in choice.milliseconds.items()}
    kept = "|k| <= 8 of 64 points on x, |k| <= 4 of 48 points on y"
    assert choice.reason == f"dft: {times['dft']} against {times['fft']} for fft: {kept}"


def test_rates_that_nobody_measured_are_called_assumed():
    graph = layer((8,))
    assert "assumed" not in plan_kernels(graph, {"D": (64,)}).choices["k"].reason
    assert "(assumed rates)" in plan_kernels(graph, {"D": (64,)}, device="cuda").choices["k"].reason


def test_an_unknown_device_is_planned_as_a_cpu():
    graph, at = layer((8,)), {"D": (64,)}
    assert (
        plan_kernels(graph, at, device="xpu").choices
        == plan_kernels(graph, at, device="cpu").choices
    )


def test_the_sizes_of_both_grids_reach_the_block(monkeypatch):
    met = []
    monkeypatch.setattr(SpectralConv, "work", lambda _, *x: (met.append(x[1]), Work(gemm=1.0))[1])
    plan_kernels(layer((4,), to=2), {"D": (65,)})
    assert set(met) == {((65,), (32,))}


def test_a_time_is_work_over_rate():
    rates = RATES["cpu"]
    work = Work(gemm=rates.gemm, fft=2 * rates.fft, moved=3 * rates.moved)
    assert rates.seconds(work) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("more", "factor"), [({"batch": 3}, 3), ({"threads": 2}, 0.5), ({"dtype": "float64"}, 2)]
)
def test_time_grows_with_batch_and_width_and_falls_with_cores(more, factor):
    space = Space(domain=plane(), channels=3)
    sizes = ((32, 32), (32, 32))
    once = predict(Wave(modes=(4, 4), out=3), sizes, (space,))
    again = predict(Wave(modes=(4, 4), out=3), sizes, (space,), **more)
    assert again == pytest.approx({k: factor * t for k, t in once.items()})


def test_planning_does_not_import_torch():
    code = "import sys, opdsl.lower.plan.planner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603  our own text


def test_a_program_that_imports_torch_would_fail_the_test_before():
    code = "import sys, opdsl.lower.module; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1  # noqa: S603  our own text
