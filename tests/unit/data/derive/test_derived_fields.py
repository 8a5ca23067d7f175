"""Meshes, distances and transports as files that open as what went in."""

import meshio
import numpy as np
import pytest
import torch

from opdsl.data import open_dataset
from opdsl.data.derive.add_distance import Sign, add_distance
from opdsl.data.derive.add_transport import add_transport
from opdsl.data.derive.derived_fields import select_fields
from opdsl.data.derive.distance import signed_distance
from opdsl.data.derive.transport import normals_of, torus_normals, torus_points
from opdsl.data.generate.sampling.blob import NUMBERS, Blob
from opdsl.data.generate.sampling.draws import normals
from opdsl.data.io.formats import points
from opdsl.data.io.mesh_set import as_fields
from opdsl.data.io.meshes import Mesh
from opdsl.diagnostics import OpError
from opdsl.nn.points.batch import split_samples


def blobs(count=2, width=0.4, *, alike=False):
    made = []
    for i in range(count):
        there, cells = Blob.of(normals(1, 0 if alike else i, NUMBERS)).triangulate(width)
        made.append(Mesh(there, cells, {"p": there[:, :1] + i, "v": there**2}, source=f"{i}.vtu"))
    return made


def filed(path, meshes, **names):
    points.write(path, as_fields(meshes, name="blobs", **{"outputs": ["p"]} | names))
    return open_dataset(path)


def refused(code, act, *arguments, **options):
    with pytest.raises(OpError) as caught:
        act(*arguments, **options)
    (one,) = caught.value.diagnostics
    assert one.code == code
    return one.message


# --- meshes -------------------------------------------------------------------------------------


def test_meshes_are_samples_of_their_own_points(tmp_path):
    meshes = blobs(3)
    held = filed(tmp_path / "a.h5", meshes, inputs=["v"], domain="S")
    assert held.roles == {"p": "output", "v": "input"}
    assert held.homes == {"p": "S", "v": "S"}
    for mesh, where, p in zip(meshes, held.places["S"], held.values["p"].parts, strict=True):
        assert np.array_equal(where.points.numpy(), mesh.points)
        assert np.array_equal(where.cells.numpy(), mesh.cells)
        assert p[0].numpy() == pytest.approx(mesh.fields["p"][:, 0], rel=1e-6)


def test_meshes_that_are_alike_share_their_points(tmp_path):
    held = filed(tmp_path / "a.h5", blobs(3, alike=True))
    assert len(held.places["P"]) == 1
    assert held.values["p"].shape == (3, 1, len(held.places["P"][0]))
    assert (held.values["p"][2] - held.values["p"][0]).numpy() == pytest.approx(2, abs=1e-6)


def test_points_are_float32_only_where_that_changes_none(tmp_path):
    (mesh,) = blobs(1)
    short = Mesh(mesh.points.astype(np.float32).astype(float), mesh.cells, mesh.fields)
    assert filed(tmp_path / "a.h5", [short]).places["P"][0].points.dtype == torch.float32
    assert filed(tmp_path / "b.h5", [mesh]).places["P"][0].points.dtype == torch.float64


def test_a_field_that_is_not_there_is_refused():
    message = refused("OP0611", as_fields, blobs(), name="x", inputs=["q"])
    assert "no field `q`; the files have `p`, `v`" in message


def test_a_field_has_one_role():
    refused("OP0611", as_fields, blobs(), name="x", inputs=["p"], outputs=["p"])


def test_a_mesh_is_a_data_set_of_one_sample_and_a_folder_of_meshes_one_of_several(tmp_path):
    meshes = blobs(3)
    for i, x in enumerate(meshes):
        held = meshio.Mesh(x.points, [("triangle", x.cells)], {"p": x.fields["p"][:, 0]})
        held.write(tmp_path / f"car{10 * i}.vtu")
    one = open_dataset(tmp_path / "car10.vtu")
    assert one.values["p"].sizes == (len(meshes[1].points),)
    assert np.array_equal(one.places["P"][0].cells.numpy(), meshes[1].cells)
    many = open_dataset(tmp_path)
    assert many.values["p"].sizes == tuple(len(x.points) for x in meshes)
    assert (many.roles, many.homes) == ({"p": "unknown"}, {"p": "P"})
    assert len(open_dataset(tmp_path, samples=2).places["P"]) == 2
    refused("OP0614", open_dataset, tmp_path, resolution=4)


def test_a_folder_may_have_meshes_to_train_and_to_test(tmp_path):
    for part, count in (("train", 2), ("test", 1)):
        (tmp_path / part).mkdir()
        for i, x in enumerate(blobs(count)):
            cells = [("triangle", x.cells)]
            meshio.Mesh(x.points, cells, {"p": x.fields["p"]}).write(tmp_path / part / f"{i}.vtu")
    assert len(open_dataset(tmp_path).values["p"]) == 2
    assert len(open_dataset(tmp_path, split="test").values["p"]) == 1


# --- distances ----------------------------------------------------------------------------------


def test_the_distance_on_a_grid_is_that_at_its_points(tmp_path):
    held = filed(tmp_path / "a.h5", blobs())
    done = []
    raw, box = add_distance(held, grid=(4, 5, 6), progress=lambda i, n: done.append((i, n)))
    assert done == [(1, 2), (2, 2)]
    points.write(tmp_path / "b.h5", raw)
    found = open_dataset(tmp_path / "b.h5")
    assert found.roles["distance"] == "input"
    assert found.values["distance"].shape == (2, 1, 4, 5, 6)
    assert found.axes == ("x", "y", "z")
    everything = torch.cat([x.points for x in held.places["P"]]).double()
    assert box == pytest.approx(np.stack([everything.min(0).values, everything.max(0).values], 1))
    x, y, z = (np.linspace(a, b, n) for n, (a, b) in zip((4, 5, 6), box, strict=True))
    where = torch.tensor([[x[1], y[4], z[2]], [x[3], y[0], z[5]]])
    for i in (0, 1):
        want = signed_distance(held.places["P"][i], where)
        got = found.values["distance"][i, 0]
        assert [got[1, 4, 2], got[3, 0, 5]] == pytest.approx(want.tolist(), rel=1e-6)
    assert torch.equal(found.values["p"].values, held.values["p"].values)


def test_samples_that_share_points_share_their_distance(tmp_path):
    raw, _ = add_distance(filed(tmp_path / "a.h5", blobs(3, alike=True)), grid=(3, 3, 3))
    points.write(tmp_path / "b.h5", raw)
    got = open_dataset(tmp_path / "b.h5").values["distance"]
    assert got.shape[0] == 3
    assert torch.equal(got[0], got[2])


def test_a_box_that_is_given_holds(tmp_path):
    box = ((-2.0, 2.0), (-1.0, 3.0), (0.0, 1.0))
    raw, got = add_distance(filed(tmp_path / "a.h5", blobs(1)), grid=(2, 2, 2), box=box)
    assert got == box
    held = filed(tmp_path / "c.h5", blobs(1))
    want = signed_distance(held.places["P"][0], torch.tensor([[-2.0, -1, 0], [2, 3, 1]]))
    assert raw.values["distance"][0, 0, [0, 1], [0, 1], [0, 1]].tolist() == pytest.approx(
        want.tolist(), rel=1e-6
    )


def test_an_open_surface_is_refused_with_its_sample_and_has_an_unsigned_distance(tmp_path):
    torn = [Mesh(x.points, x.cells[i:], x.fields) for i, x in enumerate(blobs())]
    held = filed(tmp_path / "a.h5", torn)
    with pytest.raises(OpError) as caught:
        add_distance(held, grid=(2, 2, 2))
    (one,) = caught.value.diagnostics
    assert (one.code, one.file) == ("OP0618", f"{tmp_path / 'a.h5'}, sample 1 of `P`")
    raw, _ = add_distance(held, grid=(3, 3, 3), sign=Sign(signed=False))
    assert raw.values["distance"].min() > 0
    raw, _ = add_distance(held, grid=(9, 9, 9), sign=Sign(holes=True))
    assert raw.values["distance"].min() < 0


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("OP0611", {"grid": (2, 2, 2), "domain": "Q"}),
        ("OP0611", {"grid": (2, 2, 2), "name": "p"}),
        ("OP0613", {"grid": (2, 2)}),
        ("OP0613", {"grid": (2, 2, 2), "box": ((0.0, 1.0),)}),
    ],
)
def test_what_does_not_fit_the_file_is_refused(tmp_path, code, options):
    refused(code, add_distance, filed(tmp_path / "a.h5", blobs(1)), **options)


def test_a_second_grid_must_be_the_first(tmp_path):
    raw, _ = add_distance(filed(tmp_path / "a.h5", blobs(1)), grid=(3, 3, 3))
    points.write(tmp_path / "b.h5", raw)
    held = open_dataset(tmp_path / "b.h5")
    assert "x: 3, y: 3, z: 3" in refused("OP0613", add_distance, held, grid=(4, 3, 3), name="d")
    add_distance(held, grid=(3, 3, 3), name="d")


def test_only_the_fields_that_are_kept_are_taken_over(tmp_path):
    raw, _ = add_distance(filed(tmp_path / "a.h5", blobs(1)), grid=(3, 3, 3))
    points.write(tmp_path / "b.h5", raw)
    held = open_dataset(tmp_path / "b.h5")
    assert select_fields(held, ()) is held
    less = select_fields(held, ("v",))
    assert (less.axes, less.resolution, less.homes) == ((), (), {"v": "P"})
    again, _ = add_distance(less, grid=(4, 4, 4))
    assert set(again.values) == set(again.roles) == {"v", "distance"}
    assert select_fields(held, ("distance",)).axes == ("x", "y", "z")
    assert "no field `w`" in refused("OP0611", select_fields, held, ("w",))


# --- transports ---------------------------------------------------------------------------------


def test_a_transport_is_on_one_grid_for_all_samples(tmp_path):
    held = filed(tmp_path / "a.h5", blobs(2, 0.5))
    raw, found = add_transport(held)
    points.write(tmp_path / "b.h5", raw)
    got = open_dataset(tmp_path / "b.h5")
    n = found[0].size
    assert got.axes == ("theta", "phi")
    assert {k for k, x in got.roles.items() if x == "input"} == {
        *("trans", "source", "cross", "ind_dec")
    }
    for i, where in enumerate(got.places["P"]):
        value = {k: x[i].flatten(1).T.numpy() for k, x in got.values.items() if k not in got.homes}
        encode = value["ind_enc"][:, 0]
        decode = got.values["ind_dec"].parts[i][0].long()
        assert value["trans"] == pytest.approx(where.points[encode].numpy(), abs=1e-6)
        assert value["source"] == pytest.approx(torus_points(n).reshape(-1, 3), abs=1e-6)
        assert value["nor_s"] == pytest.approx(torus_normals(n).reshape(-1, 3), abs=1e-6)
        turned = normals_of(where.points.double().numpy(), where.cells.numpy())[encode]
        want = np.cross(turned, torus_normals(n).reshape(-1, 3))
        assert value["cross"] == pytest.approx(want, abs=1e-6)
        assert (encode[decode] == np.arange(len(where))).all()
        latent = (got.values["latent"].parts[i] * n).round().long()
        assert latent.tolist() == [(decode // n).tolist(), (decode % n).tolist()]


def test_normals_may_be_a_field(tmp_path):
    held = filed(tmp_path / "a.h5", blobs(1, 0.5))
    raw, found = add_transport(held, normals="v")
    v = next(iter(split_samples(held.values["v"]))).T.double().numpy()
    want = np.cross(v[found[0].encode], torus_normals(found[0].size).reshape(-1, 3)).T
    assert raw.values["cross"][0].flatten(1).numpy() == pytest.approx(want, abs=1e-6)
    refused("OP0611", add_transport, held, normals="p")


def test_a_cloud_of_points_has_no_normals(tmp_path):
    (mesh,) = blobs(1, 0.5)
    held = filed(tmp_path / "a.h5", [Mesh(mesh.points, None, mesh.fields)])
    raw, _ = add_transport(held)
    assert "cross" not in raw.values
    assert "trans" in raw.values
