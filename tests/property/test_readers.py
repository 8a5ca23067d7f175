"""Damaged files through every reader: a diagnostic or a result, in time and in memory."""

import sys

import pytest

from tests.property import fuzz_readers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures with /proc")


def test_fifty_damaged_files_are_read_or_refused():
    figures = fuzz_readers.run(50, seed=0)
    assert figures.findings == []
    assert figures.count == 50


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_five_thousand_damaged_files_are_read_or_refused():
    figures = fuzz_readers.run(5000, seed=0, workers=2)
    assert figures.findings == []
    assert figures.count == 5000
