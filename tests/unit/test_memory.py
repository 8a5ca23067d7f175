"""Free memory is the least that machine, control group and limits of the process leave."""

import subprocess
import sys

import pytest

from opdsl import memory


def group(folder, version, limit, used, cache):
    names = memory.FILES[version]
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2][0]} {cache}\n{names[2][1]} 1\n")


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_leaves_its_limit_without_what_it_uses_but_for_its_cache(tmp_path, version):
    group(tmp_path / "g", version, 1000, 600, 99)
    assert memory._group(tmp_path / "g", version) == 500


def test_a_group_without_a_limit_says_nothing(tmp_path):
    group(tmp_path / "a", 2, "max", 600, 99)
    group(tmp_path / "b", 1, 9223372036854771712, 600, 99)
    assert memory._group(tmp_path / "a", 2) is None
    assert memory._group(tmp_path / "b", 1) is None
    assert memory._group(tmp_path / "c", 1) is None


def test_the_groups_above_count_too(tmp_path, monkeypatch):
    group(tmp_path / "outer" / "inner", 2, 5000, 1000, 0)
    (tmp_path / "outer" / "memory.max").write_text("900")
    (tmp_path / "outer" / "memory.current").write_text("800")
    monkeypatch.setattr(memory, "_memberships", lambda: [(2, tmp_path, "/outer/inner")])
    assert [x for x in memory._groups() if x is not None] == [4001, 100]
    assert memory.free_memory() == 100


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_limit_of_the_process_counts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from opdsl.memory import free_memory; print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603
    free = int(done.stdout)
    assert 0 < free < 1 << 30
