"""What a comparison's document says in words."""

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.summary import what_is_equal


def said(names, budget="steps"):
    arms = make_arms(load_config("starter"), names, [], budget)
    return what_is_equal({"budget": budget, "arms": {arm.name: {"passes": arm.passes} for arm in arms}})


def test_arms_of_fewer_passes_are_named():
    assert "(1: plain, smoothing; 2: rdrop; 3: r3f); rdrop compare --budget compute" in said(
        ["plain", "rdrop", "smoothing", "r3f"]
    )


@pytest.mark.parametrize("names", [["plain", "smoothing"], ["rdrop", "two-pass"]])
def test_arms_of_as_many_passes_are_equal_in_both(names):
    assert said(names).endswith("optimizer steps and make the same number of passes over examples.")


def test_equal_compute_is_named():
    assert "same number of passes over examples (equal compute)" in said(["plain", "rdrop"], "compute")


def test_results_of_earlier_versions_say_what_they_know():
    arms = {"plain": {}, "rdrop": {}}
    assert what_is_equal({"arms": arms}) == "All arms take the same number of optimizer steps."
