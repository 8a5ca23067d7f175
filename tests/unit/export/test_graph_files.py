"""Graphs as JSON: written, read back, refused; the schemas that describe them."""

import copy
import json
import random

import jsonschema
import pytest

import opdsl
from opdsl.compiler import check, load
from opdsl.diagnostics import OpError, Source
from opdsl.export import blocks_schema, from_json, ir_schema, read_graph, to_json
from opdsl.export.document import FORMAT
from opdsl.ir.fingerprint import fingerprint
from tests.corpus import graphs
from tests.property.well_typed import program
from tests.same_graph import assert_same

MODELS = graphs()
MANY = 45  # nodes
TEXT = """
edition 2026
model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
  domain E = extend(D, fraction = 0.25)
  input a : D -> R^{p, q}
  input b : D -> R^1
  output u : D -> R^2
  feedback u -> a
  v = concat(a, b) |> pad(to = E) |> spectral_conv(modes = (4, 3), out = 6) |> crop(to = D)
  u = v |> repeat 2 shared { linear(out = 6) |> gelu() } |> linear(out = 2)
}
"""


@pytest.fixture
def data():
    return to_json(load(TEXT))


def plain(data):
    """Without places in the text."""
    if isinstance(data, dict):
        return {k: plain(x) for k, x in data.items() if k not in {"at", "because"}}
    return [plain(x) for x in data] if isinstance(data, list) else data


def refused(data):
    """The one diagnostic."""
    with pytest.raises(OpError) as caught:
        from_json(data)
    (found,) = caught.value.diagnostics
    return found


# -------------------------------------------------------------------------- there and back


def model(name):
    """Slow where hundreds of nodes are of the same few blocks."""
    return pytest.param(name, marks=pytest.mark.slow if len(MODELS[name].nodes) > MANY else [])


@pytest.mark.parametrize("name", list(map(model, MODELS)))
def test_every_model_comes_back(name):
    graph = MODELS[name]
    written = json.loads(json.dumps(to_json(graph), allow_nan=False))
    again = from_json(written)
    assert_same(graph, again)
    assert plain(to_json(again)) == plain(written)
    assert [(x.path, x.kind, x.title) for x in again.scopes] == [
        (x.path, x.kind, x.title) for x in graph.scopes
    ]


@pytest.mark.parametrize("seed", range(40))
def test_random_models_come_back(seed):
    graph = load(program(seed).text())
    again = from_json(to_json(graph))
    assert_same(graph, again)
    assert fingerprint(again) == fingerprint(graph)


def test_a_graph_that_was_read_computes_the_same(data):
    import torch

    from opdsl.lower.module import lower

    one, two = lower(load(TEXT)), lower(from_json(data))
    two.load_state_dict(one.state_dict())
    x = torch.randn(1, 2, 33, 34), torch.randn(1, 1, 33, 34)
    assert torch.equal(one(*x), two(*x))


def test_a_diagnostic_points_into_the_file(data):
    text = json.dumps(data, indent=1)
    graph = read_graph(Source("g.json", text))
    span = graph.by_path["v.spectral_conv"].spans[0]
    assert (span.text, span.source.name) == ('"v.spectral_conv"', "g.json")
    assert text.splitlines()[span.line - 1].strip() == '"path": "v.spectral_conv",'


def test_checks_of_the_whole_graph_are_made_again(data, tmp_path):
    for domain in data["domains"]:
        domain["axes"][0]["min"] = 5
    path = tmp_path / "low.json"
    text = json.dumps(data).replace('"min": 33', '"min": 5')
    path.write_text(text)
    found = check(path)
    assert [x.code for x in found.errors] == ["OP0309"]
    assert found.graph is None
    assert found.errors[0].primary.span.source.name == str(path)


def test_a_graph_file_stands_where_a_program_does(data, tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(data))
    assert fingerprint(opdsl.load(str(path))) == fingerprint(load(TEXT))
    with pytest.raises(OpError, match="no parameter `width` left"):
        opdsl.load(path, width=3)
    with pytest.raises(OpError, match="no model `N`"):
        opdsl.load(path, "N")


def test_what_follows_from_the_rest_may_be_left_out(data):
    for key in ("certificate", "hashes", "scopes", "doc", "params"):
        del data[key]
    for node in data["nodes"]:
        del node["at"]
    assert fingerprint(from_json(data)) == fingerprint(load(TEXT))


# ------------------------------------------------------------------------------- refused


def node(data, path):
    return next(x for x in data["nodes"] if x["path"] == path)


def _set(*keys):
    """A change: the last is the value, the others lead there."""
    *way, key, value = keys

    def change(data):
        for x in way:
            data = data[x]
        data[key] = value

    return change


NODES = ("v.concat", "v.pad", "v.spectral_conv", "v.crop", "u.repeat.0.linear")
WRONG = {
    "another format": (_set("format", 1), "OP0501", "its format is 1, known is 2"),
    "no format": (lambda d: d.pop("format"), "OP0501", "`format`: field required"),
    "an unknown key": (_set("nodez", []), "OP0501", "`nodez`: extra inputs are not permitted"),
    "a text for a number": (_set("edition", "2026"), "OP0501", "`edition`: input should be"),
    "an unknown block": (_set("nodes", 0, "op", "concatt"), "OP0501", "no block `concatt`"),
    "a path to Python": (_set("nodes", 0, "op", "os.system"), "OP0501", "`nodes.0.op`: string"),
    "a hidden module": (_set("nodes", 0, "op", "__init__"), "OP0501", "`nodes.0.op`: string"),
    "a wrong parameter": (_set("nodes", 2, "params", "modes", "4"), "OP0501", "`params.modes"),
    "an extra parameter": (_set("nodes", 2, "params", "x", 1), "OP0501", "`params.x`: extra"),
    "a missing parameter": (
        lambda d: d["nodes"][2]["params"].pop("modes"),
        "OP0501",
        "`params.modes`: field required",
    ),
    "modes that do not fit": (_set("nodes", 2, "params", "modes", [4]), "OP0308", "mode"),
    "a node that comes later": (
        _set("nodes", 0, "inputs", ["v.pad", "b"]),
        "OP0501",
        "takes `v.pad`, which comes later",
    ),
    "a node that is not there": (
        _set("nodes", 0, "inputs", ["aa", "b"]),
        "OP0501",
        "takes `aa`, which nobody makes",
    ),
    "a node twice": (_set("nodes", 1, "path", "v.concat"), "OP0501", "are called `v.concat`"),
    "a node called as an input": (_set("nodes", 0, "path", "a"), "OP0501", "are called `a`"),
    "another space": (_set("nodes", 2, "space", "channels", 7), "OP0501", "it is said to be"),
    "a complex space": (_set("nodes", 2, "space", "field", "C"), "OP0501", "it is said to be"),
    "too many inputs": (_set("nodes", 1, "inputs", ["a", "b"]), "OP0501", "does not take 2 inputs"),
    "weights of another block": (
        _set("nodes", 4, "shares", "v.spectral_conv"),
        "OP0501",
        "cannot share the weights of `v.spectral_conv`",
    ),
    "weights of another operation": (
        _set("nodes", 7, "shares", "u.repeat.0.linear"),
        "OP0501",
        "cannot share the weights of `u.repeat.0.linear`",
    ),
    "weights of nobody": (_set("nodes", 4, "shares", "w"), "OP0501", "`w` has no weights to share"),
    "an output of nothing": (_set("outputs", 0, "source", "w"), "OP0501", "the output `u` takes"),
    "an output elsewhere": (
        _set("outputs", 0, "source", "v.crop"),
        "OP0501",
        "the output `u` is said to be",
    ),
    "no output": (_set("outputs", []), "OP0501", "`outputs`:"),
    "feedback of nothing": (_set("feedback", 0, "output", "w"), "OP0501", "feedback names `w`"),
    "feedback that does not fit": (_set("feedback", 0, "input", "b"), "OP0501", "feedback joins"),
    "a domain with a name of two words": (
        _set("domains", 0, "name", "D E"),
        "OP0501",
        "no such domain",
    ),
    "a domain without length": (_set("domains", 0, "axes", 0, "hi", 0.0), "OP0501", "no such"),
    "a domain of any kind": (_set("domains", 0, "kind", "any"), "OP0501", "no such domain"),
    "a sphere without latitudes": (_set("domains", 0, "kind", "sphere"), "OP0501", "no such"),
    "a grid with a measure": (_set("domains", 0, "measure", "density"), "OP0501", "no such domain"),
    "a grid with a period": (_set("domains", 0, "period", [1.0, 1.0]), "OP0501", "no such domain"),
    "a domain twice": (lambda d: d["domains"].append(d["domains"][0]), "OP0501", "not one decl"),
    "a strange name": (_set("inputs", 0, "name", "a\n"), "OP0501", "`inputs.0.name`"),
    "a strange component": (
        _set("inputs", 0, "space", "components", ["p", "q\n"]),
        "OP0501",
        "component",
    ),
    "too few components": (_set("inputs", 0, "space", "components", ["p"]), "OP0501", "as many"),
    "a strange title": (_set("scopes", 0, "title", "<b>"), "OP0501", "`scopes.0.title`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(data, name):
    change, code, words = WRONG[name]
    change(data)
    found = refused(data)
    assert found.code == code
    assert words in found.message
    assert found.primary.span.source.name == "<graph>"


def test_the_nodes_of_these_tests_stand_where_they_say(data):
    assert [x["path"] for x in data["nodes"][: len(NODES)]] == list(NODES)


DEEP, LONG = "[" * 100_000, '{"format": ' + "9" * 5000 + "}"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "nan", '{"format": NaN}', DEEP, LONG], ids=lambda x: x[:12]
)
def test_what_is_no_graph_is_refused(text):
    with pytest.raises(OpError) as caught:
        read_graph(Source("g.json", text))
    assert [x.code for x in caught.value.diagnostics] == ["OP0501"]


def test_a_number_that_is_none_is_refused(data):
    text = json.dumps(data).replace('"lo": 0.0', '"lo": NaN')
    with pytest.raises(OpError, match="no such domain"):
        read_graph(Source("g.json", text))


def test_a_node_that_does_nothing_is_refused():
    data = to_json(load(TEXT))
    made = node(data, "v.crop")
    made |= {"op": "resample", "inputs": ["v.concat"]}
    made["space"]["channels"] = 3
    assert "does nothing" in refused(data).message


LEAVES = (None, True, 0, -1, 1e9, "x", "", [], {}, [[]], "v.crop", 10**30)


def damaged(data, rng):
    """One value somewhere in the data becomes another one, or is lost."""
    places = []

    def walk(part):
        pairs = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in pairs:
            places.append((part, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(data)
    part, key = rng.choice(places)
    if rng.random() < 0.2:
        del part[key]
    else:
        part[key] = rng.choice(LEAVES)
    return data


@pytest.mark.parametrize(
    "block", [0, 1, *(pytest.param(x, marks=pytest.mark.slow) for x in range(2, 8))]
)
def test_damaged_files_are_refused_or_read_as_sound_graphs(block):
    whole = to_json(load(TEXT))
    for seed in range(100 * block, 100 * block + 100):
        data = damaged(copy.deepcopy(whole), random.Random(seed))  # noqa: S311  no secret
        try:
            graph = from_json(data)
        except OpError:
            continue  # anything else is a fault of ours
        assert from_json(to_json(graph))


# ------------------------------------------------------------------------------- schemas


@pytest.fixture(scope="module")
def validator():
    schema = ir_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", list(map(model, MODELS)))
def test_every_graph_is_of_the_schema(name, validator):
    validator.validate(json.loads(json.dumps(to_json(MODELS[name]))))


@pytest.mark.parametrize(
    "name",
    [
        "another format",
        "no format",
        "an unknown key",
        "a text for a number",
        "an unknown block",
        "a wrong parameter",
        "an extra parameter",
        "a missing parameter",
        "a strange title",
    ],
)
def test_the_schema_knows_a_wrong_shape(name, data, validator):
    WRONG[name][0](data)
    assert not validator.is_valid(data)


def test_schemas_have_a_name_with_the_format():
    assert ir_schema()["$id"] == f"urn:opdsl:ir:{FORMAT}"
    assert blocks_schema()["$id"] == f"urn:opdsl:blocks:{FORMAT}"


def test_the_schema_of_the_blocks_has_every_block_and_parameter():
    from opdsl import blocks

    found = blocks_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    assert tuple(found["properties"]) == blocks.names()
    for word in blocks.names():
        cls = blocks.find(word)
        entry = found["$defs"][cls.__name__]
        assert list(entry.get("properties", {})) == list(cls.model_fields)
        assert entry["description"] == cls.__doc__.strip().splitlines()[0]
