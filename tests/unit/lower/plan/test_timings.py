import json

import pytest

from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.plan import timings as module
from opdsl.lower.plan.timings import Timings, users_folder
from opdsl.lower.plan.tuning_case import Workload, node_case
from tests.hand_built import Writer

SPACE = Space(domain=Domain(name="D", axes=(Axis(name="x", boundary="periodic"),)), channels=3)
TIMES = {"fft": 2.0, "dft": 0.5}


def case(modes=4, path="k", **setting):
    p = Writer(a=SPACE)
    graph = p.graph("Layer", {"u": p.node(path, SpectralConv(modes=(modes,)), "a")})
    return node_case(graph, graph.nodes[0], Workload(**{"roots": {"D": (32,)}} | setting))


@pytest.fixture
def folder(tmp_path):
    Timings(tmp_path).keep(case(), TIMES)
    return tmp_path


def the_file(folder):
    (found,) = folder.glob("*.json")
    return found


def test_what_one_process_measured_the_next_one_knows(folder):
    assert Timings(folder)(case()) == TIMES


def test_layers_of_a_network_are_one_case_whatever_their_paths(folder):
    assert Timings(folder)(case(path="u.repeat.3.k")) == TIMES


@pytest.mark.parametrize(
    "other",
    [
        {"modes": 5},
        {"roots": {"D": (33,)}},
        {"batch": 2},
        {"threads": 2},
        {"dtype": "float64"},
        {"device": "xpu"},
    ],
)
def test_what_the_times_depend_on_is_asked_for(folder, other):
    assert Timings(folder)(case(**other)) is None


@pytest.mark.parametrize("what", ["processor", "opdsl", "torch", "compiled"])
def test_times_of_another_machine_or_version_are_not_ours(folder, monkeypatch, what):
    here = module.machine("cpu")
    monkeypatch.setattr(module, "machine", lambda _: here | {what: "another"})
    assert Timings(folder)(case()) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"null",
        b'{"of": {}}',
        b'{"of": {"batch": 7}, "milliseconds": {"fft": 1, "dft": 2}}',
    ],
)
def test_a_damaged_file_is_as_none_and_is_written_anew(folder, text):
    the_file(folder).write_bytes(text)
    assert Timings(folder)(case()) is None
    Timings(folder).keep(case(), TIMES)
    assert Timings(folder)(case()) == TIMES


@pytest.mark.parametrize(
    "wrong", [{"fft": 1.0}, {"fft": 1.0, "dft": 0.0}, {"fft": float("nan"), "dft": 1.0}, [1.0], "x"]
)
def test_times_that_cannot_be_are_not_believed(folder, wrong):
    told = json.loads(the_file(folder).read_text())
    the_file(folder).write_text(json.dumps(told | {"milliseconds": wrong}))
    assert Timings(folder)(case()) is None


def test_where_nothing_can_be_written_times_are_known_to_this_process(tmp_path):
    # a file in place of the folder: root may write into any folder
    (tmp_path / "taken").write_text("")
    found = Timings(tmp_path / "taken")
    found.keep(case(), TIMES)
    assert found(case()) == TIMES
    assert Timings(tmp_path / "taken")(case()) is None


def test_the_first_folder_holds_and_is_given_what_a_later_one_has(folder, tmp_path):
    run = tmp_path / "run"
    assert Timings(run, folder)(case()) == TIMES
    Timings(folder).keep(case(), {"fft": 1.0, "dft": 3.0})
    assert Timings(run, folder)(case()) == TIMES


def test_times_measured_anew_take_the_place_of_the_earlier_ones(folder):
    again = Timings(folder, anew=True)
    assert again(case()) is None
    again.keep(case(), {"fft": 1.0, "dft": 3.0})
    assert Timings(folder)(case()) == {"fft": 1.0, "dft": 3.0}


def test_a_users_times_are_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert users_folder() == tmp_path / "opdsl" / "timings"
