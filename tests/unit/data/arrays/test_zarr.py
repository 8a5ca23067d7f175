"""zarr stores against zarr and xarray, and hostile ones."""

import base64
import contextlib
import json
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

from opdsl.data.arrays.reading import open_arrays
from opdsl.diagnostics import OpError
from tests.array_files import read_all, refused

zarr = pytest.importorskip("zarr", reason="the writer of these stores")
RANDOM = np.random.default_rng(0)
FIELD = RANDOM.standard_normal((6, 4, 5)).astype(np.float32)


def written(path, version=3, **options):
    options = {"chunks": (4, 2, 5), **options}
    store = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else path
    root = zarr.create_group(store, zarr_format=version, attributes={"title": "weather"})
    inner = root.create_group("levels", attributes={"unit": "hPa"})
    for home, name, values in ((root, "u", FIELD), (inner, "counts", np.arange(24).reshape(6, 4))):
        rank = values.ndim
        own = {**options, "chunks": options["chunks"][:rank]}
        if "shards" in own:
            own["shards"] = own["shards"][:rank]
        home.create_array(name, data=values, **own)
    if path.suffix == ".zip":
        store.close()
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zarr writes the metadata twice
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["a.zarr", "a.zip"])
def test_stores_are_listed_and_read(tmp_path, version, name):
    path = written(tmp_path / name, version)
    with open_arrays(path, name) as file:
        assert file.format == f"zarr v{version}"
        assert file.attributes == {"title": "weather"}
        assert file.groups == {"levels": {"unit": "hPa"}}
        assert set(file.arrays) == {"u", "levels/counts"}
        np.testing.assert_array_equal(file.read("u"), FIELD)
        index = (slice(1, 6, 2), slice(None), slice(2, 4))
        np.testing.assert_array_equal(file.read("u", index), FIELD[index])
        assert file.read("levels/counts", (slice(2, 2),)).shape == (0, 4)
        assert file.read("levels/counts")[5].tolist() == [20, 21, 22, 23]


@pytest.mark.parametrize("codec", ["ZstdCodec", "GzipCodec", "BloscCodec"])
def test_every_compressor_of_zarr_is_read(tmp_path, codec):
    path = written(tmp_path / "a.zarr", compressors=[getattr(zarr.codecs, codec)()])
    np.testing.assert_array_equal(read_all(path)["u"], FIELD)


def test_shards_are_read(tmp_path):
    path = written(tmp_path / "a.zarr", shards=(8, 4, 5))
    np.testing.assert_array_equal(read_all(path)["u"], FIELD)


@pytest.mark.parametrize("name", ["Zlib", "LZ4", "BZ2", "Zstd", "Blosc", "LZMA"])
def test_compressors_of_version_2_are_read(tmp_path, name):
    numcodecs = pytest.importorskip("numcodecs", reason="the compressors of zarr")
    filters = [numcodecs.Delta("<f8"), numcodecs.Shuffle(8)]
    array = zarr.create_array(
        tmp_path / "a.zarr",
        data=np.arange(12.0).reshape(3, 4),
        chunks=(2, 2),
        zarr_format=2,
        filters=filters,
        compressors=getattr(numcodecs, name)(),
        order="F",
    )
    values = read_all(tmp_path / "a.zarr")
    np.testing.assert_array_equal(values["data"], array[:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", [2, 3])
def test_names_of_axes_and_packed_values_are_those_of_xarray(tmp_path, version):
    xarray = pytest.importorskip("xarray", reason="the writer and the oracle")
    temperature = np.array([[250.0, np.nan, 251.5], [240.25, 260, 270]])
    data = xarray.Dataset(
        {
            "t2m": (("lat", "lon"), temperature, {"units": "K"}),
            "mask": (("lat", "lon"), temperature.astype(np.float32)),
        },
        coords={"lat": [-60.0, 60.0], "lon": [0, 120, 240]},
        attrs={"source": "made"},
    )
    packed = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 250.0, "_FillValue": -32767}
    path = tmp_path / "a.zarr"
    data.to_zarr(path, zarr_format=version, encoding={"t2m": packed}, consolidated=False)
    with open_arrays(path, "a.zarr") as file, xarray.open_zarr(path, consolidated=False) as oracle:
        assert file.arrays["t2m"].axes == ("lat", "lon")
        assert file.arrays["t2m"].attributes["units"] == "K"
        assert file.attributes == {"source": "made"}
        for name in ("t2m", "mask", "lat", "lon"):
            np.testing.assert_array_equal(file.read(name), oracle[name].values)
        assert np.isnan(file.read("t2m")[0, 1])


def test_arrays_without_numbers_are_named_as_left_out(tmp_path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    root.create_array("u", data=np.ones(3))
    folder = tmp_path / "a.zarr" / "text"
    folder.mkdir()
    metadata = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None}
    more = {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}], "order": "C"}
    (folder / ".zarray").write_text(json.dumps(metadata | more))
    with open_arrays(tmp_path / "a.zarr", "a.zarr") as file:
        assert list(file.arrays) == ["u"]
        assert file.attributes["skipped"] == ["text (|O)"]


def changed(path, name, **fields):
    target = path / name
    target.write_text(json.dumps(json.loads(target.read_text()) | fields))


def test_codecs_that_may_run_code_are_refused(tmp_path):
    path = written(tmp_path / "a.zarr", 2)
    changed(path, "u/.zarray", filters=[{"id": "pickle", "protocol": 5}])
    assert "encoded by `pickle`" in refused(path)
    path = written(tmp_path / "b.zarr", 3)
    metadata = json.loads((path / "u/zarr.json").read_text())
    changed(path, "u/zarr.json", codecs=[*metadata["codecs"], {"name": "acme.evil"}])
    assert "encoded by `acme.evil`" in refused(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("victim", ["u/c/0/0/0", "u/c/0", "u", "u/zarr.json"])
def test_links_are_refused(tmp_path, victim):
    path = written(tmp_path / "a.zarr")
    target = path / victim
    target.rename(tmp_path / "secret")
    target.symlink_to(tmp_path / "secret")
    assert "is a link" in refused(path, "OP0615")


def test_a_chunk_that_inflates_without_end_is_refused(tmp_path):
    path = written(tmp_path / "a.zarr", 2, compressors=None)
    changed(path, "u/.zarray", compressor={"id": "zlib", "level": 1})
    for x in (path / "u").glob("[0-9]*"):
        x.unlink()
    (path / "u/0.0.0").write_bytes(_bomb())
    assert "declares more" in refused(path)


def _bomb():
    """A gigabyte of zeros, in a few megabytes."""
    squeezer = zlib.compressobj(1)
    piece = bytes(16 << 20)
    return b"".join(squeezer.compress(piece) for _ in range(64)) + squeezer.flush()


@pytest.mark.parametrize("fields", [{"shape": [2**50, 4, 5]}, {"shape": [6, 4, 5, 1]}])
def test_shapes_that_do_not_fit_are_refused(tmp_path, fields):
    path = written(tmp_path / "a.zarr", 2)
    changed(path, "u/.zarray", **fields)
    refused(path)


def test_chunks_that_do_not_fit_into_memory_are_refused(tmp_path):
    path = written(tmp_path / "a.zarr", 2)
    changed(path, "u/.zarray", chunks=[2**40, 2, 5])
    assert "one chunk of `u`" in refused(path)


def test_very_many_chunks_are_refused(tmp_path):
    path = written(tmp_path / "a.zarr", 2)
    changed(path, "u/.zarray", shape=[2**20, 4, 5], chunks=[1, 1, 1])
    assert "chunks, at most" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3}', '{"shape": 3}', "null"])
@pytest.mark.parametrize("name", ["u/zarr.json", "zarr.json"])
def test_damaged_metadata_give_one_diagnostic_or_nothing(tmp_path, name, text):
    path = written(tmp_path / "a.zarr")
    (path / name).write_text(text)
    with contextlib.suppress(OpError):
        read_all(path)


def test_a_damaged_chunk_is_refused(tmp_path):
    path = written(tmp_path / "a.zarr")
    (path / "u/c/0/0/0").write_bytes(b"\x28\xb5\x2f\xfd rubbish")
    assert "damaged" in refused(path)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    path = written(tmp_path / "a.zarr")
    monkeypatch.setattr("opdsl.data.arrays.formats.zarr.find_spec", lambda _: None)
    assert "pip install 'opdsl[zarr]'" in refused(path)


def test_a_mark_in_base_64_is_a_number(tmp_path):
    path = written(tmp_path / "a.zarr")
    mark = base64.b64encode(struct.pack("<d", FIELD[0, 0, 0])).decode()
    changed(path, "u/zarr.json", attributes={"_FillValue": mark})
    assert np.argwhere(np.isnan(read_all(path)["u"])).tolist() == [[0, 0, 0]]


def test_keys_that_leave_the_store_are_refused(tmp_path):
    path = written(tmp_path / "a.zarr")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for x in path.rglob("*"):
            if x.is_file():
                archive.write(x, str(x.relative_to(path)).replace("levels/", "../"))
    assert "leads out of the store" in refused(tmp_path / "b.zip", "OP0615")
