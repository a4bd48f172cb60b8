"""The trainer's gradients: the same for every way to cut an optimizer step, and one pass where one is enough."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

from rdrop_cli.core.tokenization import TokenDataset, Tokens
from rdrop_cli.core.trainer import RDropTrainer


def make_model(dropout=0.0, **config):
    torch.manual_seed(0)
    settings = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "num_labels": 3,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    return BertForSequenceClassification(BertConfig(**(settings | config)))


def make_dataset(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, size=count)
    ids = rng.integers(4, 50, size=lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenDataset(Tokens(ids, None, offsets, lengths.astype(np.int32)), rng.integers(3, size=count))


def collate(features):
    width = max(len(feature["input_ids"]) for feature in features)
    return {
        "input_ids": torch.tensor([[*f["input_ids"], *[0] * (width - len(f["input_ids"]))] for f in features]),
        "attention_mask": torch.tensor(
            [[1] * len(f["input_ids"]) + [0] * (width - len(f["input_ids"])) for f in features]
        ),
        "labels": torch.tensor([feature["labels"] for feature in features]),
    }


class StepGradients(RDropTrainer):
    """Keeps the gradient that each optimizer step sees."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradients = []

    def _clip_grad_norm(self, model):
        flat = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        self.gradients.append(torch.cat(flat).clone())
        return super()._clip_grad_norm(model)


def make_trainer(tmp_path, *, examples=16, micro=8, accumulate=1, alpha=5.0, model=None, kind=StepGradients, **options):
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=1,
        learning_rate=0.0,
        max_grad_norm=1e9,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        logging_steps=1,
    )
    return kind(
        model=model if model is not None else make_model(),
        args=arguments,
        train_dataset=make_dataset(examples),
        data_collator=collate,
        alpha=alpha,
        **options,
    )


def gradients(tmp_path, **options):
    trainer = make_trainer(tmp_path, label_smoothing=0.1, **options)
    trainer.train()
    return trainer.gradients


def relative_difference(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("examples", [16, 15, 13, 9, 7, 5, 1])
def test_accumulation_does_not_change_the_gradient(tmp_path, examples):
    """Ragged last steps of 7, 5 and 1 examples included."""
    whole = gradients(tmp_path, examples=examples, micro=8, accumulate=1)
    for micro, accumulate in ((4, 2), (2, 4)):
        parts = gradients(tmp_path, examples=examples, micro=micro, accumulate=accumulate)
        assert len(parts) == len(whole)
        for part, expected in zip(parts, whole, strict=True):
            assert relative_difference(part, expected) < 2e-6


def test_the_gradient_is_that_of_the_mean_over_the_step(tmp_path):
    """Against autograd on the loss written out, without the Trainer."""
    model = make_model()
    dataset = make_dataset(7)
    batch = collate([dataset[i] for i in range(7)])
    labels = batch.pop("labels")
    model.train()
    log_p = model(**batch).logits.log_softmax(-1)
    target = torch.full_like(log_p, 0.1 / 3).scatter_add_(1, labels[:, None], torch.full((7, 1), 0.9))
    (-(target * log_p).sum(1).mean()).backward()  # without dropout the passes are equal and KL is 0
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    (found,) = gradients(tmp_path, examples=7, micro=2, accumulate=4)
    assert relative_difference(found, expected) < 2e-6


def test_a_model_without_kwargs_gets_the_same_gradient(tmp_path):
    class Strict(nn.Module):
        """Takes no **kwargs, so the base class would count no examples."""

        def __init__(self):
            super().__init__()
            self.inner = make_model()
            self.config = self.inner.config

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask)

    whole = gradients(tmp_path, examples=13, micro=8, model=Strict())
    parts = gradients(tmp_path, examples=13, micro=2, accumulate=4, model=Strict())
    assert all(relative_difference(a, b) < 2e-6 for a, b in zip(parts, whole, strict=True))


class RowCounter(nn.Module):
    """Counts the rows of every forward call."""

    def __init__(self, dropout):
        super().__init__()
        self.inner = make_model(dropout)
        self.config = self.inner.config
        self.rows = []

    def forward(self, input_ids, attention_mask):
        self.rows.append(len(input_ids))
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


@pytest.mark.parametrize(
    ("alpha", "passes", "rows"),
    [(0.0, "concat", [8, 8]), (1.0, "concat", [16, 16]), (1.0, "sequential", [8, 8, 8, 8])],
)
def test_forward_passes(tmp_path, alpha, passes, rows):
    model = RowCounter(0.1)
    make_trainer(tmp_path, alpha=alpha, passes=passes, model=model, kind=RDropTrainer).train()
    assert model.rows == rows


def test_alpha_zero_is_plain_cross_entropy(tmp_path):
    trainer = make_trainer(tmp_path, alpha=0.0, model=make_model(0.1))
    batch = collate([trainer.train_dataset[i] for i in range(8)])
    trainer.model.train()
    torch.manual_seed(1)
    loss = trainer.compute_loss(trainer.model, batch)
    torch.manual_seed(1)
    logits = trainer.model(**{k: v for k, v in batch.items() if k != "labels"}).logits
    expected = nn.functional.cross_entropy(logits, batch["labels"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_two_passes_have_independent_masks(tmp_path):
    trainer = make_trainer(tmp_path, alpha=1.0, model=make_model(0.3))
    batch = collate([trainer.train_dataset[i] for i in range(8)])
    trainer.model.train()
    features = {name: value for name, value in batch.items() if name != "labels"}
    _, first, second = trainer._two_passes(trainer.model, features, 8)
    assert not torch.allclose(first, second)


def test_evaluation_is_one_pass_with_the_plain_loss(tmp_path):
    model = RowCounter(0.3)
    trainer = make_trainer(tmp_path, alpha=5.0, model=model, label_smoothing=0.2)
    model.eval()
    batch = collate([trainer.train_dataset[i] for i in range(8)])
    loss, outputs = trainer.compute_loss(model, batch, return_outputs=True)
    assert model.rows == [8]
    expected = nn.functional.cross_entropy(outputs["logits"], batch["labels"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_label_smoothing_comes_from_the_arguments_when_not_given(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.args.label_smoothing_factor = 0.2
    again = RDropTrainer(
        model=make_model(), args=trainer.args, train_dataset=make_dataset(4), data_collator=collate, alpha=1.0
    )
    assert again.label_smoothing == 0.2


def test_logs_hold_the_parts_of_the_loss(tmp_path):
    trainer = make_trainer(tmp_path, alpha=2.0, model=make_model(0.2), kind=RDropTrainer)
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["loss"] == pytest.approx(row["ce"] + 2 * row["kl"], rel=1e-5)
    assert row["kl_share"] == pytest.approx(2 * row["kl"] / row["loss"], rel=1e-5)
    assert 0 <= row["agreement"] <= 1
    assert row["tokens_per_second"] > row["examples_per_second"] > 0


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    model = make_model()
    model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="nan by step 1"):
        make_trainer(tmp_path, model=model).train()


def test_unknown_parameters_are_refused(tmp_path):
    with pytest.raises(ValueError, match="passes"):
        make_trainer(tmp_path, passes="both")
    with pytest.raises(ValueError, match="alpha"):
        make_trainer(tmp_path, alpha=-1.0)


class ShiftedSecondPass(nn.Module):
    """A model without dropout whose second pass differs all the same, by a known shift of its logits."""

    def __init__(self):
        super().__init__()
        self.inner = make_model()
        self.config = self.inner.config

    def forward(self, input_ids, attention_mask):
        outputs = self.inner(input_ids=input_ids, attention_mask=attention_mask)
        half = len(input_ids) // 2
        shift = torch.tensor([0.5, -0.2, 0.1]) * input_ids[half:, :1]  # depends on the example
        return {"logits": torch.cat([outputs.logits[:half], outputs.logits[half:] * 1.5 + shift * 0.02])}


@pytest.mark.parametrize("examples", [16, 13, 7, 5])
def test_accumulation_does_not_change_the_divergences_share_of_the_gradient(tmp_path, examples):
    """With both terms in play; a divergence summed over the micro-batch would fail here."""
    whole = gradients(tmp_path, examples=examples, micro=8, model=ShiftedSecondPass())
    plain = gradients(tmp_path, examples=examples, micro=8, model=ShiftedSecondPass(), alpha=1e-9)
    assert relative_difference(plain[0], whole[0]) > 0.01
    parts = gradients(tmp_path, examples=examples, micro=2, accumulate=4, model=ShiftedSecondPass())
    assert all(relative_difference(a, b) < 2e-6 for a, b in zip(parts, whole, strict=True))


def test_evaluation_gathers_nothing_but_logits(tmp_path):
    trainer = make_trainer(tmp_path, model=make_model(output_hidden_states=True))
    trainer.model.eval()
    _, outputs = trainer.compute_loss(trainer.model, collate([trainer.train_dataset[0]]), return_outputs=True)
    assert set(outputs) == {"logits"}


class SmallMemory(nn.Module):
    """A model that has no room for more than `rows` rows at a time, nor for what else is there at call `full_at`."""

    def __init__(self, rows, full_at=None):
        super().__init__()
        self.inner, self.rows, self.full_at, self.seen = make_model(), rows, full_at, []

    def forward(self, input_ids, attention_mask=None):
        self.seen.append(len(input_ids))
        outputs = self.inner(input_ids=input_ids, attention_mask=attention_mask)
        if len(input_ids) > self.rows or len(self.seen) == self.full_at:
            # After some of the work, as a device does.
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        return outputs


def test_a_micro_batch_that_does_not_fit_is_halved_until_it_does(tmp_path):
    sizes = []
    model = SmallMemory(rows=5)
    found = gradients(tmp_path, model=model, examples=20, micro=8, auto_micro_batch=True, on_micro_batch=sizes.append)
    whole = gradients(tmp_path, examples=20, micro=8)

    assert sizes == [4, 2]  # doubled: 16, 8 and 4 rows
    assert model.seen[:3] == [16, 8, 4]
    assert set(model.seen[3:]) == {4}
    for mine, theirs in zip(found, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6)


def test_pieces_done_before_memory_ran_out_are_not_counted_twice(tmp_path):
    model = SmallMemory(rows=8, full_at=3)  # the second half of the first step
    found = gradients(tmp_path, model=model, examples=16, micro=8, auto_micro_batch=True)
    whole = gradients(tmp_path, examples=16, micro=8)

    assert model.seen[:4] == [16, 8, 8, 4]
    for mine, theirs in zip(found, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6)


def test_the_log_counts_each_example_once_after_memory_ran_out(tmp_path):
    model = SmallMemory(rows=8, full_at=3)
    trainer = make_trainer(tmp_path, model=model, kind=RDropTrainer, auto_micro_batch=True, label_smoothing=0.1)
    whole = make_trainer(tmp_path, kind=RDropTrainer, label_smoothing=0.1)
    for each in (trainer, whole):
        each.train()

    for mine, theirs in zip(trainer.state.log_history, whole.state.log_history, strict=True):
        if "ce" in mine:
            assert mine["ce"] == pytest.approx(theirs["ce"], rel=1e-5)


def test_one_example_that_does_not_fit_is_an_error(tmp_path):
    trainer = make_trainer(tmp_path, model=SmallMemory(rows=1), auto_micro_batch=True)

    with pytest.raises(torch.OutOfMemoryError):
        trainer.train()


def test_other_errors_are_not_taken_for_memory(tmp_path):
    class Broken(SmallMemory):
        def forward(self, input_ids, attention_mask=None):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        make_trainer(tmp_path, model=Broken(rows=1), auto_micro_batch=True).train()
