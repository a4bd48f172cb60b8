"""Tiny models and data: everything is built here, in memory or in a temporary folder; no hub, no network."""

from __future__ import annotations

import contextlib
import copy
import csv
import gc
import json
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# The tests say what a CPU gives; on a GPU benchmarks/gpu.sh checks. CUDA_VISIBLE_DEVICES=0 runs them there: a few fail.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: a thread each, for those that tests start too
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from typer.testing import CliRunner

from rdrop_cli import threads

# Before PyTorch is loaded. The number must not depend on what else the machine does, as it changes the last bits.
os.environ.setdefault("OMP_NUM_THREADS", str(threads.usable_cores()))
threads.let_waiting_threads_sleep()

GOOD = ["great", "fine", "lovely", "warm", "funny", "clever"]
BAD = ["dull", "awful", "boring", "cold", "clumsy", "tired"]
modules_seen = 0
NEUTRAL = ["the", "movie", "was", "a", "plot", "and", "actors", "with", "some", "film", "it", "seemed"]


@pytest.fixture(autouse=True)
def libraries_are_not_searched_for_garbage():
    """As in rdrop's own processes: looking through all that tests load takes half of a short training's time."""
    global modules_seen
    if len(sys.modules) > modules_seen + 100:
        gc.collect()
        gc.freeze()
        modules_seen = len(sys.modules)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, as relative paths like runs/ and prepared/ would collide."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_python(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)


HEAVY = ("torch", "transformers", "datasets", "sklearn", "pandas", "scipy", "huggingface_hub", "psutil")


def heavy_imports(arguments: list[str], *others: str, stdin: str | None = None) -> str:
    """Which slow libraries, or others, a command line loads, in a fresh Python, as a list's text."""
    code = (
        "import sys\n"
        "from rdrop_cli.app import app\n"
        f"try: app({arguments!r}, prog_name='rdrop')\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('HEAVY', [name for name in {HEAVY + others!r} if name in sys.modules])"
    )
    return run_python(code, input=stdin).stdout.rpartition("HEAVY ")[2].strip()


def review(rng: random.Random, label: int) -> str:
    words = rng.choices(NEUTRAL, k=rng.randint(3, 14)) + rng.choices(GOOD if label else BAD, k=2)
    rng.shuffle(words)
    return " ".join(words)


def make_reviews(count: int, seed: int = 0) -> list[tuple[str, int]]:
    rng = random.Random(seed)
    rows = {}
    while len(rows) < count:
        label = len(rows) % 2
        rows[review(rng, label)] = label
    return list(rows.items())


def write_csv(path: Path, rows, header=("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture
def reviews(in_empty_folder) -> Path:
    """200 made-up reviews that a model can learn, labels 0 and 1."""
    return write_csv(in_empty_folder / "reviews.csv", make_reviews(200))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A one-layer BERT with a word-level tokenizer, saved as `from_pretrained` loads it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *NEUTRAL]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_config(source: Path, model: Path, **overrides):
    """The configuration of a training of a second, with whatever is to be different."""
    from rdrop_cli.config import load_config

    settings = {
        "data.source": str(source),
        "model.name": str(model),
        "model.max_length": 32,
        "rdrop.alpha": 2.0,
        "train.batch_size": 16,
        "train.epochs": 2,
        "train.lr": 1e-2,
        "train.log_steps": 3,
        "train.precision": "float32",
        "train.tensorboard": False,
    }
    return load_config("starter", [*settings.items(), *overrides.items()])


@pytest.fixture
def config(reviews, tiny_model):
    """Makes such a configuration."""
    return partial(tiny_config, reviews, tiny_model)


def tiny_options(model: Path) -> list[str]:
    """Options of `train` and `compare` for a training of a second or two."""
    return [
        "--model", str(model), "--max-length", "32", "--batch-size", "16", "--epochs", "6", "--lr", "1e-2",
        "--precision", "float32", "--set", "train.tensorboard=false", "--set", "train.log_steps=3",
    ]  # fmt: skip


@pytest.fixture
def tiny_args(tiny_model) -> list[str]:
    """Such options for `train`, without the export, which takes longer than the training."""
    options = tiny_options(tiny_model)
    return [*options[:-4], "--no-export", *options[-4:]]


class CLI:
    """Runs the command line in this process."""

    def __call__(self, *args: object, code: int = 0, stdin: bytes | None = None):
        from rdrop_cli.app import app

        result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
        assert result.exit_code == code, (
            f"exit {result.exit_code}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
        )
        return result

    def json(self, *args: object, **options):
        return json.loads(self(*args, "--json", **options).stdout)

    def error(self, *args: object, code: int = 1) -> str:
        """The one line on stderr of a command that must fail."""
        result = self(*args, code=code)
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.split())


@pytest.fixture
def rdrop() -> CLI:
    return CLI()


@pytest.fixture(scope="session")
def trained_once(tiny_model, tmp_path_factory) -> tuple[Path, dict]:
    """The folder in which a tiny run was trained, once a session, and what its training printed as JSON."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "reviews.csv", make_reviews(200))
    with contextlib.chdir(folder):
        return folder, CLI().json("train", data, "--alpha", "1", "--no-export", *tiny_options(tiny_model))


@pytest.fixture
def trained(trained_once, reviews, in_empty_folder) -> dict:
    """A copy of that run, and what its training printed as JSON."""
    folder, document = trained_once
    shutil.copytree(folder / "runs", in_empty_folder / "runs")
    return copy.deepcopy(document)


@pytest.fixture(scope="session")
def exported_once(trained_once, tmp_path_factory) -> Path:
    """The folder with a copy of that run and its ONNX export, float32 and int8, made once a session."""
    from rdrop_cli.core.exporting.export import export_run
    from rdrop_cli.core.runs.checkpoint import newest_finished

    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(trained_once[0], folder, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        export_run(newest_finished(), int8=True)
    return folder


@pytest.fixture
def exported(exported_once, trained_once, reviews, in_empty_folder) -> dict:
    """A copy of that run with its export, and what its training printed as JSON."""
    shutil.copytree(exported_once / "runs", in_empty_folder / "runs")
    return copy.deepcopy(trained_once[1])


@pytest.fixture(scope="session")
def finished_run(tiny_model, tmp_path_factory) -> Path:
    """A finished tiny run of two epochs, with a checkpoint after each. Trained once: copy it to change it."""
    from rdrop_cli.core.training.run import TrainingRun

    folder = tmp_path_factory.mktemp("finished")
    data = write_csv(folder / "reviews.csv", make_reviews(200))
    settings = {"train.keep_checkpoints": 9, "train.early_stopping.patience": 0}
    with contextlib.chdir(folder):
        return TrainingRun(tiny_config(data, tiny_model, **settings), folder / "run").start().run


def make_noisy_reviews(count: int, wrong: float = 0.2) -> list[tuple[str, int]]:
    """Reviews of which a share has the wrong label, so that no model can be sure, and a temperature can be fitted."""
    rng = random.Random(1)
    return [(text, 1 - label if rng.random() < wrong else label) for text, label in make_reviews(count)]


@pytest.fixture(scope="session")
def calibrated_run(tiny_model, tmp_path_factory) -> Path:
    """A finished tiny run with a fitted temperature in its head. Trained once: copy it to change it."""
    from rdrop_cli.core.training.run import TrainingRun

    folder = tmp_path_factory.mktemp("calibrated")
    data = write_csv(folder / "noisy.csv", make_noisy_reviews(400))
    settings = {
        "data.validation": 0.3, "data.test": 0.2, "rdrop.alpha": 0.0, "train.label_smoothing": 0.0, "train.epochs": 4,
        "train.keep_checkpoints": 9,
    }  # fmt: skip
    with contextlib.chdir(folder):
        return TrainingRun(tiny_config(data, tiny_model, **settings), folder / "run").start().run


@pytest.fixture
def instant_export(exported_once, trained_once, monkeypatch):
    """Takes the float32 graph from that export instead of making it again, for runs with the same weights."""
    from rdrop_cli.core.exporting import graph

    made = exported_once / trained_once[1]["checkpoint"] / "onnx" / "model.onnx"
    monkeypatch.setattr(graph, "write_float32", lambda backend, names, path, **_: shutil.copy(made, path))
