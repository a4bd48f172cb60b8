"""Attention in chunks against attention written out."""

import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from transformers import masking_utils

from rdrop_cli.core.model import attention
from rdrop_cli.core.model.attention import attention_forward, attention_mask
from rdrop_cli.core.model.dropout import keep_mask, keep_scale
from rdrop_cli.core.model.value_reads import ValueReads

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
    ours, _ = attention_forward(nn.Module(), q, k, v, mask, dropout=P)
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

    assert attention_forward(nn.Module(), q, k, v, mask, dropout=P)[0].isfinite().all()


def mask_of(keys, device="cpu", **options):
    """What transformers gets from us for an encoder."""
    length = options.get("kv_length", LENGTH)
    return attention_mask(
        **{
            "batch_size": BATCH,
            "q_length": length,
            "kv_length": length,
            "mask_function": masking_utils.bidirectional_mask_function,
            "attention_mask": keys,
            "allow_is_causal_skip": False,
            "allow_is_bidirectional_skip": True,
            "device": device,
        }
        | options
    )


def test_padding_needs_no_square_of_biases(monkeypatch):
    shapes = []
    bias = attention._bias
    monkeypatch.setattr(attention, "_bias", lambda mask, *args: shapes.append(mask.shape) or bias(mask, *args))
    mask = mask_of(padding()[:, 0, 0])
    ours, _ = attention_forward(nn.Module(), *inputs(), mask, dropout=P)

    assert mask.shape == (BATCH, 1, LENGTH, LENGTH)
    assert shapes == [(BATCH, 1, 1, LENGTH)]
    assert ours.isfinite().all()


def test_the_mask_is_transformers_own_and_made_without_looking():
    keys = padding()[:, 0, 0]
    with ValueReads() as spy:
        padded, full, none = mask_of(keys), mask_of(torch.ones_like(keys)), mask_of(None)

    assert torch.equal(padded, padding())
    assert full.all() and full.stride(2) == 0
    assert none is None
    assert spy.reads == {}


def test_a_causal_mask_is_written_out_on_a_device_and_left_to_the_kernel_on_a_cpu():
    causal = {"mask_function": masking_utils.causal_mask_function, "allow_is_bidirectional_skip": False}
    causal["allow_is_causal_skip"] = True
    everything = torch.ones(BATCH, LENGTH, dtype=torch.bool)

    assert mask_of(everything, **causal) is None
    with ValueReads() as spy:
        made = mask_of(everything.to("meta"), device="meta", **causal)
    assert made.shape == (BATCH, 1, LENGTH, LENGTH)
    assert spy.reads == {}


def test_a_window_is_not_taken_for_padding():
    window = masking_utils.and_masks(
        masking_utils.bidirectional_mask_function, masking_utils.sliding_window_bidirectional_overlay(2)
    )
    mask = mask_of(padding()[:, 0, 0], mask_function=window, local_size=2)

    assert mask.stride(2) != 0
    assert not torch.equal(mask[:, :, :1].expand_as(mask), mask)


def test_what_a_model_adds_that_is_not_known_goes_to_pytorchs_attention():
    q, k, v = inputs(dtype=torch.float32)
    with pytest.raises(ValueError, match="softcap"):
        attention_forward(nn.Module(), q, k, v, None, dropout=P, softcap=30.0)
    torch.manual_seed(0)
    ours, _ = attention_forward(nn.Module(), q, k, v, None, dropout=P, is_causal=False, s_aux=torch.ones(HEADS))
    torch.manual_seed(0)
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=P).transpose(1, 2)

    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mask", ["none", "padding"])
def test_without_dropout_it_is_pytorchs_own(mask):
    q, k, v = inputs(dtype=torch.float32)
    ours, _ = attention_forward(nn.Module(), q, k, v, MASKS[mask](LENGTH), is_causal=False)
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=MASKS[mask](LENGTH)).transpose(1, 2)

    assert torch.equal(ours, theirs)


def test_in_bfloat16_without_dropout_values_and_gradients_are_as_close_as_bfloat16_is():
    q, k, v = inputs(dtype=torch.bfloat16)
    ours, _ = attention_forward(nn.Module(), q, k, v, padding(), is_causal=False)
    grads = torch.autograd.grad(ours.square().sum(), (q, k, v))
    with torch.no_grad():
        assert torch.equal(ours, attention_forward(nn.Module(), q, k, v, padding(), is_causal=False)[0])
    exact = inputs()
    theirs = nn.functional.scaled_dot_product_attention(*exact, attn_mask=padding()).transpose(1, 2)

    torch.testing.assert_close(ours.double(), theirs, rtol=0.03, atol=0.03)
    for mine, other in zip(grads, torch.autograd.grad(theirs.square().sum(), exact), strict=True):
        assert (mine.double() - other).norm() < 0.02 * other.norm()


def test_what_it_does_not_know_goes_to_pytorch():
    q, k, v = (part.float() for part in inputs())
    torch.manual_seed(0)
    ours, _ = attention_forward(nn.Module(), q, k, v, None, dropout=P, is_causal=True)
    torch.manual_seed(0)
    theirs = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=P, is_causal=True).transpose(1, 2)

    assert torch.equal(ours, theirs)


def test_cudnns_kernels_are_passed_over_and_allowed_again(monkeypatch):
    allowed = []

    def spy(*args, **kwargs):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(attention, "sdpa_attention_forward", spy)
    with pytest.raises(RuntimeError):
        attention_forward(nn.Module(), *inputs(dtype=torch.float32), None)
    assert allowed == [False]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_importing_attention_changes_nothing_of_transformers():
    code = """if True:
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as masks
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as forwards
        from rdrop_cli.core.model import attention, fast_path
        before = attention.NAME in forwards, attention.NAME in masks
        for _ in range(2):
            attention.register_attention()
        found = forwards[attention.NAME], masks[attention.NAME]
        assert before == (False, False), before
        assert found == (attention.attention_forward, attention.attention_mask), found
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_cudnns_kernels_are_allowed_again_when_the_last_thread_is_done(monkeypatch):
    inside, leave = threading.Barrier(3), {"a": threading.Event(), "b": threading.Event()}

    def wait(*args, **kwargs):
        inside.wait(10)
        leave[threading.current_thread().name].wait(10)

    monkeypatch.setattr(attention, "sdpa_attention_forward", wait)
    threads = [
        threading.Thread(target=attention_forward, args=(nn.Module(), *inputs(), None), name=name) for name in leave
    ]
    for thread in threads:
        thread.start()
    inside.wait(10)
    for thread in threads:
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        leave[thread.name].set()
        thread.join(10)
    assert torch.backends.cuda.cudnn_sdp_enabled()
