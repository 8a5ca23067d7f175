"""Titles of frames keep out of the way of arrows."""

import pytest
from pygraphviz import AGraph

from opdsl.render.titles import Corner, move_titles

FRAME = """
digraph {{
  subgraph cluster_f {{
    label="a long title" labelloc=b labeljust=r
    left [width=1.5] right [width=1.5]
  }}
  {tail} -> below
}}
"""


@pytest.mark.parametrize(("tail", "side"), [("right", "l"), ("left", "r")])
def test_a_title_stands_where_no_arrow_leaves(tail, side):
    graph = AGraph(string=FRAME.format(tail=tail))
    move_titles(graph)
    assert graph.subgraphs()[0].graph_attr["labeljust"] == side


def test_a_corner_holds_its_edges():
    corner = Corner(0, 0, 2, 1)
    assert corner.holds((2, 1))
    assert not corner.holds((2.1, 1))
    assert not corner.holds((2, -0.1))
