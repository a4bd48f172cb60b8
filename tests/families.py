"""Tiny models of many families, with random weights; the tokenizer is the tiny BERT's."""

import json
from pathlib import Path

TEXT = {"vocab_size": 28, "pad_token_id": 0}
BERT = {
    **TEXT, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
LLAMA = {**BERT, "num_key_value_heads": 1, "pad_token_id": None, "head_dim": 8}
SEQ2SEQ = {**TEXT, "decoder_start_token_id": 2, "eos_token_id": 3, "bos_token_id": 2}
DEBERTA = {**BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
FAMILIES = {
    "albert": {**BERT, "embedding_size": 8, "hidden_dropout_prob": 0.1},
    "bart": {
        **SEQ2SEQ, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 40,
        "init_std": 0.2,
    },
    "bert": BERT,
    "big_bird": {**BERT, "bos_token_id": 2, "eos_token_id": 3},
    "camembert": BERT,
    "convbert": {**BERT, "embedding_size": 16, "conv_kernel_size": 3},
    "data2vec-text": BERT,
    "deberta": DEBERTA,
    "deberta-v2": {**DEBERTA, "position_buckets": 8},
    "distilbert": {
        **TEXT, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40,
        "initializer_range": 0.2,
    },
    "electra": {**BERT, "embedding_size": 16},
    "ernie": BERT,
    "esm": {**BERT, "hidden_dropout_prob": 0.1, "position_embedding_type": "absolute", "mask_token_id": 1},
    "eurobert": LLAMA,
    "fnet": BERT,
    "funnel": {
        **TEXT, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1], "initializer_std": 0.2,
        "architectures": ["FunnelModel"],
    },
    "gemma2": LLAMA,
    "gpt2": {
        "vocab_size": 28, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "initializer_range": 0.2,
        "bos_token_id": 2, "eos_token_id": 3,
    },
    "ibert": BERT,
    "llama": LLAMA,
    "longformer": {**BERT, "attention_window": 4},
    "megatron-bert": BERT,
    "mobilebert": {**BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "modernbert": {**BERT, "cls_token_id": 2, "sep_token_id": 3},
    "mpnet": BERT,
    "opt": {
        **TEXT, "hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 40, "init_std": 0.2, "bos_token_id": 2, "eos_token_id": 3,
    },
    "qwen2": LLAMA,
    "rembert": {**BERT, "input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": BERT,
    "roberta-prelayernorm": BERT,
    "squeezebert": {
        **BERT, "embedding_size": 16, "q_groups": 1, "k_groups": 1, "v_groups": 1, "post_attention_groups": 1,
        "intermediate_groups": 1, "output_groups": 1,
    },
    "t5": {**SEQ2SEQ, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
    "xlm-roberta": BERT,
    "xlnet": {
        **TEXT, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "initializer_range": 0.2, "bos_token_id": 2,
        "eos_token_id": 3,
    },
}  # fmt: skip
"""What a model's configuration is told; nothing in it is about rdrop."""
WITHOUT_MASK = ("fnet",)
"""Their tokenizers give no attention mask."""


def make_classifier(family: str, **settings):
    """A sequence classifier in memory, on the CPU, as it is after loading."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **settings})
    return AutoModelForSequenceClassification.from_config(config).eval()


def save_encoder(family: str, folder: Path, tokenizer_from: Path, **settings) -> Path:
    """An encoder as it lies on a hub, with a tokenizer beside it."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **settings})
    AutoModel.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_from).save_pretrained(folder)
    if family in WITHOUT_MASK:
        path = folder / "tokenizer_config.json"
        content = {**json.loads(path.read_text()), "model_input_names": ["input_ids", "token_type_ids"]}
        path.write_text(json.dumps(content))
    return folder
