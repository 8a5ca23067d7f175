"""Exported files: the same function as the module, at sizes that were not traced."""

from importlib import import_module

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.lower.exported import Call, Subject, example, export, pt2

FNO = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model M {
  domain D = grid(x: 0..1, y: 0..1, min = 12)
  input a : D -> R^2
  output u : D -> R^1
  u = a |> Lift(out = 4) |> FourierLayer(modes = 3) |> Project(out = 1, hidden = 8)
}"""
POINTS = """edition 2026
model M {
  domain P = points(2)
  input a : P -> R^2
  output u : P -> R^2
  u = a |> gno(to = P, radius = 0.3, kernel = [4])
}"""


def subject(text: str, dtype: torch.dtype = torch.float32) -> Subject:
    torch.manual_seed(0)
    module = opdsl.compile(text).to(dtype)
    return Subject(module.graph, module, module)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_a_file_computes_the_same_at_resolutions_and_batches_that_were_not_traced(
    tmp_path, dtype, limit
):
    held = subject(FNO, dtype)
    report = export(held, Call(example(held.graph), 2), tmp_path / "m.pt2")
    assert report.inputs == {"a": (None, 2, None, None)}
    assert len({str(x) for x in report.calls}) == 3
    run = pt2.opened(report.path)
    for size, batch in (((12, 12), 1), ((31, 40), 4)):
        a = torch.randn(batch, 2, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = held.operator(a)
        assert ((run((a,))[0] - expected).abs().max() / expected.abs().max()).item() < limit


def test_a_file_for_one_size_refuses_others(tmp_path):
    held = subject(FNO)
    report = export(held, Call({"D": (16, 17)}, 2), tmp_path / "m.pt2", fixed=True)
    assert report.inputs == {"a": (2, 2, 16, 17)}
    with pytest.raises((AssertionError, RuntimeError)):
        pt2.opened(report.path)((torch.randn(2, 2, 17, 17),))


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    held = subject(FNO)

    def wrong(_):
        return lambda given: (held.operator(*given) * 1.001,)

    monkeypatch.setattr(import_module("opdsl.lower.exported.export"), "opened", wrong)
    with pytest.raises(OpError) as caught:
        export(held, Call(example(held.graph), 2), tmp_path / "m.pt2")
    assert caught.value.diagnostics[0].code == "OP0651"
    assert list(tmp_path.iterdir()) == []


def test_a_model_on_points_is_refused(tmp_path):
    held = subject(POINTS)
    with pytest.raises(OpError) as caught:
        export(held, Call({}, 2), tmp_path / "m.pt2")
    assert caught.value.diagnostics[0].code == "OP0650"
    assert list(tmp_path.iterdir()) == []
