"""What `rdrop_cli` gives to Python: light until it is used, and the same numbers as the commands."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import rdrop_cli
from rdrop_cli.core.inference import predictor
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.errors import CheckpointError, ConfigError, DataError

TEXTS = ["great movie", "a dull awful boring mess", "", "half \ud83d", "the movie was great " * 40]


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, rdrop_cli\n"
        "assert set(rdrop_cli.__all__) <= set(dir(rdrop_cli))\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'typer', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_can_be_had():
    from rdrop_cli import RDropTrainer, classification_metrics, load, rdrop_loss
    from rdrop_cli.core import loss, metrics, trainer

    assert RDropTrainer is trainer.RDropTrainer
    assert classification_metrics is metrics.classification_metrics
    assert rdrop_loss is loss.rdrop_loss
    assert load is predictor.load
    for name in rdrop_cli.__all__:
        assert getattr(rdrop_cli, name)
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        rdrop_cli.gone  # noqa: B018


def test_type_checkers_see_the_names_where_they_are_loaded_from():
    tree = ast.parse(Path(rdrop_cli.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    assert {alias.name: line.module for line in guarded.body for alias in line.names} == rdrop_cli._PLACES
    assert {*rdrop_cli._PLACES, "__version__"} == set(rdrop_cli.__all__)
    assert Path(rdrop_cli.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "bfloat16", "device": "cpu", "batch_size": 2}, {"backend": "onnx-int8"}, {"backend": "auto"}],
)
def test_a_loaded_run_predicts_what_the_command_does(rdrop, exported, options):
    trained, options = exported, {"backend": "torch", **options}
    arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    name = Path(trained["run_dir"]).name
    said = rdrop.json("predict", *TEXTS, "--checkpoint", name, *arguments)["predictions"]
    for place in (trained["run_dir"], Path(trained["checkpoint"]), name):
        loaded = rdrop_cli.load(place, **options)
        assert [item.as_dict() for item in loaded.predict(TEXTS)] == said
    if options["backend"] == "torch":  # the default, also where there is an export
        options.pop("backend")
        loaded = rdrop_cli.load(trained["run_dir"], **options)
        assert [item.as_dict() for item in loaded.predict(TEXTS)] == said
    assert loaded.labels == tuple(said[0]["probabilities"])


def test_pairs_of_texts(rdrop, trained):
    rows = [("great", "fine"), ("dull", "awful plot")]
    Path("pairs.csv").write_text("first,second\n" + "".join(f"{a},{b}\n" for a, b in rows))
    columns = ["--text-column", "first", "--text-pair-column", "second"]
    said = rdrop.json("predict", "--input", "pairs.csv", *columns)["predictions"]
    loaded = rdrop_cli.load(trained["run_dir"])
    assert [item.as_dict() for item in loaded.predict(rows)] == said
    assert said[0]["probabilities"] != loaded.predict(["great"])[0].probabilities


def test_a_text_alone_is_refused_where_pairs_are_meant(trained, monkeypatch):
    checkpoint = find_checkpoint(trained["run_dir"])
    checkpoint.card["columns"]["text_pair"] = "second"
    monkeypatch.setattr(predictor, "find_checkpoint", lambda name, verify: checkpoint)
    with pytest.raises(DataError, match=r"classifies pairs of texts. Give \(text, second text\)"):
        rdrop_cli.load("it").predict(["great"])


def test_mistakes_are_named(trained):
    for options, cause in [
        ({"precision": "float8"}, "precision"),
        ({"backend": "onnx", "precision": "float16"}, "--precision float16: an ONNX export has a precision of its own"),
        ({"backend": "tensorflow"}, "--backend tensorflow: unknown. Known: auto, torch, onnx, onnx-int8"),
        ({"device": "tpu"}, "device"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ]:
        with pytest.raises(ConfigError, match=cause):
            rdrop_cli.load(trained["run_dir"], **options)
    with pytest.raises(CheckpointError, match="gone: no such run"):
        rdrop_cli.load("gone")
    loaded = rdrop_cli.load(trained["run_dir"])
    with pytest.raises(TypeError, match=r"use \[text\] for a single one"):
        loaded.predict("great movie")
    for item in (None, 1, ("a",), ("a", None)):
        with pytest.raises(TypeError, match="expected a text or a pair"):
            loaded.predict([item])


def test_what_the_model_does_not_allow_is_a_warning(trained, monkeypatch):
    monkeypatch.setattr("rdrop_cli.core.inference.backends.torch.probes.depends_on_padding", lambda *_: True)
    with pytest.warns(UserWarning, match="padding") as caught:
        rdrop_cli.load(trained["run_dir"])
    assert caught[0].filename == __file__


def test_an_export_that_auto_cannot_use_is_a_warning(exported):
    Path(exported["checkpoint"], "onnx/model.onnx").unlink()
    with pytest.warns(UserWarning, match=r"has no model\.onnx\. .* PyTorch is used instead"):
        rdrop_cli.load(exported["run_dir"], backend="auto")


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_what_was_loaded_can_be_sent_to_another_process(exported, tmp_path, backend):
    loaded = rdrop_cli.load(exported["run_dir"], backend=backend)
    (tmp_path / "loaded.pickle").write_bytes(pickle.dumps(loaded))
    code = (
        "import pickle, sys\n"
        "print(repr(pickle.load(open(sys.argv[1], 'rb')).predict(['great movie'])[0].score))\n"
        f"assert {backend == 'torch'} == ('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "loaded.pickle")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    # The other process has threads of its own, on which the last bits depend.
    assert float(done.stdout) == pytest.approx(loaded.predict(["great movie"])[0].score, rel=1e-5)
