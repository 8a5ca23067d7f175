"""The notebook of `examples/notebook`, executed from its first cell to its last."""

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "first_operator.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs of each cell of code."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, 4)
    for cell in notebook.cells:
        cell.update({"outputs": []} if cell.cell_type == "code" else {})
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(NOTEBOOK.parents[2]))
        patch.setenv("PYTHONWARNINGS", "default")
        patch.delenv("MPLBACKEND", raising=False)  # its own, which shows figures in the notebook
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    return [x.outputs for x in notebook.cells if x.cell_type == "code"]


def shown(outputs, kind):
    return [x.data[kind] for x in outputs if "data" in x and kind in x.data]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_trains_draws_and_plots(executed):
    flat = [x for outputs in executed for x in outputs]
    assert sum(len(shown(x, "image/svg+xml")) for x in executed) == 1
    assert sum(len(shown(x, "image/png")) for x in executed) == 2
    assert "error[OP0309]" in "".join(x.get("text", "") for x in flat)
    assert not [x for x in flat if x.get("name") == "stderr"]
    (report,) = [y for x in executed for y in shown(x, "text/plain") if y.startswith("<Report ")]
    errors = [float(x) for x in re.findall(r"(?:64|128) (0\.\d+)", report)]
    assert len(errors) == 2
    assert max(errors) < 0.05


def test_the_notebook_names_no_place_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r'"/(home|root|tmp|work|Users)/', text)
    assert "runs/Burgers-" in text
