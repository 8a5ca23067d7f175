"""Formats, losses, optimizers and generators, read from their sources."""

import pytest

from opdsl.reference.registered import KINDS, member_text, members, registered_page
from opdsl.train.losses import LOSSES
from opdsl.train.optimizers import OPTIMIZERS

BY_NAME = {x.name: x for x in KINDS}


@pytest.mark.parametrize(("kind", "registry"), [("loss", LOSSES), ("optimizer", OPTIMIZERS)])
def test_the_sources_say_what_the_registry_does(kind, registry):
    found = {x.name: x.description for x in members(BY_NAME[kind])}
    assert found == {x: registry.find(x).description for x in registry.names()}


def test_facts_are_told():
    found = {x.name: x.sentences for kind in KINDS for x in members(kind)}
    assert found["sgd"] == "It uses `optimizer.momentum`, `optimizer.nesterov`."
    assert found["h1"] == "It needs a grid."


@pytest.mark.parametrize("member", [x for k in KINDS for x in members(k)], ids=lambda x: x.name)
def test_a_member_is_described(member):
    assert member.description.partition("\n\n")[0].rstrip(":").strip()
    assert f"### {member.name}\n" in registered_page()
    assert member_text(member).startswith(f"{member.name} ({member.kind.name})\n")
