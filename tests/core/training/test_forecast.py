"""What a dry run may touch."""

from rdrop_cli.core.training.forecast import forecast
from rdrop_cli.core.training.run import TrainingRun


def test_a_forecast_leaves_the_training_as_it_was_and_its_folder_unmade(config, tmp_path):
    settings = config(**{"train.tensorboard": True})
    training = TrainingRun(settings, tmp_path / "run")
    ready = training.set_up()
    before = ready.config.model_copy(deep=True)
    assert forecast(training, seconds=0.1).steps == ready.plan().steps
    assert training.set_up() is ready
    assert ready.config == before
    assert ready.config.train.report_to == ["tensorboard"]
    assert (training.run, training.config, ready.plan().run) == (tmp_path / "run", settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
