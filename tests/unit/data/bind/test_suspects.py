"""Corrupt samples are noticed; sound ones, however different, are not."""

import pytest
import torch

from opdsl.data.bind.suspects import suspects, suspects_warning
from opdsl.data.io.dataset import open_dataset

ROLES = {"u": "output"}


def bumps(n=200, points=16, seed=3):
    """Positive, zero at the edge, of sizes that scatter by a third: like Darcy pressures."""
    rng = torch.Generator().manual_seed(seed)
    line = torch.sin(torch.linspace(0, torch.pi, points, dtype=torch.float64))
    size = torch.randn(n, 1, 1, 1, generator=rng, dtype=torch.float64).mul(0.3).exp()
    return size * torch.outer(line, line)


def test_sound_samples_are_not_suspected():
    assert suspects({"u": bumps()}, ROLES) == ()


def test_one_point_far_below_zero_is_seen():
    u = bumps()
    u[17, 0, 0, 2] = -0.4 * u[17].max()
    assert suspects({"u": u}, ROLES) == (17,)


def test_one_point_far_above_all_others_is_seen():
    u = bumps()
    u[31, 0, 8, 8] = 40 * u[31].max()
    assert suspects({"u": u}, ROLES) == (31,)


@pytest.mark.parametrize("factor", [0.0, 1e-6, 1e6])
def test_a_sample_of_another_size_is_seen(factor):
    u = bumps()
    u[5] *= factor
    assert suspects({"u": u}, ROLES) == (5,)


def test_values_that_are_not_finite_are_left_to_the_error_about_them():
    u = bumps()
    u[5, 0, 2, 2] = torch.inf
    u[6, 0, 2, 2] = torch.nan
    assert suspects({"u": u}, ROLES) == ()


def test_the_unit_of_the_field_does_not_matter():
    u = bumps()
    u[17, 0, 0, 2] = -0.4 * u[17].max()
    assert suspects({"u": u * 1e9}, ROLES) == suspects({"u": u * 1e-9}, ROLES) == (17,)


def sized(logs):
    """Samples of one shape, whose root mean squares have these logarithms."""
    shape = torch.linspace(1, 2, 16, dtype=torch.float64)
    shape = shape / shape.square().mean().sqrt()
    return torch.as_tensor(logs, dtype=torch.float64).exp().reshape(-1, 1, 1) * shape


@pytest.mark.parametrize(("deviations", "found"), [(11.9, ()), (12.1, (201,)), (-12.1, (201,))])
def test_a_sample_is_suspected_beyond_twelve_robust_deviations(deviations, found):
    logs = torch.linspace(-1, 1, 201, dtype=torch.float64)  # absolute values have the median 1/2
    odd = torch.tensor([deviations * 1.4826 / 2], dtype=torch.float64)
    assert suspects({"u": sized(torch.cat([logs, odd]))}, ROLES) == found


@pytest.mark.parametrize(("log", "found"), [(0.235, ()), (0.245, (3,))])
def test_among_equal_samples_a_deviation_is_two_percent_at_least(log, found):
    logs = torch.zeros(40)
    logs[3] = log  # 12 * 0.02 = 0.24
    assert suspects({"u": sized(logs)}, ROLES) == found


@pytest.mark.parametrize(("count", "found"), [(15, ()), (16, (5,))])
def test_sixteen_samples_say_what_is_usual(count, found):
    u = bumps(count)
    u[5] *= 1e6
    assert suspects({"u": u}, ROLES) == found


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_threshold_is_the_same_in_small_and_large_units(scale):
    u = bumps()
    u[17, 0, 0, 2] = -0.4 * u[17].max()
    assert suspects({"u": u * scale}, ROLES) == (17,)


def test_inputs_are_not_judged():
    u = bumps()
    u[5] *= 1e6
    assert suspects({"u": u}, {"u": "input"}) == ()


def test_few_samples_are_not_judged():
    u = bumps(15)
    u[5] *= 1e6
    assert suspects({"u": u}, ROLES) == ()


def test_equal_samples_are_not_suspected():
    assert suspects({"u": torch.zeros(50, 1, 4, 4)}, ROLES) == ()


def test_a_sample_of_nan_does_not_hide_another():
    u = bumps()
    u[3] = torch.nan
    u[5] *= 1e6
    assert suspects({"u": u}, ROLES) == (5,)


def test_the_warning_names_the_samples_and_keeps_them(tmp_path):
    u = bumps().float()[:, 0]
    u[17, 0, 2] = -0.4 * u[17].max()
    torch.save({"x": u > 0, "y": u}, tmp_path / "a.pt")
    held = open_dataset(tmp_path / "a.pt")
    told = suspects_warning(held)
    assert told is not None
    assert (told.code, told.severity) == ("OP0616", "warning")
    assert "17" in told.message
    assert len(held.values["y"]) == 200


def test_a_sound_set_gives_no_warning(tmp_path):
    u = bumps().float()[:, 0]
    torch.save({"x": u > 0, "y": u}, tmp_path / "a.pt")
    assert suspects_warning(open_dataset(tmp_path / "a.pt")) is None
