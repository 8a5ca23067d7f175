"""Files of torch as named arrays, read without torch and without running what they name."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from opdsl.data.arrays.reading import open_arrays
from opdsl.data.io.dataset import open_dataset
from opdsl.diagnostics import OpError

CUBE = torch.rand(7, 5, 6, generator=torch.Generator().manual_seed(0))
INDICES = [(), (slice(2, 5),), (slice(0, None, 3), slice(1, 2)), (slice(4, 4),)]


def contents(tmp_path, value, **options):
    """Names, values and attributes of a file in which torch saved a value."""
    torch.save(value, tmp_path / "a.pt", **options)
    with open_arrays(tmp_path / "a.pt", "a.pt") as file:
        assert file.format == "PyTorch .pt"
        arrays = {name: file.read(name) for name in file.arrays}
        for name, whole in arrays.items():
            assert file.arrays[name].shape == whole.shape
            assert file.arrays[name].dtype == whole.dtype
            for index in INDICES:
                part = index[: whole.ndim]
                assert np.array_equal(file.read(name, part), whole[part])
        return arrays, dict(file.attributes), dict(file.groups)


def equal(arrays, oracle):
    assert list(arrays) == list(oracle)
    for name, x in oracle.items():
        assert np.array_equal(arrays[name], x.detach().numpy())
        assert arrays[name].dtype == x.detach().numpy().dtype


TENSORS = {
    "x": CUBE,
    "double": CUBE.double(),
    "half": CUBE.half(),
    "transposed": CUBE.permute(2, 0, 1),
    "view": CUBE[2:5, :, 1::2],
    "expanded": torch.rand(5, 1).expand(5, 9),
    "long": torch.arange(12).reshape(3, 4),
    "bytes": torch.arange(9, dtype=torch.uint8),
    "flags": CUBE > 0.5,
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(CUBE),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_dictionary_lists_the_tensors_that_torch_saved(tmp_path, zipped):
    arrays, _, _ = contents(tmp_path, TENSORS, _use_new_zipfile_serialization=zipped)
    equal(arrays, TENSORS)


def test_unsigned_numbers_of_16_to_64_bits_are_read(tmp_path):
    held = {f"u{n}": torch.arange(5).to(getattr(torch, f"uint{n}")) for n in (16, 32, 64)}
    equal(contents(tmp_path, held)[0], held)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("value", "names"),
    [
        (CUBE, {"data": CUBE}),
        ((CUBE, CUBE[0]), {"0": CUBE, "1": CUBE[0]}),
        ([CUBE, CUBE[0]], {"0": CUBE, "1": CUBE[0]}),
        (TensorDataset(CUBE, CUBE + 1), {"0": CUBE, "1": CUBE + 1}),
        ({"train": TensorDataset(CUBE)}, {"train/0": CUBE}),
        ([{"x": CUBE}, {"x": CUBE[1:]}], {"0/x": CUBE, "1/x": CUBE[1:]}),
        ({"a": {"b": {"c": CUBE}}, 3: CUBE[0]}, {"a/b/c": CUBE, "3": CUBE[0]}),
    ],
    ids=["bare", "tuple", "list", "data set", "data set in it", "samples", "nested"],
)
def test_collections_name_their_tensors(tmp_path, value, names, zipped):
    equal(contents(tmp_path, value, _use_new_zipfile_serialization=zipped)[0], names)


def test_texts_and_numbers_are_attributes(tmp_path):
    value = {"x": CUBE, "nu": 0.5, "unit": "K", "t": [0.0, 1.0], "run": {"seed": 3, "y": CUBE}}
    _, attributes, groups = contents(tmp_path, value)
    assert attributes == {"nu": 0.5, "unit": "K", "t": [0.0, 1.0]}
    assert groups == {"run": {"seed": 3}}


def test_the_order_of_bytes_is_that_of_the_file(tmp_path):
    torch.save({"x": CUBE}, tmp_path / "a.pt")
    path = tmp_path / "big.pt"
    with zipfile.ZipFile(tmp_path / "a.pt") as held, zipfile.ZipFile(path, "w") as made:
        for x in held.infolist():
            data = held.read(x)
            if x.filename.endswith("byteorder"):
                data = b"big"
            elif "/data/" in x.filename:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            made.writestr(x.filename, data)
    with open_arrays(path, "big.pt") as file:
        assert np.array_equal(file.read("x"), CUBE.numpy())
        assert file.read("x").dtype.isnative


def test_what_numpy_lacks_is_listed_and_refused_when_read(tmp_path):
    torch.save({"x": CUBE, "odd": CUBE.to(torch.float8_e4m3fn)}, tmp_path / "a.pt")
    with open_arrays(tmp_path / "a.pt", "a.pt") as file:
        assert file.arrays["odd"].shape == (7, 5, 6)
        with pytest.raises(OpError):
            file.read("odd")
        assert file.read("x").shape == (7, 5, 6)


# --- hostile files ------------------------------------------------------------------------------


def read_all(path):
    with open_arrays(path, path.name) as file:
        return [file.read(name) for name in file.arrays]


def refused(path):
    with pytest.raises(OpError) as caught:
        read_all(path)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    return one


class Code:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_code_is_never_run(tmp_path):
    marker = tmp_path / "was_here"
    held = {"x": CUBE, "bad": Code(open, str(marker), "w")}
    torch.save(held, tmp_path / "zip.pt")
    torch.save(held, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(held["bad"]))
    for name in ("zip.pt", "legacy.pt", "plain.pkl"):
        assert "not read" in refused(tmp_path / name).message
    assert not marker.exists()


def test_a_data_set_with_more_than_tensors_is_refused(tmp_path):
    odd = TensorDataset(CUBE)
    odd.transform = "x"
    torch.save(odd, tmp_path / "a.pt")
    assert "other attributes" in refused(tmp_path / "a.pt").message
    odd = TensorDataset(CUBE)
    odd.tensors = [CUBE]
    torch.save(odd, tmp_path / "b.pt")
    assert "more than tensors" in refused(tmp_path / "b.pt").message


class Child(TensorDataset):
    """A data set of a class of its own."""


def test_a_data_set_of_another_class_is_refused(tmp_path):
    torch.save(Child(CUBE), tmp_path / "a.pt")
    assert "not read" in refused(tmp_path / "a.pt").message


@pytest.mark.timeout(20)
def test_the_key_of_a_dictionary_that_takes_for_ever_to_hash_is_refused(tmp_path):
    """A tuple that holds a tuple twice, which holds one twice: 2^60 steps to hash."""
    twice = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    (tmp_path / "a.pt").write_bytes(b"\x80\x02})" + twice + b"K\x01s.")
    assert "key of a dictionary" in refused(tmp_path / "a.pt").message


@pytest.mark.timeout(20)
def test_a_list_that_holds_one_list_twice_sixty_times_is_refused(tmp_path):
    value = [CUBE]
    for _ in range(60):
        value = [value, value]
    torch.save(value, tmp_path / "a.pt")
    assert "values" in refused(tmp_path / "a.pt").message


def test_a_list_that_holds_itself_is_refused(tmp_path):
    value = [CUBE]
    value.append(value)
    torch.save(value, tmp_path / "a.pt")
    assert "holds itself" in refused(tmp_path / "a.pt").message


def test_a_memo_of_two_thousand_million_entries_is_not_made(tmp_path):
    code = b"\x80\x02]r" + struct.pack("<I", 0x7FFFFFFF) + b"."
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as held:
        held.writestr("a/data.pkl", code)
    (tmp_path / "a.pt").write_bytes(made.getvalue())
    with open_arrays(tmp_path / "a.pt", "a.pt") as file:
        assert not file.arrays


@pytest.mark.parametrize("part", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(tmp_path, zipped, part):
    path = tmp_path / "a.pt"
    torch.save({"x": CUBE, "y": CUBE + 1}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(path)


def test_a_tensor_that_shows_more_than_is_stored_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"x": torch.zeros(10)}, path)
    with zipfile.ZipFile(path) as held:
        records = {x.filename: held.read(x) for x in held.infolist()}
    name = next(x for x in records if x.endswith("data.pkl"))
    code = records[name]
    assert code.count(b"K\x0a\x85") == 1  # the shape (10,)
    records[name] = code.replace(b"K\x0a\x85", b"J" + struct.pack("<i", 1 << 30) + b"\x85")
    with zipfile.ZipFile(path, "w") as made:
        for key, value in records.items():
            made.writestr(key, value)
    assert "more numbers than are stored" in refused(path).message


def test_layouts_without_names_are_refused_with_a_listing(tmp_path):
    for value in (CUBE, (CUBE, CUBE), TensorDataset(CUBE, CUBE), {"a": CUBE}):
        torch.save(value, tmp_path / "a.pt")
        with pytest.raises(OpError) as caught:
            open_dataset(tmp_path / "a.pt")
        (one,) = caught.value.diagnostics
        assert "(7, 5, 6)" in one.notes[0]
        assert "fields" in one.helps[0].text
