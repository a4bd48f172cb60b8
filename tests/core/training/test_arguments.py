"""What the Trainer is told on each device and in each precision."""

import torch

from rdrop_cli.core.training.arguments import training_arguments


def arguments(config, tmp_path, precision="float32", **settings):
    return training_arguments(config(**settings), tmp_path, torch.device("cpu"), precision)


def test_a_skipped_step_of_float16_is_seen_as_its_optimizer_is_not_fused(config, tmp_path):
    assert arguments(config, tmp_path, "float16").optim == "adamw_torch"
    assert arguments(config, tmp_path, "bfloat16").optim == "adamw_torch_fused"
    assert arguments(config, tmp_path).optim == "adamw_torch_fused"


def test_on_a_cpu_nothing_is_kept_pinned_or_copied_behind_ones_back(config, tmp_path):
    made = arguments(config, tmp_path, **{"train.num_workers": 2})
    assert not made.dataloader_pin_memory
    assert not made.accelerator_config.non_blocking
    assert not made.dataloader_persistent_workers  # a new worker's seed moves the generator that dropout draws from


def test_buffers_are_not_sent_in_every_forward_pass(config, tmp_path):
    assert arguments(config, tmp_path).ddp_broadcast_buffers is False
