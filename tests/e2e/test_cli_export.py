"""`opdsl export`: the file of a run predicts what `opdsl predict` does."""

from shutil import which

import pytest

from opdsl.data.io.dataset import open_dataset
from opdsl.lower.exported import aoti, pt2
from tests.e2e.command_line import data, good, run


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """A file of the run, and the answer of the command."""
    path = tmp_path_factory.mktemp("exported") / "m.pt2"
    return path, data("export", trained, "-o", path, "--json")


def test_the_file_of_a_run_takes_and_gives_physical_values(trained, exported, tmp_path):
    path, answer = exported
    assert answer["inputs"] == {"a": [None, 1, None, None]}
    assert len(answer["calls"]) == 3
    assert answer["difference"] <= 1e-5
    source = trained.parent / "d.h5"
    good("predict", trained, "-i", source, "-o", tmp_path / "p.h5")
    expected = open_dataset(tmp_path / "p.h5").values["pressure"]
    a = open_dataset(source).values["coefficient"]
    (found,) = pt2.open_file(path)((a,))
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-5


@pytest.mark.slow
def test_a_run_is_exported_to_onnx_with_its_normalisation(trained, exported, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    from opdsl.lower.exported import onnx

    told = data("export", trained, "-o", tmp_path / "m.onnx", "--json")
    assert told["inputs"] == {"a": [None, 1, None, None]}
    assert told["usage"][0] == "import onnxruntime"
    a = open_dataset(trained.parent / "d.h5").values["coefficient"]
    (expected,) = pt2.open_file(exported[0])((a,))
    (found,) = onnx.open_file(tmp_path / "m.onnx")((a,))
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-5


def test_a_mistake_is_one_message_and_leaves_no_file(trained, tmp_path):
    for wrong in (
        ("-o", tmp_path / "m.bin"),
        ("-o", tmp_path / "m.pt2", "--format", "onnx"),
        ("-o", tmp_path / "m.onnx", "--format", "aoti"),
        ("-o", tmp_path / "m.pt2", "--set", "model.w=3"),
    ):
        told = run("export", trained, *wrong)
        assert told.exit_code == 2, told.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tfno_darcy", "uno_darcy", "sfno_swe", "fno_burgers"])
def test_specs_are_exported_with_batch_and_resolution_free(tmp_path, name):
    told = data("export", f"specs/{name}.op", "-o", tmp_path / "m.pt2", "--json")
    (shape,) = told["inputs"].values()
    assert [x for i, x in enumerate(shape) if i != 1] == [None] * (len(shape) - 1)
    assert told["difference"] <= 1e-5


FREE = ["tfno_darcy", "uno_darcy", "f_fno", "afno", "fno_continued", "fno_3d", "rno_burgers"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*FREE, "sfno_swe", "local_no", "deeponet"])
def test_specs_are_exported_to_onnx(tmp_path, name):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    told = data("export", f"specs/{name}.op", "-o", tmp_path / "m.onnx", "--json")
    assert told["difference"] <= 1e-5
    assert (told["free"] == "batch and resolution") is (name in {*FREE, "deeponet"})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not any(map(which, aoti.COMPILERS)), reason="there is no C++ compiler")
@pytest.mark.parametrize("name", ["tfno_darcy", "uno_darcy"])
def test_specs_are_compiled(tmp_path, name):
    told = data("export", f"specs/{name}.op", "-o", tmp_path / "m.aoti.pt2", "--json")
    assert told["free"] == "batch and resolution"
    assert told["difference"] <= 1e-5
