"""Callbacks: their order, what they change, what a resumed run restores, and their mistakes."""

import json

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.train.config.optimization import Average, Stop
from opdsl.train.config.schema import Checkpoint
from opdsl.train.engine.callbacks import Callback
from opdsl.train.engine.fit import fit
from opdsl.train.engine.loader import Batch
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.metrics_log import read_metrics
from tests.unit.train.toy_problem import Toy, cloud, quick

NEAR = cloud(seed=2)


def learn(run, settings=None, **more):
    torch.manual_seed(7)
    module = Toy()
    periodic = {"u": (True,)}
    settings = settings or quick()
    out = fit(module, cloud(), NEAR, settings, run, periodic=periodic, meta={"arch": "t"}, **more)
    return module, out


def refusal(run, *callbacks, **more):
    with pytest.raises(OpError) as caught:
        learn(run, callbacks=list(callbacks), **more)
    return caught.value


class Trace(Callback):
    def __init__(self):
        self.calls = []

    def on_start(self, run):
        self.calls.append(("start", run.epoch, run.step))

    def on_epoch_start(self, run):
        self.calls.append(("epoch_start", run.epoch, run.step))

    def on_batch(self, run, batch):
        self.calls.append(("batch", run.epoch, run.step))

    def on_step(self, run, result):
        assert result.moved
        self.calls.append(("step", run.epoch, run.step))

    def on_validation(self, run, metrics):
        assert metrics.rel_l2 > 0
        self.calls.append(("validation", run.epoch, run.step))

    def on_checkpoint(self, run, path):
        assert (path / "state.pt").exists()
        self.calls.append((path.name.split("-")[0], run.epoch, run.step))

    def on_epoch(self, run, row):
        assert row["epoch"] == run.epoch
        self.calls.append(("epoch", run.epoch, run.step))

    def on_end(self, run):
        self.calls.append(("end", run.epoch, run.step))


def test_hooks_are_called_in_their_order(tmp_path):
    trace = Trace()
    learn(tmp_path / "run", quick(1, batch=6), callbacks=[trace])
    assert trace.calls == [
        ("start", 0, 0),
        ("epoch_start", 1, 0),
        ("batch", 1, 0),
        ("step", 1, 1),
        ("batch", 1, 1),
        ("step", 1, 2),
        ("validation", 1, 2),
        ("best", 1, 2),
        ("epoch", 1, 2),
        ("step", 1, 2),
        ("end", 1, 2),
    ]


def test_a_run_with_silent_callbacks_is_equal_to_the_bit(tmp_path):
    plain, _ = learn(tmp_path / "plain")
    watched, _ = learn(tmp_path / "watched", callbacks=[Trace(), Callback_with_no_hook()])
    assert all(torch.equal(x, watched.state_dict()[k]) for k, x in plain.state_dict().items())


class Callback_with_no_hook(Callback):  # noqa: N801  a sentence
    pass


def test_a_callback_replaces_the_batch(tmp_path):
    class NoTruth(Callback):
        def on_batch(self, run, batch):
            return Batch(batch.inputs, {k: torch.full_like(x, 5.0) for k, x in batch.truth.items()})

    _, out = learn(tmp_path / "run", quick(60), callbacks=[NoTruth()])
    _, other = learn(tmp_path / "other", quick(60))
    assert out.history[-1]["train_loss"] < 0.2  # a constant is learnt
    assert out.history[-1]["valid"]["rel_l2"] > 2 * other.history[-1]["valid"]["rel_l2"]


def norm_of(module):
    return sum(float(p.detach().square().sum()) for p in module.parameters())


def test_a_number_that_is_logged_is_in_the_row_of_its_epoch(tmp_path):
    class Norm(Callback):
        def on_epoch(self, run, row):
            run.log(
                "weights", sum(float(p.detach().square().sum()) for p in run.module.parameters())
            )

    module, _ = learn(tmp_path / "run", callbacks=[Norm()])
    rows = read_metrics(tmp_path / "run")
    last = sum(float(p.detach().square().sum()) for p in module.parameters())
    assert rows[-1]["callbacks"] == {"weights": last}
    assert "callbacks" not in learn(tmp_path / "plain")[1].history[-1]


class StopAfter(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_step(self, run, result):
        if run.epoch == self.epoch:
            run.stop("enough")


def test_a_callback_stops_the_run_after_the_epoch(tmp_path):
    settings = quick(6, checkpoint=Checkpoint(every=5))
    _, out = learn(tmp_path / "run", settings, callbacks=[StopAfter(2)])
    assert (out.epochs, out.steps) == (2, 6)
    assert out.notes == ("the run ends after epoch 2: enough",)
    assert CheckpointStore(tmp_path / "run").load()["step"] == 6
    module, resumed = learn(tmp_path / "run", settings, resume=True)
    whole, _ = learn(tmp_path / "whole", settings)
    assert resumed.epochs == 6
    assert all(torch.equal(x, whole.state_dict()[k]) for k, x in module.state_dict().items())


class Counter(Callback):
    def __init__(self, fail_at=None):
        self.steps, self.fail_at = 0, fail_at

    def on_step(self, run, result):
        self.steps += 1
        if self.steps == self.fail_at:
            raise ValueError("no\nmore")

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@pytest.mark.parametrize("fail_at", [1, 2, 3, 5, 9])
def test_a_callback_that_raises_saves_the_run(tmp_path, fail_at):
    error = refusal(tmp_path / "run", Counter(fail_at))
    (diagnostic,) = error.diagnostics
    assert diagnostic.code == "OP0741"
    assert diagnostic.message == "the callback `Counter` raised ValueError: no more in `on_step`"
    assert diagnostic.notes == (f"the state after step {fail_at} is saved",)
    assert isinstance(error.__cause__, ValueError)
    counter = Counter()
    module, _ = learn(tmp_path / "run", resume=True, callbacks=[counter])
    whole, out = learn(tmp_path / "whole")
    assert counter.steps == out.steps == 9
    assert all(torch.equal(x, whole.state_dict()[k]) for k, x in module.state_dict().items())


HOOKS = ("on_start", "on_epoch_start", "on_batch", "on_validation", "on_checkpoint", "on_epoch")


@pytest.mark.parametrize("hook", [*HOOKS, "on_end", "state_dict"])
def test_each_hook_may_raise(tmp_path, hook):
    def fail(_, run=None, *_values):
        if hook == "state_dict" or run.step >= 6 or hook == "on_start":
            raise RuntimeError("no")

    callback = type("Bad", (Callback,), {hook: fail})()
    (diagnostic,) = refusal(tmp_path / "run", callback).diagnostics
    assert diagnostic.code == "OP0741"
    assert f"in `{hook}`" in diagnostic.message
    module, out = learn(tmp_path / "run", resume=True)
    whole, _ = learn(tmp_path / "whole")
    assert [x["epoch"] for x in read_metrics(tmp_path / "run")] == [1, 2, 3]
    assert all(torch.equal(x, whole.state_dict()[k]) for k, x in module.state_dict().items())
    assert out.epochs == 3


def test_a_callback_that_raises_on_a_full_disk_says_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    class Fill(Callback):
        def on_step(self, run, result):
            monkeypatch.setattr(CheckpointStore, "save", full)
            raise ValueError

    (diagnostic,) = refusal(tmp_path / "run", Fill()).diagnostics
    assert diagnostic.message == "the callback `Fill` raised ValueError in `on_step`"
    assert diagnostic.notes == ("the state could not be saved",)


def test_a_callback_learns_of_the_error_that_ends_the_run(tmp_path):
    class Witness(Callback):
        def on_step(self, run, result):
            if run.step == 2:
                raise KeyboardInterrupt

        def on_error(self, run, error):
            self.seen = type(error), run.step
            raise ValueError("twice")

    witness = Witness()
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "run", callbacks=[witness])
    assert witness.seen == (KeyboardInterrupt, 2)


def test_states_of_other_callbacks_are_not_restored(tmp_path):
    learn(tmp_path / "run", callbacks=[Counter()])
    _, out = learn(tmp_path / "run", quick(4), resume=True)
    assert any("the state of 1 callbacks, and now 0 have one" in x for x in out.notes)


def test_a_callback_that_refuses_its_state_is_named(tmp_path):
    class Picky(Counter):
        def load_state_dict(self, state):
            raise KeyError("x")

    learn(tmp_path / "run", callbacks=[Counter()])
    (diagnostic,) = refusal(tmp_path / "run", Picky(), settings=quick(4), resume=True).diagnostics
    assert diagnostic.message == "the callback `Picky` raised KeyError: 'x' in `load_state_dict`"


# ------------------------------------------------------------- what is no callback is refused


class Takes:
    def on_step(self, run):
        pass


class Needs(Callback):
    def on_epoch(self, run, row, x):
        pass


class Strange(Callback):
    def on_epoch_end(self, run, row):
        pass


class Value(Callback):
    on_step = 3


WRONG = {
    "`on_step` of `Takes` is called with (run, result), but it is `on_step(run)`": Takes(),
    "`on_epoch` of `Needs` is called with (run, row), but it is `on_epoch(run, row, x)`": Needs(),
    "no run calls `on_epoch_end` of `Strange`": Strange(),
    "`on_step` of `Value` is a int, and a hook is a method": Value(),
    "`Trace` is a class, and a callback is an object of one": Trace,
    "a function has no hook of a callback": norm_of,
}


@pytest.mark.parametrize(("message", "callback"), WRONG.items())
def test_what_is_no_callback_is_refused_before_training(tmp_path, message, callback):
    (diagnostic,) = refusal(tmp_path / "run", callback).diagnostics
    assert (diagnostic.code, diagnostic.message) == ("OP0740", message)
    assert diagnostic.helps or "is a int" in message
    assert not (tmp_path / "run").exists()


def test_every_mistake_is_listed(tmp_path):
    assert len(refusal(tmp_path / "run", Takes(), Strange()).diagnostics) == 2


def test_callbacks_have_to_be_a_list(tmp_path):
    with pytest.raises(OpError, match="takes a list, not a Trace"):
        learn(tmp_path / "run", callbacks=Trace())


def test_any_object_with_a_hook_is_a_callback(tmp_path):
    class Plain:
        epochs = 0

        def on_epoch(self, *arguments):
            self.epochs += 1

    plain = Plain()
    learn(tmp_path / "run", callbacks=[plain])
    assert plain.epochs == 3


def test_a_row_with_numbers_is_json(tmp_path):
    class Infinite(Callback):
        def on_epoch(self, run, row):
            run.log("x", float("inf"))

    learn(tmp_path / "run", callbacks=[Infinite()])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["callbacks"] == {"x": None}


@pytest.mark.parametrize("hook", ["on_validation", "on_epoch"])
def test_a_mean_of_weights_takes_an_epoch_once_though_its_end_is_repeated(tmp_path, hook):
    def fail(_, run, *_values):
        if run.epoch == 3:
            raise RuntimeError("no")

    settings = quick(4, average=Average(kind="swa", start=0.25), stop=Stop(patience=50))
    refusal(tmp_path / "run", type("Bad", (Callback,), {hook: fail})(), settings=settings)
    module, _ = learn(tmp_path / "run", settings, resume=True)
    whole, _ = learn(tmp_path / "whole", settings)
    assert all(torch.equal(x, whole.state_dict()[k]) for k, x in module.state_dict().items())
