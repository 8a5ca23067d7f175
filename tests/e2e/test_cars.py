"""GINO and OTNO learn the published cars: trained on two, asked about the third."""

from pathlib import Path

import pytest
import torch

from opdsl.resources import root
from tests.e2e.command_line import data, good

PUBLISHED = Path(__file__).parents[3] / "shared/data/neuraloperator"
CARS = PUBLISHED / "mini_car.pt"
CARRIED = PUBLISHED / "ot_expand3.0_reg1e-06_train2_test1.pt"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CARS.exists(), reason="the published cars are not here"),
]


def coarser(car: dict, part: int) -> dict:
    """A car with one triangle in `part`, which has the area of those that are nearest to it."""
    centres, areas = car["centroids"], car["triangle_areas"]
    kept = torch.randperm(len(centres))[: len(centres) // part]
    near = torch.cdist(centres, centres[kept]).argmin(1)
    whole = torch.zeros(len(kept)).index_add(0, near, areas)
    normals = torch.zeros(len(kept), 3).index_add(0, near, car["triangle_normals"] * areas[:, None])
    some = torch.randperm(len(car["vertices"]))[: len(car["vertices"]) // part]
    return {
        "vertices": car["vertices"][some],
        "press": car["press"][:, some],
        "centroids": centres[kept],
        "triangle_areas": whole,
        "triangle_normals": normals / whole[:, None],
        "distance": car["distance"],
    }


def error(run: str, cars: Path) -> float:
    """The relative error of a run on the cars in a file."""
    return data("evaluate", run, "--data", str(cars), "--json")["tests"][0]["rel_l2"]


def trained(spec: str, cars: Path, epochs: int) -> None:
    """A run in the folder `run`."""
    program = str(root("specs") / f"{spec}.op")
    settings = {"data.path": cars, "schedule.epochs": epochs, "device": "cpu"}
    told = [y for k, x in settings.items() for y in ("--set", f"{k}={x}")]
    good("train", program, *told, "--out", "run")


def test_gino_learns_two_cars_and_meets_a_third_on_meshes_of_any_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    cars = torch.load(CARS, weights_only=True)
    files = {
        "seen": cars[:2],
        "third": cars[2:],
        "half": [coarser(cars[2], 2)],
        "sizes": [coarser(cars[0], 2), coarser(cars[1], 3), coarser(cars[2], 4)],
    }
    for name, held in files.items():
        torch.save(held, f"{name}.pt")
    trained("gino_car", CARS, 60)
    found = {name: error("run", Path(f"{name}.pt")) for name in files}
    assert found["seen"] < 0.65  # 1 at the beginning
    assert found["third"] < 0.75
    assert abs(found["half"] - found["third"]) < 0.05
    assert found["sizes"] < 0.7


def test_otno_learns_two_carried_cars_in_one_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(torch.load(CARRIED, weights_only=True)[2:], "third.pt")
    trained("otno_car", CARRIED, 40)
    assert error("run", Path("third.pt")) < 0.55
