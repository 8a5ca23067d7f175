"""Models on patches: equal to the whole model where they see enough, and what they see else."""

import copy
import pickle

import pytest
import torch

from opdsl.compiler import check
from opdsl.diagnostics import OpError, Source
from opdsl.ir.patches.layout import Decomposition
from opdsl.ir.patches.model import patch_graph
from opdsl.lower.module import lower
from opdsl.lower.patches.patched import PatchedModule
from opdsl.lower.precision_mix import PrecisionMix
from opdsl.parallel.mesh import ProcessMesh
from tests.worlds import run_world

AXES = ("x: 0..1", "y: -1..2", "z: 0..2")
LOCAL = """edition 2026

model Local {{
  domain D = grid({axes}, {boundary}min = 5)
  input a : D -> R^2
  input nu : R^1
  output u : D -> R^1
  output v : D -> R^3

  h = concat(a, coords(D), static(D, fields = [height])) |> linear(out = 4) |> modulate(nu)
  u = gelu(conv(h, out = 5, kernel = 3)) |> linear(out = 1)
  v = h |> difference_conv(out = 3, kernel = 3, width = 1/16)
}}
"""
FOURIER = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
  domain E = extend(D, fraction = 0.25)
  input a : D -> R^{p, q}
  output u : D -> R^1

  u = concat(a, coords(D)) |> Lift(out = 6) |> pad(to = E) |> FourierLayer(modes = 3)
    |> crop(to = D) |> Project(out = 1)
}
"""


def graph(text):
    """The graph of a program without errors; that a stencil shrinks is a warning."""
    return check(Source("patches.op", text)).sound()


def local(dims, boundary):
    words = "boundary = periodic, " if boundary == "periodic" else ""
    text = LOCAL.format(axes=", ".join(AXES[:dims]), boundary=words)
    return graph(text)


def with_weights_of(module, other):
    module.load_state_dict(other.state_dict())
    return module.double()


def arguments(size, batch=3):
    torch.manual_seed(3)
    return {
        "a": torch.randn(batch, 2, *size, dtype=torch.float64),
        "nu": torch.randn(batch, 1, dtype=torch.float64),
        "height": torch.randn(*size, dtype=torch.float64),
    }


def gradients(module, given):
    module.zero_grad()
    outputs = module(**given)
    sum((x * torch.linspace(1, 2, x.shape[-1])).square().sum() for x in outputs.values()).backward()
    return [p.grad for p in module.parameters()]


@pytest.mark.parametrize(
    ("boundary", "dims", "size", "parts", "overlap"),
    [
        ("periodic", 1, (32,), (4,), 0.25),
        ("periodic", 2, (24, 16), (3, 2), 0.25),
        ("periodic", 3, (9, 11, 8), (2, 3, 1), 0.4),
        ("none", 1, (33,), (4,), 0.25),
        ("none", 2, (18, 33), (2, 1), 0.2),
    ],
)
def test_a_local_model_on_patches_that_see_enough_is_the_whole_model(
    boundary, dims, size, parts, overlap
):
    """Its weights and spacings are equal, so values differ at most at the ends of the domain."""
    program = local(dims, boundary)
    whole = lower(program).double()
    patched = with_weights_of(
        PatchedModule(program, Decomposition(parts, 0, overlap, "edge")), whole
    )
    given = arguments(size)
    expected, result = whole(**given), patched(**given)
    far = (..., *(slice(1, -1) if p > 1 else slice(None) for p in parts))
    inside = (...,) if boundary == "periodic" else far
    for name, x in result.items():
        assert torch.allclose(x[inside], expected[name][inside], atol=1e-12), name
    if boundary == "periodic":
        for a, b in zip(gradients(patched, given), gradients(whole, given), strict=True):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_how_many_patches_are_computed_at_once_changes_nothing(at_once):
    patched = PatchedModule(graph(FOURIER), Decomposition((2, 3), 1, 0.25, "edge")).double()
    given = {"a": torch.randn(5, 2, 24, 30, dtype=torch.float64)}
    results = []
    for n in (None, at_once):
        patched.at_once = n
        patched.zero_grad()
        u = patched(**given)
        (u * torch.linspace(0, 1, 30)).square().sum().backward()
        results.append([u.detach(), *(p.grad for p in patched.parameters())])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


def test_points_of_the_overlap_count_for_what_a_model_needs():
    patched = PatchedModule(graph(FOURIER), Decomposition((4, 4), 0, 0.5, "edge"))
    # 4 points of its own on each axis, 8 with the overlap; the modes need 5
    assert patched(torch.randn(1, 2, 16, 16)).shape == (1, 1, 16, 16)
    patched.patches = Decomposition((4, 4), 0, 0.0, "edge")
    with pytest.raises(OpError, match="OP0862"):
        patched(torch.randn(1, 2, 16, 16))


@pytest.mark.parametrize(
    ("at_once", "calls"), [(None, 6), (1, 30), (2, 18), (7, 6), (10, 3), (100, 1)]
)
def test_a_call_computes_as_many_patches_at_once_as_it_may(at_once, calls):
    patched = PatchedModule(graph(FOURIER), Decomposition((2, 3), 1, 0.25, "edge"), at_once)
    sizes = []
    patched._inner[0].register_forward_pre_hook(
        lambda _, __, named: sizes.append(len(named["a"])), with_kwargs=True
    )
    with torch.no_grad():
        patched(torch.randn(5, 2, 24, 30))
    assert len(sizes) == calls
    assert sum(sizes) == 5 * 6
    assert max(sizes) <= (at_once or 5)


def test_the_model_on_a_patch_is_called_with_patches_levels_and_coordinates_of_the_whole():
    patched = PatchedModule(graph(FOURIER), Decomposition((2, 2), 1, 0.25, "edge")).eval()
    inner = patched._inner[0]
    assert [(x.name, x.space.channels) for x in inner.graph.inputs] == [
        ("a", 4),
        ("u.concat.coords", 2),
    ]
    assert inner.graph.inputs[0].space.components == ("p", "q", "p_level1", "q_level1")
    seen = []
    with torch.no_grad():
        whole = patched(torch.randn(1, 2, 16, 16))
        inner.forward = lambda **x: seen.append(x) or torch.zeros(len(x["a"]), 1, 12, 12)
        patched(torch.randn(1, 2, 16, 16))
    assert whole.shape == (1, 1, 16, 16)
    x = torch.cat([y["u.concat.coords"] for y in seen])[:, 0, :, 0]
    places = (torch.arange(-2, 10) % 16 / 16, torch.arange(6, 18) % 16 / 16)
    assert torch.allclose(x, torch.stack([places[0], places[0], places[1], places[1]]))


def test_an_axis_that_is_not_divided_is_that_of_the_whole_grid():
    whole = graph(FOURIER)
    x, y = patch_graph(whole, Decomposition((4, 1), 0, 0.25, "edge")).domains[0].axes
    assert y == whole.domains[0].axes[1]
    assert x.hi - x.lo == pytest.approx(1.5 / 4)
    assert patch_graph(whole, Decomposition((1, 1), 0, 0.25, "edge")).domains == whole.domains


def test_a_model_sees_the_coarser_level():
    """A point far from a patch changes its result exactly if a level reaches there."""
    text = FOURIER.replace("concat(a, coords(D))", "a")
    program = graph(text)
    for levels, far_points_matter in ((0, False), (1, False), (2, True)):
        torch.manual_seed(0)
        patched = PatchedModule(program, Decomposition((4, 1), levels, 0.0, "edge"))
        a = torch.randn(1, 2, 64, 16)
        b = a.clone()
        b[:, :, 40] += 1.0  # the first patch is 0..15: level 1 -8..23, level 2 -24..39 = 40..63
        same = torch.equal(patched(a)[..., :16, :], patched(b)[..., :16, :])
        assert same != far_points_matter, levels


def test_a_rollout_passes_whole_functions_from_step_to_step():
    text = """edition 2026

model Steps {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input a : D -> R^2
  output b : D -> R^1
  feedback b -> a

  b = a |> conv(out = 1, kernel = 3)
}
"""
    program = graph(text)
    whole = lower(program).double()
    patched = with_weights_of(PatchedModule(program, Decomposition((2,), 0, 0.25, "edge")), whole)
    a = torch.randn(2, 2, 16, dtype=torch.float64)
    assert torch.allclose(patched.rollout(3, a), whole.rollout(3, a), atol=1e-12)


def test_copies_pickles_and_weights_by_the_paths_of_the_program():
    patched = PatchedModule(graph(FOURIER), Decomposition((2, 2), 1, 0.25, "edge"))
    a = torch.randn(2, 2, 16, 16)
    expected = patched(a)
    assert torch.equal(copy.deepcopy(patched)(a), expected)
    assert torch.equal(pickle.loads(pickle.dumps(patched))(a), expected)  # noqa: S301  our own
    narrow = lower(graph(FOURIER)).state_dict()
    shapes = {k: (x.shape, narrow[k].shape) for k, x in patched.state_dict().items()}
    wider = [k for k, (own, other) in shapes.items() if own != other]
    assert wider == ["u.lift.w.linear.weight"]
    for dtype in (torch.float64, torch.float32):
        assert patched.to(dtype)(a.to(dtype)).dtype == dtype
    assert patched(a[:0]).shape == (0, 1, 16, 16)


def test_training_mode_options_and_precision_reach_the_model_on_a_patch():
    text = FOURIER.replace("|> crop", "|> dropout(p = 0.5) |> crop")
    patched = PatchedModule(graph(text), Decomposition((2, 2), 0, 0.25, "edge"))
    a = torch.randn(2, 2, 16, 16)
    patched.eval()
    assert torch.equal(patched(a), patched(a))
    patched.train()
    assert not torch.equal(patched(a), patched(a))
    assert patched._inner[0].training  # decides whether segments are computed again
    patched.eval().force_kernel = "fft"
    patched(a)
    assert not patched._inner[0].training
    assert patched._inner[0].force_kernel == "fft"
    patched.force_kernel = None
    patched.mix, patched.planned_batch = PrecisionMix(), 3
    patched(a)
    assert patched._inner[0].mix is patched.mix
    assert patched._inner[0].planned_batch == 3
    patched.limit_modes(1)
    limited = patched(a)
    patched.limit_modes(None)
    assert not torch.allclose(limited, patched(a))


def _kept(module, a):
    """Bytes that the graph of a call keeps for the gradient."""
    storages = {}

    def pack(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        module(a)
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    return sum(x for k, x in storages.items() if k not in weights)


def test_a_step_keeps_inputs_and_outputs_of_patches_but_not_what_is_within():
    program = graph(FOURIER)
    a = torch.randn(4, 2, 64, 64)
    whole = _kept(lower(program), a)
    assert _kept(PatchedModule(program, Decomposition((2, 2), 1, 0.0, "edge")), a) < whole / 10


# --- several processes -------------------------------------------------------------------------


def _shared(state, a, parts):
    module = PatchedModule(graph(FOURIER), Decomposition(parts, 1, 0.25, "edge")).double()
    module.load_state_dict(state)
    module.share(ProcessMesh.of_world(space=torch.distributed.get_world_size()))
    a.requires_grad_()
    u = module(a)
    u = module(torch.cat((u, a[:, 1:]), 1))  # as in a rollout
    (u * torch.linspace(0, 1, u.shape[-1])).square().sum().backward()
    for p in module.parameters():
        torch.distributed.all_reduce(p.grad)
    return u.detach(), a.grad, [p.grad for p in module.parameters()]


@pytest.mark.parametrize(("world", "parts"), [(2, (2, 2)), (3, (4, 1))])
def test_processes_that_share_patches_have_the_outputs_and_gradients_of_one(world, parts):
    module = PatchedModule(graph(FOURIER), Decomposition(parts, 1, 0.25, "edge")).double()
    a = torch.randn(2, 2, 24, 32, dtype=torch.float64)
    state = module.state_dict()
    results = run_world(world, _shared, state, a, parts)
    b = a.clone().requires_grad_()
    u = module(b)
    u = module(torch.cat((u, b[:, 1:]), 1))
    (u * torch.linspace(0, 1, u.shape[-1])).square().sum().backward()
    for outputs, of_input, of_weights in results:
        assert torch.allclose(outputs, u, rtol=1e-12)
        assert torch.allclose(of_input, b.grad, rtol=1e-10, atol=1e-12)
        for x, p in zip(of_weights, module.parameters(), strict=True):
            assert torch.allclose(x, p.grad, rtol=1e-10, atol=1e-12)


# --- refusals ----------------------------------------------------------------------------------

HEAD = "edition 2026\n\nmodel M {\n  domain D = grid(x: 0..1, boundary = periodic, min = 8)\n"


LATENT = "domain Q = grid(x: 0..1, boundary = periodic, size = 8)"
REFUSED = {
    "another grid": (
        "input a : D/2 -> R^1; output u : D -> R^1; u = a |> resample(to = D)",
        "OP0860",
        "`a`",
    ),
    "a vector": (
        "input a : D -> R^1; output u : R^1; u = a |> integrate() |> linear(out = 1)",
        "OP0860",
        "one vector",
    ),
    "points": (
        "domain P = points(2); input a : P -> R^1; output u : P -> R^1; u = linear(a, out = 1)",
        "OP0860",
        "regular grids",
    ),
    "no function": (
        f"{LATENT}; input nu : R^1; output u : Q -> R^1; u = modulate(coords(Q), nu)",
        "OP0860",
        "no input on a grid",
    ),
    "a latent grid": (
        f"{LATENT}; input a : D -> R^1; output u : D -> R^1; u = modulate(a, integrate(coords(Q)))",
        "OP0860",
        "`Q`",
    ),
    "a residual": (
        "input a : D -> R^1; output u : D -> R^1; u = a + linear(a, out = 1)",
        "OP0861",
        "add",
    ),
    "wide outputs": ("input a : D -> R^2; output u : D -> R^2; u = gelu(a)", "OP0861", "`u`"),
}


@pytest.mark.parametrize(("body", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cannot_be_divided_is_refused_with_one_diagnostic(body, code, words):
    text = HEAD + "".join(f"  {x.strip()}\n" for x in body.split(";")) + "}\n"
    with pytest.raises(OpError) as caught:
        PatchedModule(graph(text), Decomposition((2,), 1, 0.0, "edge"))
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert words in fault.message
    assert fault.helps


def test_levels_that_a_residual_refuses_are_named_with_their_remedy_and_zero_levels_do():
    text = HEAD + "  input a : D -> R^1\n  output u : D -> R^1\n  u = a + linear(a, out = 1)\n}\n"
    patched = PatchedModule(graph(text), Decomposition((2,), 0, 0.0, "edge"))
    assert patched(torch.randn(1, 1, 8)).shape == (1, 1, 8)


def test_numbers_of_parts_that_are_not_those_of_the_axes_are_refused():
    with pytest.raises(OpError, match=r"`patches.parts` has 2 numbers, and `D` has the axes x"):
        patch_graph(local(1, "none"), Decomposition((2, 2), 1, 0.0, "edge"))


@pytest.mark.parametrize(
    ("size", "words"),
    [((4, 40), "a patch has 1 points, and the model needs"), ((3, 40), "3 points make no 4")],
)
def test_a_patch_with_too_few_points_is_refused(size, words):
    program = graph(FOURIER.replace("min = 16", "min = 3").replace("modes = 3", "modes = 1"))
    patched = PatchedModule(program, Decomposition((4, 2), 0, 0.0, "edge"))
    with pytest.raises(OpError) as caught:
        patched(torch.randn(1, 2, *size))
    (fault,) = caught.value.diagnostics
    assert fault.code == "OP0862"
    assert words in fault.message


def test_more_processes_than_patches_are_refused():
    patched = PatchedModule(local(1, "none"), Decomposition((2,), 0, 0.0, "edge"))
    with pytest.raises(OpError, match="3 processes cannot share 2 patches"):
        patched.share(ProcessMesh(None, 0, 1, 3))
    patched.share(ProcessMesh(None, 0, 1, 2))
    assert patched.sharing.processes == 2
