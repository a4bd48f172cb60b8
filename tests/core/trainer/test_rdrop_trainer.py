"""The trainer's gradients: the same for every way to cut an optimizer step, and one pass where one is enough."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from rdrop_cli.core.data.tokens import TokenDataset
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.value_reads import ValueReads
from rdrop_cli.core.trainer.micro_batches import missing_moments
from rdrop_cli.core.trainer.process_shares import NO_EXAMPLE
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
from trainers import collate, make_dataset, make_model, make_trainer


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


class Wrapped(nn.Module):
    """A model inside another."""

    def __init__(self):
        super().__init__()
        self.inner = make_model()
        self.config = self.inner.config


def test_a_model_without_kwargs_gets_the_same_gradient(tmp_path):
    class Strict(Wrapped):
        """Takes no **kwargs, so the base class would count no examples."""

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
    trainer = make_trainer(tmp_path, alpha=5.0, model=model, label_smoothing=0.2, class_weights=[0.3, 1.0, 4.0])
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
    with pytest.raises(ValueError, match="class_weights"):
        make_trainer(tmp_path, class_weights=[1.0, float("nan"), 1.0])


class ShiftedSecondPass(Wrapped):
    """A model without dropout whose second pass differs all the same, by a known shift of its logits."""

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


CLASS_WEIGHTS = [0.3, 1.0, 4.0]


@pytest.mark.parametrize(("alpha", "passes"), [(0.0, "concat"), (2.0, "sequential")])
def test_the_gradient_with_class_weights_is_that_of_the_loss_in_a_loop(tmp_path, alpha, passes):
    """Against autograd on one example after the other; without dropout the passes are equal and KL is 0."""
    model, dataset = make_model(), make_dataset(7)
    model.train()
    losses = []
    for index in range(7):
        batch = collate([dataset[index]])
        label = int(batch.pop("labels"))
        log_p = model(**batch).logits.log_softmax(-1)[0]
        losses.append(CLASS_WEIGHTS[label] * -(0.9 * log_p[label] + 0.1 * log_p.mean()))
    (sum(losses) / 7).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    options = {"alpha": alpha, "passes": passes, "class_weights": CLASS_WEIGHTS}
    (found,) = gradients(tmp_path, examples=7, micro=2, accumulate=4, **options)
    assert relative_difference(found, expected) < 2e-6
    (unweighted,) = gradients(tmp_path, examples=7, micro=2, accumulate=4, **options | {"class_weights": None})
    assert relative_difference(unweighted, expected) > 0.1


@pytest.mark.parametrize(
    ("micro", "more"), [(4, {"accumulate": 2}), (2, {"accumulate": 4}), (8, {"auto_micro_batch": True})]
)
def test_class_weights_give_one_gradient_however_a_step_is_divided(tmp_path, micro, more):
    """With KL in play, and a ragged last step of 5 examples."""
    whole = gradients(tmp_path, examples=13, micro=8, model=ShiftedSecondPass(), class_weights=CLASS_WEIGHTS)
    parts = gradients(
        tmp_path, examples=13, micro=micro, model=ShiftedSecondPass(), class_weights=CLASS_WEIGHTS, **more
    )
    assert len(parts) == len(whole) == 2
    assert all(relative_difference(a, b) < 2e-6 for a, b in zip(parts, whole, strict=True))


def test_the_log_has_the_weighted_cross_entropy_and_the_unweighted_divergence(tmp_path):
    logs = []
    for class_weights in (None, CLASS_WEIGHTS, [2.0, 2.0, 2.0]):
        trainer = make_trainer(tmp_path, model=ShiftedSecondPass(), class_weights=class_weights)
        trainer.train()
        logs.append(trainer.state.log_history[0])
    plain, weighted, doubled = logs
    assert plain["kl"] == weighted["kl"] == doubled["kl"] > 0
    assert doubled["ce"] == pytest.approx(2 * plain["ce"], rel=1e-6)
    assert weighted["ce"] != pytest.approx(plain["ce"], rel=0.01)
    assert weighted["loss"] == pytest.approx(weighted["ce"] + 5 * weighted["kl"], rel=1e-5)


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


class Spied(RDropTrainer):
    """Counts what a step dispatches: batches, forward, backward, clipping."""

    spy = None

    def training_step(self, *args, **kwargs):
        with self.spy:
            return super().training_step(*args, **kwargs)

    def _clip_grad_norm(self, model):
        with self.spy:
            return super()._clip_grad_norm(model)

    def get_batch_samples(self, *args, **kwargs):
        # With an epoch's first batch the loader draws its seed, a number on the host.
        with self.spy if self.state.global_step else contextlib.nullcontext():
            return super().get_batch_samples(*args, **kwargs)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("alpha", "passes"), [(1.0, "concat"), (1.0, "sequential"), (0.0, "concat")])
@pytest.mark.parametrize("auto", [False, True])
def test_a_step_reads_no_value_from_the_device(tmp_path, alpha, passes, accumulate, auto):
    if auto and accumulate > 1:
        pytest.skip("auto divides the batch itself")
    model = make_model(0.1)
    accelerate_training(model)
    Spied.spy = ValueReads()
    trainer = make_trainer(
        tmp_path, alpha=alpha, passes=passes, accumulate=accumulate, model=model, kind=Spied, micro=4,
        auto_micro_batch=auto, class_weights=[0.3, 1.0, 4.0],
    )  # fmt: skip
    trainer.args.logging_steps = 100
    trainer.args.logging_strategy = "no"
    trainer.create_optimizer()
    inner = trainer.optimizer.step

    def step(*args, **kwargs):
        with Spied.spy:
            return inner(*args, **kwargs)

    trainer.optimizer.step = step
    trainer.train()

    assert Spied.spy.reads == {}
    assert Spied.spy.operations["aten.addmm"] > 20


def with_ignored(features):
    """The last two of a batch count for nothing, as what fills a process's share."""
    batch = collate(features)
    batch["labels"][-2:] = NO_EXAMPLE
    return batch


@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_what_fills_a_share_changes_neither_loss_nor_gradient(tmp_path, alpha, class_weights):
    """Weights of 0 against leaving the rows out."""
    found = []
    for fills in (True, False):
        options = {"label_smoothing": 0.1, "class_weights": class_weights}
        trainer = make_trainer(tmp_path, alpha=alpha, model=make_model(), **options)
        trainer._has_fillers = fills
        rows = [trainer.train_dataset[index] for index in range(8)]
        batch = with_ignored(rows) if fills else collate(rows[:6])
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=6)
        loss.backward()
        found.append((loss.detach(), trainer.model.classifier.weight.grad, trainer.meter.state_dict()))

    (loss, grad, counted), (expected, expected_grad, expected_counted) = found
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, expected_grad)
    assert counted == pytest.approx(expected_counted, rel=1e-5)
    assert counted["examples"] == 6


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_a_share_of_nothing_but_filling_has_no_gradient(tmp_path, alpha):
    trainer = make_trainer(tmp_path, alpha=alpha)
    trainer._has_fillers = True
    batch = with_ignored([trainer.train_dataset[index] for index in range(2)])
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=4)
    loss.backward()

    assert loss == 0
    assert all((p.grad == 0).all() for p in trainer.model.parameters() if p.grad is not None)


def test_ignored_labels_are_refused_before_anything_is_trained(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train_dataset.labels[[3, 5]] = NO_EXAMPLE
    with pytest.raises(ValueError, match=r"2 training examples have the label -100.*index 3"):
        trainer.train()

    trainer.train_dataset = [{"input_ids": [1, 2], "labels": 0}, {"input_ids": [3], "labels": torch.tensor(-100)}]
    with pytest.raises(ValueError, match=r"1 training examples .*index 1"):
        trainer.train()


class Stream(torch.utils.data.IterableDataset):
    """Examples without a number; some are ignored."""

    def __init__(self, dataset, ignored):
        self.dataset, self.ignored = dataset, ignored

    def __iter__(self):
        for index in range(8):
            yield {**self.dataset[index], **({"labels": NO_EXAMPLE} if index in self.ignored else {})}


def test_of_a_stream_only_what_has_a_label_counts(tmp_path):
    trainer = make_trainer(tmp_path, label_smoothing=0.1)
    trainer.train_dataset = Stream(make_dataset(8), {2, 6})
    trainer.args.max_steps = 1
    trainer.train()
    expected = make_trainer(tmp_path, label_smoothing=0.1)
    kept = [index for index in range(8) if index not in {2, 6}]
    expected.train_dataset = TokenDataset(make_dataset(8).tokens, make_dataset(8).labels, np.asarray(kept))
    expected.train()

    assert relative_difference(trainer.gradients[0], expected.gradients[0]) < 2e-6


def test_the_moments_that_a_first_step_must_leave_room_for(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.create_optimizer()
    weights = sum(p.numel() for p in trainer.model.parameters())
    assert missing_moments(trainer.optimizer) == 2 * 4 * weights
    trainer.train()

    held = [value for state in trainer.optimizer.state.values() for name, value in state.items() if name != "step"]
    assert sum(value.numel() * value.element_size() for value in held) == 2 * 4 * weights
    assert missing_moments(trainer.optimizer) == 0
    assert missing_moments(torch.optim.SGD(trainer.model.parameters(), lr=1.0)) == 0


def test_a_model_in_training_is_not_told_so_again(tmp_path):
    told = []

    class Told(RowCounter):
        def train(self, mode=True):
            told.append(mode)
            return super().train(mode)

    model = Told(0.1)
    trainer = make_trainer(tmp_path, model=model, kind=RDropTrainer, examples=32)
    trainer.train()
    assert model.rows == [16] * 4
    assert told.count(True) <= 2  # at the start
    model.eval()
    trainer.training_step(model, collate([trainer.train_dataset[0]]), 1)
    assert model.training and model.inner.training


def test_after_release_nothing_holds_the_optimizer(tmp_path):
    trainer = make_trainer(tmp_path, kind=RDropTrainer)
    trainer.train()
    held = weakref.ref(trainer.optimizer.optimizer)
    trainer.release()
    gc.collect()

    assert held() is None
    assert trainer.state.global_step == 2
