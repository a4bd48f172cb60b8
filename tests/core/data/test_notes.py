"""What is said of prepared data that looks like a mistake."""

import pytest

from rdrop_cli.core.data.notes import label_notes, token_notes


def report(train, **splits):
    return {"classes": {"train": train, **splits}}


def test_classes_that_differ_only_in_case_are_named_with_the_option_that_joins_them():
    train = {"Negative": 10, "Positive": 90, "negative": 80, "positive": 20}
    (note,) = label_notes(report(train))
    assert note.startswith("Classes that differ only in case: 'positive' and 'Positive', 'Negative' and 'negative'.")
    assert note.endswith("--label-map 'positive=Positive,Negative=negative'")
    assert label_notes(report({"negative": 80, "positive": 20})) == []


@pytest.mark.parametrize("name", ["nan", "NaN", "null", "N/A", "<NA>"])
def test_what_other_software_writes_for_no_label_is_pointed_out(name):
    (note,) = label_notes(report({"a": 5, name: 5}))
    assert note.startswith(f"'{name}' looks like a missing label.")


def test_a_split_without_a_class_of_train_is_named():
    notes = label_notes(report({"a": 5, "b": 5, "c": 5}, validation={"a": 2, "b": 0}, test={"a": 1, "b": 1, "c": 1}))
    assert notes == ["validation has no example of 'b', 'c', so its metrics say nothing of these"]


def test_texts_that_the_tokenizer_cannot_read_are_said_to_be_so():
    def of(share):
        return token_notes({"tokens": {"splits": {"train": {"unknown": share}}}})

    assert of(0.67)[0].startswith("67% of the tokens in train are unknown to the tokenizer")
    assert of(0.01) == [] == token_notes({})
