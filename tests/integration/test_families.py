"""Every family of models by the command line, as users meet it: tiny, with random weights, and with no flag about it."""

import json

import pytest

from conftest import make_reviews, write_csv

TEXT = {"vocab_size": 28, "pad_token_id": 0}
BERT = {
    **TEXT, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
LLAMA = {**BERT, "num_key_value_heads": 1, "pad_token_id": None, "head_dim": 8}
SEQ2SEQ = {**TEXT, "decoder_start_token_id": 2, "eos_token_id": 3, "bos_token_id": 2}
FAMILIES = {
    "albert": {**BERT, "embedding_size": 8, "hidden_dropout_prob": 0.1},
    "bart": {
        **SEQ2SEQ, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 40,
    },
    "bert": BERT,
    "big_bird": {**BERT, "bos_token_id": 2, "eos_token_id": 3},
    "camembert": BERT,
    "convbert": {**BERT, "embedding_size": 16, "conv_kernel_size": 3},
    "data2vec-text": BERT,
    "deberta": {**BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {**BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
    "distilbert": {**TEXT, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40},
    "electra": {**BERT, "embedding_size": 16},
    "ernie": BERT,
    "esm": {**BERT, "hidden_dropout_prob": 0.1, "position_embedding_type": "absolute", "mask_token_id": 1},
    "fnet": {**BERT},
    "funnel": {**TEXT, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1]},
    "gpt2": {"vocab_size": 28, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40},
    "ibert": BERT,
    "longformer": {**BERT, "attention_window": 4},
    "megatron-bert": BERT,
    "mobilebert": {**BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "mpnet": BERT,
    "opt": {
        **TEXT, "hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 40,
    },
    "rembert": {**BERT, "input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": BERT,
    "roberta-prelayernorm": BERT,
    "squeezebert": {**BERT, "embedding_size": 16, "q_groups": 1, "k_groups": 1, "v_groups": 1, "post_attention_groups": 1, "intermediate_groups": 1, "output_groups": 1},
    "t5": {**SEQ2SEQ, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
    "xlm-roberta": BERT,
    "xlnet": {**TEXT, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
}  # fmt: skip
NO_DROPOUT = {
    "eurobert": LLAMA,
    "gemma2": LLAMA,
    "llama": LLAMA,
    "modernbert": {**BERT, "cls_token_id": 2, "sep_token_id": 3},
    "qwen2": LLAMA,
}


@pytest.fixture
def reviews(tmp_path):
    return write_csv(tmp_path / "reviews.csv", make_reviews(64))


@pytest.fixture
def build(tmp_path, tiny_model):
    """Saves a model of a family with the tiny BERT's tokenizer."""

    def build(family, settings):
        import torch
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        torch.manual_seed(0)
        folder = tmp_path / family
        AutoModel.from_config(AutoConfig.for_model(family, **settings)).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
        if family in ("fnet",):
            path = folder / "tokenizer_config.json"
            content = json.loads(path.read_text())
            path.write_text(json.dumps({**content, "model_input_names": ["input_ids", "token_type_ids"]}))
        return folder

    return build


OPTIONS = [
    "--alpha", "1", "--max-length", "24", "--batch-size", "16", "--epochs", "1", "--lr", "1e-2",
    "--set", "train.tensorboard=false",
]  # fmt: skip


def use(rdrop, reviews, model, *more):
    """Train, measure again, predict; forecast, and compare. Returns what training said on stderr."""
    arguments = [reviews, "--model", model, *OPTIONS, *more]
    result = rdrop("train", *arguments, "--json")
    run = json.loads(result.stdout)
    assert rdrop.json("evaluate", run["run_dir"])["metrics"] == run["metrics"]["test"]
    texts = ["a great movie", "the plot was dull and it seemed the actors with some film"]
    together = rdrop.json("predict", *texts)["predictions"]
    alone = [rdrop.json("predict", text)["predictions"][0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-2)
    assert rdrop.json("train", *arguments, "--dry-run")["steps"] == run["train"]["steps"]
    compared = rdrop.json("compare", *arguments, "--arms", "plain,rdrop", "--seeds", "1")
    assert list(compared["arms"]) == ["plain", "rdrop"]
    return result.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_evaluates_predicts_and_compares(family, rdrop, reviews, build):
    said = use(rdrop, reviews, build(family, FAMILIES[family]))
    print(said)


@pytest.mark.parametrize("family", NO_DROPOUT)
def test_b(family, rdrop, reviews, build):
    model = build(family, NO_DROPOUT[family])
    print(rdrop.error("train", reviews, "--model", model, *OPTIONS))
    key = "attention_dropout"
    print(use(rdrop, reviews, model, "--set", f"model.config.{key}=0.1"))
