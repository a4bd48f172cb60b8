"""Where runs are trained, as `--on` names it."""

import pytest

from conftest import run_python
from rdrop_cli.core.executors.choice import Place, parse_place
from rdrop_cli.core.storage import extras
from rdrop_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("local:3", Place(workers=3)),
        ("ray", Place()),
        ("ray:10.0.0.1:6379", Place(address="10.0.0.1:6379")),
    ],
)
def test_a_place_is_local_or_a_ray_cluster(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["local:0", "local", "local:x", "local:-1", "local:99999", "ray:", "foo", ""])
def test_another_place_is_refused_in_one_line(rdrop, text):
    with pytest.raises(ConfigError):
        parse_place(text)
    said = rdrop.error("compare", "--on", text, code=2)
    assert f"error: Invalid value for '--on': {text}: " in said


def test_without_ray_there_is_one_line_before_any_data_is_read(rdrop, reviews, tiny_model, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    said = rdrop.error("compare", reviews, "--model", tiny_model, "--on", "ray")
    assert said == "error: --on ray: ray is not installed. Install it with: pip install 'rdrop-cli[ray]'"


def test_a_share_of_several_gpus_is_refused(rdrop, reviews, tiny_model):
    said = rdrop.error("compare", reviews, "--model", tiny_model, "--on", "ray", "--gpus-per-run", "1.5")
    assert "--gpus-per-run 1.5: give a whole number, or less than one" in said


@pytest.mark.parametrize("on", [[], ["--on", "local:2"]])
def test_cpus_and_gpus_of_a_run_are_refused_where_they_would_be_ignored(rdrop, reviews, tiny_model, on):
    said = rdrop.error("compare", reviews, "--model", tiny_model, *on, "--gpus-per-run", "1")
    assert "--cpus-per-run and --gpus-per-run are for --on ray only" in said


def test_ray_is_imported_for_nothing_else():
    modules = "rdrop_cli.core.comparison.runner, rdrop_cli.core.executors.local, rdrop_cli.core.executors.on_ray"
    assert run_python(f"import sys, {modules}; print('ray' in sys.modules)").stdout == "False\n"
