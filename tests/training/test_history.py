"""What is recorded."""

import pytest
from tasks import fit, network, table

import fastact as fa


def test_history_as_plain_numbers():
    x, labels, _ = table()
    history = fit(network(), x, labels, epochs=2, validation=0.3)
    content = history.to_dict()
    assert content["epochs"] == 2
    assert list(content["by_epoch"]) == ["loss", "validation_loss", "validation_accuracy", "rate"]
    assert fa.History.from_dict(content) == history
    for wrong in ({}, {**content, "epochs": 3}, {**content, "by_epoch": {"loss": ["x"]}}, {**content, "steps": -1}):
        with pytest.raises(ValueError, match=r"History\.from_dict"):
            fa.History.from_dict(wrong)
