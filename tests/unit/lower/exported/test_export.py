"""Exported files: the same function as the module, at sizes that were not traced."""

from dataclasses import replace
from importlib.util import find_spec
from shutil import which

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.lower.exported import (
    FORMATS,
    ExportCall,
    Free,
    Subject,
    aoti,
    example,
    export,
    onnx,
    pt2,
)

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


CONTINUED = """edition 2026
model M {
  domain D = grid(x: 0..1, boundary = dirichlet, min = 12)
  domain E = extend(D, fraction = 0.25)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> pad(to = E) |> spectral_conv(out = 1, modes = 3) |> crop(to = D)
}"""
HALF_WAVES = """edition 2026
model M {
  domain D = grid(x: 0..1, boundary = dirichlet, sampling = centres, min = 9)
  input a : D -> R^2
  output u : D -> R^1
  u = a |> spectral_conv(out = 1, modes = 3, basis = auto)
}"""
COMPLEX = """edition 2026
model M {
  domain D = grid(x: 0..1, min = 12)
  input a : D -> C^2
  output u : D -> C^2
  output v : D -> R^2
  b = spectral_conv(a, out = 2, modes = 3)
  u = b * b
  v = modulus(b)
}"""
SPHERE = """edition 2026
model M {
  domain D = sphere(lat, lon, sampling = equiangular, min = (8, 16))
  input a : D -> R^2
  output u : D -> R^2
  u = spherical_conv(a, out = 2, lmax = 3)
}"""
LINE = """edition 2026
model M {
  domain D = grid(x: 0..1, min = 12)
  input a : D -> R^2
  output u : D -> R^1
  u = a |> spectral_conv(out = 2, modes = 3) |> linear(out = 1)
}"""
compiler = pytest.mark.skipif(
    not any(map(which, aoti.COMPILERS)), reason="there is no C++ compiler"
)
runtime = pytest.mark.skipif(
    not all(map(find_spec, onnx.PACKAGES)), reason="the extra `onnx` is not installed"
)


def subject(text: str, dtype: torch.dtype = torch.float32) -> Subject:
    torch.manual_seed(0)
    module = opdsl.compile(text).to(dtype)
    return Subject(module.graph, module, module)


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [
        (torch.float64, 1e-14),
        # `tests/e2e/test_cli_export.py` has a file of float32
        pytest.param(torch.float32, 1e-6, marks=pytest.mark.slow),
    ],
)
def test_a_file_computes_the_same_at_resolutions_and_batches_that_were_not_traced(
    tmp_path, dtype, limit
):
    held = subject(FNO, dtype)
    report = export(held, ExportCall(example(held.graph), 2), tmp_path / "m.pt2")
    assert report.inputs == {"a": (None, 2, None, None)}
    assert len({str(x) for x in report.calls}) == 3
    run = pt2.open_file(report.path)
    for size, batch in (((12, 12), 1), ((31, 40), 4)):
        a = torch.randn(batch, 2, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = held.operator(a)
        assert ((run((a,))[0] - expected).abs().max() / expected.abs().max()).item() < limit


def test_a_file_for_one_size_refuses_others(tmp_path):
    held = subject(LINE)
    report = export(held, ExportCall({"D": (16,)}, 2), tmp_path / "m.pt2", fixed=True)
    assert report.inputs == {"a": (2, 2, 16)}
    with pytest.raises((AssertionError, RuntimeError)):
        pt2.open_file(report.path)((torch.randn(2, 2, 17),))


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    held = subject(LINE)

    def wrong(_):
        return lambda given: (held.operator(*given) * 1.001,)

    monkeypatch.setitem(FORMATS, "pt2", replace(FORMATS["pt2"], open_file=wrong))
    with pytest.raises(OpError) as caught:
        export(held, ExportCall(example(held.graph), 2), tmp_path / "m.pt2")
    assert caught.value.diagnostics[0].code == "OP0651"
    assert list(tmp_path.iterdir()) == []


def test_a_model_on_points_is_refused(tmp_path):
    held = subject(POINTS)
    with pytest.raises(OpError) as caught:
        export(held, ExportCall({}, 2), tmp_path / "m.pt2")
    assert caught.value.diagnostics[0].code == "OP0650"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_onnxruntime_computes_the_same_at_sizes_that_were_not_traced(tmp_path):
    held = subject(FNO)
    report = export(held, ExportCall(example(held.graph), 2), tmp_path / "m.onnx", kind="onnx")
    assert report.inputs == {"a": (None, 2, None, None)}
    assert len({str(x) for x in report.calls}) == 3
    run = onnx.open_file(report.path)
    for size, batch in (((12, 12), 1), ((31, 40), 4)):
        a = torch.randn(batch, 2, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = held.operator(a)
        assert ((run((a,))[0] - expected).abs().max() / expected.abs().max()).item() < 2e-6


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_an_onnx_file_names_inputs_outputs_and_axes_and_says_what_it_is(tmp_path):
    import onnx as format_of

    held = subject(FNO)
    about = {"values": "physical"}
    call = ExportCall(example(held.graph), 2)
    export(held, call, tmp_path / "m.onnx", kind="onnx", about=about)
    model = format_of.load(tmp_path / "m.onnx")
    format_of.checker.check_model(model, full_check=True)
    (a,), (u,) = model.graph.input, model.graph.output
    axes = [x.dim_param or x.dim_value for x in a.type.tensor_type.shape.dim]
    assert (a.name, u.name, axes) == ("a", "u", ["batch", 2, "x", "y"])
    said = {x.key: x.value for x in model.metadata_props}
    assert said["model"] == "M"
    assert said["values"] == "physical"
    assert not {x.op_type for x in model.graph.node} & {"DFT", "STFT"}


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_sizes_that_are_rounded_up_are_so_in_onnx(tmp_path):
    held = subject(CONTINUED)
    call = ExportCall({"D": (20,)}, 2)  # 19 spacings and a quarter more are 24, rounded up
    report = export(held, call, tmp_path / "m.onnx", kind="onnx")
    assert report.free is Free.ALL
    assert report.difference < 2e-6


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_half_waves_are_for_every_resolution_in_onnx(tmp_path):
    held = subject(HALF_WAVES)
    report = export(held, ExportCall(example(held.graph), 2), tmp_path / "m.onnx", kind="onnx")
    assert report.free is Free.ALL


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_complex_functions_are_pairs_in_onnx(tmp_path):
    held = subject(COMPLEX)
    report = export(held, ExportCall(example(held.graph), 2), tmp_path / "m.onnx", kind="onnx")
    assert report.free is Free.ALL
    assert report.difference < 2e-6


def test_what_a_runtime_cannot_run_is_exported_with_less_free(tmp_path, monkeypatch):
    held, asked = subject(LINE), []

    def opened(path):
        asked.append(path)
        if len(asked) == 1:
            raise RuntimeError("no implementation of Atan")
        return pt2.open_file(path)

    monkeypatch.setitem(FORMATS, "pt2", replace(FORMATS["pt2"], open_file=opened))
    report = export(held, ExportCall({"D": (20,)}, 2), tmp_path / "m.pt2")
    assert report.inputs == {"a": (None, 2, 20)}
    assert report.free is Free.BATCH
    assert "Atan" in report.said


@pytest.mark.slow  # the exporter of torch takes ten seconds or more for each file
@runtime
def test_a_model_on_a_sphere_is_for_one_resolution_in_onnx(tmp_path):
    held = subject(SPHERE)
    report = export(held, ExportCall({"D": (8, 16)}, 2), tmp_path / "m.onnx", kind="onnx")
    assert report.inputs == {"a": (None, 2, 8, 16)}
    assert report.free is Free.BATCH
    assert "spherical" in report.said


@compiler
@pytest.mark.timeout(1500)
@pytest.mark.slow  # torch's compiler tries the processor first, then compiles for half a minute
@pytest.mark.parametrize("text", [LINE, HALF_WAVES], ids=["waves", "half-waves"])
def test_compiled_code_computes_the_same_at_sizes_that_were_not_traced(tmp_path, text):
    held = subject(text)
    report = export(held, ExportCall({"D": (32,)}, 2), tmp_path / "m.aoti.pt2", kind="aoti")
    assert report.free is Free.ALL
    assert len({str(x) for x in report.calls}) == 3
    assert report.difference < 2e-6
    run = aoti.open_file(report.path)
    a = torch.randn(5, 2, 45, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = held.operator(a)
    assert ((run((a,))[0] - expected).abs().max() / expected.abs().max()).item() < 2e-6


def test_a_missing_compiler_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    held = subject(FNO)
    with pytest.raises(OpError) as caught:
        export(held, ExportCall(example(held.graph), 2), tmp_path / "m.aoti.pt2", kind="aoti")
    assert caught.value.diagnostics[0].code == "OP0645"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "PACKAGES", ("no_such_package",))
    held = subject(FNO)
    with pytest.raises(OpError) as caught:
        export(held, ExportCall(example(held.graph), 2), tmp_path / "m.onnx", kind="onnx")
    (found,) = caught.value.diagnostics
    assert found.code == "OP0645"
    assert "opdsl[onnx]" in found.helps[0].text
    assert list(tmp_path.iterdir()) == []
