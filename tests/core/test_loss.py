"""The loss against an independent computation, and at the edges."""

import numpy as np
import pytest
import torch

from rdrop_cli.core.loss import rdrop_loss


def reference(a, b, labels, alpha, smoothing, reduction):
    """R-Drop in plain float64 NumPy, term by term as the paper writes it."""

    def log_softmax(z):
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    log_a, log_b = log_softmax(a), log_softmax(b)
    classes = a.shape[1]
    target = np.full(a.shape, smoothing / classes)
    target[np.arange(len(labels)), labels] += 1 - smoothing
    ce = -(target * log_a).sum(1).mean() - (target * log_b).sum(1).mean()
    if reduction == "mean":
        ce /= 2
    kl_ab = (np.exp(log_a) * (log_a - log_b)).sum(1).mean()
    kl_ba = (np.exp(log_b) * (log_b - log_a)).sum(1).mean()
    kl = (kl_ab + kl_ba) / 2
    return ce + alpha * kl, ce, kl


def passes(classes, batch=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(batch, classes, generator=generator, dtype=torch.float64) * 2
    b = torch.randn(batch, classes, generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(classes, (batch,), generator=generator)
    return a.to(dtype), b.to(dtype), labels


@pytest.mark.parametrize("classes", [2, 3, 50])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_equals_an_independent_float64_computation(classes, smoothing, reduction):
    a, b, labels = passes(classes)
    loss = rdrop_loss(a, b, labels, alpha=5.0, label_smoothing=smoothing, ce_reduction=reduction)
    expected = reference(a.double().numpy(), b.double().numpy(), labels.numpy(), 5.0, smoothing, reduction)
    assert [float(part) for part in loss] == pytest.approx(expected, rel=1e-6)


def in_a_loop(a, b, labels, alpha, smoothing, reduction, class_weights):
    """The same, one example at a time, with the weight of its class on its cross-entropies."""
    total, ce, kl = np.mean(
        [
            (class_weights[label] * parts[1] + alpha * parts[2], class_weights[label] * parts[1], parts[2])
            for row, label in enumerate(labels)
            for parts in [reference(a[[row]], b[[row]], labels[[row]], alpha, smoothing, reduction)]
        ],
        axis=0,
    )
    return total, ce, kl


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_class_weights_multiply_each_examples_cross_entropy_and_nothing_else(smoothing, reduction):
    a, b, labels = passes(3)
    chosen = [0.2, 1.0, 4.5]
    loss = rdrop_loss(
        a,
        b,
        labels,
        alpha=5.0,
        label_smoothing=smoothing,
        ce_reduction=reduction,
        class_weights=torch.tensor(chosen),
    )
    expected = in_a_loop(a.double().numpy(), b.double().numpy(), labels.numpy(), 5.0, smoothing, reduction, chosen)
    assert [float(part) for part in loss] == pytest.approx(expected, rel=1e-6)


def test_an_excluded_example_needs_no_class_to_be_weighted():
    a, b, labels = passes(3)
    class_weights, included = torch.tensor([0.5, 1.0, 3.0]), torch.ones(16)
    excluded = labels.clone()
    excluded[12:], included[12:] = -100, 0.0
    found = rdrop_loss(a, b, excluded, alpha=2.0, weights=included, class_weights=class_weights)
    expected = rdrop_loss(a[:12], b[:12], labels[:12], alpha=2.0, class_weights=class_weights)
    assert [float(part) for part in found] == pytest.approx([12 * float(part) for part in expected], rel=1e-6)


def test_a_hand_computed_example():
    # p = (1/2, 1/2) and q = (3/4, 1/4): KL(p||q) = ln(2/sqrt 3), KL(q||p) = (3/4) ln 3 - ln 2.
    a = torch.zeros(1, 2)
    b = torch.tensor([[np.log(3.0), 0.0]], dtype=torch.float32)
    loss = rdrop_loss(a, b, torch.tensor([0]), alpha=1.0)
    kl = (np.log(2 / np.sqrt(3)) + 0.75 * np.log(3) - np.log(2)) / 2
    ce = (np.log(2) + np.log(4 / 3)) / 2
    assert float(loss.kl) == pytest.approx(kl, rel=1e-6)
    assert float(loss.ce) == pytest.approx(ce, rel=1e-6)
    assert float(loss.total) == pytest.approx(ce + kl, rel=1e-6)


def test_equal_passes_have_no_divergence():
    a, _, labels = passes(5)
    assert float(rdrop_loss(a, a.clone(), labels, alpha=5.0).kl) == 0.0


def test_the_passes_are_interchangeable():
    a, b, labels = passes(5)
    forward, backward = (rdrop_loss(*pair, labels, alpha=3.0) for pair in ((a, b), (b, a)))
    assert torch.equal(forward.kl, backward.kl)
    assert float(forward.total) == pytest.approx(float(backward.total), rel=1e-7)


def test_label_smoothing_leaves_the_divergence_alone():
    a, b, labels = passes(3)
    plain, smooth = (rdrop_loss(a, b, labels, alpha=1.0, label_smoothing=share) for share in (0.0, 0.3))
    assert torch.equal(plain.kl, smooth.kl)
    assert not torch.equal(plain.ce, smooth.ce)


def test_sum_with_double_alpha_is_twice_the_mean():
    a, b, labels = passes(3)
    paper = rdrop_loss(a, b, labels, alpha=10.0, ce_reduction="sum")
    ours = rdrop_loss(a, b, labels, alpha=5.0)
    assert float(paper.total) == pytest.approx(2 * float(ours.total), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_stay_finite_in_half_precision(dtype):
    a = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype, requires_grad=True)
    b = torch.tensor([[-1e4, 1e4], [1e4, -1e4]], dtype=dtype, requires_grad=True)
    loss = rdrop_loss(a, b, torch.tensor([0, 1]), alpha=5.0, label_smoothing=0.1)
    loss.total.backward()
    assert all(torch.isfinite(part) for part in loss)
    assert loss.kl.dtype == torch.float32
    assert torch.isfinite(a.grad).all()
    assert torch.isfinite(b.grad).all()


def test_gradient_reaches_both_passes_from_either_term():
    for alpha, index in ((0.0, 1), (1.0, 2)):
        a, b, labels = passes(4)
        a.requires_grad_()
        b.requires_grad_()
        rdrop_loss(a, b, labels, alpha=alpha)[index].backward()
        assert a.grad.abs().sum() > 0
        assert b.grad.abs().sum() > 0


def test_the_totals_gradient_is_that_of_the_formula():
    """Autograd through the formula written out in float64, both terms and both passes."""
    a, b, labels = passes(3)
    a.requires_grad_()
    b.requires_grad_()
    rdrop_loss(a, b, labels, alpha=5.0).total.backward()
    x, y = (each.detach().double().requires_grad_() for each in (a, b))
    log_p, log_q = x - x.logsumexp(1, keepdim=True), y - y.logsumexp(1, keepdim=True)
    rows = torch.arange(len(labels))
    ce = -(log_p[rows, labels] + log_q[rows, labels]) / 2
    kl = ((log_p.exp() * (log_p - log_q)).sum(1) + (log_q.exp() * (log_q - log_p)).sum(1)) / 2
    (ce + 5 * kl).mean().backward()
    assert torch.allclose(a.grad.double(), x.grad, rtol=1e-5, atol=1e-7)
    assert torch.allclose(b.grad.double(), y.grad, rtol=1e-5, atol=1e-7)


def test_the_loss_of_a_batch_is_the_mean_over_its_examples():
    a, b, labels = passes(3, batch=6)
    whole = rdrop_loss(a, b, labels, alpha=5.0).total
    single = [rdrop_loss(a[i : i + 1], b[i : i + 1], labels[i : i + 1], alpha=5.0).total for i in range(6)]
    assert float(whole) == pytest.approx(float(torch.stack(single).mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"ce_reduction": "max"}, "ce_reduction"),
    ],
)
def test_parameters_out_of_range_are_refused(changes, message):
    a, b, labels = passes(2)
    with pytest.raises(ValueError, match=message):
        rdrop_loss(a, b, labels, **{"alpha": 1.0, **changes})


def test_shapes_that_do_not_fit_are_refused():
    a, b, labels = passes(2)
    with pytest.raises(ValueError, match="logits"):
        rdrop_loss(a, b[:3], labels, alpha=1.0)
    with pytest.raises(ValueError, match="labels"):
        rdrop_loss(a, b, labels[:3], alpha=1.0)
    with pytest.raises(ValueError, match="class_weights"):
        rdrop_loss(a, b, labels, alpha=1.0, class_weights=torch.ones(3))
