"""Runs from beginning to end: what a run folder holds, interruption and resumption, what is refused early."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from families import save_encoder
from rdrop_cli.config import load_config
from rdrop_cli.core.data.tokens import TokenDataset
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.model import probes
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.training import set_up
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.preflight import two_passes_differ
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import CheckpointError, ConfigError, DataError, ModelError, TrainingInterrupted
from training_runs import SignalAt, history, newest, weights


def test_a_run_learns_and_leaves_what_the_design_lists(config, tmp_path):
    run = tmp_path / "run"
    result = TrainingRun(config(**{"train.tensorboard": True, "train.epochs": 6, "rdrop.alpha": 0.5}), run).start()
    assert result.metrics["validation"]["accuracy"] > 0.8
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "data.json", "best", "checkpoints", "metrics.json", "history.csv", "tensorboard",
        "test-predictions.parquet", "validation-predictions.parquet", "training.json",
    }  # fmt: skip
    assert {path.name for path in (run / "best").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "rdrop.json",
        "manifest.json",
    }  # fmt: skip
    assert list((run / "tensorboard").iterdir())
    assert not list(run.rglob("training_args.bin"))


def test_the_final_table_is_measured_as_the_best_epoch_was(config, tmp_path):
    result = TrainingRun(config(), tmp_path / "run").start()
    rows = [row for row in history(tmp_path / "run") if row["validation_f1"]]
    best = max(float(row["validation_f1"]) for row in rows)
    assert result.metrics["validation"]["f1"] == pytest.approx(best, abs=1e-12)
    assert best == pytest.approx(float(rows[round(result.best_epoch) - 1]["validation_f1"]), abs=1e-12)


def test_of_epochs_with_the_same_metric_the_one_with_the_lower_cross_entropy_is_the_best(config, tmp_path):
    run = tmp_path / "run"
    settings = config(**{"train.epochs": 6, "train.early_stopping.patience": 0, "train.keep_checkpoints": 9})
    result = TrainingRun(settings, run).start()
    rows = [row for row in history(run) if row["validation_f1"]]
    ties = [row for row in rows if row["validation_f1"] == max(row["validation_f1"] for row in rows)]
    assert len(ties) > 1, "or this test shows nothing"
    best = min(ties, key=lambda row: float(row["validation_nll"]))
    assert best != ties[0], "or this test shows nothing"
    assert result.best_epoch == float(best["epoch"])
    assert result.metrics["validation"]["nll"] == pytest.approx(float(best["validation_nll"]), abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("step", "micro"), [(4, None), (10, None), (13, 4)])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(config, tmp_path, precision, step, micro):
    """Mid-epoch, exactly at an epoch's end, and with accumulation: same weights, metrics and history to the bit."""
    settings = config(**{"train.precision": precision, "train.micro_batch_size": micro})
    whole = TrainingRun(settings, tmp_path / "whole").start()
    with pytest.raises(TrainingInterrupted, match=r"--resume --out .*broken"):
        TrainingRun(settings, tmp_path / "broken", observer=SignalAt(step)).start()
    assert newest(tmp_path / "broken").name == f"checkpoint-{step}"
    resumed = TrainingRun(settings, tmp_path / "broken", resume=True).start()
    assert resumed.metrics == whole.metrics
    assert history(tmp_path / "broken") == history(tmp_path / "whole")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(first[name], second[name]) for name in first)
    best = [load_file(tmp_path / run / "best" / "model.safetensors") for run in ("whole", "broken")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


def test_a_termination_signal_saves_too(config, tmp_path):
    with pytest.raises(TrainingInterrupted):
        TrainingRun(config(), tmp_path / "run", observer=SignalAt(3, signal.SIGTERM)).start()
    assert newest(tmp_path / "run").name == "checkpoint-3"


def test_a_signal_during_the_last_evaluation_stops_before_the_final_table(config, tmp_path):
    class InTheEnd(SignalAt):
        def evaluating(self, done):
            if done == 0 and self.steps == self.at:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

        def step(self, step):
            self.steps = step

    settings, run = config(), tmp_path / "run"
    last = TrainingRun(settings, run).set_up().plan().steps
    with pytest.raises(TrainingInterrupted, match=f"step {last} of {last}"):
        TrainingRun(settings, run, observer=InTheEnd(last)).start()
    assert not (run / "metrics.json").exists()
    assert "test" in TrainingRun(settings, run, resume=True).start().metrics


def test_a_run_killed_after_its_last_epoch_only_measures_when_resumed(config, tmp_path):
    settings, run = config(), tmp_path / "run"
    whole = TrainingRun(settings, run).start()
    (run / "metrics.json").unlink()
    again = TrainingRun(settings, run, resume=True).start()
    assert again.metrics == whole.metrics
    assert again.steps == whole.steps


def test_early_stopping_ends_a_run_and_a_resume_does_not_go_on(config, tmp_path):
    run = tmp_path / "run"
    settings = config(
        **{"train.epochs": 6, "train.lr": 1e-9, "train.early_stopping": {"patience": 2, "threshold": 0.01}}
    )
    result = TrainingRun(settings, run).start()
    assert (result.steps, result.planned_steps, result.stopped_early) == (3 * 10, 6 * 10, True)
    (run / "metrics.json").unlink()
    assert TrainingRun(settings, run, resume=True).start().steps == result.steps


def test_old_checkpoints_are_removed(config, tmp_path):
    TrainingRun(config(**{"train.epochs": 4}), tmp_path / "run").start()
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"checkpoint-30", "checkpoint-40"}


def test_changed_data_is_not_resumed(config, reviews, tmp_path):
    settings = config()
    with pytest.raises(TrainingInterrupted):
        TrainingRun(settings, tmp_path / "run", observer=SignalAt(3)).start()
    reviews.write_text(reviews.read_text().replace("great", "fine"))
    with pytest.raises(DataError, match="the data has changed"):
        TrainingRun(settings, tmp_path / "run", resume=True).start()


def test_making_a_training_does_no_work_and_setting_it_up_does_it_once(config, tmp_path, monkeypatch):
    loaded = []
    load = set_up.load_classifier
    monkeypatch.setattr(
        set_up, "load_classifier", lambda *args, **options: loaded.append(args) or load(*args, **options)
    )
    training = TrainingRun(config(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == [tmp_path / "reviews.csv"]
    for name in ("data", "model_record"):
        with pytest.raises(RuntimeError, match=r"call set_up\(\) first"):
            getattr(training, name)
    ready = training.set_up()
    training.start()
    assert training.set_up() is ready
    assert (training.data, training.model_record) == (ready.data, ready.model_record)
    assert len(loaded) == 1


def test_a_training_that_could_not_be_set_up_can_be_once_the_reason_is_gone(config, tmp_path):
    data = (tmp_path / "reviews.csv").read_text()
    (tmp_path / "reviews.csv").unlink()
    training = TrainingRun(config(), tmp_path / "run")
    with pytest.raises(DataError, match="no such file"):
        training.set_up()
    (tmp_path / "reviews.csv").write_text(data)
    assert len(training.set_up().datasets["train"])


def test_a_model_without_dropout_is_refused_with_the_keys_to_set(config, tmp_path):
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with pytest.raises(ModelError, match=r"hidden_dropout_prob.*--set model.config.attention_probs_dropout_prob=0.1"):
        TrainingRun(config(**{"model.config": off}), tmp_path / "run").set_up()
    TrainingRun(config(**{"model.config": off, "rdrop.allow_zero_dropout": True}), tmp_path / "run").set_up()
    TrainingRun(config(**{"model.config": off, "rdrop.alpha": 0.0}), tmp_path / "run").set_up()


def test_the_dropout_check_leaves_the_random_state_alone(config, tmp_path):
    ready = TrainingRun(config(), tmp_path / "run").set_up()
    features = {"input_ids": ready.datasets["train"][0]["input_ids"]}
    before = torch.get_rng_state()
    assert two_passes_differ(ready.model, ready.collate([features])) == (True, True)
    assert torch.equal(before, torch.get_rng_state())


def test_the_head_depends_on_the_seed_alone(config, tmp_path):
    heads = [
        TrainingRun(config(**{"train.seed": seed}), tmp_path / "run").set_up().model.classifier.weight
        for seed in (1, 1, 2)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_an_unknown_model_key_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match=r"has no such key.*hidden_dropout_prob"):
        TrainingRun(config(**{"model.config": {"dropout_of_hidden": 0.1}}), tmp_path / "run").set_up()


def test_inputs_longer_than_the_positions_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="--max-length 64 or less"):
        TrainingRun(config(**{"model.max_length": 65}), tmp_path / "run").set_up()


def test_selection_needs_a_validation_split(config, tmp_path):
    with pytest.raises(DataError, match="never uses test for that"):
        TrainingRun(config(**{"data.validation": 0.0}), tmp_path / "run").set_up()


def test_a_diverging_run_ends_in_one_line(config, tmp_path):
    with pytest.raises(ModelError, match="the loss became"):
        TrainingRun(config(**{"train.lr": 1e30, "train.max_grad_norm": 0.0}), tmp_path / "run").start()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere"),
    ],
)
def test_running_out_of_memory_says_what_to_make_smaller(error, config, tmp_path, monkeypatch):
    def full(*_, **__):
        raise error

    training = TrainingRun(config(), tmp_path / "run")
    monkeypatch.setattr(training.set_up().model, "forward", full)
    with pytest.raises(ModelError, match=r"out of memory on CPU.*--micro-batch auto"):
        training.start()


def test_weights_that_do_not_fit_the_encoder_are_refused(config, tmp_path):
    with pytest.raises(ModelError, match=r"of the encoder's weights are missing or have another shape"):
        TrainingRun(config(**{"model.config": {"intermediate_size": 128}}), tmp_path / "run").set_up()


def test_steps_behind_the_last_multiple_of_log_steps_are_logged_too(config, tmp_path):
    TrainingRun(config(**{"train.log_steps": 50}), tmp_path / "run").start()
    assert [row["step"] for row in history(tmp_path / "run") if row["loss"]] == ["10", "20"]


def test_a_run_can_be_resumed_from_another_folder(config, tmp_path, monkeypatch):
    relative = config(**{"data.source": "reviews.csv"})
    with pytest.raises(TrainingInterrupted):
        TrainingRun(relative, tmp_path / "run", observer=SignalAt(3)).start()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert TrainingRun(relative, tmp_path / "run", resume=True).start().first_step == 3


def test_a_second_training_into_a_folder_that_began_meanwhile_is_refused(config, tmp_path):
    late = TrainingRun(config(), tmp_path / "run")
    late.set_up()
    TrainingRun(config(), tmp_path / "run").start()
    with pytest.raises(CheckpointError, match="another training has begun in this folder"):
        late.start()


def test_the_precision_that_auto_chose_is_recorded(config, tmp_path):
    training = TrainingRun(config(**{"train.precision": "auto"}), tmp_path / "run")
    training.start()
    assert load_config(str(tmp_path / "run" / "config.yaml")).train.precision == training.set_up().precision


def rates(run):
    return [float(row["learning_rate"]) for row in history(run) if row["learning_rate"]]


def test_a_constant_schedule_warms_up(config, tmp_path):
    settings = {"train.schedule": "constant", "train.warmup": 0.25, "train.log_steps": 1, "train.epochs": 1}
    TrainingRun(config(**settings), tmp_path / "run").start()
    assert rates(tmp_path / "run") == pytest.approx([0, 1e-2 / 3, 2e-2 / 3, *[1e-2] * 7])


def test_a_constant_schedule_that_began_without_warm_up_goes_on_without(config, tmp_path, rdrop):
    """Earlier versions recorded a share of warm-up for it, and passed it over."""
    settings = {"train.schedule": "constant", "train.log_steps": 1}
    whole = TrainingRun(config(**{**settings, "train.warmup": 0.0}), tmp_path / "whole").start()
    with pytest.raises(TrainingInterrupted):
        TrainingRun(config(**{**settings, "train.warmup": 0.0}), tmp_path / "run", observer=SignalAt(1)).start()
    recorded = tmp_path / "run" / "config.yaml"
    text = recorded.read_text()
    recorded.write_text(text.replace("  warmup: 0.0", "  warmup: 0.9").replace("  device: auto\n", ""))
    assert recorded.read_text().count("\n") == text.count("\n") - 1
    assert rdrop.json("train", "--resume", "--no-export", "--out", tmp_path / "run")["metrics"] == whole.metrics
    assert rates(tmp_path / "run") == pytest.approx([1e-2] * 20)
    assert load_config(str(recorded)).train.warmup == 0.0


def test_dropout_in_the_head_alone_is_said_with_the_keys_to_set(config, tmp_path, tiny_model):
    """As ALBERT v2 comes."""

    class Hears(Observer):
        said = ""

        def notice(self, message):
            self.said += message

    model = save_encoder(
        "albert", tmp_path / "albert", tiny_model, hidden_dropout_prob=0.0, classifier_dropout_prob=0.1
    )
    hears = Hears()
    TrainingRun(config(**{"model.name": str(model)}), tmp_path / "run", observer=hears).set_up()
    assert "Only the classification head has dropout" in hears.said
    assert "--set model.config.hidden_dropout_prob=0.1" in hears.said
    better = config(**{"model.name": str(model), "model.config": {"hidden_dropout_prob": 0.1}})
    quiet = Hears()
    TrainingRun(better, tmp_path / "run", observer=quiet).set_up()
    assert not quiet.said


def test_a_decoder_that_began_before_its_padding_was_recorded_goes_on(config, tmp_path, tiny_model):
    settings = config(**{"model.name": str(save_encoder("gpt2", tmp_path / "gpt2", tiny_model)), "train.epochs": 1})
    run = tmp_path / "run"
    whole = TrainingRun(settings, tmp_path / "whole").start()
    with pytest.raises(TrainingInterrupted):
        TrainingRun(settings, run, observer=SignalAt(4)).start()
    record = read_record(run)
    assert record["model"]["config"]["pad_token_id"] == 0
    record["model"]["config"]["pad_token_id"] = None
    (run / "data.json").write_text(integrity.with_checksum(record))
    assert TrainingRun(settings, run, resume=True).start().metrics == whole.metrics


def test_padding_has_no_say_in_the_evaluations_of_a_model_that_it_matters_to(config, tmp_path, tiny_model):
    """Validation within training, its final table, and one text at a time: all the same."""
    model = save_encoder("convbert", tmp_path / "convbert", tiny_model)
    settings = config(**{"model.name": str(model), "train.epochs": 1, "train.eval_batch_size": 8})
    training = TrainingRun(settings, tmp_path / "run")
    result = training.start()
    validation = training.set_up().datasets["validation"]
    classifier = open_classifier(find_checkpoint(str(tmp_path / "run")))
    together = classifier.probabilities(validation)
    classifier.batch_size = 1
    alone = classifier.probabilities(validation)
    assert abs(together - alone).max() < 1e-6
    expected = classification_metrics(validation.targets, alone)
    (row,) = [row for row in history(tmp_path / "run") if row["validation_nll"]]
    for name in ("nll", "accuracy", "roc_auc"):
        assert float(row[f"validation_{name}"]) == pytest.approx(expected[name], abs=1e-6)
        assert result.metrics["validation"][name] == pytest.approx(expected[name], abs=1e-6)


def test_a_run_that_goes_on_elsewhere_says_so(config, tmp_path):
    class Hears(Observer):
        said = ""

        def notice(self, message):
            self.said += message

    run = tmp_path / "run"
    with pytest.raises(TrainingInterrupted):
        TrainingRun(config(), run, observer=SignalAt(4)).start()
    record = read_record(run)
    assert record["device"] == "cpu"
    (run / "data.json").write_text(integrity.with_checksum({**record, "device": "cuda"}))
    hears = Hears()
    TrainingRun(config(**{"train.device": "cpu"}), run, resume=True, observer=hears).start()
    assert "began on cuda and continues on cpu" in hears.said


def test_batches_of_one_length_lose_no_example(config, tmp_path, tiny_model):
    """Accelerate cuts the last batch down to what is left of full ones, of which there are none here."""
    model = save_encoder("convbert", tmp_path / "convbert", tiny_model)
    training = TrainingRun(config(**{"model.name": str(model), "train.eval_batch_size": 8}), tmp_path / "run")
    ready = training.set_up()
    tokens = probes.made_up(ready.tokenizer, ready.model, [10] * 7 + [6] * 2).tokens
    dataset = TokenDataset(tokens, np.arange(9) % 2)
    trainer = training.trainer()
    output = trainer.evaluation_loop(trainer.get_eval_dataloader(dataset), "Evaluation")
    assert len(output.predictions) == 9
    assert output.label_ids.tolist() == dataset.targets.tolist()
