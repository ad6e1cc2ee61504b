"""Every planted bug can be planted: its text stands in its file, exactly once.

Which test finds each is another matter, and takes a quarter of an hour: `make mutants`.
"""

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_text_is_there_once(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
