"""What all tests share: golden texts, which `--update-golden` writes anew."""

import random
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden texts anew")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """What a test draws does not depend on which ran before it; torch is not imported for that."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def golden(request):
    """`golden(text, "dot/fno.dot")` compares with a file; a missing file fails."""

    def compare(text: str, name: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"tests/golden/{name} is missing: run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return compare
