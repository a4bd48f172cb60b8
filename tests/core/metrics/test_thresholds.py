"""Thresholds against counting by hand at every threshold there could be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from rdrop_cli.core.metrics.thresholds import (
    Rule,
    Unreachable,
    choose,
    decision_metrics,
    labels_at,
    threshold_curve,
)

few_scores = st.sampled_from([0.0, 0.1, 0.3, 0.30000000000000004, 0.5, 0.9, 1.0])  # many ties, two neighbouring floats
examples = st.lists(st.tuples(st.booleans(), few_scores | st.floats(0, 1)), min_size=1, max_size=30)
rules = st.sampled_from(["f1", "precision", "recall"])
same = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def counted(labels, scores, threshold):
    """Precision, recall and F1, by counting."""
    given = scores >= threshold
    hits = int((given & labels).sum())
    return hits / given.sum(), hits / labels.sum(), 2 * hits / (given.sum() + labels.sum())


def possible(scores):
    """The thresholds that lie half-way between two neighbouring scores, and predict the class at all."""
    distinct = sorted({0.0, *scores})
    found = []
    for low, high in itertools.pairwise(distinct):
        middle = (low + high) / 2 if (low + high) / 2 > low else high
        if 0 < middle < 1:
            found.append(middle)
    return found


@same
@given(examples)
def test_the_curve_has_every_threshold_that_makes_a_difference(rows):
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    expected = possible(scores)
    if not labels.any() or not expected:
        with pytest.raises(Unreachable):
            threshold_curve(labels, scores)
        return
    curve = threshold_curve(labels, scores)
    assert curve.thresholds.tolist() == expected
    assert curve.positives == labels.sum()
    for threshold, *found in zip(curve.thresholds, curve.precision, curve.recall, curve.f1, strict=True):
        assert found == pytest.approx(counted(labels, scores, threshold))


@same
@given(examples, rules, st.floats(0.01, 1))
def test_the_chosen_threshold_is_that_of_trying_all(rows, metric, wanted):
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    thresholds = possible(scores)
    if not labels.any() or not thresholds:
        return
    tried = [(threshold, *counted(labels, scores, threshold)) for threshold in thresholds]
    curve = threshold_curve(labels, scores)
    if metric == "f1":
        chosen = choose(curve, Rule("f1"))
        assert curve.f1[chosen] == pytest.approx(max(f1 for *_, f1 in tried))
        return
    reached = [row for row in tried if row[1 if metric == "precision" else 2] >= wanted]
    if not reached:
        with pytest.raises(Unreachable):
            choose(curve, Rule(metric, wanted))
        return
    chosen = choose(curve, Rule(metric, wanted))
    assert curve.thresholds[chosen] == (min(reached) if metric == "precision" else max(reached))[0]
    other = 2 if metric == "precision" else 1  # as much of the other as there is
    if metric == "precision":
        assert curve.recall[chosen] == pytest.approx(max(row[other] for row in reached))


LABELS = np.array([0, 0, 1, 0, 1, 1], dtype=bool)
SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        (Rule("f1"), 0.25),  # 3 of 4 right, all found
        (Rule("precision", 0.75), 0.25),
        (Rule("precision", 0.76), 0.5),
        (Rule("recall", 1.0), 0.25),
        (Rule("recall", 0.6), 0.5),
        (Rule("recall", 0.3), 0.7),
    ],
)
def test_a_threshold_lies_half_way_between_two_scores(rule, threshold):
    curve = threshold_curve(LABELS, SCORES)
    assert curve.thresholds[choose(curve, rule)] == pytest.approx(threshold)


def test_of_several_thresholds_with_the_highest_f1_that_nearest_to_a_half_is_chosen():
    labels, scores = np.array([1, 0, 0, 1, 1, 0]), np.array([0.95, 0.9, 0.8, 0.6, 0.2, 0.1])
    curve = threshold_curve(labels, scores)
    tied = threshold_curve([0, 1, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.7, 0.9])
    assert choose(curve, Rule("f1")) == int(curve.f1.argmax())
    best = np.flatnonzero(np.isclose(tied.f1, tied.f1.max()))
    chosen = tied.thresholds[choose(tied, Rule("f1"))]
    assert abs(chosen - 0.5) == min(abs(tied.thresholds[best] - 0.5))


def test_what_cannot_be_reached_says_what_can():
    curve = threshold_curve([1, 0, 1, 0], [0.2, 0.9, 0.8, 0.1])
    with pytest.raises(Unreachable, match=r"the highest precision is 0.6667, at recall 1.0000"):
        choose(curve, Rule("precision", 0.95))


def test_a_class_that_does_not_occur_has_no_threshold():
    with pytest.raises(Unreachable, match="no example is of that class"):
        threshold_curve([0, 0], [0.2, 0.9])


@pytest.mark.parametrize("positive", [0, 1])
def test_labels_and_their_metrics_are_those_of_scikit_learn(positive):
    rng = np.random.default_rng(0)
    p = rng.random(200)
    probabilities = np.column_stack([1 - p, p])
    labels = (rng.random(200) < p).astype(int)
    predicted = labels_at(probabilities, positive, 0.3)
    assert set(probabilities[predicted == positive, positive] >= 0.3) == {True}
    found = decision_metrics(labels, predicted, positive)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(getattr(sk, f"{name}_score")(labels, predicted, pos_label=positive))
    assert found["confusion_matrix"] == sk.confusion_matrix(labels, predicted).tolist()


def test_metrics_that_are_undefined_are_none():
    assert decision_metrics([0, 0], [0, 0], 1) == {
        "accuracy": 1.0, "f1": None, "precision": None, "recall": None, "confusion_matrix": [[2, 0], [0, 0]]
    }  # fmt: skip


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_the_chosen_point():
    rng = np.random.default_rng(0)
    curve = threshold_curve(rng.random(5000) < 0.3, rng.random(5000))
    kept = curve.thinned(1234)
    assert len(kept) <= 1001 and {0, 1234, len(curve.thresholds) - 1} <= set(kept)
    assert threshold_curve(LABELS, SCORES).thinned(2) == [0, 1, 2, 3, 4, 5]
    assert 8 <= len(curve.examples_of(1234)) <= 12 and 1234 in curve.examples_of(1234)
