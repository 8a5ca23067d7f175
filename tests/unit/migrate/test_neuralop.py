"""Reading calls, configs and checkpoints of neuraloperator, without neuraloperator."""

import pickle
from collections import OrderedDict

import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.lower.module import lower
from opdsl.migrate.neuralop import import_call, read_call
from opdsl.migrate.neuralop.calls import read_checkpoint, read_config
from opdsl.migrate.neuralop.changes import train
from opdsl.migrate.neuralop.layer_weights import full_ranks
from opdsl.summary import summarise

UNO = (
    "UNO(2, 1, 6, uno_out_channels=[6, 8, 6], uno_n_modes=[[4, 4]] * 3, "
    "uno_scalings=[[0.5, 0.5], [1, 1], [2, 2]], n_layers=3, channel_mlp_skip='linear')"
)


SCALED = ", resolution_scaling_factor = {}"
RNO = "RNO((4,), 2, 1, 6, n_layers = 2{})"


def text_of(call: str, **options) -> str:
    return import_call(read_call(call), **options).text


def code_of(call: str) -> str:
    with pytest.raises(OpError) as found:
        import_call(read_call(call))
    return found.value.diagnostics[0].code


@pytest.mark.parametrize(("call", "count"), [
    # as neuraloperator counts its own, at 93d3f06
    ("FNO((16, 16), 1, 1, 64)", 4_769_473),
    ("TFNO((16, 16), 1, 1, 64)", 529_233),
    ("FNO((8, 8, 8), 3, 2, 16, norm='group_norm')", 659_250),
    (UNO, 9_461),
])  # fmt: skip
def test_the_parameters_are_those_of_the_reference(call, count):
    assert summarise(import_call(read_call(call)).graph).params == count


def test_a_call_may_name_functions_and_repeat_lists():
    text = text_of("neuralop.models.FNO(n_modes=(4, 4), in_channels=1, out_channels=1, "
                   "hidden_channels=4, non_linearity=F.silu)")  # fmt: skip
    assert "param act : activation = silu" in text
    assert text_of(UNO).count("modes = (2, 2)") == 3


def test_skips_change_their_grid_once_for_both_where_that_is_less_work():
    text = text_of(UNO)
    down, up = text.index("input v : D -> R^6"), text.index("input v : D -> R^14")
    first, last = sorted((down, up))
    narrow, wide = text[first:last], text[last:]
    # six channels become six; on the way up fourteen become six
    assert narrow.count("resample(") == 1
    assert "s = skip(v_to," in narrow
    assert "g = skip(v_to," in narrow
    assert [x.split(" = ")[0].strip() for x in wide.splitlines() if "resample(" in x] == [
        "s_to",
        "g_to",
    ]


def test_letters_of_a_model_may_be_small():
    assert "model TFNO {" in text_of("tfno((4, 4), 1, 1, 4)")


@pytest.mark.parametrize(("call", "code"), [
    ("FNO((4, 4), 1, 1, 4, n_layer = 3)", "OP0642"),
    ("FNO((4, 4), 1, 1)", "OP0642"),
    ("FNO((4, 4), 1, 'one', 4)", "OP0642"),
    ("FNO", "OP0642"),
    ("FNO(", "OP0642"),
    ("FNO(**options)", "OP0642"),
    ("FNO(open('secret'), 1, 1, 4)", "OP0641"),
    ("FNO((4, 4), 1, 1, len(x))", "OP0641"),
    ("FNO([4] * 10**9, 1, 1, 4)", "OP0642"),
    ("Transformer(1)", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, norm = 'ada_in')", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, stabilizer = 'tahn')", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, factorization = 'tensor-ring')", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, max_n_modes = (8, 8))", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, conv_bias_kernel = 2)", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, resolution_scaling_factor = 0.7)", "OP0641"),
    ("FNO((4, 4, 4), 1, 1, 4, resolution_scaling_factor = 2)", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, resolution_scaling_factor = 2, domain_padding = 0.1)", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, complex_data = True, norm = 'batch_norm')", "OP0641"),
    ("FNO((4, 4), 1, 1, 4, complex_data = True, resolution_scaling_factor = 2)", "OP0641"),
    ("SFNO((4, 4), 1, 1, 4, resolution_scaling_factor = 2.0)", "OP0641"),
    ("LocalNO((4, 4), 1, 1, 4, (8, 8), disco_layers = False, domain_padding = [0.1, 0.3])",
     "OP0641"),
    ("CODANO(n_layers = 1, n_modes = [[4, 4]])", "OP0641"),
    ("UNO(1, 1, 4, n_layers=1, uno_out_channels=[8], uno_n_modes=[[4]], uno_scalings=[[1]])",
     "OP0641"),
])  # fmt: skip
def test_what_cannot_be_imported_is_said(call, code):
    assert code_of(call) == code


def test_a_wrong_argument_is_told_its_right_name():
    with pytest.raises(OpError, match="did you mean `n_layers`"):
        import_call(read_call("FNO((4, 4), 1, 1, 4, n_layer = 3)"))


def test_what_is_wrong_there_is_kept_or_corrected_and_said():
    kept, right = text_of(UNO), text_of(UNO, corrected=True)
    assert "faults = neuralop_93d3f06" in kept
    assert "kind = cubic" in kept
    assert "act = identity" in kept.partition("model UNO")[2]
    assert "faults" not in right.partition("edition")[2]
    assert "cubic" not in right
    assert right.partition("model UNO")[2].count("act = identity") == 1
    assert "Note: kept" in kept
    assert "Note: corrected" in right


def test_a_fault_of_complex_functions_is_kept_or_corrected():
    call = "FNO((4, 4), 1, 1, 4, complex_data = True)"
    kept, right = text_of(call), text_of(call, corrected=True)
    assert "faults = neuralop_93d3f06" in kept
    assert "Note: kept" in kept
    assert "faults" not in right.partition("edition")[2]
    assert "input x : D -> C^1" in right


def test_an_imported_program_has_no_warnings():
    for text in (text_of(UNO), text_of(UNO, corrected=True)):
        assert opdsl.check(text).diagnostics == ()


def test_a_config_names_its_model(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "model:\n  model_arch: tfno\n  data_channels: 3\n  out_channels: 1\n"
        "  n_modes: [8, 8]\n  hidden_channels: 12\n",
        encoding="utf-8",
    )
    assert "input x : D -> R^3" in import_call(read_config(path)).text


@pytest.mark.parametrize("text", ["model: {n_modes: [4]}", "- 1", "{", "model_arch: [1]"])
def test_a_config_without_a_model_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OpError, match="OP0642"):
        read_config(path)


class Evil:
    """Would write a file if it were unpickled as Python does it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    trap, file = tmp_path / "trap", tmp_path / "model_state_dict.pt"
    weights = OrderedDict(weight=torch.ones(2), _metadata={"_name": "FNO", "x": Evil(trap)})
    torch.save(weights, file)
    call, found = read_checkpoint(tmp_path)
    assert not trap.exists()
    assert call is not None
    assert call.name == "FNO"
    assert list(found) == ["weight"]
    with pytest.raises((pickle.UnpicklingError, OpError)):
        torch.load(file, weights_only=True)


def test_functions_in_a_checkpoint_are_known_by_name(tmp_path):
    named = {"_name": "FNO", "args": ((4, 4), 1, 1, 4), "non_linearity": torch.tanh}
    torch.save({"_metadata": named}, tmp_path / "best_model_state_dict.pt")
    call, _ = read_checkpoint(tmp_path)
    assert call is not None
    assert "activation = tanh" in import_call(call).text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", pickle.dumps([1])])
def test_a_file_without_weights_is_refused(tmp_path, content):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(OpError, match="OP0643"):
        read_checkpoint(file)


@pytest.mark.parametrize("ranks", [(6, 6, 5), (2, 30, 9), (9, 2, 2), (3, 4, 2)])
def test_a_train_without_surplus_ranks_is_the_same_tensor(ranks):
    torch.manual_seed(0)
    shapes = list(zip((1, *ranks), (3, 4, 5, 2), (*ranks, 1), strict=True))
    factors = [torch.randn(*s, dtype=torch.complex128) for s in shapes]
    whole = torch.einsum("aib,bjc,ckd,dle->ijkl", *factors)
    fewer = [torch.view_as_complex(train(i, *factors)) for i in range(4)]
    assert tuple(x.shape[2] for x in fewer[:-1]) == full_ranks(shapes)
    torch.testing.assert_close(torch.einsum("aib,bjc,ckd,dle->ijkl", *fewer), whole)


def test_padding_rounds_as_there_and_may_differ_from_axis_to_axis():
    alike = text_of("FNO((4, 4), 1, 1, 4, domain_padding = 0.1)")
    assert "domain E = extend(D, fraction = 0.2, sides = both, rounding = nearest)" in alike
    apart = text_of("FNO((4, 4), 1, 1, 4, domain_padding = [0.1, 0.25])")
    assert "fraction = (0.2, 0.5), sides = both, rounding = nearest" in apart
    assert "extend" not in text_of("FNO((4, 4), 1, 1, 4, domain_padding = [0, 0])")


@pytest.mark.parametrize("kind", ["FNO", "SFNO", "RNO"])
def test_factors_of_one_change_nothing(kind):
    plain, ones = (text_of(f"{kind}((4, 4), 1, 1, 4{x})") for x in ("", SCALED.format(1.0)))
    assert plain == ones


def test_layers_that_all_change_the_resolution_are_told_where_to_go():
    """They are of one kind, and a repeat would leave them on one grid."""
    text = text_of(f"FNO((4, 4), 1, 1, 4, n_layers = 2{SCALED.format([0.5, 2])})")
    assert "repeat" not in text
    assert "to = D / 2" in text
    assert "to = D," in text


def test_an_identity_skip_of_complex_functions_is_one_plus_i_times_them():
    """Their wrapper adds i f(v) to f(v): here real - imaginary parts, then their sum."""
    text = text_of("FNO((4, 4), 1, 1, 3, complex_data = True, fno_skip = 'identity')")
    assert "concat(v[0..3] - v[3..6], v[3..6] + v[0..3])" in text


def test_a_codano_is_told_its_variables():
    call = "CODANO(n_layers = 1, n_modes = [[4, 4]]{})"
    some = import_call(read_call(call.format("")).also(variables=3)).text
    assert 'R^3 "v1, v2, v3"' in some
    named = import_call(read_call(call.format("")).also(variables=["ux", "uy"])).text
    assert 'R^2 "ux, uy"' in named


def test_a_variable_without_an_encoding_is_refused():
    call = "CODANO(n_layers = 1, n_modes = [[4, 4]], variable_ids = ['u', 'p'], {})"
    marks = "use_positional_encoding = True, positional_encoding_modes = [4, 4]"
    made = read_call(call.format(marks))
    assert "mark_0" in import_call(made.also(variables=["p"])).text
    with pytest.raises(OpError, match="the variable `T`, which has no positional encoding"):
        import_call(made.also(variables=["p", "T"]))


def test_an_imported_rno_begins_at_zero_where_no_states_are_given():
    torch.manual_seed(0)
    module = lower(import_call(read_call(RNO.format(""))).graph)
    x, zero = torch.randn(2, 2, 9), torch.zeros(2, 6, 9)
    for name, value in module(x, zero, zero).items():
        torch.testing.assert_close(module(x)[name], value)
        torch.testing.assert_close(module(x=x, s1=None)[name], value)
    times = torch.randn(2, 3, 2, 9)
    found = module.rollout(3, x=times)["y"]
    torch.testing.assert_close(found, module.rollout(3, x=times, s1=None, s2=None)["y"])


def test_states_of_an_rno_live_where_its_layers_go():
    text = text_of(RNO.format(SCALED.format([2, 1])))
    assert "input x : D / 2 -> R^2" in text
    assert "input s1 : D -> R^6" in text
    module = lower(import_call(read_call(RNO.format(SCALED.format([2, 1])))).graph)
    assert module(torch.randn(1, 2, 8))["y"].shape == (1, 1, 16)
