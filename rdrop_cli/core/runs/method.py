"""The method of a training in words, for a terminal, a report and a model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdrop_cli.schema import Config


def describe_method(config: Config) -> str:
    """For instance `R-Drop, alpha 5 (cross-entropy mean; the paper's alpha 10)` or `plain fine-tuning (alpha 0)`."""
    rdrop = config.rdrop
    if rdrop.noise:
        method = f"R3F, alpha {rdrop.alpha:g} (noise {rdrop.noise:g})"
    elif rdrop.alpha:
        paper = rdrop.alpha * (2 if rdrop.ce_reduction == "mean" else 1)
        method = f"R-Drop, alpha {rdrop.alpha:g} (cross-entropy {rdrop.ce_reduction}; the paper's alpha {paper:g})"
    elif rdrop.two_passes:
        method = "two passes without KL (alpha 0)"
    else:
        method = "plain fine-tuning (alpha 0)"
    if rdrop.alpha and rdrop.alpha_warmup:
        method += f", reached after {rdrop.alpha_warmup:.0%} of the steps"
    if rdrop.dropout is not None:
        method += f", dropout {rdrop.dropout:g}"
    if config.train.ema:
        method += f", averaged weights (decay {config.train.ema:g})"
    return method
