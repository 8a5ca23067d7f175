import pytest

from opdsl.lower.fuse import fusions
from opdsl.lower.module import lower
from opdsl.lower.plan.measure import measure
from opdsl.lower.plan.planner import FUSED_RATES, RATES, forecast, forecasts, plan_kernels
from opdsl.lower.plan.tuning_case import FUSED, PLAIN, Workload
from opdsl.nn.kernels.fourier_layer import kernels_available
from tests.programs import graph

HEAD = """edition 2026

from std.fourier import FNOBlock

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 12)
  input a : D -> R^4
  output u : D -> R^4
"""
NETWORK = HEAD + "  u = a |> linear(out = 8) |> gelu() |> linear(out = 4)\n}\n"
LAYER = HEAD + "  u = a |> FNOBlock(modes = 3)\n}\n"
AT = Workload({"D": (20, 16)}, batch=3)
POINTS = 3 * 20 * 16
NUMBER = 4  # bytes
SPECTRA = 2 * 3 * 4 * (7 * 4) * 2 * NUMBER  # before and after mixing; batch, channels, modes


def told(text, kernels=None):
    made = graph(text)
    (fusion,) = fusions(made)
    return forecasts(made, fusion, AT, kernels or {})


def test_a_network_keeps_what_it_takes_as_one_and_all_that_is_between_one_by_one():
    found = told(NETWORK)
    assert found[FUSED].saved_bytes == NUMBER * POINTS * 4
    assert found[PLAIN].saved_bytes == NUMBER * POINTS * (4 + 8 + 8)


def test_a_layer_as_one_keeps_what_it_takes_and_the_modes():
    assert told(LAYER, {"u.fno_block.k": "dft"})[FUSED].saved_bytes == NUMBER * POINTS * 4 + SPECTRA


def test_the_time_of_a_network_is_products_over_their_rate_and_what_is_moved_over_its_own():
    products = 2 * POINTS * (4 * 8 + 8 * 4) + POINTS * (8 + 4)
    found, rates = told(NETWORK), RATES["cpu"]
    ends, between = 4 + 4, 8 + 8 + 8 + 8
    one = products / FUSED_RATES.gemm + NUMBER * POINTS * ends / FUSED_RATES.moved
    many = products / rates.gemm + NUMBER * POINTS * (ends + between) / rates.moved
    assert found[FUSED].milliseconds == pytest.approx(1e3 * one)
    assert found[PLAIN].milliseconds == pytest.approx(1e3 * many)


def test_a_node_with_kernels_is_forecast_as_the_plan_predicts_it():
    made = graph(LAYER)
    choice = plan_kernels(made, AT.roots, AT.batch).choices["u.fno_block.k"]
    node = made.by_path[choice.path]
    for kernel, milliseconds in choice.milliseconds.items():
        found = forecast(made, [node], AT, {choice.path: kernel})
        assert found.milliseconds == pytest.approx(milliseconds)


@pytest.mark.skipif(not kernels_available(), reason="no C++ compiler here")
@pytest.mark.parametrize("text", [NETWORK, LAYER])
def test_what_is_forecast_to_be_kept_is_kept(text):
    module = lower(graph(text))
    module.fuse = True
    line, *_ = measure(module, AT.roots, AT.batch).lines
    found = told(text, {"u.fno_block.k": "dft"})
    plain = line.others["dft" if text == LAYER else "plain"]
    # torch keeps a little more beside the modes: a transform along one axis only
    assert found[FUSED].saved_bytes == pytest.approx(line.saved, rel=0.2)
    assert found[PLAIN].saved_bytes == pytest.approx(plain.saved, rel=0.2)


def test_the_reason_to_fuse_tells_both_costs():
    found = plan_kernels(graph(NETWORK), {"D": (256, 256)}, 4).fused
    (reason,) = found.values()
    assert "keeps 4 MiB against 20 MiB" in reason
    assert "ms plainly" in reason
