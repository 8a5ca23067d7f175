"""What blocks between vectors, functions and points refuse, and what they say to it."""

import pytest

from tests.programs import graph, model, only

INPUTS = """input s : R^3
input f : P -> R^4
domain P = points(2)
domain Q = points(3)  # op: allow(unused-domain)
domain S = sphere(lat, lon, min = (8, 17))
input y : S -> R^2
output u : D -> R^2
u = gelu(a)
output z : R^3
z = gelu(s)
output g : P -> R^4
g = gelu(f)
output q : S -> R^2
q = gelu(y)
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("w = contract(a, s)", "OP0301", "takes a vector first"),
        ("w = contract(s, a)", "OP0303", "cannot contract 3 channels with 2 channels"),
        ("w = contract(s, a, out = 2)", "OP0303", "cannot contract"),
        ("w = broadcast(a, to = D)", "OP0301", "`broadcast` is defined on a vector"),
        ("w = a |> modulate(a)", "OP0301", "takes a function, then a vector"),
        ("w = a |> attention(heads = 3)", "OP0208", "do not split evenly over 3 heads"),
        ("w = cross_attention(a, f, heads = 3)", "OP0208", "do not split evenly"),
        ("w = a |> spherical_conv(lmax = 3)", "OP0301", "on a sphere only"),
        ("w = y |> spherical_conv(lmax = 8)", "OP0309", "too many degrees"),
        ("w = y |> spherical_conv(lmax = 3, to = D)", "OP0313", "is not the sphere `S`"),
        ("w = f |> gno(to = Q, radius = 0.1)", "OP0313", "spaces of 2 and 3 dimensions"),
        ("w = s |> gno(to = Q, radius = 0.1)", "OP0301", "grids, points and spheres only"),
        ("w = a |> select(channels = (5,))", "OP0303", "there is no channel 5"),
        ("w = a[ux]", "OP0303", "there is no component `ux`"),
        ("w = static(D, fields = [m, m])", "OP0203", "named twice"),
        ("w = coords(spectrum(D, 3))", "OP0209", "a domain is declared"),
        ("w = s |> fourier_features(count = 0)", "OP0208", "`count`"),
        ("w = a / s", "OP0209", "has no meaning"),
        ("w = a + s", "OP0304", "different domains"),
        ("w = f |> conv(out = 1)", "OP0301", "a regular grid only"),
        ("w = a |> multipole_gno(radius = 0.1)", "OP0301", "on a graph, a mesh or points only"),
    ],
)
def test_what_does_not_fit_is_refused(body, code, said):
    found = only(model(INPUTS + body))
    assert found.code == code
    assert said in found.message


@pytest.mark.parametrize(
    ("value", "space"),
    [
        ("contract(s, linear(a, out = 3))", "D -> R^1"),
        ("contract(concat(s, s), linear(a, out = 3), out = 2)", "D -> R^2"),
        ("broadcast(s, to = P)", "P -> R^3"),
        ("integrate(y)", "R^2"),
        ("modulate(f, s)", "P -> R^4"),
        ("cross_attention(a, f, heads = 2)", "D -> R^2"),
        ("y |> spherical_conv(lmax = 3, out = 5, to = S / 2)", "S/2 -> R^5"),
        ("f |> gno(to = D, radius = 0.1)", "D -> R^4"),
        ("coords(S)", "S -> R^3"),
        ("a |> fourier_features(count = 4)", "D -> R^8"),
        ("a[1]", "D -> R^1"),
        ("a |> select(channels = (1, 0, 0))", "D -> R^3"),
    ],
)
def test_what_fits_has_the_space_that_follows(value, space):
    text = model(f"{INPUTS}w = {value}  # op: allow(unused-node)")
    found = {x.path: str(x.space) for x in graph(text).nodes}
    assert found["w"] == space if "w" in found else space in found.values()
