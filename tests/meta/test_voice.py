"""The voice of the project: sentences and names that a reader can guess."""

import pytest

from tests.meta import voice


@pytest.mark.parametrize("folder", voice.folders())
def test_no_docstring_follows_the_template_of_inputs_and_outputs(folder):
    assert voice.templates(folder) == []


@pytest.mark.parametrize("folder", voice.folders())
def test_no_docstring_leans_on_the_one_before(folder):
    assert voice.repetitions(folder) == []


@pytest.mark.parametrize("folder", voice.folders())
def test_old_names_are_gone(folder):
    assert voice.old_names(folder) == []


def test_an_exported_type_name_has_one_home():
    found = voice.type_homes()
    assert {k: x for k, x in found.items() if k not in voice.SEVERAL_HOMES} == {}
    assert voice.SEVERAL_HOMES.keys() <= found.keys()


def test_a_long_module_is_one_algorithm():
    found = voice.long_modules()
    assert {k: n for k, n in found.items() if k not in voice.ONE_ALGORITHM} == {}
    assert voice.ONE_ALGORITHM.keys() <= found.keys()


def test_a_full_folder_has_one_module_for_each_thing_of_a_kind():
    found = voice.full_folders()
    assert {k: n for k, n in found.items() if k not in voice.ONE_FILE_EACH} == {}
    assert voice.ONE_FILE_EACH.keys() <= found.keys()


def test_the_counts_can_fail(tmp_path, monkeypatch):
    folder = tmp_path / "opdsl" / "nn"
    folder.mkdir(parents=True)
    text = '"""What comes in: all."""\n\n\nclass Kept:\n    """The same."""\n\n    bends = NUMBER\n'
    for number, name in enumerate(("kept", "again")):
        (folder / f"{name}.py").write_text(text.replace("NUMBER", str(number)))
    monkeypatch.setattr(voice, "ROOT", tmp_path)
    monkeypatch.setattr(voice, "PACKAGE", tmp_path / "opdsl")
    assert len(voice.templates("opdsl/nn")) == 2
    assert len(voice.repetitions("opdsl/nn")) == 2
    assert "opdsl/nn/kept.py" in voice.old_names("opdsl/nn")
    assert {x.partition(": ")[2] for x in voice.old_names("opdsl/nn")} == {"", "Kept", "Kept.bends"}
    assert voice.type_homes() == {"Kept": ["opdsl/nn/again.py", "opdsl/nn/kept.py"]}
