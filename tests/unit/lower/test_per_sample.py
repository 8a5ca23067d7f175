"""Samples with points of their own: a packed call is the call of each sample alone."""

import pytest
import torch

import opdsl
from opdsl import Geometry, OpError, Packed
from opdsl.lower.module import OperatorModule

PROGRAM = """edition 2026

model Clouds {
  domain P = points(2, geometry = per_sample, min = 3)
  domain L = grid(x: 0..1, y: 0..1, size = 6)
  domain Q = points(2, geometry = per_sample)
  input f : P -> R^2
  input code : R^3
  output u : Q -> R^1
  output s : R^4
  output v : P -> R^2

  h = concat(f, coords(P)) |> linear(out = 4) |> gelu()
  m = h |> norm(kind = group)
  v = m |> linear(out = 2)
  s = m |> integrate()
  b = code |> linear(out = 4) |> broadcast(to = L)
  e = h |> gno(to = L, radius = 0.9, kernel = [5])
  g = e + b |> spectral_conv(modes = 2)
  u = g |> gno(to = Q, radius = 0.5, kernel = [5]) |> linear(out = 1)
}
"""


def cloud(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model(tmp_path) -> OperatorModule:
    path = tmp_path / "clouds.op"
    path.write_text(PROGRAM)
    torch.manual_seed(0)
    return opdsl.compile(path)


def batch(sizes=(7, 12, 5), queries=(4, 9, 1)):
    p, q = [cloud(n, n) for n in sizes], [cloud(n, 50 + n) for n in queries]
    f = [torch.randn(2, n, generator=torch.Generator().manual_seed(n)) for n in sizes]
    code = torch.randn(len(sizes), 3, generator=torch.Generator().manual_seed(1))
    return f, code, p, q


def test_a_packed_batch_is_every_sample_alone(model):
    f, code, p, q = batch()
    whole = model(Packed.of(f), code, P=p, Q=q)
    assert whole["u"].sizes == (4, 9, 1)
    assert whole["v"].sizes == (7, 12, 5)
    for i in range(3):
        one = model(f[i][None], code[i : i + 1], P=p[i], Q=q[i])
        torch.testing.assert_close(whole["u"].parts[i], one["u"][0])
        torch.testing.assert_close(whole["v"].parts[i], one["v"][0])
        torch.testing.assert_close(whole["s"][i], one["s"][0])


def test_gradients_of_a_packed_batch_are_the_sum_of_those_of_its_samples(model):
    f, code, p, q = batch()
    model(Packed.of(f), code, P=p, Q=q)["u"].values.square().sum().backward()
    together = [x.grad.clone() for x in model.parameters() if x.grad is not None]
    model.zero_grad(set_to_none=True)
    for i in range(3):
        model(f[i][None], code[i : i + 1], P=p[i], Q=q[i])["u"].square().sum().backward()
    alone = [x.grad for x in model.parameters() if x.grad is not None]
    torch.testing.assert_close(together, alone)


def test_packed_samples_of_one_size_are_the_dense_batch(model):
    f, code, p, q = batch((6, 6), (5, 5))
    packed = model(Packed.of(f), code, P=p, Q=[Geometry(x) for x in q])
    dense = model(torch.stack(f), code, P=torch.stack(p), Q=torch.stack(q))
    torch.testing.assert_close(torch.stack(packed["u"].parts), dense["u"])


def test_a_list_of_points_for_a_dense_function_is_dense(model):
    f, code, p, q = batch((6, 6), (5, 3))
    found = model(torch.stack(f), code, P=p, Q=q)
    assert found["v"].shape == (2, 2, 6)
    assert found["u"].sizes == (5, 3)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"P": slice(0, 2)}, "OP0906", "coordinates for 2 samples of 3"),
        ({"Q": slice(0, 2)}, "OP0906", "coordinates for 2 samples of 3"),
    ],
)
def test_too_few_geometries_are_told(model, change, code, message):
    f, v, p, q = batch()
    places = {"P": p, "Q": q}
    with pytest.raises(OpError) as error:
        model(Packed.of(f), v, **(places | {k: places[k][x] for k, x in change.items()}))
    assert error.value.diagnostics[0].code == code
    assert message in error.value.diagnostics[0].message


def test_a_sample_with_more_values_than_points_is_named(model):
    f, code, p, q = batch()
    p[1] = p[1][:-1]
    with pytest.raises(OpError) as error:
        model(Packed.of(f), code, P=p, Q=q)
    assert error.value.diagnostics[0].code == "OP0906"
    assert (
        "`P` has 11 points in sample 1, where others have 12 on `P`"
        in error.value.diagnostics[0].message
    )


def test_every_packed_sample_keeps_the_promise_of_its_domain(model):
    f, code, p, q = batch((7, 2, 5))
    with pytest.raises(OpError) as error:
        model(Packed.of(f), code, P=p, Q=q)
    assert error.value.diagnostics[0].code == "OP0903"
    assert "2 points" in error.value.diagnostics[0].message


def test_a_pack_for_points_that_all_samples_share_is_refused(tmp_path):
    path = tmp_path / "shared.op"
    path.write_text(
        "edition 2026\n\nmodel Shared {\n  domain P = points(2)\n  input f : P -> R^1\n"
        "  output u : P -> R^1\n\n  u = f |> linear(out = 1)\n}\n"
    )
    with pytest.raises(OpError) as error:
        opdsl.compile(path)(Packed.of([torch.zeros(1, 3), torch.zeros(1, 4)]))
    assert error.value.diagnostics[0].code == "OP0906"
    assert "geometry = per_sample" in error.value.diagnostics[0].helps[0].text


def test_coordinates_that_are_no_points_are_refused(model):
    f, code, p, _ = batch()
    for wrong, met in ((torch.zeros(5, 3), "points with 3 coordinates"), ("x", "is not a tensor")):
        with pytest.raises(OpError, match=met):
            model(Packed.of(f), code, P=p, Q=wrong)
    with pytest.raises(OpError, match="a list of other things"):
        model(Packed.of(f), code, P=p, Q=[1, 2, 3])
