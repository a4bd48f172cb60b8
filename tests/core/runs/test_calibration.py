"""What rdrop.json may say of a temperature, which users may edit, and what is done with it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.calibration import at_temperature
from rdrop_cli.core.runs.calibration import Calibration, read_calibration
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.errors import CheckpointError

RUN = "runs/reviews-tiny-bert-alpha1-seed42"
CARD = Path(RUN, "best/rdrop.json")
TEXTS = ["great movie", "a dull plot and some film", "it was a movie"]


def edit(**calibration):
    CARD.write_text(json.dumps({**json.loads(CARD.read_text()), "calibration": calibration}))


def probabilities(backend="torch"):
    classifier = open_classifier(find_checkpoint(RUN), backend=backend, precision=None)
    return classifier.probabilities(classifier.encode(TEXTS)), classifier.temperature


def test_a_record_comes_back():
    record = Calibration(1.37, in_head=True, examples=852)
    assert read_calibration({"calibration": record.as_dict()}, "x") == record
    assert read_calibration({"calibration": {"temperature": 2}}, "x") == Calibration(2.0)
    assert read_calibration({}, "x") is None


@pytest.mark.parametrize(
    "temperature",
    [0, 1e-300, 101, -1.5, math.nan, math.inf, "1.3", None, True, [1.3], 10**400],
    ids=lambda value: str(value)[:8],
)
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(CheckpointError, match=r"^best/rdrop.json: calibration.temperature must be a number from 0.01"):
        read_calibration({"calibration": {"temperature": temperature}}, "best/rdrop.json")


@pytest.mark.parametrize(
    ("record", "message"),
    [(1.37, "calibration must be an object"), ({"temperature": 1.3, "in_head": "yes"}, "in_head must be true or")],
)
def test_anything_else_is_refused(record, message):
    with pytest.raises(CheckpointError, match=message):
        read_calibration({"calibration": record}, "best/rdrop.json")


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_an_edited_temperature_is_refused_in_one_line_by_every_command(rdrop, exported, backend):
    edit(temperature=-1.0, in_head=False)
    for command in (["predict", "great"], ["evaluate", RUN]):
        said = rdrop.error(*command, "--backend", backend)
        assert said.startswith(
            f"error: {CARD}: calibration.temperature must be a number from 0.01 to 100, got '-1.0'. Restore"
        )


@pytest.mark.parametrize("backend", ["torch", "onnx", "onnx-int8"])
def test_a_temperature_that_is_not_in_the_head_is_applied_by_rdrop(exported, backend):
    raw, one = probabilities(backend)
    assert one == 1.0
    edit(temperature=2.5, in_head=False)
    cooler, temperature = probabilities(backend)
    assert temperature == 2.5
    assert np.allclose(cooler, at_temperature(raw, 2.5), atol=1e-9)
    assert np.allclose(at_temperature(cooler, 1 / temperature), raw, atol=1e-9)
    assert np.array_equal(cooler.argmax(axis=1), raw.argmax(axis=1))
    edit(temperature=2.5, in_head=True)
    assert np.array_equal(probabilities(backend)[0], raw)


def test_an_evaluation_measures_the_raw_probabilities_and_those_at_the_temperature(rdrop, exported):
    raw = rdrop.json("evaluate", RUN)
    edit(temperature=2.5, in_head=False, examples=852)
    found = rdrop.json("evaluate", RUN, "--against", RUN)
    for metrics in (found["metrics"], found["against"]["metrics"]):
        assert metrics["temperature"] == 2.5
        assert metrics["nll_calibrated"] > metrics["nll"] + 0.01
        for name in ("accuracy", "nll", "brier", "ece"):
            assert metrics[name] == pytest.approx(raw["metrics"][name], abs=1e-6)
    assert found["intervals"]["nll"] == pytest.approx(raw["intervals"]["nll"], abs=1e-6)
    assert found["against"]["differences"]["nll"]["difference"] == 0
    assert "Temperature 2.5, fitted on 852 validation examples" in rdrop("evaluate", RUN).stdout
