"""The R-Drop loss (Liang et al. 2021, arXiv:2106.14448), with one meaning of alpha at every batch size."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CEReduction = Literal["mean", "sum"]


class RDropLoss(NamedTuple):
    """Scalars in nats per example; `total` carries the gradient of both terms."""

    total: Tensor
    ce: Tensor
    kl: Tensor


def rdrop_loss(
    logits_a: Tensor,
    logits_b: Tensor,
    labels: Tensor,
    *,
    alpha: float,
    label_smoothing: float = 0.0,
    ce_reduction: CEReduction = "mean",
    weights: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> RDropLoss:
    """Cross-entropy of two dropout passes plus alpha times their symmetric KL divergence.

    With p = softmax(logits), for each example

        total = ce + alpha * kl
        ce    = 1/2 [CE(p_a, y) + CE(p_b, y)]          (`mean`; the sum of both for `sum`)
        kl    = 1/2 [KL(p_a || p_b) + KL(p_b || p_a)]

    averaged over the batch. The paper's CE_a + CE_b + alpha * kl is `ce_reduction="sum"`, which equals twice the
    `"mean"` loss with half the alpha. Label smoothing applies to the cross-entropy only. Everything is computed in
    float32 (float64 for float64 input) from log-softmax, whatever the dtype of the logits.

    With class weights w, each CE(p, y) is multiplied by w[y], the weight of the example's own class, after smoothing;
    kl is not. The average still divides by the number of examples, not by their weights, so that the losses of a
    batch's parts add up to that of the batch. The argument `weight` of PyTorch's cross-entropy differs in both: it
    also weights the classes over which the label is smoothed, and divides by the sum of the examples' weights.

    Args:
        logits_a: (batch, classes), of the first pass.
        logits_b: (batch, classes), of the second pass.
        labels: (batch,) int64 class ids.
        alpha: Weight of the divergence, finite and not negative.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1).
        ce_reduction: How the two cross-entropies combine.
        weights: (batch,) float; return weighted sums over the examples instead of means. A weight of 0 excludes an
            example.
        class_weights: (classes,) float, on the device of the logits; None: 1 for every class.

    Returns:
        total, ce and kl: scalars in nats per example (with `weights`, in nats).

    Raises:
        ValueError: the shapes do not match, or a parameter is out of range.
    """
    if logits_a.ndim != 2 or logits_a.shape != logits_b.shape:
        raise ValueError(
            f"logits must both be (batch, classes), got {tuple(logits_a.shape)} and {tuple(logits_b.shape)}"
        )
    if labels.shape != logits_a.shape[:1]:
        raise ValueError(f"labels must be ({logits_a.shape[0]},), got {tuple(labels.shape)}")
    check_parameters(alpha, label_smoothing, ce_reduction)

    log_p_a, log_p_b = log_probabilities(logits_a), log_probabilities(logits_b)
    ce_a, ce_b = (cross_entropy(log_p, labels, label_smoothing, weights, class_weights) for log_p in (log_p_a, log_p_b))
    ce = ce_a + ce_b
    if ce_reduction == "mean":
        ce = ce / 2
    kl = symmetric_kl(log_p_a, log_p_b, weights)
    return RDropLoss(ce + alpha * kl, ce, kl)


def symmetric_kl(log_p_a: Tensor, log_p_b: Tensor, weights: Tensor | None = None) -> Tensor:
    """1/2 [KL(p_a || p_b) + KL(p_b || p_a)] in nats, the mean over the examples; with `weights`, a weighted sum.

    Args:
        log_p_a: Log-probabilities, (batch, classes).
        log_p_b: The same of the other pass.
        weights: As in `rdrop_loss`.
    """
    # KL(a||b) + KL(b||a) = sum (p_a - p_b) (log p_a - log p_b). Each term is a product of two differences of the same
    # sign, so that rounding cannot make it negative, and it is exactly 0 for equal passes. The gradient goes through
    # both passes, as in the paper.
    kls = ((log_p_a.exp() - log_p_b.exp()) * (log_p_a - log_p_b)).sum(dim=-1)
    return (kls.mean() if weights is None else (kls * weights).sum()) / 2


def check_parameters(alpha: float, label_smoothing: float, ce_reduction: str) -> None:
    """Refuse parameters that are out of range.

    Raises:
        ValueError: a parameter is out of range; the message has its name and value.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be finite and not negative, got {alpha}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    if ce_reduction not in ("mean", "sum"):
        raise ValueError(f"ce_reduction must be 'mean' or 'sum', got {ce_reduction!r}")


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over the last dimension, in at least float32."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return F.log_softmax(logits.to(dtype), dim=-1)


def cross_entropy(
    log_p: Tensor,
    labels: Tensor,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy in nats from log-probabilities; with `weights`, a weighted sum.

    Args:
        log_p: (batch, classes).
        labels: (batch,) int64.
        label_smoothing: As in `rdrop_loss`.
        weights: As in `rdrop_loss`.
        class_weights: As in `rdrop_loss`.

    Raises:
        ValueError: the class weights are not as many as the classes.
    """
    # F.cross_entropy expects logits. Log-softmax leaves log-probabilities unchanged, so they can be passed as logits.
    if weights is None and class_weights is None:
        return F.cross_entropy(log_p, labels, label_smoothing=label_smoothing)
    losses = F.cross_entropy(log_p, labels, label_smoothing=label_smoothing, reduction="none")
    if class_weights is not None:
        if class_weights.shape != log_p.shape[1:]:
            raise ValueError(f"class_weights must be ({log_p.shape[1]},), got {tuple(class_weights.shape)}")
        # An example that is excluded may have the label -100; its loss is 0 already, whichever weight it gets here.
        losses = losses * class_weights[labels.clamp(min=0)]
    return losses.mean() if weights is None else (losses * weights).sum()
