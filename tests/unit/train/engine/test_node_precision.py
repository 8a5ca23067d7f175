"""Nodes with precisions of their own: what they compute in, what they cost, what is refused."""

import math

import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError, Source
from opdsl.lower.module import lower
from opdsl.nn.spectral import transforms
from opdsl.train.config.node_precision import NodePrecision
from opdsl.train.config.schema import Optimizer
from opdsl.train.engine import precision as precision_module
from opdsl.train.engine.fit import fit
from opdsl.train.engine.precision import policies, policy_with_nodes
from opdsl.train.metrics.node_precision_errors import node_precision_errors
from opdsl.train.metrics.precision_errors import computed_numbers, relative_distance
from opdsl.workflow.check import check_file
from opdsl.workflow.programs.node_precision import refuse_bad_node_precision
from tests.unit.train.toy_problem import Toy, cloud, quick

CPU = torch.device("cpu")
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}
PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model M {
  domain D = grid(DOMAIN, min = 13)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = 8) |> repeat 2 { FourierLayer(modes = 5) } |> Project(out = 1)
}
"""
PERIODIC = PROGRAM.replace("DOMAIN", "x: 0..1, y: 0..1, boundary = periodic")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return lower(opdsl.load(PERIODIC))


def computed(module, x, default="fp32", **paths):
    """The outputs with precisions of nodes, and the dtype of the result of each node."""
    nodes = NodePrecision(**paths).of(y.node.path for y in module.steps)
    module.node_precision = nodes
    policy = policies(CPU)[default]
    policy.prepare_module(module)
    dtypes = {}
    hooks = [
        y.module.register_forward_hook(
            lambda _, __, result, path=y.node.path: dtypes.update({path: result.dtype})
        )
        for y in module.steps
    ]
    with torch.no_grad(), policy.autocast():
        result = module(x)
    for hook in hooks:
        hook.remove()
    return result, dtypes


# --- what enters the transforms -----------------------------------------------------------------


@pytest.fixture
def entering(monkeypatch):
    """The dtypes of what enters transforms, by fast transforms and by matrix products."""
    seen = {"fft": set(), "dft": set()}

    def watched(kind, function, which):
        def call(*arguments, **named):
            seen[kind].add(arguments[which].dtype)
            return function(*arguments, **named)

        return call

    for name in ("fft", "ifft", "rfft", "irfft"):
        monkeypatch.setattr(torch.fft, name, watched("fft", getattr(torch.fft, name), 0))
    products = watched("dft", transforms.batched_left_matmul, 1)
    monkeypatch.setattr(transforms, "batched_left_matmul", products)
    return seen


@pytest.mark.parametrize("size", [(16, 32), (21, 30)], ids=str)
@pytest.mark.parametrize("dtype", NARROW)
def test_single_precision_enters_the_transforms_under_autocast(module, entering, dtype, size):
    x = torch.randn(2, 1, *size)
    for kernel in ("fft", "dft"):
        module.force_kernel = kernel
        result, dtypes = computed(module, x, default=dtype)
        assert dtypes["u.repeat.1.fourier_layer.local"] == NARROW[dtype]
        assert torch.isfinite(result).all()
    assert entering["fft"] == {torch.float32, torch.complex64}
    assert entering["dft"] == {torch.float32}


@pytest.mark.parametrize("size", [(16, 32), (21, 30)], ids=str)
@pytest.mark.parametrize("dtype", NARROW)
def test_spectral_precisions_enter_matrix_products_and_no_fast_transform(
    module, entering, dtype, size
):
    """Fast transforms in float16 exist for powers of two only, and none in bfloat16."""
    result, _ = computed(module, torch.randn(2, 1, *size), default=f"{dtype}_spectral")
    assert entering == {"fft": set(), "dft": {NARROW[dtype]}}
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("dtype", NARROW)
def test_half_waves_too(entering, dtype):
    torch.manual_seed(0)
    walls = PROGRAM.replace("DOMAIN", "x: 0..1, y: 0..1, boundary = dirichlet")
    module = lower(
        opdsl.load(
            walls.replace("FourierLayer(modes = 5)", "spectral_conv(modes = 5, basis = auto)")
        )
    )
    computed(module, torch.randn(2, 1, 21, 30), default=dtype)
    assert entering["fft"] | entering["dft"] <= {torch.float32, torch.complex64}


@pytest.mark.parametrize("size", [(60, 45), (63, 22)], ids=str)
def test_float16_learns_from_sizes_that_are_no_powers_of_two(module, size):
    x = torch.randn(2, 1, *size)
    exact, _ = computed(lower_as(module).double(), x.double(), default="fp64")
    for name in ("fp16", "fp16_spectral"):
        policy = policies(CPU)[name]
        policy.prepare_module(module)
        with policy.autocast():
            result = module(x)
        assert relative_distance(result.detach().double(), exact) < 4e-3
        result.float().square().sum().backward()
        gradients = [p.grad for p in module.parameters()]
        assert all(torch.isfinite(g).all() and g.any() for g in gradients)


def lower_as(module):
    """A module with equal weights."""
    other = lower(module.graph)
    other.load_state_dict(module.state_dict())
    return other


# --- nodes --------------------------------------------------------------------------------------


def test_only_the_named_nodes_are_narrow(module):
    _, dtypes = computed(module, torch.randn(2, 1, 16, 16), bf16=["lift", "1.fourier_layer.local"])
    narrow = {k for k, x in dtypes.items() if x == torch.bfloat16}
    assert narrow == {
        "u.lift.w.linear",
        "u.lift.w.linear_2",
        "u.lift.w.apply",  # of a narrow result
        "u.repeat.1.fourier_layer.local",
    }


def test_a_node_is_kept_wide_where_all_others_are_narrow(module):
    paths = {"fp32": ["project.w.linear*"]}
    result, dtypes = computed(module, torch.randn(2, 1, 16, 16), default="bf16", **paths)
    assert dtypes["u.lift.w.linear"] == torch.bfloat16
    assert dtypes["u.project.w.linear"] == dtypes["u.project.w.linear_2"] == torch.float32
    assert result.dtype == torch.float32


def test_all_nodes_by_name_compute_what_the_precision_computes(module):
    x = torch.randn(2, 1, 16, 16)
    for name in ("bf16", "bf16_spectral"):
        whole, _ = computed(module, x, default=name)
        nodes, _ = computed(module, x, **{name: ["*"]})
        assert torch.equal(whole, nodes)


def test_without_names_nothing_changes(module):
    x = torch.randn(2, 1, 16, 16)
    before = module(x)
    computed(module, x, bf16=["lift"])
    after, _ = computed(module, x)
    assert torch.equal(before, after)


def test_the_wider_of_two_precisions_counts():
    names = NodePrecision(bf16=["u"], fp32=["u.lift"]).of(["u.lift.w", "u.project"])
    assert names == {"u.lift.w": "fp32", "u.project": "bf16"}


def test_errors_of_nodes_add_up_to_that_of_the_model(module):
    x = torch.randn(4, 1, 32, 32)
    paths = [y.node.path for y in module.steps]

    def outputs(named):
        module.node_precision = named
        policies(CPU)["fp32"].prepare_module(module)
        with torch.no_grad():
            return computed_numbers(module(x))

    rows = node_precision_errors(paths, outputs)
    whole = relative_distance(
        outputs(dict.fromkeys(paths, "bf16")), outputs(dict.fromkeys(paths, "fp32"))
    )
    together = math.sqrt(sum(y.errors["bf16"] ** 2 for y in rows))  # roundings are independent
    assert whole / 2 < together < 2 * whole
    by_path = {y.path: y.errors for y in rows}
    assert by_path["u.repeat.0.fourier_layer.k"]["bf16"] == 0
    assert by_path["u.repeat.0.fourier_layer.k"]["bf16_spectral"] > 1e-5
    assert "u.repeat.0.fourier_layer.w.add" not in by_path


def test_gradients_reach_all_weights_through_both_kinds_of_nodes(module):
    module.node_precision = NodePrecision(bf16=["repeat.0"]).of(y.node.path for y in module.steps)
    policies(CPU)["fp32"].prepare_module(module)
    x = torch.randn(2, 1, 16, 16)
    module(x).square().sum().backward()
    narrow = torch.cat([p.grad.flatten() for p in module.parameters()])
    module.zero_grad()
    module.node_precision = {}
    policies(CPU)["fp32"].prepare_module(module)
    module(x).square().sum().backward()
    wide = torch.cat([p.grad.flatten() for p in module.parameters()])
    assert 1e-5 < relative_distance(narrow, wide) < 0.03


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"node_precision": NodePrecision(bf16=["u.lifts"])}, "`u.lifts`"),
        (
            {"node_precision": NodePrecision(fp32=["lift"]), "precision": "fp64"},
            "`precision = fp64`",
        ),
        (
            {"node_precision": NodePrecision(fp32=["lift"]), "precision": "tf32"},
            "`precision = tf32`",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused(more, said):
    with pytest.raises(OpError) as caught:
        refuse_bad_node_precision(opdsl.load(PERIODIC), quick(**more))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0764"
    assert said in diagnostic.message


def test_a_program_with_a_wrong_path_is_refused_by_check():
    block = 'train M {\n  node_precision { bf16 = ["lift"] fp32 = ["u.projekt"] }\n}\n'
    found = check_file(Source("m.op", f"{PERIODIC}\n{block}"), None)
    assert [x.code for x in found] == ["OP0764"]
    assert not check_file(
        Source("m.op", f"{PERIODIC}\n{block}".replace("projekt", "project")), None
    )


def test_nodes_need_what_the_device_has():
    with pytest.raises(OpError) as caught:
        policy_with_nodes("fp32", NodePrecision(fp16=["lift"]), CPU)
    assert [x.code for x in caught.value.diagnostics] == ["OP0622"]


# --- the scale of the loss ----------------------------------------------------------------------


def test_each_epoch_has_the_scale_of_the_loss_and_overflows_halve_it(tmp_path, monkeypatch):
    monkeypatch.setattr(precision_module, "_refusal", lambda *_: None)
    large = torch.amp.GradScaler("cpu", init_scale=2.0**24)  # of which gradients overflow at first
    monkeypatch.setattr(precision_module.PrecisionPolicy, "scaler", lambda _: large)
    settings = quick(4, precision="fp16", optimizer=Optimizer(lr=1e-3), bad_steps=100)
    torch.manual_seed(0)
    out = fit(Toy(0.0), cloud(), None, settings, tmp_path / "run", meta={"arch": "toy"})
    skipped = 0
    for row in out.history:
        skipped += row["skipped"]
        assert row["scale"] == 2.0**24 / 2**skipped
    assert 0 < skipped < 12


def test_nodes_in_float16_scale_the_loss(monkeypatch):
    monkeypatch.setattr(precision_module, "_refusal", lambda *_: None)
    assert policy_with_nodes("fp32", NodePrecision(fp16=["lift"]), CPU).scaled
    assert not policy_with_nodes("fp32", NodePrecision(bf16=["lift"]), CPU).scaled


def test_without_a_scale_rows_have_none(tmp_path):
    out = fit(Toy(0.0), cloud(), None, quick(1), tmp_path / "run", meta={"arch": "toy"})
    assert "scale" not in out.history[0]
