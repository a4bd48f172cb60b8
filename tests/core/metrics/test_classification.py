"""Metrics against scikit-learn's, and honest where they are not defined."""

import numpy as np
import pytest
from sklearn import metrics as sk

from rdrop_cli.core.metrics.classification import classification_metrics, confusion_matrix


def made_up(classes, count=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, p


def test_two_classes_equal_scikit_learn():
    labels, p = made_up(2)
    predicted = p.argmax(1)
    found = classification_metrics(labels, p)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted))
    assert found["precision"] == pytest.approx(sk.precision_score(labels, predicted))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p[:, 1]))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, predicted))
    assert found["nll"] == pytest.approx(sk.log_loss(labels, p))


def test_many_classes_are_macro_averages_and_one_vs_rest():
    labels, p = made_up(6)
    predicted = p.argmax(1)
    found = classification_metrics(labels, p)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert found["precision"] == pytest.approx(sk.precision_score(labels, predicted, average="macro"))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted, average="macro"))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr", average="macro"))
    report = sk.precision_recall_fscore_support(labels, predicted)
    for name, values in zip(("precision", "recall", "f1", "support"), report, strict=True):
        assert [row[name] for row in found["per_class"]] == pytest.approx(values)


def test_the_positive_class_can_be_chosen():
    labels, p = made_up(2)
    found = classification_metrics(labels, p, positive=0)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, p.argmax(1), pos_label=0))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels == 0, p[:, 0]))


def test_the_order_of_examples_does_not_matter():
    labels, p = made_up(3)
    order = np.random.default_rng(1).permutation(len(labels))
    first, second = classification_metrics(labels, p), classification_metrics(labels[order], p[order])
    assert first["f1"] == second["f1"]
    assert first["roc_auc"] == pytest.approx(second["roc_auc"])


@pytest.mark.parametrize(
    ("labels", "p", "undefined"),
    [
        ([1, 1, 1], [[0.1, 0.9]] * 3, {"roc_auc", "mcc"}),
        ([0, 1], [[0.9, 0.1]] * 2, {"precision", "mcc"}),
        ([0, 0], [[0.9, 0.1]] * 2, {"f1", "precision", "recall", "roc_auc", "mcc"}),
        ([0, 0, 1, 1], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]], {"recall", "roc_auc"}),
    ],
)
def test_an_undefined_metric_is_none_with_a_reason(labels, p, undefined):
    found = classification_metrics(labels, p)
    assert set(found["undefined"]) == undefined
    assert all(found[name] is None and found["undefined"][name] for name in undefined)
    assert all(found[name] is not None for name in {"accuracy", "nll"})


def test_a_class_absent_from_labels_and_predictions_does_not_lower_macro_f1():
    labels, p = np.array([0, 1, 0, 1]), np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 2)
    assert classification_metrics(labels, p)["f1"] == 1.0


def test_a_certain_and_wrong_prediction_has_a_finite_loss():
    assert 0 < classification_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]])["nll"] < np.inf


@pytest.mark.parametrize(
    ("labels", "p"),
    [([], np.zeros((0, 2))), ([0, 1], [[0.5, 0.5]]), ([0], [[0.9, 0.9]]), ([2], [[0.5, 0.5]]), ([0], [[np.nan, 1]])],
)
def test_what_are_no_probabilities_is_refused(labels, p):
    with pytest.raises(ValueError):
        classification_metrics(labels, p)


def test_confusion_rows_are_true_classes():
    assert confusion_matrix([0, 0, 1], [1, 1, 1], 2).tolist() == [[0, 2], [0, 1]]
