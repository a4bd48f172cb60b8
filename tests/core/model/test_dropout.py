"""Dropout's law, seeding and gradient."""

import pytest
import torch
from torch import nn

from rdrop_cli.core.model.dropout import FastDropout, keep_mask, keep_scale, use_fast_dropout

DRAWS = 10_000_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.013])
def test_the_kept_share_is_one_minus_p_over_ten_million_draws(p):
    torch.manual_seed(1)
    kept = keep_mask((DRAWS,), p, torch.float32).double().mean().item()

    assert abs(kept - (1 - p)) < 4 * (p * (1 - p) / DRAWS) ** 0.5


def test_every_lane_of_a_draw_has_the_same_law():
    torch.manual_seed(2)
    kept = keep_mask((DRAWS // 4, 4), 0.1, torch.float32).double().mean(dim=0)

    assert (kept - 0.9).abs().max() < 4 * (0.09 / (DRAWS / 4)) ** 0.5


def test_two_masks_and_neighbours_in_one_mask_are_uncorrelated():
    torch.manual_seed(3)
    first, second = (keep_mask((DRAWS,), 0.1, torch.float32).double() - 0.9 for _ in range(2))

    for one, other in [(first, second), *((first[lag:], first[:-lag]) for lag in (1, 2, 3, 4, 7))]:
        correlation = (one * other).mean() / 0.09
        assert abs(correlation) < 4 / DRAWS**0.5


def test_the_two_halves_of_a_doubled_batch_are_uncorrelated():
    torch.manual_seed(6)
    first, second = keep_mask((2, DRAWS), 0.1, torch.float32).double() - 0.9

    assert abs((first * second).mean() / 0.09) < 4 / DRAWS**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_expectation_of_the_output_is_the_input(dtype):
    torch.manual_seed(4)
    # A bfloat16 output is rounded, to either side alike; 3 and its multiple 3 / 0.9 are not rounded much.
    out = FastDropout(0.1).train()(torch.full((DRAWS,), 3.0, dtype=dtype)).double()

    deviation = 3 * (0.1 / 0.9) ** 0.5
    rounding = 0 if dtype == torch.float32 else 3 * 2**-9
    assert abs(out.mean() - 3) < 4 * deviation / DRAWS**0.5 + rounding
    assert keep_scale(0.1) == pytest.approx(1 / 0.9, rel=1e-5)


def test_the_seed_decides_the_mask_and_a_saved_state_goes_on_with_it():
    torch.manual_seed(5)
    first = keep_mask((3, 7), 0.3, torch.bfloat16)
    state = torch.get_rng_state()
    second = keep_mask((3, 7), 0.3, torch.bfloat16)
    torch.manual_seed(5)
    again = keep_mask((3, 7), 0.3, torch.bfloat16)
    torch.set_rng_state(state)

    assert torch.equal(first, again)
    assert torch.equal(second, keep_mask((3, 7), 0.3, torch.bfloat16))
    assert not torch.equal(first, second)


def test_the_gradient_passes_where_the_value_did():
    x = torch.ones(1000, requires_grad=True)
    out = FastDropout(0.25).train()(x)
    out.sum().backward()

    assert torch.equal(x.grad, out.detach())
    assert x.grad.unique().tolist() == [0.0, pytest.approx(4 / 3)]


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.1, False)])
def test_nothing_is_dropped_or_drawn_without_need(p, training):
    x, state = torch.randn(10), torch.get_rng_state()

    assert torch.equal(FastDropout(p).train(training)(x), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_probability_of_one_drops_everything():
    assert not FastDropout(1.0).train()(torch.ones(10)).any()


def test_dropout_modules_are_replaced_with_their_probability_and_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)), nn.Dropout1d(0.2)).eval()
    names = list(model.state_dict())

    use_fast_dropout(model)

    assert isinstance(model[1][0], FastDropout)
    assert (model[1][0].p, model[1][0].training) == (0.3, False)
    assert type(model[2]) is nn.Dropout1d
    assert list(model.state_dict()) == names
