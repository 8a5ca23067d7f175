"""Optimizers and schedules against torch's own, and parts of a step against closed forms."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.train.config.schema import Checkpoint, Normalise, Optimizer, Schedule, Settings
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rates import Patience, Plateau, Rate
from opdsl.train.engine.step import TrainStep
from opdsl.train.engine.weights.paths import freeze, matches, parameters_of
from opdsl.train.losses import LOSSES
from opdsl.train.losses.objective.named import NamedObjective
from opdsl.train.metrics.evaluate import grids_of
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.engine.test_fit import break_off, learn, same, told, untimed
from tests.unit.train.toy_problem import Toy, cloud, quick

LR = torch.optim.lr_scheduler
EACH_STEP = {"checkpoint": Checkpoint(steps=1)}


class Mixed(nn.Module):
    """Weights with one, two and four axes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3))
        self.matrix = nn.Parameter(torch.randn(5, 3))
        self.spectral = nn.Parameter(torch.randn(2, 5, 3, 2))

    def loss(self):
        return (
            (self.scale**4).sum()
            + (self.matrix - 1).square().sum()
            + (self.spectral * torch.arange(2.0)).square().sum()
        )


def built(settings, parameters):
    return OPTIMIZERS.find(settings.kind).build(parameters, settings)


def pairs(**settings):
    """Ours and a copy of the module for torch's."""
    torch.manual_seed(0)
    ours, theirs = Mixed(), Mixed()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs, built(Optimizer(**settings), ours.parameters())


def descend(module, optimizers, steps=7):
    for _ in range(steps):
        for x in optimizers:
            x.zero_grad()
        module.loss().backward()
        for x in optimizers:
            x.step()


def test_sgd_looks_ahead_as_torch_does():
    ours, theirs, optimizer = pairs(kind="sgd", lr=0.01, nesterov=True, momentum=0.8)
    reference = torch.optim.SGD(
        theirs.parameters(), lr=0.01, momentum=0.8, nesterov=True, weight_decay=1e-4
    )
    descend(ours, [optimizer])
    descend(theirs, [reference])
    assert same(ours, theirs)


@pytest.mark.parametrize("adjust", ["match_rms_adamw", "original"])
def test_muon_steps_matrices_and_adamw_the_others_as_torch_does(adjust):
    settings = {"lr": 0.02, "weight_decay": 0.1}
    ours, theirs, optimizer = pairs(kind="muon", adjust=adjust, momentum=0.95, **settings)
    muon = torch.optim.Muon([theirs.matrix], momentum=0.95, adjust_lr_fn=adjust, **settings)
    adamw = torch.optim.AdamW([theirs.scale, theirs.spectral], betas=(0.9, 0.999), **settings)
    descend(ours, [optimizer])
    descend(theirs, [muon, adamw])
    assert same(ours, theirs)


def test_the_state_of_muon_is_restored():
    ours, again, optimizer = pairs(kind="muon", lr=0.02)
    other = built(Optimizer(kind="muon", lr=0.5), again.parameters())
    descend(ours, [optimizer], 3)
    again.load_state_dict(ours.state_dict())
    other.load_state_dict(deepcopy(optimizer.state_dict()))  # torch shares the tensors
    assert [x["lr"] for x in other.param_groups] == [0.02, 0.02]
    descend(ours, [optimizer], 3)
    descend(again, [other], 3)
    assert same(ours, again)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_lbfgs_is_that_of_torch_on_the_loss_with_its_decay(decay):
    ours, theirs, optimizer = pairs(kind="lbfgs", lr=1.0, weight_decay=decay, iterations=5)
    ours.double(), theirs.double()
    reference = torch.optim.LBFGS(
        theirs.parameters(), lr=1.0, max_iter=5, line_search_fn="strong_wolfe"
    )

    def closure_of(module, optimizer, factor):
        def closure():
            optimizer.zero_grad()
            squares = sum(p.square().sum() for p in module.parameters())
            loss = module.loss() + factor / 2 * squares
            loss.backward()
            return loss

        return closure

    for _ in range(3):
        optimizer.step(closure_of(ours, optimizer, 0.0))
        reference.step(closure_of(theirs, reference, decay))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert ours.loss().item() < 0.5 * Mixed().loss().item()


def test_numbers_of_the_state_are_counted():
    counted = {k: OPTIMIZERS.find(k).numbers(Optimizer(kind=k)) for k in OPTIMIZERS.names()}
    assert counted == {"adam": 2, "adamw": 2, "lbfgs": 42, "muon": 1, "sgd": 1}
    assert OPTIMIZERS.find("lbfgs").numbers(Optimizer(history=3)) == 8


# ------------------------------------------------------------------------------------- schedules


def reference(scheduler, steps, lr=1.0):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    law, rates = scheduler(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        law.step()
    return rates


# four steps in an epoch, five epochs
LAWS = {
    "linear": (Schedule(kind="linear", final=0.2), lambda o: LR.LinearLR(o, 1.0, 0.2, 20)),
    "polynomial": (
        Schedule(kind="polynomial", power=3.0),
        lambda o: LR.PolynomialLR(o, 20, power=3.0),
    ),
    "exponential": (
        Schedule(kind="exponential", gamma=0.3, every=2),
        lambda o: LR.ExponentialLR(o, 0.3 ** (1 / 8)),
    ),
    "multistep": (
        Schedule(kind="multistep", milestones=[1, 3], gamma=0.1),
        lambda o: LR.MultiStepLR(o, [4, 12], gamma=0.1),
    ),
    "cosine_warm_restarts": (
        Schedule(kind="cosine_warm_restarts", every=1, growth=2, final=0.1),
        lambda o: LR.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=0.1),
    ),
    "equal restarts": (
        Schedule(kind="cosine_warm_restarts", every=1),
        lambda o: LR.CosineAnnealingWarmRestarts(o, 4),
    ),
    "cyclic": (
        Schedule(kind="cyclic", every=1, final=0.25),
        lambda o: LR.CyclicLR(o, 0.25, 1.0, step_size_up=4, cycle_momentum=False),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_rate_is_that_of_torch(name):
    schedule, scheduler = LAWS[name]
    rate = Rate(schedule.model_copy(update={"epochs": 5}), 1.0, 4)
    assert [rate(i) for i in range(20)] == pytest.approx(reference(scheduler, 20), rel=1e-6)


@pytest.mark.parametrize("name", ["linear", "exponential", "cosine_warm_restarts", "cyclic"])
def test_behind_a_warmup_a_law_begins_at_its_first_rate(name):
    schedule = LAWS[name][0].model_copy(update={"epochs": 6, "warmup": 1.0})
    warm, plain = Rate(schedule, 1.0, 4), Rate(LAWS[name][0].model_copy(update={"epochs": 5}), 1, 4)
    assert [warm(i) for i in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [warm(i + 4) for i in range(20)] == pytest.approx([plain(i) for i in range(20)])


ERRORS = [1.0, 0.9, 0.95, 0.91, 0.9, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(("patience", "cooldown"), [(1, 0), (2, 2), (0, 1)])
def test_drops_on_a_plateau_are_those_of_torch(patience, cooldown):
    schedule = Schedule(
        kind="plateau", patience=patience, cooldown=cooldown, gamma=0.3, final=0.01, min_change=0.01
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = LR.ReduceLROnPlateau(
        optimizer,
        factor=0.3,
        patience=patience,
        cooldown=cooldown,
        threshold=0.01,
        min_lr=0.01,
        eps=0.0,
    )
    ours, factors, rates = Plateau(), [], []
    for error in ERRORS:
        ours.see(error, schedule)
        theirs.step(error)
        factors.append(ours.factor)
        rates.append(optimizer.param_groups[0]["lr"])
    assert factors == pytest.approx(rates)
    assert factors[-1] < 1


def test_an_error_that_is_no_number_is_not_lower():
    patience = Patience()
    for error in (float("nan"), 0.5, float("nan"), 0.5, 0.49):
        patience.see(error, 0.1)
    assert patience == Patience(0.5, 3)


# ------------------------------------------------------------------- runs that were interrupted


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": Optimizer(kind="lbfgs", lr=0.5, iterations=3)},
        {"optimizer": Optimizer(kind="muon", lr=0.01)},
        {"optimizer": Optimizer(kind="sgd", lr=0.01, nesterov=True)},
        {"accumulate": 2, "batch": 3},
        {"groups": {"first": {"paths": ["first"], "rate": 0.1}}},
        {"noise": 0.1},
    ],
    ids="-".join,
)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, more):
    settings = quick(4, **EACH_STEP, **more)
    whole, expected = learn(tmp_path / "whole", settings)
    break_off(tmp_path / "run", settings)
    again, out = learn(tmp_path / "run", settings, resume=True)
    assert same(whole, again)
    assert untimed(out.history) == untimed(expected.history)


def test_lbfgs_solves_a_small_problem_in_a_few_steps(tmp_path):
    settings = quick(6, optimizer=Optimizer(kind="lbfgs", lr=1.0), batch=12)
    _, out = learn(tmp_path / "run", settings, module=Toy(dropout=0.0), valid=None)
    assert out.history[-1]["train_loss"] < 0.02 < out.history[0]["train_loss"]


def test_a_step_of_lbfgs_that_diverges_is_taken_back():
    module, train = Toy(dropout=0.0), cloud()
    wild = Optimizer(kind="lbfgs", lr=1e30, line_search="none", iterations=5)
    step = step_of(module, train, built(wild, module.parameters()), repeats=True)
    before = {k: x.clone() for k, x in module.state_dict().items()}
    result = step.take(train.inputs, train.outputs, 1e38)
    assert not result.moved
    assert all(torch.equal(x, before[k]) for k, x in module.state_dict().items())
    assert step.take(train.inputs, train.outputs, 1e-3).moved


# ------------------------------------------------------------------------------ parts of a step


def step_of(module, train, optimizer, **more):
    policy = PrecisionPolicy("fp32", torch.device("cpu"))
    return TrainStep(
        module,
        Normaliser.fit(train, Normalise()),
        optimizer,
        policy.scaler(),
        policy,
        grids_of(train, {}, {}),
        NamedObjective(LOSSES.find("l2")),
        None,
        **more,
    )


def test_batches_of_a_step_have_the_gradient_of_one_large_batch():
    from opdsl.train.engine.loader import Batch

    train, results = cloud(12), []
    for sizes in ([12], [5, 5, 2]):
        torch.manual_seed(0)
        module = Toy(dropout=0.0)
        step = step_of(module, train, torch.optim.SGD(module.parameters(), lr=0.1))
        rows = torch.split(torch.arange(12), sizes)
        batches = [Batch({"a": train.inputs["a"][i]}, {"u": train.outputs["u"][i]}) for i in rows]
        results.append((step.learn(batches, 0.1), module))
    (one, whole), (several, parts) = results
    assert several.loss == pytest.approx(one.loss, rel=1e-6)
    assert several.norm == pytest.approx(one.norm, rel=1e-5)
    assert several.counted == one.counted == 12
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_epoch_has_a_step_for_each_group_of_batches(tmp_path):
    settings = quick(2, batch=2, accumulate=4)  # twelve samples: four batches, then two
    _, out = learn(tmp_path / "run", settings)
    assert [row["step"] for row in out.history] == [2, 4]


def test_the_norm_of_the_gradient_is_in_the_row_before_it_is_clipped(tmp_path):
    settings = quick(1, batch=12, clip=1e-6, optimizer=Optimizer(kind="sgd", lr=1e-12))
    module, out = learn(tmp_path / "run", settings, module=Toy(dropout=0.0))
    step = step_of(module, cloud(), torch.optim.SGD(module.parameters(), lr=0.0))
    expected = step.take(cloud().inputs, cloud().outputs, 0.0).norm
    assert out.history[0]["grad_norm"] == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------------------- weights by paths


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("lift", "u.lift.weight", True),
        ("lift", "u.lifting.weight", False),
        ("lift*", "u.lifting.weight", True),
        ("u.lift", "u.lift.weight", True),
        ("u.weight", "u.lift.weight", False),
        ("*.bias", "u.lift.bias", True),
        ("bias", "bias", True),
        ("a.b.c", "b.c", False),
    ],
)
def test_a_path_is_a_run_of_the_parts_of_a_name(path, name, expected):
    assert matches(path, name) == expected


def test_groups_have_rates_and_decays_of_their_own():
    module = Toy()
    settings = Settings(
        groups={
            "layers": {"paths": ["first", "second"], "rate": 0.1},
            "biases": {"paths": ["bias"], "rate": 0.5, "decay": 0.0},
        }
    )
    optimizer = built(settings.optimizer, parameters_of(module, settings))
    names = {id(p): k for k, p in module.named_parameters()}
    found = [
        ([names[id(p)] for p in g["params"]], g["rate"], g["weight_decay"])
        for g in optimizer.param_groups
    ]
    assert found == [
        (["first.weight", "second.weight"], 0.1, 1e-4),
        (["first.bias", "second.bias"], 0.5, 0.0),
    ]


def test_a_rate_of_a_group_is_a_factor_on_the_step():
    module, train = Toy(dropout=0.0), cloud()
    settings = Settings(
        optimizer=Optimizer(kind="sgd", lr=1.0, momentum=0.0, weight_decay=0.0),
        groups={"first": {"paths": ["first"], "rate": 0.25}},
    )
    optimizer = built(settings.optimizer, parameters_of(module, settings))
    before = {k: p.detach().clone() for k, p in module.named_parameters()}
    step_of(module, train, optimizer).take(train.inputs, train.outputs, 0.1)
    for k, p in module.named_parameters():
        rate = 0.025 if k.startswith("first") else 0.1
        torch.testing.assert_close(before[k] - p.detach(), rate * p.grad, rtol=1e-3, atol=1e-6)


def test_frozen_weights_stay_to_the_bit(tmp_path):
    torch.manual_seed(3)
    module = Toy()
    before = {k: x.clone() for k, x in module.state_dict().items()}
    learn(tmp_path / "run", quick(2, freeze=["first", "second.bias"]), module=module)
    changed = {k for k, x in module.state_dict().items() if not torch.equal(x, before[k])}
    assert changed == {"second.weight"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"freeze": ["frist"]}, "`freeze` names `frist`"),
        ({"groups": {"g": {"paths": ["lift"]}}}, "`groups.g.paths` names `lift`"),
        ({"recompute": ["third"]}, "`recompute` names `third`"),
        ({"freeze": ["*"]}, "`freeze` leaves no weight that could be learnt"),
    ],
)
def test_a_path_of_no_weight_is_refused(tmp_path, settings, words):
    diagnostic = told(tmp_path / "run", quick(**settings))
    assert diagnostic.code == "OP0730"
    assert diagnostic.message.startswith(words)


def test_a_misspelt_path_gets_a_suggestion():
    with pytest.raises(OpError) as caught:
        freeze(Toy(), Settings(freeze=["frist"]))
    assert caught.value.diagnostics[0].helps[0].text == "did you mean `first`?"
