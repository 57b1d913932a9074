import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "regenerate.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="the derived files are made in a checkout, and this is none")
def test_derived_files_are_up_to_date():
    spec = importlib.util.spec_from_file_location("regenerate", SCRIPT)
    regenerate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(regenerate)
    found = regenerate.differences()
    assert not found, f"run python bench/regenerate.py:\n{found}"
