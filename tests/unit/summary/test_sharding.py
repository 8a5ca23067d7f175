"""The plan of processes as text and JSON, against the graph and the numbers of the plan."""

import json
from pathlib import Path

import pytest

from opdsl.compiler import load
from opdsl.diagnostics import OpError, Source
from opdsl.workflow.errors import ArgumentError
from opdsl.workflow.plans import plan_processes, plan_run
from opdsl.workflow.programs.program import open_model

PROGRAM = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project
model Plane {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> Lift(out = 8) |> FourierLayer(modes = 4) |> norm() |> Project(out = 1)
}
"""
SIZES = {"D": (33, 16)}


def planned(processes=4, space="x=2", batch=8, sizes=SIZES):
    return plan_processes(load(PROGRAM), sizes, batch, processes, space)


def test_the_head_says_who_shares_what():
    head = planned().to_text().splitlines()[0]
    assert head.startswith("processes  4: 2 share each sample, 16 or 17 points along `x`")
    assert "D at 33×16; 2 groups with 4 samples each, float32" in head
    alone = planned(space="1").to_text().splitlines()[0]
    assert "each has samples of its own" in alone
    assert "4 groups with 2 samples each" in alone


def test_every_node_has_a_row_with_its_type_and_every_exchange_its_bytes():
    space_plan = planned()
    lines = space_plan.to_text().splitlines()
    for node in space_plan.plan.graph.nodes:
        row = next(x for x in lines if x.split()[:1] == [node.path])
        assert space_plan.plan.type_of(node.path) in row
    kinds = [x.kind for x in space_plan.plan.exchanges]
    assert kinds == [x for line in lines for x in line.split() if x in set(kinds)]
    gather = next(x for x in lines if "all_gather" in x and "the output" in x)
    # 17 * 16 points, 4 samples, 4 bytes; nothing in the backward pass
    assert "4.2 KiB" in gather
    assert gather.split("KiB")[1].split()[0] == "-"


def test_json_has_the_bytes_of_each_process():
    space_plan = planned()
    found = json.loads(json.dumps(space_plan.to_json()))
    assert (found["processes"], found["space"], found["axis"]) == (4, 2, "x")
    assert found["at"] == {"D": [33, 16]}
    of_nodes = [y for x in found["nodes"] for y in x["exchanges"]]
    exchanges = [*of_nodes, *found["outputs"].values()]
    assert found["sent"] == [sum(x["sent"][r] for x in exchanges) for r in range(2)]
    step = [sum(x["sent"][r] + x["sent_backward"][r] for x in exchanges) for r in range(2)]
    assert found["sent_in_step"] == step
    memory = found["memory"]
    names = ("weights", "gradients", "moments", "functions", "intermediates", "whole")
    assert memory["total"] == sum(memory[x] for x in names)
    # all four processes add up the gradients of all weights
    assert found["gradients"] == memory["weights"] * 2 * 3 // 4


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (None, (4, "y")),
        ("2", (2, "y")),
        ("y", (4, "y")),
        ("y=2", (2, "y")),
        ("D.y=2", (2, "y")),
        ("auto", (1, "x")),
        ("x=1,y=2", (2, "y")),
    ],
)
def test_space_is_a_number_an_axis_or_both(space, expected):
    plan = planned(space=space).plan
    assert (plan.ranks, plan.axis.name) == expected


@pytest.mark.parametrize("space", ["", "x=", "=2", "x=two", "-2", "1.5", "x=2,y", "x = 2 ; y"])
def test_a_text_that_is_no_space_is_answered_with_the_forms(space):
    with pytest.raises(ArgumentError, match="or `auto`, not"):
        planned(space=space)


def test_a_program_with_patches_has_no_plan_of_processes():
    text = f"{PROGRAM}train Plane {{\n  patches {{ parts = 2 }}\n}}\n"
    with pytest.raises(ArgumentError, match="`patches`"):
        plan_run(open_model(Source("plane.op", text), Path()), SIZES, None, 4, None)


def test_auto_shares_a_sample_only_where_there_are_fewer_samples_than_processes():
    assert planned(space="auto", batch=2).plan.ranks == 2
    assert planned(space="auto", batch=2).plan.batch == 1


def test_without_a_resolution_the_smallest_is_planned():
    assert planned(sizes=None).plan.sizes == {"D": (9, 9)}


def test_groups_that_do_not_divide_the_processes_are_refused():
    with pytest.raises(ArgumentError, match="4 processes cannot be divided into groups of 3"):
        planned(space="3")
    with pytest.raises(ArgumentError, match="groups of 0"):
        planned(space="x=0")


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("", (4, "y")),
        ("parallel { space = 2 }", (2, "y")),
        ("parallel { space { x = 2 } }", (2, "x")),
        ("parallel { space = auto }", (1, "x")),
    ],
)
def test_the_train_block_decides_without_the_option(section, expected):
    text = f"{PROGRAM}train Plane {{\n  batch = 8\n  {section}\n}}\n"
    program = open_model(Source("plane.op", text), Path())
    plan = plan_run(program, SIZES, None, 4, None).plan
    assert (plan.ranks, plan.axis.name) == expected
    assert plan.batch == 8 * expected[0] // 4
    assert plan_run(program, SIZES, 4, 4, "x=4").plan.ranks == 4


def test_two_axes_of_the_train_block_are_refused():
    text = f"{PROGRAM}train Plane {{\n  parallel {{ space {{ x = 2 y = 2 }} }}\n}}\n"
    with pytest.raises(OpError) as caught:
        plan_run(open_model(Source("plane.op", text), Path()), SIZES, None, 4, None)
    assert caught.value.diagnostics[0].code == "OP0822"


def test_an_unknown_axis_is_refused():
    with pytest.raises(OpError) as caught:
        planned(space="z=2")
    assert caught.value.diagnostics[0].code == "OP0822"
