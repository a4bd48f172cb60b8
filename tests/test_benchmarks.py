"""The benchmarks run, and the documentation says what their kept results say."""

import csv
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

ROOT = Path(__file__).parent.parent
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
RESULTS_PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
COMPARISONS = sorted((ROOT / "benchmarks" / "results" / "comparisons").glob("*.json"))
IMBALANCE = sorted((ROOT / "benchmarks" / "results" / "imbalance").glob("*.json"))
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_training_speed_runs_with_a_tiny_model():
    script = ROOT / "benchmarks" / "training_speed.py"
    shape = ["--model", "tiny", "--batches", "2", "--rounds", "1", "--examples", "100"]
    done = subprocess.run([sys.executable, script, *shape], capture_output=True, text=True, check=True, timeout=300)

    for arm in ("stock plain", "stock R-Drop", "rdrop"):
        assert f"round 1: {arm}" in done.stdout
    assert "bfloat16 products" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="stops processes with signals")
def test_busy_machine_runs_with_a_tiny_model(tiny_model):
    script = ROOT / "benchmarks" / "busy_machine.py"
    shape = [
        "--model",
        tiny_model,
        "--copies",
        "1",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--conditions",
        "quiet,spinner",
    ]
    command = [sys.executable, script, "--vary", "GOMP_SPINCOUNT=0", "--max-length", "64", *shape]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)

    for condition in ("quiet", "spinner"):
        assert f"round 1, {condition}: GOMP_SPINCOUNT 0" in done.stdout
    assert "examples/s" in done.stdout and "texts of" in done.stdout


def run_gpu(*options, code=0):
    script = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--device", "cpu", "--tiny", *map(str, options)]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_benchmark_for_gpus_runs_without_one(tmp_path):
    out = tmp_path / "gpu.json"
    shown = run_gpu("--only", "correctness", "--only", "micro_batch", "--out", out)
    kept = json.loads(out.read_text(encoding="utf-8"))

    assert kept["command"] == "bash benchmarks/gpu.sh --device cpu --tiny"
    assert 0 < kept["parts"]["correctness"]["bfloat16"]["gradient_relative_difference"] < 0.08
    assert kept["parts"]["micro_batch"] | {"seconds": 0} == kept["parts"]["micro_batch"] | {
        "simulated": True, "sizes": [8, 4], "steps": 4, "seconds": 0,
    }  # fmt: skip
    assert "16 -> 8 -> 4 examples" in " ".join(shown.split())


def test_a_part_that_fails_leaves_the_others_and_says_so(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu
    from gpu_common import Setting

    monkeypatch.setitem(gpu.PARTS, "resume", (gpu.PARTS["resume"][0], 0.1))
    found = gpu.run_part("resume", Setting("cpu", True))

    assert found["error"] == "not done within 0.1 seconds"
    assert found["seconds"] >= 0.1


def test_the_benchmark_for_gpus_says_which_wheels_to_bring(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_setup

    assert gpu_setup.missing() == []
    version = importlib.metadata.version
    old = {"transformers": "4.57.1", "torch": "2.8.0+cu128"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: old.get(name) or version(name))
    (lacking,) = gpu_setup.missing()

    assert lacking.startswith("transformers>=")
    assert f"'{lacking}'" in gpu_setup.explain([lacking])
    assert "pip download --dest wheels" in gpu_setup.explain([lacking])


@pytest.mark.parametrize(("difference", "answer"), [(0.02, "At least one"), (-0.02, "None"), (0.0, "None")])
def test_the_results_page_counts_a_better_f1_only(monkeypatch, difference, answer):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results_page

    def with_clear_differences(name):
        kept = load_kept(name)
        for gap in kept["differences"]:
            gap |= {"difference": difference, "p_holm": 0.001}
        return kept

    load_kept = results_page.load_kept
    monkeypatch.setattr(results_page, "load_kept", with_clear_differences)
    assert f"\n{answer} of these comparisons shows that an arm has a higher test F1" in results_page.make_page()


def test_every_comparison_has_a_title_on_the_results_page(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import evidence
    import results_page

    assert results_page.WRITTEN_DOWN.keys() == evidence.COMPARISONS.keys()


def test_some_arms_of_a_comparison_are_trained_again_with_its_other_settings(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import evidence

    own = ["--arm", "rdrop-alpha1:rdrop.alpha=1,train.label_smoothing=0"]
    of_all = ["rdrop", "compare", "--train-examples", "1000", "--epochs", "4"]
    assert evidence.only("rotten-tomatoes-1000", {"plain", "rdrop-alpha1"}) == [*of_all, *own, "--arms", "plain"]
    assert evidence.only("rotten-tomatoes-1000", {"plain", "rdrop"}) == [*of_all, "--arms", "plain,rdrop"]


def test_the_results_page_shows_what_was_searched_before(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results_page

    trials = [
        {"number": number, "state": "complete", "values": {"train.lr": lr}, "mean": mean, "sd": 0.0123}
        for number, lr, mean in ((0, 3e-5, 0.81), (1, 2.34567e-5, 0.82))
    ]
    kept = {
        "command": "rdrop sweep --trials 2",
        "metric": "f1",
        "seeds": [101, 102],
        "searches": {"plain": {"space": {"train.lr": "1e-05..6e-05:log"}, "best": 1, "trials": trials}},
    }
    (tmp_path / "some.json").write_text(json.dumps(kept))
    monkeypatch.setattr(results_page, "SEARCHED", tmp_path)
    page = results_page.make_page()
    assert "```bash\nrdrop sweep --trials 2\n```" in page
    assert "| 3e-05 | 0.8100 ± 0.0123 |\n| 2.35e-05 | **0.8200 ± 0.0123** |" in page


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_performance_page_shows_the_kept_results(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["command"].removesuffix(" --save") in PERFORMANCE
    figures = []
    for row in kept.get("arms", {}).values():
        figures += [f"{row['examples_per_second']:.1f}", f"{row['rdrop_is_faster_by']:.2f}"]
    if "texts_per_second" in kept:
        figures += [f"{value:.1f}" for value in kept["texts_per_second"].values()]
        figures.append(f"{kept['rdrop_is_faster_by']:.2f}")
    for kind in ("reviews", "sentences"):
        if kind in kept:
            figures += [f"{value:.1f}" for value in kept[kind]["texts_per_second"].values()]
            figures += [f"{value:.2f}x" for value in kept[kind]["times_the_pipeline"].values()]
    for name, ratio in kept.get("onnx_is_faster_by", {}).items():
        figures += [
            f"{ratio:.2f}x",
            *(f"{kept['seconds'][f'{name}, {backend}']:.2f} s" for backend in ("onnx", "torch")),
        ]
    for by_version in kept.get("conditions", {}).values():
        figures += [f"{row['examples_per_second']:.1f}" for row in by_version.values()]
        figures += [f"{row['ratio']:.2f}" for row in list(by_version.values())[1:]]
    if "mean_f1_difference" in kept:
        figures += [f"{value:+.4f}" for value in (kept["mean_f1_difference"], *kept["interval_95"])]
        figures += [f"{run[arm]:.4f}" for run in kept["runs"] for arm in ("fast_f1", "plain_f1")]
    for run in kept.get("runs", []) if "two_nodes_against_one" in kept else []:
        figures += [f"{run['seconds']:.0f} s"]
    if "two_nodes_against_one" in kept:
        figures += [f"{kept['two_nodes_against_one']:.2f}x", f"{kept['overhead_seconds_a_run']:.1f} s"]
    for found in kept.get("differences", {}).values():
        figures += [f"{found[name]:+.4f}" for name in ("mean", "low", "high")]
    for figure in figures:
        assert figure in PERFORMANCE, f"{path.name}: {figure}"


@pytest.mark.parametrize("path", IMBALANCE, ids=lambda path: path.stem)
def test_the_page_on_rare_classes_shows_the_kept_results(path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import imbalance

    page = (ROOT / "docs" / "imbalance.md").read_text(encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["command"] in page
    assert imbalance.tables(kept) in page
    for way, found in imbalance.summarize(kept["runs"])["ways"].items():
        assert found["f1"]["mean"] == pytest.approx(kept["ways"][way]["f1"]["mean"])


def test_the_threshold_for_a_rare_class_is_the_best_of_all(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import imbalance

    from rdrop_cli.core.metrics.predictions import Predictions

    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.2).astype(int)
    scores = np.round(rng.random(60) * 0.5 + labels * 0.3, 2)  # with ties
    found = Predictions(labels, np.column_stack([1 - scores, scores]))
    best = imbalance.scores_at(found, imbalance.best_threshold(found))[0]
    assert best == max(imbalance.scores_at(found, each)[0] for each in np.linspace(0.001, 0.999, 999))


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_a_kept_comparison_is_about_the_runs_kept_beside_it(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    with path.with_suffix(".csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(kept["arms"]) * len(kept["seeds"])
    assert not kept["data"]["source"].startswith("/"), "the folder of the machine that trained"
    for arm, found in kept["arms"].items():
        values = [float(row["test_f1"]) for row in rows if row["arm"] == arm]
        assert found["metrics"]["f1"]["mean"] == pytest.approx(sum(values) / len(values))


def test_what_the_starters_settings_rest_on_is_validation():
    with (COMPARISONS[0].parent / "rotten-tomatoes.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    recipe = (ROOT / "configs" / "starter.yaml").read_text(encoding="utf-8")
    for arm in ("plain", "rdrop+smoothing", "rdrop-alpha1+smoothing"):
        values = [float(row["validation_f1"]) for row in rows if row["arm"] == arm]
        mean = f"{sum(values) / len(values):.4f}"
        assert mean in RESULTS_PAGE and mean in recipe


def test_changes_to_sentences_are_the_same_each_time_and_small(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from perturbations import perturbed

    texts = ["it does n't work and is not bad", "a fine old film of the war", *["wonderful acting throughout"] * 200]
    changed = {kind: perturbed(texts, kind, 1) for kind in ("typing errors", "case", "negation")}
    assert changed["typing errors"] == perturbed(texts, "typing errors", 1) != perturbed(texts, "typing errors", 2)
    words = [word for text in changed["typing errors"][2:] for word in text.split()]
    spoilt = [word for word in words if word not in ("wonderful", "acting", "throughout")]
    assert 0.08 < len(spoilt) / len(words) < 0.22
    assert all(
        abs(len(word) - len(min(("wonderful", "acting", "throughout"), key=lambda w: w[0] != word[0]))) <= 1
        for word in spoilt
    )
    assert [text.lower() for text in changed["case"]] == texts
    assert changed["negation"][:2] == ["it does not work and is not bad", texts[1]]
    assert perturbed(["this is not bad"], "negation", 1) == ["this isn't bad"]


def test_what_an_arm_loses_on_changed_sentences_is_paired_with_the_first_over_seeds(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from robustness import METRICS, summarize

    random = np.random.default_rng(0)
    values = {
        (arm, condition): random.random((5, len(METRICS)))
        for arm in ("plain", "rdrop")
        for condition in ("test", "case", "imdb")
    }
    rows = [
        {"arm": arm, "seed": seed, "condition": condition, **dict(zip(METRICS, each, strict=True))}
        for (arm, condition), of_arm in values.items()
        for seed, each in enumerate(of_arm)
    ]
    summary = {(entry["arm"], entry["condition"]): entry for entry in summarize(rows, ["plain", "rdrop"])}
    lost = {key: each[:, 1] - values[key[0], "test"][:, 1] for key, each in values.items()}
    p_values = []
    for condition in ("case", "imdb"):
        entry, test = summary["rdrop", condition]["f1"], ttest_rel(lost["rdrop", condition], lost["plain", condition])
        assert entry["change"] == pytest.approx((lost["rdrop", condition] - lost["plain", condition]).mean())
        assert (entry["low"], entry["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
        assert entry["mean"] == pytest.approx(values["rdrop", condition][:, 1].mean())
        p_values.append((float(test.pvalue), entry["p"], entry["p_holm"]))
    (first, *small), (second, *large) = sorted(p_values)
    assert small == pytest.approx([first, min(1, 2 * first)])
    assert large == pytest.approx([second, max(second, min(1, 2 * first))])
    assert "p" not in summary["rdrop", "test"]["f1"] and "p" not in summary["plain", "case"]["f1"]


def test_a_test_on_another_domain_was_made_as_it_had_been_written_down(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import evidence
    import results_page

    p_values = {}
    for name, command in evidence.CONFIRMATIONS.items():
        kept = json.loads((results_page.ROBUSTNESS / f"{name}-confirmation.json").read_text(encoding="utf-8"))
        assert kept["command"] == command
        f1 = {(row["arm"], row["seed"], row["condition"]): row["f1"] for row in kept["runs"]}
        first, second = dict.fromkeys(arm for arm, *_ in f1)
        lost = {
            arm: [f1[arm, seed, "imdb"] - f1[arm, seed, "test"] for seed in range(6, 11)] for arm in (first, second)
        }
        p_values[name] = ttest_rel(lost[second], lost[first]).pvalue
    larger, smaller = max(p_values.values()), min(p_values.values())
    for name, p_value in p_values.items():
        corrected = max(min(1, 2 * smaller), larger if p_value == larger else 0)
        assert f"p {p_value:.2g}, corrected {corrected:.2g}). F1 on imdb" in results_page.make_section(name)
