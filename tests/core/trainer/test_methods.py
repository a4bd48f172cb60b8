"""R-Drop's rivals against independent computations: two passes without KL, R3F, a rising alpha, averaged weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import BartConfig, BartForSequenceClassification, TrainerCallback

from rdrop_cli.core.storage.numbered import RAW_WEIGHTS
from rdrop_cli.core.trainer.noise import noisy_embeddings
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
from trainers import collate, make_dataset, make_model, make_trainer

DROPOUT = 0.3


def batch(size=6):
    return collate([make_dataset(size)[index] for index in range(size)])


def features(inputs):
    return {name: value for name, value in inputs.items() if name != "labels"}


def twice(inputs):
    return {name: torch.cat([value, value]) for name, value in features(inputs).items()}


def seeded_loss(trainer, inputs):
    trainer.model.train()
    torch.manual_seed(7)
    return trainer.compute_loss(trainer.model, inputs)


def test_two_passes_without_kl_are_the_mean_of_two_cross_entropies(tmp_path):
    model, inputs = make_model(dropout=DROPOUT), batch()
    loss = seeded_loss(make_trainer(tmp_path, model=model, alpha=0.0, two_passes=True, label_smoothing=0.1), inputs)
    torch.manual_seed(7)
    first, second = model(**twice(inputs)).logits.chunk(2)
    expected = sum(F.cross_entropy(logits, inputs["labels"], label_smoothing=0.1) for logits in (first, second)) / 2
    assert not torch.equal(first, second)
    torch.testing.assert_close(loss, expected)
    one = seeded_loss(make_trainer(tmp_path, model=model, alpha=0.0), inputs)
    torch.manual_seed(7)
    torch.testing.assert_close(one, F.cross_entropy(model(**features(inputs)).logits, inputs["labels"]))


@pytest.mark.parametrize("passes", ["concat", "sequential"])
def test_r3f_is_one_cross_entropy_and_the_divergence_of_a_pair_without_dropout(tmp_path, passes):
    model, inputs = make_model(dropout=DROPOUT), batch()
    trainer = make_trainer(tmp_path, model=model, alpha=2.0, noise=0.5, passes=passes)
    loss = seeded_loss(trainer, inputs)
    gradient = torch.autograd.grad(loss, model.get_input_embeddings().weight)[0]

    torch.manual_seed(7)
    ce = F.cross_entropy(model(**features(inputs)).logits, inputs["labels"])
    model.eval()
    rows, mask = len(inputs["labels"]), inputs["attention_mask"]
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    drawn = torch.empty(rows * (2 if passes == "concat" else 1), *embedded.shape[1:]).uniform_(-0.5, 0.5)[-rows:]
    clean = model(inputs_embeds=embedded, attention_mask=mask).logits
    noisy = model(inputs_embeds=embedded + drawn, attention_mask=mask).logits
    p, q = torch.distributions.Categorical(logits=clean), torch.distributions.Categorical(logits=noisy)
    kl = torch.distributions.kl_divergence
    divergence = (kl(p, q) + kl(q, p)).mean()  # the paper's sum of both, with its weight of 1
    assert divergence > 1e-4
    torch.testing.assert_close(loss, ce + divergence)
    expected = torch.autograd.grad(ce + divergence, model.get_input_embeddings().weight)[0]
    torch.testing.assert_close(gradient, expected)


def test_r3f_leaves_the_model_in_training_and_its_embeddings_alone(tmp_path):
    model, inputs = make_model(dropout=DROPOUT), batch()
    seeded_loss(make_trainer(tmp_path, model=model, alpha=2.0, noise=0.5), inputs)
    assert all(module.training for module in model.modules())
    model.eval()
    assert torch.equal(model(**features(inputs)).logits, model(**features(inputs)).logits)


def test_noise_reaches_a_model_whose_encoder_has_a_module_of_its_own_for_the_embeddings():
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 50}
    model = BartForSequenceClassification(BartConfig(**sizes, decoder_attention_heads=2, max_position_embeddings=32))
    inputs = {"input_ids": torch.tensor([[0, 5, 6, 7, 2]])}
    model.eval()
    with torch.no_grad(), noisy_embeddings(model, 1.0, 0):
        noisy = model(**inputs).logits
    assert not torch.equal(noisy, model(**inputs).logits)


def test_a_model_that_never_calls_its_embeddings_is_refused():
    model = make_model()
    with pytest.raises(ValueError, match="does not call its token embeddings"), noisy_embeddings(model, 1.0, 0):
        model(inputs_embeds=torch.zeros(1, 4, 32))


def test_alpha_rises_evenly_over_its_share_of_the_steps(tmp_path):
    trainer = make_trainer(tmp_path, model=make_model(dropout=DROPOUT), alpha=4.0, alpha_warmup=0.5)
    trainer.state.max_steps = 8
    inputs = batch()
    torch.manual_seed(7)
    trainer.model.train()
    first, second = trainer.model(**twice(inputs)).logits.log_softmax(-1).chunk(2)
    ce = (F.nll_loss(first, inputs["labels"]) + F.nll_loss(second, inputs["labels"])) / 2
    kl = sum(F.kl_div(a, b, reduction="batchmean", log_target=True) for a, b in ((first, second), (second, first))) / 2
    for step, alpha in enumerate([0.0, 1.0, 2.0, 3.0, 4.0, 4.0]):
        trainer.state.global_step = step
        torch.testing.assert_close(seeded_loss(trainer, inputs), ce + alpha * kl)


class Steps(TrainerCallback):
    """Keeps the weights after each step."""

    def __init__(self, model):
        self.model, self.weights = model, []

    def on_step_end(self, args, state, control, **_):
        self.weights.append({name: value.detach().clone() for name, value in self.model.named_parameters()})


def test_the_averaged_weights_are_evaluated_and_saved_and_the_raw_ones_beside_them(tmp_path):
    model = make_model(dropout=DROPOUT)
    trainer = make_trainer(tmp_path, model=model, micro=2, examples=24, ema=0.5, kind=RDropTrainer)
    steps = Steps(model)
    trainer.add_callback(steps)
    trainer.args.learning_rate, trainer.args.save_strategy = 1e-2, "steps"
    trainer.args.save_steps = 12
    trainer.args.eval_strategy = "epoch"
    seen = {}
    trainer.eval_dataset = make_dataset(4)
    trainer.compute_metrics = lambda _: seen.update({n: v.detach().clone() for n, v in model.named_parameters()}) or {}
    trainer.train()
    assert len(steps.weights) == 12
    decays = [min(0.5, (1 + count) / (10 + count)) for count in range(1, 12)]
    assert 0.5 in decays and decays[0] < 0.2
    saved = load_file(tmp_path / "out" / "checkpoint-12" / "model.safetensors")
    raw = load_file(tmp_path / "out" / "checkpoint-12" / RAW_WEIGHTS)
    for name, last in steps.weights[-1].items():
        average = steps.weights[0][name].double().numpy()
        for decay, step in zip(decays, steps.weights[1:], strict=True):
            average = decay * average + (1 - decay) * step[name].double().numpy()
        np.testing.assert_allclose(saved[name].numpy(), average, rtol=1e-4, atol=1e-6)
        assert torch.equal(saved[name], seen[name])
        assert torch.equal(raw[name], last) and torch.equal(dict(model.named_parameters())[name], last)


@pytest.mark.parametrize("wrong", [{"ema": 1.0}, {"noise": -1.0}, {"alpha_warmup": 1.5}])
def test_parameters_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_trainer(tmp_path, **wrong)
