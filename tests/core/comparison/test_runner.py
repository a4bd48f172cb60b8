"""A comparison's cells: ordinary runs, paired, trained once."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from comparison_runs import Told
from conftest import make_reviews, tiny_config, write_csv
from rdrop_cli.config import dump_config, load_config
from rdrop_cli.core.comparison import plan as planning
from rdrop_cli.core.comparison import results
from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.grid import Grid, check_cells, default_folder, make_cells, make_grid
from rdrop_cli.core.comparison.observer import ComparisonObserver
from rdrop_cli.core.comparison.plan import time_cell, weights_in
from rdrop_cli.core.comparison.runner import Comparison, compare, plan_comparison
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.outputs import save_outputs
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import CheckpointError, ConfigError, DataError, ModelError, StorageError

AGAIN = "again:rdrop.alpha=0,train.label_smoothing=0"


def run(compared):
    check_cells(compared.cells, compared.folder)
    with compared.claimed():
        return compared.run(compared.plan(compared.prepare()))


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("source") / "reviews.csv", make_reviews(200))


@pytest.fixture
def compared(source, tiny_model, tmp_path):
    """Makes a comparison of trainings of half a second."""

    def make(names=("plain", "rdrop"), own=(), seeds=(42, 43), budget="steps", observer=None, **overrides):
        arms = make_arms(tiny_config(overrides.pop("data.source", source), tiny_model, **overrides), names, own, budget)
        return Comparison(make_cells(arms, seeds, tmp_path / "compared"), tmp_path / "compared", observer)

    return make


@pytest.fixture(scope="session")
def whole(source, tiny_model, tmp_path_factory):
    """Where plain, smoothing and rdrop have been trained with seeds 42 and 43, and their outcomes."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        arms = make_arms(tiny_config(source, tiny_model), ["plain", "smoothing", "rdrop"], [], "steps")
        found = run(Comparison(make_cells(arms, [42, 43], place / "compared"), place / "compared"))
    return place / "compared", {(cell.arm, cell.seed): cell for cell in found}


@pytest.fixture
def done(whole, tmp_path):
    """The same cells, in the folder where `compared` looks for them."""
    shutil.copytree(whole[0], tmp_path / "compared")
    return whole[1]


class Trained(ComparisonObserver):
    """Notes which cells were trained, and the seconds that were said to be left."""

    def __init__(self):
        self.cells, self.left = [], []

    def ended(self, result, seconds_left):
        self.cells.append((result.arm, result.seed))
        self.left.append(seconds_left)


def test_from_python_it_is_what_the_command_does(rdrop, source, tiny_model, tmp_path):
    class Told(Trained):
        def data(self, data):
            self.fingerprint = data.fingerprint

        def stage(self, name, done, total):
            self.last = (name, done == total)

    config = tiny_config(source, tiny_model, **{"train.early_stopping.patience": 0, "train.epochs": 1})
    (tmp_path / "same.yaml").write_text(dump_config(config))
    told = Told()
    result = compare(make_grid(config, ["plain", "rdrop"], seeds=1, folder=Path("compared")), told)
    assert told.cells == [("plain", 42), ("rdrop", 42)]
    assert (told.fingerprint, told.last) == (result.document["data"]["fingerprint"], ("Resampling", True))
    names = ["results.csv", "results.json", "results.md", "results.png"]
    assert [path.name for path in result.files] == names == sorted(path.name for path in Path("compared").glob("res*"))
    assert json.loads(result.files[1].read_text()) == result.document

    command = ["compare", "--config", "same.yaml", "--arms", "plain,rdrop", "--out", "compared"]
    assert rdrop.json(*command, "--seeds", "1") == result.document
    more = make_grid(config, ["plain", "rdrop"], own=["mine:rdrop.alpha=0"], seeds=3, folder=Path("compared"))
    plan = plan_comparison(more)
    assert [cell.name for cell in plan.cells[:2]] == ["mine seed 42", "plain seed 43"]
    forecast = rdrop.json(*command, "--arm", "mine:rdrop.alpha=0", "--seeds", "3", "--dry-run")
    assert forecast == plan.as_dict(9)
    assert (forecast["runs"], forecast["runs_left"]) == (9, 7)


def test_results_are_written_for_the_budget_and_name_what_they_leave_out(done, source, tiny_model, tmp_path):
    config, folder = tiny_config(source, tiny_model), tmp_path / "compared"
    result = compare(make_grid(config, ["plain", "rdrop"], seeds=1, budget="compute", folder=folder))
    assert list(result.document["arms"]) == ["plain-2x", "rdrop"]
    assert result.files[0].name == "results-compute.csv"
    assert result.others[:3] == ["plain seed 42", "plain seed 43", "rdrop seed 43"]


def test_a_grid_is_checked_before_anything_is_trained(done, source, tiny_model, tmp_path):
    grid = make_grid(tiny_config(source, tiny_model), ["plain", "rdrop"], seeds=2)
    assert grid.folder == Path("comparisons/reviews-tiny-bert")
    assert [cell.name for cell in grid.cells][1:3] == ["rdrop seed 42", "plain seed 43"]
    with pytest.raises(ConfigError, match=r"trained with other settings: train\.lr"):
        make_grid(
            tiny_config(source, tiny_model, **{"train.lr": 1e-3}), ["plain", "rdrop"], folder=tmp_path / "compared"
        )
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        make_grid(tiny_config(tmp_path / "gone.csv", tiny_model))


def test_a_cell_is_the_run_that_train_makes(whole, source, tiny_model, tmp_path):
    config = tiny_config(source, tiny_model, **{"train.label_smoothing": 0.0, "train.seed": 43})
    alone = TrainingRun(config, tmp_path / "alone").start()
    cell = whole[1]["rdrop", 43]
    assert cell.metrics == alone.metrics
    weights = [load_file(folder / "best" / "model.safetensors") for folder in (cell.folder, alone.run)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert not (cell.folder / "checkpoints").exists(), "a finished run needs none"


def test_equal_arms_are_equal_with_each_seed_and_all_cells_share_the_split(compared, done):
    found = run(compared(own=[AGAIN], seeds=[42, 43]))
    by_cell = {(cell.arm, cell.seed): cell for cell in found}
    assert [(cell.arm, cell.seed) for cell in found][:3] == [("plain", 42), ("rdrop", 42), ("again", 42)]
    for seed in (42, 43):
        assert by_cell["plain", seed].metrics == by_cell["again", seed].metrics
    assert by_cell["plain", 42].metrics != by_cell["plain", 43].metrics
    assert len({read_record(cell.folder)["fingerprint"] for cell in found}) == 1
    for gap in weigh(found, "f1").differences:
        if gap.arm == "again":
            assert (gap.test.mean, gap.test.low, gap.test.high) == (0.0, 0.0, 0.0)


def test_more_seeds_and_arms_train_only_what_is_new(compared, done):
    observer = Trained()
    again = run(compared(observer=observer))
    assert observer.cells == []
    assert [cell.metrics for cell in again] == [done[cell.arm, cell.seed].metrics for cell in again]
    run(compared(names=("plain", "rdrop"), own=["x:rdrop.alpha=1"], seeds=(42, 43, 44), observer=observer))
    assert observer.cells == [("x", 42), ("x", 43), ("plain", 44), ("rdrop", 44), ("x", 44)]
    assert observer.left[-1] == 0 and all(left > 0 for left in observer.left[:-1])


def test_both_budgets_share_the_cells_of_two_passes(compared, done):
    observer = Trained()
    found = run(compared(seeds=[42], budget="compute", observer=observer))
    assert observer.cells == [("plain-2x", 42)]
    assert [(cell.arm, cell.cost["steps"]) for cell in found] == [("plain-2x", 40), ("rdrop", 20)]


def test_what_is_left_out_is_named(compared, done):
    assert compared(seeds=[42, 43]).others() == ["smoothing seed 42", "smoothing seed 43"]
    assert compared(names=("plain", "smoothing"), seeds=[43]).others() == [
        "plain seed 42", "rdrop seed 42", "rdrop seed 43", "smoothing seed 42",
    ]  # fmt: skip


def test_other_settings_under_the_same_name_are_refused_with_the_difference(compared, done):
    run(compared(own=["own:rdrop.alpha=1"], seeds=[42]))
    with pytest.raises(
        ConfigError, match=r"own/seed42: this run was trained with other settings: rdrop.alpha: 1.0 -> 3"
    ):
        check_cells(compared(own=["own:rdrop.alpha=3"], seeds=[42]).cells, Path("compared"))
    with pytest.raises(ConfigError, match=r"train.lr: 0.01 -> 0.02"):
        check_cells(compared(seeds=[42], **{"train.lr": 0.02}).cells, Path("compared"))
    check_cells(compared(seeds=[42], **{"train.eval_batch_size": 8}).cells, Path("compared"))


def test_cells_stay_comparable_whatever_is_calibrated(compared, done):
    """Calibrating changes nothing of a training, and a comparison reads raw predictions."""
    recorded = Path("compared/plain/seed42/config.yaml")
    lines = recorded.read_text().splitlines()
    recorded.write_text("\n".join(line for line in lines if "calibrate:" not in line) + "\n")  # an earlier version
    assert len(recorded.read_text().splitlines()) == len(lines) - 1
    observer = Trained()
    run(compared(seeds=[42], observer=observer))
    check_cells(compared(seeds=[42], **{"train.calibrate": "none"}).cells, Path("compared"))
    assert observer.cells == []


def test_data_that_has_changed_is_refused(compared, reviews):
    mine = {"data.source": reviews}
    run(compared(names=["plain", "rdrop"], seeds=[42], **mine))
    write_csv(reviews, make_reviews(120, seed=5))
    with pytest.raises(DataError, match="the data has changed since this run was trained"):
        compared(seeds=[42], **mine).prepare()


class Edits(ComparisonObserver):
    """Does something to files when the first cell is done."""

    def __init__(self, edit):
        self.edit = edit

    def ended(self, result, seconds_left):
        if result.seed == 42 and result.arm == "plain":
            self.edit()


def test_data_that_changes_while_it_runs_is_noticed_before_the_next_cell(compared, reviews):
    def edit():
        write_csv(reviews, make_reviews(199))

    made = compared(**{"data.source": str(reviews)}, observer=Edits(edit))
    with pytest.raises(DataError, match="rdrop seed 42: the data has changed since this comparison began"):
        run(made)
    assert not Path("compared/rdrop/seed42/config.yaml").exists()


def test_a_model_whose_weights_change_is_noticed(compared, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    run(compared(names=["plain", "rdrop"], seeds=[42], **{"model.name": str(model)}))
    weights = load_file(model / "model.safetensors")
    save_file({name: value * 1.5 for name, value in weights.items()}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"plain seed 43: the weights of .* differ from those that plain seed 42 began"
    ):
        run(compared(names=["plain", "rdrop"], **{"model.name": str(model)}))
    one = run(compared(names=["plain", "rdrop"], seeds=[42], **{"model.name": str(model)}))
    assert len(one) == 2  # nothing is left to train


def test_cells_that_began_with_different_weights_are_not_compared(compared, done):
    path = Path("compared/rdrop/seed42/data.json")
    record = json.loads(path.read_text())
    record.pop("sha256")
    record["model"]["weights"] = "0" * 64
    path.write_text(integrity.with_checksum(record))
    with pytest.raises(CheckpointError, match="rdrop seed 42: the weights of"):
        compared().prepare()


def test_a_comparison_needs_a_test_split(compared):
    with pytest.raises(DataError, match=r"a comparison needs a test split. Set data.test above 0"):
        compared(**{"data.test": 0.0}).prepare()


def test_a_foreign_folder_where_a_cell_goes_is_left_alone(compared, tmp_path):
    place = tmp_path / "compared" / "plain" / "seed42"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"contains thesis.txt, which is not part of a run"):
        check_cells(compared().cells, Path("compared"))


def test_a_run_of_train_in_its_place_counts_as_a_cell(compared, source, tiny_model, tmp_path):
    plain = tiny_config(source, tiny_model, **{"rdrop.alpha": 0.0, "train.label_smoothing": 0.0})
    TrainingRun(plain, tmp_path / "compared/plain/seed42").start()
    observer = Trained()
    run(compared(seeds=[42], observer=observer))
    assert observer.cells == [("rdrop", 42)]


def test_one_comparison_at_a_time_writes_to_a_folder(compared, tmp_path):
    (tmp_path / "compared").mkdir()
    folder = tmp_path / "compared"
    with only_writer(folder), pytest.raises(CheckpointError, match="writing to this folder"), compared().claimed():
        pass


@pytest.mark.parametrize("name", ["metrics.json", "test-predictions.parquet", "training.json"])
def test_damaged_results_are_found_before_anything_is_trained(compared, done, name):
    (compared().cells[0].folder / name).write_text('{"test": {"accuracy": 1.0}}')
    with pytest.raises(CheckpointError, match=r"Delete .*seed42 and run the same command to train it again"):
        compared(seeds=[42, 43, 44]).prepare()


def test_predictions_of_other_examples_are_refused(compared, done):
    found, folder = done["plain", 42], compared().cells[0].folder
    turned = Predictions(1 - found.test.labels, found.test.probabilities[:, ::-1])
    save_outputs(folder, {"test": turned}, found.cost)
    metrics = {**found.metrics, "test": classification_metrics(turned.labels, turned.probabilities)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(CheckpointError, match="its predictions do not match this test split"):
        compared(seeds=[42]).prepare()


def test_checkpoints_that_cannot_be_removed_are_named_and_the_results_are_there(compared, done, monkeypatch):
    held = Path("compared/plain/seed42/checkpoints")
    held.mkdir()

    def refuse(path):
        raise OSError(errno.EBUSY, "in use") if path.exists() else FileNotFoundError

    told = Told()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        run(compared(seeds=[42], observer=told))
    (notice,) = told.notices
    assert notice.endswith(f"{held}: cannot be removed ([Errno {errno.EBUSY}] in use); it still takes up space")
    run(compared(seeds=[42]))
    assert not held.exists()


class Killed(BaseException):
    """As if the process had been killed here."""


@pytest.mark.parametrize(
    "instant",
    [
        "rdrop_cli.core.training.result.save_outputs",
        "rdrop_cli.core.training.result.model_card",
        "rdrop_cli.core.comparison.runner._drop_checkpoints",
    ],
)
def test_killed_around_the_end_of_a_cell_it_ends_with_the_same_results(compared, done, monkeypatch, instant):
    shutil.rmtree("compared/plain/seed42")

    def killed(*_, **__):
        raise Killed

    made = compared(seeds=[42])
    plan = made.plan(made.prepare())
    with monkeypatch.context() as patched:
        patched.setattr(instant, killed)
        with pytest.raises(Killed), made.claimed():
            made.run(plan)
    found = run(compared(seeds=[42]))
    assert [cell.metrics for cell in found] == [done[cell.arm, 42].metrics for cell in found]
    assert not list(Path("compared").rglob("checkpoints"))


def test_nothing_is_timed_for_other_machines(compared, tiny_model, monkeypatch):
    monkeypatch.setattr("rdrop_cli.core.comparison.plan.time_cell", lambda *_: pytest.fail("timed"))
    made = compared()
    executor = type("Elsewhere", (), {"is_here": False, "slots": lambda self: 3})()
    plan = made.plan(made.prepare(), executor)
    steps = plan.seconds[0]
    assert plan.seconds == [steps, 2 * steps, steps, 2 * steps] and plan.total is None and plan.at_once == 3
    assert plan.disk > 4 * (tiny_model / "model.safetensors").stat().st_size


def test_the_rest_of_an_interrupted_cell_says_nothing_about_the_time_of_whole_ones(compared, done, monkeypatch):
    def killed(*_):
        raise Killed

    shutil.rmtree("compared/rdrop/seed42")
    observer = Trained()
    made = compared(observer=observer, seeds=[42, 44])
    plan = replace(made.plan(made.prepare()), seconds=[1000.0, 2000.0, 3000.0])
    with monkeypatch.context() as patched:
        patched.setattr("rdrop_cli.core.training.result.save_outputs", killed)
        with pytest.raises(Killed), made.claimed():
            made.run(plan)
    made.run(plan)
    assert observer.cells == [("rdrop", 42), ("plain", 44), ("rdrop", 44)]
    assert observer.left[0] == 5000.0  # no cell has been timed
    assert 0 < observer.left[1] < 1000.0  # a tiny model is far faster than this plan


def test_a_cell_that_cannot_be_trained_is_named(compared):
    with pytest.raises(ModelError, match=r"^plain seed 42: training failed: .* Run the same command to resume, with"):
        run(compared(seeds=[42], **{"train.lr": 1e30, "train.max_grad_norm": 0.0}))


def test_arms_of_one_seed_start_from_the_same_head_and_see_the_same_batches(compared):
    made = compared(seeds=[42, 43])
    made.prepare()
    found = {cell.name: TrainingRun(cell.config, Path("none")) for cell in made.cells}
    heads = {name: training.set_up().model.classifier.weight for name, training in found.items()}
    batches = {name: list(training.trainer()._get_train_sampler()) for name, training in found.items()}
    assert (heads["plain seed 42"] == heads["rdrop seed 42"]).all()
    assert batches["plain seed 42"] == batches["rdrop seed 42"]
    assert (heads["plain seed 42"] != heads["plain seed 43"]).any()
    assert batches["plain seed 42"] != batches["plain seed 43"]


def test_a_folder_of_something_else_is_left_alone(compared, tmp_path):
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "results.csv").write_text("mine")
    with pytest.raises(CheckpointError, match=r"compared: contains results.csv but no comparison"):
        check_cells(compared().cells, compared().folder)


def test_a_test_split_without_one_of_the_classes_is_refused_before_training(compared, tmp_path):
    rows = make_reviews(120)
    (tmp_path / "split").mkdir()
    write_csv(tmp_path / "split" / "train.csv", rows[:100])
    write_csv(tmp_path / "split" / "test.csv", [row for row in rows[100:] if row[1] == 1])
    with pytest.raises(DataError, match="the test split has no example of class '0'"):
        compared(**{"data.source": str(tmp_path / "split")}).prepare()


def test_every_look_is_remembered(compared, done):
    def weighed(seeds):
        made = compared(seeds=seeds)
        found = run(made)
        arms = [cell.arm for cell in made.cells[:2]]
        document = results.document(weigh(found, "f1"), found, arms, made.prepare(), made.folder, "steps")
        results.write_document(document, made.folder, "steps")
        report = results.write_report(document, made.folder, "steps").read_text()
        told = [caution for caution in document["cautions"] if "already analysed with" in caution]
        assert all(f"**Note:** {caution}." in report for caution in told)
        return [look["seeds"] for look in document["looks"]], told

    steps = [weighed(seeds) for seeds in ([42], [42], [43], [42, 43], [42])]
    assert [looks for looks, _ in steps] == [
        [[42]],
        [[42]],
        [[42], [43]],
        [[42], [43], [42, 43]],
        [[43], [42, 43], [42]],
    ]
    assert [bool(told) for _, told in steps] == [False, False, False, True, True]
    for damaged in ("", "[]", '{"looks": [1]}', '{"looks": [{"arms": ["plain"], "seeds": [Infinity]}]}'):
        Path("compared/results.json").write_text(damaged)
        assert weighed([42]) == ([[42]], [])


def test_the_forecast_times_each_kind_once_and_then_knows_from_cells(compared, whole, monkeypatch):
    timed = []
    original = time_cell
    monkeypatch.setattr(planning, "time_cell", lambda cell, *rest: timed.append(cell.arm.name) or original(cell, *rest))
    first = compared(names=("plain", "smoothing", "rdrop", "rdrop+smoothing"), seeds=[42])
    plan = first.plan(first.prepare())
    assert timed == ["plain", "rdrop"]
    assert plan.seconds[0] == plan.seconds[1] > 0 and plan.seconds[2] == plan.seconds[3] > 0
    shutil.copytree(whole[0], "compared")
    timed.clear()
    more = compared(seeds=[42, 43, 44])
    assert len(more.plan(more.prepare()).cells) == 2
    assert timed == []


def test_too_little_space_is_known_before_the_first_run(compared, monkeypatch):
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda place: planning.shutil._ntuple_diskusage(100, 90, 10))
    made = compared()
    with pytest.raises(StorageError, match=r"4 runs need about \d+ KiB of disk space, but only 0 KiB are free"):
        made.plan(made.prepare())


def test_every_cell_stands_in_csv_and_json(compared, done):
    made = compared()
    found = run(made)
    weighed = weigh(found, "f1")
    document = results.document(
        weighed, found, [cell.arm for cell in made.cells[:2]], made.prepare(), made.folder, "steps"
    )
    path = results.write_document(document, made.folder, "steps")
    assert json.loads(path.read_text()) == document
    assert [(cell["arm"], cell["seed"], cell["run"]) for cell in document["cells"]] == [
        ("plain", 42, "plain/seed42"), ("rdrop", 42, "rdrop/seed42"),
        ("plain", 43, "plain/seed43"), ("rdrop", 43, "rdrop/seed43"),
    ]  # fmt: skip
    lines = results.write_cells(found, weighed, made.folder, "steps").read_text().splitlines()
    assert len(lines) == 5
    row = dict(zip(lines[0].split(","), lines[2].split(","), strict=True))
    assert (row["arm"], row["seed"], row["run"]) == ("rdrop", "42", "rdrop/seed42")
    assert float(row["test_nll"]) == found[1].metrics["test"]["nll"]
    assert float(row["test_brier"]) == weighed.calibrated[1].metrics["brier"]
    assert document["cells"][1]["calibrated"]["nll_calibrated"] == float(row["test_nll_calibrated"])
    assert float(row["validation_f1"]) == found[1].metrics["validation"]["f1"]
    assert document["arms"]["rdrop"]["settings"] == {"rdrop.alpha": 2.0, "train.label_smoothing": 0.0}
    assert document["shared"]["train.epochs"] == 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, "comparisons/rotten-tomatoes-starter"),
        ({"data.source": "my data/Reviews 1.csv.gz", "model.name": "org/Bert"}, "comparisons/reviews-1-bert"),
        ({"data.source": "imdb", "data.train_examples": 500}, "comparisons/imdb-500-starter"),
        ({"data.source": "評論.csv"}, "comparisons/評論-starter"),
    ],
)
def test_the_folder_is_named_after_data_and_model(overrides, expected):
    assert str(default_folder(load_config("starter", overrides.items()))) == expected


def test_metrics_that_are_not_those_of_the_predictions_are_refused(compared, done):
    folder = compared().cells[0].folder
    metrics = done["plain", 42].metrics
    better = {**metrics, "test": {**metrics["test"], "nll": metrics["test"]["nll"] - 0.001}}
    (folder / "metrics.json").write_text(json.dumps(better))
    with pytest.raises(CheckpointError, match="its results are damaged"):
        compared().prepare()


@pytest.mark.parametrize("metric", ["nll", "accuracy"])
def test_validation_metrics_that_are_not_those_of_the_predictions_are_refused(compared, done, metric):
    folder = compared().cells[0].folder
    metrics = done["plain", 42].metrics
    better = {**metrics, "validation": {**metrics["validation"], metric: metrics["validation"][metric] - 0.001}}
    (folder / "metrics.json").write_text(json.dumps(better))
    with pytest.raises(CheckpointError, match="its results are damaged"):
        compared().prepare()


def test_damaged_validation_predictions_are_refused(compared, done):
    path = compared().cells[0].folder / layout.PREDICTIONS["validation"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"validation-predictions.parquet: damaged\. Delete .*seed42 and run"):
        compared().prepare()


def test_validation_predictions_for_other_examples_are_refused(compared, done):
    cell = compared().cells[0]
    shutil.copyfile(cell.folder / layout.PREDICTIONS["test"], cell.folder / layout.PREDICTIONS["validation"])
    metrics = done["plain", 42].metrics
    (cell.folder / "metrics.json").write_text(json.dumps({**metrics, "validation": metrics["test"]}))
    with pytest.raises(CheckpointError, match="its predictions do not match this validation split"):
        compared().prepare()


def test_cells_of_earlier_versions_are_compared_without_calibrated_values(compared, done):
    made = compared(names=("plain", "rdrop"))
    for cell in made.cells:
        if cell.arm.name == "plain":
            (cell.folder / layout.PREDICTIONS["validation"]).unlink()
    observer = Trained()
    result = compare(Grid([cell.arm for cell in made.cells[:2]], made.cells, made.folder, "steps"), observer)
    document = result.document
    assert observer.cells == []
    plain, rdrop = document["arms"]["plain"]["metrics"], document["arms"]["rdrop"]["metrics"]
    for name in ("nll_calibrated", "brier_calibrated", "ece_calibrated", "temperature"):
        assert plain[name] == {"n": 2, "mean": None, "sd": None}
        assert rdrop[name]["mean"] is not None
        assert document["cells"][0]["calibrated"][name] is None
        assert document["ensembles"]["plain"][name] is None
    assert plain["brier"]["mean"] is not None and document["ensembles"]["plain"]["ece"] is not None
    gap = next(gap for gap in document["differences"] if gap["metric"] == "nll_calibrated")
    assert (gap["difference"], gap["p_holm"], gap["interval_examples"]) == (None, None, [None, None])
    assert "2 of 4 runs were trained by a version of rdrop that kept no predictions for" in document["cautions"][-1]
    assert json.loads(result.files[1].read_text()) == document


def test_what_another_process_did_meanwhile_is_seen_when_the_folder_is_claimed(compared, done):
    made = compared(own=["own:rdrop.alpha=1"], seeds=[42])
    check_cells(made.cells, made.folder)
    run(compared(own=["own:rdrop.alpha=3"], seeds=[42]))
    with pytest.raises(ConfigError, match="trained with other settings"), made.claimed():
        pass


@pytest.mark.parametrize(
    ("key", "value", "is_another"),
    [
        ("train.batch_size", 32, True),
        ("train.precision", "bfloat16", True),
        ("rdrop.alpha", 0.0, True),
        ("model.config", {"hidden_dropout_prob": 0.3}, True),
        ("rdrop.alpha", 3.0, False),
        ("train.lr", 1e-3, False),
        ("train.seed", 7, False),
        ("train.epochs", 9, False),
        ("train.label_smoothing", 0.0, False),
    ],
)
def test_what_changes_the_time_of_a_step_is_timed_by_itself(config, key, value, is_another):
    assert (planning._kind(config()) != planning._kind(config(**{key: value}))) == is_another


def test_damaged_weights_of_a_base_model_are_named(tmp_path, tiny_model):
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be loaded"):
        weights_in(tmp_path)
    assert weights_in(tiny_model) > 4 * 1000
