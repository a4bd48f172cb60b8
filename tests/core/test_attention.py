"""Attention in chunks against attention written out."""

import pytest
import torch
from torch import nn

from rdrop_cli.core import attention
from rdrop_cli.core.dropout import keep_mask, keep_scale

BATCH, HEADS, LENGTH, WIDTH, P = 3, 4, 9, 8, 0.2


def inputs(queries=LENGTH, dtype=torch.float64):
    torch.manual_seed(0)
    parts = [torch.randn(BATCH, HEADS, length, WIDTH) for length in (queries, LENGTH, LENGTH)]
    return [part.bfloat16().to(dtype).requires_grad_() for part in parts]


def padding(lengths=(9, 5, 1), queries=LENGTH):
    keys = torch.arange(LENGTH)[None] < torch.tensor(lengths)[:, None]
    return keys[:, None, None, :].expand(-1, -1, queries, -1)


def written_out(q, k, v, mask, keep):
    scores = q @ k.transpose(-1, -2) / WIDTH**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return ((torch.softmax(scores, -1) * keep * keep_scale(P)) @ v).transpose(1, 2)


def both(q, k, v, mask):
    torch.manual_seed(7)
    ours, _ = attention.attention_forward(nn.Module(), q, k, v, mask, dropout=P)
    grads = torch.autograd.grad(ours.square().sum(), (q, k, v))
    torch.manual_seed(7)
    chunk = max(1, attention._CHUNK // (q.shape[2] * LENGTH))
    keep = torch.cat(
        [
            keep_mask((min(chunk, BATCH * HEADS - start), q.shape[2], LENGTH), P, q.dtype)
            for start in range(0, BATCH * HEADS, chunk)
        ]
    ).view(BATCH, HEADS, -1, LENGTH)
    theirs = written_out(q, k, v, mask, keep)
    return ours, grads, theirs, torch.autograd.grad(theirs.square().sum(), (q, k, v))


MASKS = {
    "none": lambda queries: None,
    "padding": lambda queries: padding(queries=queries),
    "added": lambda queries: torch.randn(BATCH, 1, queries, LENGTH, dtype=torch.float64),
    "by query": lambda queries: torch.ones(BATCH, 1, queries, LENGTH).tril().bool(),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("queries", [LENGTH, 1])
@pytest.mark.parametrize("chunk", [2**20, LENGTH * LENGTH * 5, 1])
def test_values_and_gradients_equal_attention_written_out(mask, queries, chunk, monkeypatch):
    monkeypatch.setattr(attention, "_CHUNK", chunk)
    ours, grads, theirs, their_grads = both(*inputs(queries), MASKS[mask](queries))

    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)  # the softmax is in float32
    for mine, other in zip(grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_as_close_as_bfloat16_is():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, grads, *_ = both(*inputs(dtype=torch.bfloat16), padding())
    _, _, theirs, exact = both(*inputs(), padding())

    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), theirs, rtol=0.03, atol=0.03)
    for mine, other in zip(grads, exact, strict=True):
        assert (mine.double() - other).norm() < 0.02 * other.norm()


def test_a_row_that_is_masked_whole_stays_a_number():
    q, k, v = inputs(dtype=torch.bfloat16)
    mask = torch.full((BATCH, 1, LENGTH, LENGTH), torch.finfo(torch.float32).min)

    assert attention.attention_forward(nn.Module(), q, k, v, mask, dropout=P)[0].isfinite().all()


def test_padding_needs_no_square_of_biases():
    square = padding().contiguous()

    assert attention._bias(square, BATCH, HEADS, LENGTH, torch.float32).shape == (BATCH * HEADS, 1, LENGTH)


@pytest.mark.parametrize("mask", ["none", "padding"])
def test_without_dropout_it_is_pytorchs_own(mask):
    q, k, v = inputs(dtype=torch.float32)
    ours, _ = attention.attention_forward(nn.Module(), q, k, v, MASKS[mask](LENGTH), is_causal=False)
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=MASKS[mask](LENGTH)).transpose(1, 2)

    assert torch.equal(ours, theirs)


def test_in_bfloat16_without_dropout_values_and_gradients_are_as_close_as_bfloat16_is():
    q, k, v = inputs(dtype=torch.bfloat16)
    ours, _ = attention.attention_forward(nn.Module(), q, k, v, padding(), is_causal=False)
    grads = torch.autograd.grad(ours.square().sum(), (q, k, v))
    with torch.no_grad():
        assert torch.equal(ours, attention.attention_forward(nn.Module(), q, k, v, padding(), is_causal=False)[0])
    exact = inputs()
    theirs = nn.functional.scaled_dot_product_attention(*exact, attn_mask=padding()).transpose(1, 2)

    torch.testing.assert_close(ours.double(), theirs, rtol=0.03, atol=0.03)
    for mine, other in zip(grads, torch.autograd.grad(theirs.square().sum(), exact), strict=True):
        assert (mine.double() - other).norm() < 0.02 * other.norm()


def test_what_it_does_not_know_goes_to_pytorch():
    q, k, v = (part.float() for part in inputs())
    torch.manual_seed(0)
    ours, _ = attention.attention_forward(nn.Module(), q, k, v, None, dropout=P, is_causal=True)
    torch.manual_seed(0)
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=P, is_causal=True).transpose(1, 2)

    assert torch.equal(ours, theirs)
