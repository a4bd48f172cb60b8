"""What is logged, and a history that cannot be written for a while."""

import math

from rdrop_cli.core.runs.history import history_row
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun
from training_runs import history


def test_what_is_undefined_or_infinite_is_empty_in_the_history():
    row = history_row({"eval_roc_auc": math.nan, "eval_f1": 0.5, "step": 3, "epoch": 1.0})
    assert row == {"validation_roc_auc": None, "validation_f1": 0.5, "step": 3, "epoch": 1.0}
    row = history_row({"loss": 0.5, "grad_norm": math.inf, "step": 3, "epoch": 1.0})
    assert row == {"loss": 0.5, "grad_norm": None, "step": 3, "epoch": 1.0}


class Spreadsheet(Observer):
    """Holds a run's history.csv so that it cannot be written until a step: a folder of its name stands there."""

    def __init__(self, run, until):
        self.file, self.until = run / "history.csv", until
        self.said, self.rows = [], []
        self.file.mkdir(parents=True)
        (self.file / "open").touch()

    def step(self, step):
        if step == self.until:
            (self.file / "open").unlink()
            self.file.rmdir()

    def notice(self, message):
        if "history.csv" in message:
            self.said.append(message)

    def log(self, row):
        self.rows.append(row)


def test_a_history_that_cannot_be_written_for_a_while_stops_no_training_and_lacks_nothing(config, tmp_path):
    run = tmp_path / "run"
    held = Spreadsheet(run, until=14)
    TrainingRun(config(), run, observer=held).start()
    assert len(held.said) == 1
    assert "history.csv: cannot be written" in held.said[0]
    assert [int(row["step"]) for row in history(run)] == [row["step"] for row in held.rows]
    assert (run / "metrics.json").is_file()


def test_a_history_that_is_never_written_is_told_at_the_end_too(config, tmp_path):
    run = tmp_path / "run"
    held = Spreadsheet(run, until=None)
    TrainingRun(config(), run, observer=held).start()
    first, last = held.said
    assert first.endswith("training continues and tries again with each new entry")
    assert last.endswith("so the newest entries are missing from it")
    assert (run / "metrics.json").is_file()
