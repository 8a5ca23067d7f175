"""Names: what is bound, what is missing, what is meant."""

import pytest

from tests.programs import HEAD, codes, graph, model, only


def test_statements_stand_in_any_order():
    g = graph(model("output u : D -> R^1\nu = linear(h, out = 1)\nh = linear(a, out = 4)"))
    assert [x.path for x in g.nodes] == ["h", "u"]


def test_the_outermost_call_takes_the_path_of_its_binding():
    g = graph(model("output u : D -> R^1\nu = linear(apply(a, gelu), out = 1)"))
    assert [x.path for x in g.nodes] == ["u.apply", "u"]


def test_stages_of_a_chain_are_numbered_where_they_repeat():
    g = graph(model("output u : D -> R^1\nu = a |> linear(out = 3) |> tanh() |> linear(out = 1)"))
    assert [x.path for x in g.nodes] == ["u.linear", "u.tanh", "u.linear_2"]


def test_a_sum_of_numbers_makes_no_node():
    g = graph(model("output u : D -> R^6\nu = linear(a, out = 2 + 2 * 2)"))
    assert [x.path for x in g.nodes] == ["u"]


def test_the_paths_of_a_library_block_stand_below_its_call():
    g = graph(model("output u : D -> R^1\nu = a |> Lift(out = 8) |> Project(out = 1)"))
    assert g.nodes[0].path == "u.lift.w.linear"
    assert [x.title for x in g.scopes if x.kind == "block"] == ["Lift", "Project"]


def test_the_index_of_a_repeat_is_seen_inside_only():
    body = "output u : D -> R^4\nu = a |> repeat 3 as i { linear(out = 2 + i) }"
    assert [x.space.channels for x in graph(model(body)).nodes] == [2, 3, 4]
    assert (
        only(model("output u : D -> R^2\nh = a |> repeat 3 as i { gelu() }\nu = h * i")).code
        == "OP0201"
    )


def test_a_repeat_of_zero_is_nothing():
    g = graph(model("output u : D -> R^2\nu = a |> repeat 0 { gelu() } |> tanh()"))
    assert [x.keyword for x in g.nodes] == ["apply"]


def test_an_unknown_operator_names_its_import():
    text = "edition 2026\nmodel M {\n domain D = grid(x, min = 9)\n input a : D -> R^1\n"
    text += " output u : D -> R^1\n u = a |> Lift(out = 1)\n}\n"
    assert only(text).helps[0].text == "import it: `from std.pointwise import Lift`"


def test_an_unknown_word_is_an_unknown_name():
    fault = only(model("output u : D -> R^1\nu = linear(a, out = widht)\nparam width : int = 1"))
    assert (fault.code, fault.helps[0].text) == ("OP0201", "did you mean `width`?")


def test_names_of_statements_that_did_not_parse_are_not_unknown():
    assert codes(model("output u : D -> R^1\nparam w int = 4\nu = linear(a, out = w)")) == [
        "OP0101"
    ]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("from std.nothing import Lift", "OP0202"),
        ("from std.pointwise import Lfit", "OP0202"),
        ("from std.pointwise import Lift\nfrom std.pointwise import Lift", "OP0203"),
        ("from std.pointwise import Lift\nblock Lift { }", "OP0203"),
    ],
)
def test_imports_that_fail(item, code):
    text = f"edition 2026\n{item}\nmodel M {{\n domain D = grid(x)\n input a : D -> R^1\n"
    assert codes(text + " output u : D -> R^1\n u = gelu(a)\n}\n") == [code]


def test_a_whole_module_is_imported_under_its_own_name():
    text = "edition 2026\nimport std.pointwise as p\nmodel M {\n domain D = grid(x)\n"
    text += " input a : D -> R^1\n output u : D -> R^3\n u = a |> p.Lift(out = 3)\n}\n"
    assert graph(text).nodes[0].path == "u.lift.w.linear"


def test_blocks_come_from_a_file_beside_the_program(tmp_path):
    from opdsl.compiler import check

    block = "edition 2026\nblock Twice {\n domain D : any\n dim c\n input v : D -> R^c\n"
    (tmp_path / "mine.op").write_text(block + " output w : D -> R^c\n w = v + v\n}\n")
    program = tmp_path / "main.op"
    program.write_text(
        model("output u : D -> R^2\nu = Twice(a)", before='from "mine.op" import Twice')
    )
    assert [x.keyword for x in check(program).graph.nodes] == ["add"]


def test_an_import_stays_inside_the_folder_of_the_program(tmp_path):
    from opdsl.compiler import check

    (tmp_path / "outside.op").write_text("edition 2026\nblock X { }\n")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.op").write_text(
        model("output u : D -> R^2\nu = gelu(a)", before='from "../outside.op" import X')
    )
    assert [x.code for x in check(folder / "main.op").diagnostics] == ["OP0202"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    from opdsl.compiler import check

    (tmp_path / "outside.op").write_text("edition 2026\nblock X { }\n")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "in.op").symlink_to(tmp_path / "outside.op")
    (folder / "main.op").write_text(
        model("output u : D -> R^2\nu = gelu(a)", before='from "in.op" import X')
    )
    assert [x.code for x in check(folder / "main.op").diagnostics] == ["OP0202"]


def test_files_that_import_each_other_are_refused(tmp_path):
    from opdsl.compiler import check

    (tmp_path / "a.op").write_text('edition 2026\nfrom "b.op" import B\nblock A { }\n')
    (tmp_path / "b.op").write_text('edition 2026\nfrom "a.op" import A\nblock B { }\n')
    (tmp_path / "m.op").write_text(
        model("output u : D -> R^2\nu = gelu(a)", before='from "a.op" import A')
    )
    assert "OP0211" in [x.code for x in check(tmp_path / "m.op").diagnostics]


def test_a_block_that_calls_itself_is_refused():
    block = "block R {\n domain D : any\n dim c\n input v : D -> R^c\n"
    block += " output w : D -> R^c\n w = R(v)\n}\n"
    assert codes(model("output u : D -> R^2\nu = R(a)", before=block)) == ["OP0211"]


def test_several_models_must_be_told_apart():
    one = model("output u : D -> R^2\nu = gelu(a)")
    assert codes(one + one.split("\n\n", 2)[2].replace("model M", "model N")) == ["OP0210"]


def test_a_program_without_a_model_says_so():
    assert codes(HEAD) == ["OP0210"]


def test_a_cycle_is_told_by_its_names():
    fault = only(model("output u : D -> R^2\nu = gelu(h)\nh = tanh(k)\nk = tanh(h)"))
    assert (fault.code, fault.message) == ("OP0302", "the graph has a cycle: h -> k -> h")


def test_five_wrong_statements_give_five_diagnostics():
    body = """output u : D -> R^2
h1 = linear(a)
h2 = linear(a, ot = 3)
h3 = unknown(a)
h4 = a + 1
h5 = linear(a, out = 0)
u = gelu(a)"""
    assert codes(model(body)) == ["OP0205", "OP0207", "OP0201", "OP0209", "OP0208"]


def test_what_hangs_on_a_wrong_statement_is_not_reported_again():
    assert codes(model("output u : D -> R^2\nh = lineer(a, out = 2)\nk = gelu(h)\nu = k + h")) == [
        "OP0201"
    ]


def test_a_model_that_grows_without_end_is_refused_at_once():
    stage = "linear(out = 2)"
    for _ in range(3):
        stage = f"repeat 100 {{ {stage} }}"
    assert only(model(f"output u : D -> R^2\nu = a |> {stage}")).code == "OP0212"


def test_feedback_joins_an_output_to_an_input():
    loop = graph(model("output u : D -> R^2\nfeedback u -> a\nu = gelu(a)")).feedback
    assert [(x.output, x.input) for x in loop] == [("u", "a")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("feedback v -> a", "OP0201"),
        ("feedback u -> u", "OP0201"),
        ("feedback u -> a\nfeedback u -> a", "OP0203"),
        ("feedback u -> b", "OP0304"),
        ("feedback u -> c", "OP0303"),
    ],
)
def test_feedback_that_does_not_fit_is_refused(body, code):
    inputs = "input b : D / 2 -> R^2\ninput c : D -> R^3\noutput s : D / 2 -> R^2\ns = gelu(b)"
    text = f"{inputs}\noutput u : D -> R^2\nu = gelu(a) + linear(c, out = 2)\n{body}"
    assert only(model(text)).code == code


def test_names_of_an_import_that_failed_are_not_unknown():
    text = model("output u : D -> R^2\nu = Lfit(a)", before="from std.pointwse import Lfit")
    assert codes(text) == ["OP0202"]


def test_a_second_value_for_a_parameter_by_position_is_not_dropped():
    assert only(model("output u : D -> R^2\nu = a |> gelu(3)")).code == "OP0206"


def test_a_division_by_zero_is_told_as_one():
    assert (
        only(model("output u : D -> R^2\nu = linear(a, out = 2 / 0)")).message
        == "a division by zero"
    )


def test_the_identity_makes_no_node():
    g = graph(model("output u : D -> R^2\nu = a |> identity() |> resample(to = D) |> tanh()"))
    assert [x.keyword for x in g.nodes] == ["apply"]
