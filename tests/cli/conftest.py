"""Ways to call the command line."""

import pytest

from fastact import cli
from fastact.cli import command_train


@pytest.fixture
def quick(monkeypatch):
    """Do not spend time on timing."""
    monkeypatch.setattr(command_train, "time_in_turns", lambda *_: (1e-4, 2e-4))


@pytest.fixture
def call(capfd):
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Run a command that must fail: one line on standard error, which is returned, and nothing else."""

    def run(*arguments):
        code, out, err = call(*arguments)
        assert code == 2
        assert out == ""
        assert err.startswith("fastact: error: ")
        assert err.count("\n") == 1
        return err

    return run
