"""Settings of a run, described."""

from opdsl.reference.settings import setting_entries, setting_text, settings_page
from opdsl.train.config.schema import Settings


def test_every_setting_is_on_the_page_once():
    page = settings_page()
    names = [name for name, _ in Settings().rows()]
    assert [page.count(f"| `{x}` |") for x in names] == [1] * len(names)


def test_defaults_and_resume_are_those_of_the_model():
    found = {x.name: x for x in setting_entries()}
    assert found["optimizer.lr"].default == "`0.001`"
    assert (found["optimizer.lr"].resume, found["seed"].resume) == ("free", "fixed")
    assert found["data.path"].resume == "moved"
    assert found["batch"].type == "integer ≥ 1"


def test_a_setting_says_how_it_is_set():
    found = {x.name: setting_text(x) for x in setting_entries()}
    assert "train { optimizer { lr = ... } }" in found["optimizer.lr"]
    assert "--set optimizer.lr=" in found["optimizer.lr"]
    assert "train { optimizer adamw { ... } }" in found["optimizer.kind"]
    assert "train { batch = ... }" in found["batch"]
