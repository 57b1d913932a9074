"""What is recorded."""

import copy
import pickle

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


def test_every_metric_is_an_attribute():
    x, _, values = table()
    history = fit(network(), x, values, loss="squared_error", epochs=2, validation=0.3)
    assert history.validation_r2 == history["validation_r2"]
    assert len(history.validation_r2) == 2
    assert history.validation_accuracy == history.accuracy == []  # not measured
    assert "validation_r2" in dir(history)
    own = fit(network(), x, values, loss="squared_error", epochs=1, metrics={"bias": lambda z, t: (z - t).mean()})
    assert own.bias == own["bias"]
    with pytest.raises(AttributeError, match=r"History has no 'validation_r'; recorded: loss, validation_loss, .*rate"):
        getattr(history, "validation_" + "r")
    assert copy.deepcopy(history) == pickle.loads(pickle.dumps(history)) == history


def test_history_as_a_mapping_a_frame_and_a_file(tmp_path):
    history = fa.History()
    assert list(history) == []
    history.append({"loss": 2.0, "rate": 0.1})
    history.append({"loss": 1.5, "extra": 3.0, "rate": 0.1})
    assert list(history) == ["loss", "extra", "rate"]
    assert "extra" in history
    assert "validation_loss" not in history
    assert dict(history)["loss"] == [2.0, 1.5]
    history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == b"epoch,loss,extra,rate\n1,2.0,,0.1\n2,1.5,3.0,0.1\n"
    with pytest.raises(FileNotFoundError, match=r"^History\.to_csv: "):
        history.to_csv(tmp_path / "missing" / "history.csv")
    pandas = pytest.importorskip("pandas")
    read = pandas.read_csv(tmp_path / "history.csv", index_col="epoch")
    pandas.testing.assert_frame_equal(read, history.to_frame(), check_index_type=False)
