"""From rows to splits: what is rejected, dropped, kept, and reported."""

import hashlib
import json
from pathlib import Path

import pytest

from conftest import make_reviews, write_csv
from rdrop_cli.config import load_config
from rdrop_cli.core.data import dataset
from rdrop_cli.core.data import prepare as preparation
from rdrop_cli.core.data.dataset import Prepared, load_prepared
from rdrop_cli.core.data.notes import data_notes
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.model.tokenizer import load_tokenizer
from rdrop_cli.core.runs.resolve import check_configuration
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.errors import ConfigError, DataError
from rdrop_cli.schema import Config


def prepare(source, strict=False, out=None, **data):
    config = load_config("starter", [("data.source", str(source)), *((f"data.{k}", v) for k, v in data.items())])
    return prepare_data(config, strict=strict, out=out)


BROKEN = b"text,label\ngood one,1\n,0\nno label,\nragged,1,extra\nbad \xff bytes,0\nshort\n" + b"".join(
    f"fine text {i},{i % 2}\n".encode() for i in range(40)
)


def test_unusable_rows_are_rejected_by_line(tmp_path):
    (tmp_path / "broken.csv").write_bytes(BROKEN)
    data = prepare("broken.csv")
    assert [(row["line"], row["reason"]) for row in data.rejected] == [
        (3, "text is empty"),
        (4, "label is missing"),
        (5, "3 fields, but the header has 2"),
        (6, "not valid UTF-8 (Latin-1 or Windows-1252? save it as UTF-8)"),
        (7, "1 fields, but the header has 2"),
    ]
    assert sum(map(len, data.splits.values())) == 41
    with (data.folder / "rejected.jsonl").open() as stream:
        assert [json.loads(line) for line in stream] == data.rejected


def test_strict_refuses_them_and_writes_nothing(tmp_path):
    (tmp_path / "broken.csv").write_bytes(BROKEN)
    with pytest.raises(DataError, match=r"5 unusable rows \(--strict\): broken.csv, line 3: text is empty"):
        prepare("broken.csv", strict=True)
    assert not (tmp_path / "prepared").exists()


def test_an_official_test_split_is_kept_and_crossing_texts_leave_train(tmp_path):
    rows = make_reviews(120)
    folder = tmp_path / "official"
    folder.mkdir()
    write_csv(folder / "train.csv", rows[:100])
    write_csv(folder / "test.csv", rows[90:])
    data = prepare(folder)
    assert data.splits["test"].texts == [text for text, _ in rows[90:]]
    assert data.report["crossing"] == 10
    texts = {name: set(split.texts) for name, split in data.splits.items()}
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]
    assert len(texts["validation"]) == 8  # a tenth of each class of the 90 texts left, rounded


def test_repeats_and_contradictions_are_counted(tmp_path):
    rows = [*make_reviews(60), ("twice", 1), ("twice", 1), ("both", 0), ("both", 1)]
    report = prepare(write_csv(tmp_path / "r.csv", rows)).report
    assert (report["repeats"], report["conflicts"], report["crossing"]) == (2, 1, 0)


def test_the_split_has_its_own_seed(tmp_path):
    path = write_csv(tmp_path / "r.csv", make_reviews(100))
    first, again, other = prepare(path, out=tmp_path / "a"), prepare(path), prepare(path, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_preparing_again_loads_what_is_there(tmp_path, monkeypatch):
    path = write_csv(tmp_path / "r.csv", make_reviews(100))
    first = prepare(path)
    monkeypatch.setattr(preparation, "read_and_split", None)
    assert prepare(path).fingerprint == first.fingerprint
    assert prepare(first.folder).fingerprint == first.fingerprint


def test_label_names_order_the_classes(tmp_path):
    rows = [(text, "ham" if label else "spam") for text, label in make_reviews(60)]
    data = prepare(write_csv(tmp_path / "r.csv", rows), label_names=["spam", "ham"])
    assert data.labels.names == ("spam", "ham")


def test_a_missing_column_names_those_that_are_there(tmp_path):
    path = write_csv(tmp_path / "r.csv", make_reviews(20), header=("words", "stars"))
    with pytest.raises(DataError, match=r"no text column .*found 'words', 'stars'\. Name it with --text-column"):
        prepare(path)
    with pytest.raises(DataError, match=r"no column 'star'; found 'words', 'stars'\. Name it with --label-column"):
        prepare(path, text_column="words", label_column="star")
    assert prepare(path, text_column="words", label_column="stars").columns["text"] == "words"


def test_pairs_are_kept_apart_from_their_first_text(tmp_path):
    rows = [(text, "one" if i % 3 else "two", label) for i, (text, label) in enumerate(make_reviews(60))]
    path = write_csv(tmp_path / "p.csv", rows, header=("text", "text_b", "label"))
    data = prepare(path, text_pair_column="text_b")
    assert set(data.splits["train"].pairs) == {"one", "two"}


def test_a_damaged_prepared_folder_is_noticed(tmp_path):
    data = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)))
    other = prepare(write_csv(tmp_path / "s.csv", make_reviews(60, seed=5)))
    (data.folder / "test.parquet").write_bytes((other.folder / "test.parquet").read_bytes())
    with pytest.raises(DataError, match="have changed since they were prepared"):
        load_prepared(data.folder)
    (data.folder / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged prepared folder"):
        load_prepared(data.folder)


def test_a_folder_with_other_things_is_not_overwritten(tmp_path):
    path = write_csv(tmp_path / "r.csv", make_reviews(60))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="exists and is not a prepared folder"):
        prepare(path, out=tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_the_examples_are_hashed_once_however_often_the_report_grows(tmp_path, tiny_model, monkeypatch):
    hashed = []
    by_property = Prepared.__dict__["fingerprint"]
    real = by_property.func
    monkeypatch.setattr(by_property, "func", lambda data: hashed.append(data) or real(data))
    data = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)))
    again = data.record_report({**data.report, "more": 1}).record_report({**data.report, "more": 2})
    assert (len(hashed), again.fingerprint) == (1, real(again))
    assert load_prepared(data.folder).fingerprint == again.fingerprint


def test_tokens_are_made_once_for_a_tokenizer_and_length(tmp_path, tiny_model, monkeypatch):
    data = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)))
    tokenizer = load_tokenizer(str(tiny_model), max_length=8)
    first = data.tokens("train", tokenizer, max_length=8)
    monkeypatch.setattr(dataset, "encode", None)
    again = load_prepared(data.folder).tokens("train", tokenizer, max_length=8)
    assert (first.ids == again.ids).all()
    assert (first.offsets == again.offsets).all()
    assert (first.full_lengths == again.full_lengths).all()
    with pytest.raises(TypeError):
        data.tokens("train", tokenizer, max_length=9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("text,label\n", "no usable rows"),
        ("text,label\na,1\nb,1\n", "at least two classes, found only '1'"),
        ("text,text\na,1\n", "column 'text' appears twice"),
    ],
)
def test_files_without_a_task_are_refused(tmp_path, content, message):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        prepare("x.csv")


def test_half_a_character_is_rejected_and_not_fatal(tmp_path):
    rows = [json.dumps({"text": text, "label": label}) for text, label in make_reviews(40)]
    (tmp_path / "r.jsonl").write_text("\n".join([*rows, '{"text": "cut \\ud83d", "label": 1}']))
    (row,) = prepare("r.jsonl").rejected
    assert (row["line"], row["reason"]) == (41, "text contains an invalid character (a lone surrogate)")


def test_settings_that_a_prepared_folder_cannot_follow_are_refused(tmp_path):
    folder = prepare(write_csv(tmp_path / "r.csv", make_reviews(60))).folder
    plain = load_config(None, [("data.source", str(folder)), ("model.name", "starter")])
    assert check_configuration(plain).data.validation == 0.1
    changed = load_config(None, [("data.source", str(folder)), ("data.validation", 0.3)])
    with pytest.raises(ConfigError, match=r"is already prepared, so data.validation has no effect"):
        check_configuration(changed)


def test_a_default_that_is_asked_for_is_a_setting_too(tmp_path):
    folder = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)), validation=0.3).folder
    assert check_configuration(load_config(None, [("data.source", str(folder))])).data.validation == 0.3
    asked = load_config(None, [("data.source", str(folder)), ("data.validation", 0.1)])
    with pytest.raises(ConfigError, match=r"is already prepared, so data.validation has no effect"):
        check_configuration(asked)
    everything = Config.model_validate({**asked.model_dump(), "data": {**asked.data.model_dump()}})
    assert check_configuration(everything).data.validation == 0.3


def test_a_prepared_folder_is_not_prepared_elsewhere_and_strict_looks_at_what_it_left_out(tmp_path):
    (tmp_path / "broken.csv").write_bytes(BROKEN)
    folder = prepare("broken.csv").folder
    with pytest.raises(DataError, match=r"is already prepared. Name the original data to prepare them in other"):
        prepare(folder, out=Path("other"))
    assert prepare(folder, out=folder).folder == folder
    with pytest.raises(DataError, match=r"5 unusable rows \(--strict\): broken.csv, line 3: text is empty"):
        prepare(folder, strict=True)


def test_a_sample_of_train_leaves_validation_and_test_as_they_are(reviews):
    settings = [("data.source", str(reviews))]
    whole = prepare_data(load_config("starter", settings))
    part = prepare_data(load_config("starter", [*settings, ("data.train_examples", 50)]))
    assert len(part.splits["train"]) == 50
    assert sorted(part.splits["train"].labels) == [0] * 25 + [1] * 25
    assert set(part.splits["train"].texts) < set(whole.splits["train"].texts)
    for split in ("validation", "test"):
        assert part.splits[split].texts == whole.splits[split].texts
    assert (part.report["not_used"], whole.report["not_used"]) == (110, 0)
    assert part.folder != whole.folder


def test_texts_that_differ_in_case_and_spacing_stay_in_one_split(tmp_path):
    rows = [(variant, label) for text, label in make_reviews(60) for variant in (text, f"{text.upper()}  ")]
    path = write_csv(tmp_path / "r.csv", rows)
    for rule, apart in (("normalized", 0), ("exact", 1)):
        splits = prepare(path, repeats=rule).splits
        found = [{" ".join(text.lower().split()) for text in split.texts} for split in splits.values()]
        assert sum(len(a & b) for i, a in enumerate(found) for b in found[:i]) >= apart
        assert (sum(map(len, found)) == 60) is (rule == "normalized")


def test_data_that_an_earlier_version_prepared_is_found_and_read_as_before(tmp_path):
    """Its settings know no rule for repeats, and its report does not say what was left out of which split."""
    path = write_csv(tmp_path / "r.csv", make_reviews(60))
    data = prepare(path, repeats="exact")
    settings = data.source["settings"]
    earlier = {key: settings[key] for key in settings if key not in ("label_map", "positive_label", "repeats")}
    content = f"{preparation.open_source(str(path)).fingerprint}\n{json.dumps(earlier, sort_keys=True)}"
    assert data.source["key"] == hashlib.sha256(content.encode()).hexdigest()
    manifest = json.loads((data.folder / "prepared.json").read_text())
    manifest["source"]["settings"] = earlier
    for key in ("rows", "left_out", "unlabelled", "passed_over", "label_ids", "label_note"):
        del manifest["report"][key]
    (data.folder / "prepared.json").write_text(with_checksum(manifest))
    config = load_config("starter", [("data.source", str(data.folder))])
    assert check_configuration(config).data.repeats == "exact"
    assert data_notes(load_prepared(data.folder)) == []


def test_data_that_a_later_version_prepared_are_prepared_again(tmp_path):
    data = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)))
    manifest = json.loads((data.folder / "prepared.json").read_text())
    manifest["source"]["settings"]["of_tomorrow"] = 1
    (data.folder / "prepared.json").write_text(with_checksum(manifest))
    with pytest.raises(DataError, match="prepared by another version of rdrop"):
        check_configuration(load_config("starter", [("data.source", str(data.folder))]))


def test_tokens_of_a_tokenizer_without_a_backend_are_made_anew(tmp_path, tiny_model):
    """Two of them can have one vocabulary and split texts differently."""
    data = prepare(write_csv(tmp_path / "r.csv", make_reviews(60)))
    tokenizer = load_tokenizer(str(tiny_model), max_length=8)

    class Slow:
        backend_tokenizer = None

        def __call__(self, *args, **kwargs):
            return tokenizer(*args, **kwargs)

        def __len__(self):
            return len(tokenizer)

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    data.tokens("train", Slow(), max_length=8)
    assert not (data.folder / "tokens").exists()
    data.tokens("train", tokenizer, max_length=8)
    assert (data.folder / "tokens").exists()


def test_a_class_of_one_example_is_pointed_out_as_a_possible_typing_mistake(in_empty_folder):
    rows = [
        (text, "five" if number == 7 else str(1 + 4 * label)) for number, (text, label) in enumerate(make_reviews(60))
    ]
    notes = data_notes(prepare(write_csv(in_empty_folder / "stars.csv", rows)))
    assert notes == ["Class with a single example: 'five'. If that is a typing mistake: --label-map 'five=CLASS'"]
    assert data_notes(prepare(write_csv(in_empty_folder / "fine.csv", make_reviews(60)))) == []
