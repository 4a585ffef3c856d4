"""The networks of transformers in the zoo: small ones for the step in float64, wide ones for the bytes."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch

from .zoo_networks import BATCH, Inputs, Network

TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
VOCABULARY, LENGTH = 32_000, 128
WIDE = {
    "hidden_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": VOCABULARY,
}


def tokens(vocabulary: int = 99, length: int = 12, batch: int = 2) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        ids = torch.randint(2, vocabulary, (batch, length))
        mask = torch.ones_like(ids)
        mask[0, -3:] = 0
        return (), {"input_ids": ids, "attention_mask": mask, "labels": ids}

    return make


def pixels(size: int, batch: int = 2) -> Inputs:
    return lambda dtype: ((), {"pixel_values": torch.randn(batch, 3, size, size, dtype=dtype)})


def speech(frames: int, length: int, vocabulary: int, batch: int = 2) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        text = {n: torch.randint(2, vocabulary, (batch, length)) for n in ("decoder_input_ids", "labels")}
        return (), {"input_features": torch.randn(batch, 80, frames, dtype=dtype), **text}

    return make


def sound(samples: int, batch: int = 2) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        waves = torch.randn(batch, samples, dtype=dtype)
        return (), {"input_values": waves, "labels": torch.randint(1, 30, (batch, 2))}

    return make


def pairs(vocabulary: int, length: int, size: int, batch: int = 2) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        ids = torch.randint(2, vocabulary, (batch, length))
        pictures = torch.randn(batch, 3, size, size, dtype=dtype)
        return (), {"input_ids": ids, "pixel_values": pictures, "return_loss": True}

    return make


class _Added(dict[str, Network]):
    """What `networks` collects."""

    def add(
        self,
        name: str,
        model: str,
        small: dict[str, Any],
        wide: dict[str, Any],
        inputs: tuple[Inputs, Inputs] = (tokens(), tokens(VOCABULARY, LENGTH, BATCH)),
    ) -> None:
        """A network by its class and the options of its two configurations, where these transformers have it."""
        t = importlib.import_module("transformers")
        if (cls := getattr(t, model, None)) is None:
            return

        def build(options: dict[str, Any]) -> torch.nn.Module:
            return cls(cls.config_class(**options))

        self[f"transformers:{name}"] = Network(partial(build, small), inputs[0], partial(build, wide), inputs[1])


def networks() -> dict[str, Network]:
    """All of them, by name."""
    found = _Added()
    _encoders(found)
    _decoders(found)
    _both(found)
    _not_text(found)
    return found


def _encoders(found: _Added) -> None:
    for name, model in {
        "bert": "BertForMaskedLM",
        "roberta": "RobertaForMaskedLM",
        "electra": "ElectraForMaskedLM",
        "albert": "AlbertForMaskedLM",
        "deberta_v2": "DebertaV2ForMaskedLM",
        "mpnet": "MPNetForMaskedLM",
        "xlm_roberta": "XLMRobertaForMaskedLM",
        "roformer": "RoFormerForMaskedLM",
        "convbert": "ConvBertForMaskedLM",
        "squeezebert": "SqueezeBertForMaskedLM",
        "mobilebert": "MobileBertForMaskedLM",
    }.items():
        small: dict[str, Any] = {}
        wide: dict[str, Any] = {}
        if name in ("electra", "albert", "roformer", "convbert", "squeezebert", "mobilebert"):
            small["embedding_size"], wide["embedding_size"] = 32, 768 if name == "squeezebert" else 128
        if name == "mobilebert":
            small |= {"intra_bottleneck_size": 32, "true_hidden_size": 32}
            wide |= {"hidden_size": 512, "num_attention_heads": 4, "intermediate_size": 512}  # its own sizes
        found.add(name, model, {**TEXT, **small}, {**WIDE, **wide})
    small = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 99}
    found.add("distilbert", "DistilBertForMaskedLM", small, {"vocab_size": VOCABULARY})
    small = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 99}
    wide = {"d_model": 768, "n_layer": 6, "n_head": 12, "d_inner": 3072, "vocab_size": VOCABULARY}
    found.add("xlnet", "XLNetLMHeadModel", small, wide)


def _decoders(found: _Added) -> None:
    for name, model in {
        "llama": "LlamaForCausalLM",
        "mistral": "MistralForCausalLM",
        "qwen2": "Qwen2ForCausalLM",
        "qwen3": "Qwen3ForCausalLM",
        "gemma": "GemmaForCausalLM",
        "gemma2": "Gemma2ForCausalLM",
        "phi": "PhiForCausalLM",
        "phi3": "Phi3ForCausalLM",
        "gpt_neox": "GPTNeoXForCausalLM",
        "stablelm": "StableLmForCausalLM",
        "olmo2": "Olmo2ForCausalLM",
        "cohere": "CohereForCausalLM",
        "falcon": "FalconForCausalLM",
        "mixtral": "MixtralForCausalLM",
        "starcoder2": "Starcoder2ForCausalLM",
        "granite": "GraniteForCausalLM",
    }.items():
        small: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
        wide: dict[str, Any] = {"num_key_value_heads": 4, "head_dim": 64, "pad_token_id": 0}
        if name == "falcon":
            del small["head_dim"], wide["head_dim"]
        if name == "mixtral":
            small["experts_implementation"] = "eager"  # the grouped matmul of torch takes no float64
            wide["experts_implementation"] = "eager"
        found.add(name, model, {**TEXT, **small}, {**WIDE, **wide})
    found.add("gpt2", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, {})
    kinds = ["global", "local"]
    small = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[kinds, 1]], "vocab_size": 99}
    wide = {"hidden_size": 768, "num_layers": 6, "num_heads": 12, "attention_types": [[kinds, 3]]}
    found.add("gpt_neo", "GPTNeoForCausalLM", small, wide)
    sizes = [{"ffn_dim": 64, "word_embed_proj_dim": 32}, {"ffn_dim": 3072, "word_embed_proj_dim": 768}]
    found.add("opt", "OPTForCausalLM", {**TEXT, **sizes[0]}, {**WIDE, **sizes[1]})
    small = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}
    wide = {"hidden_size": 768, "n_layer": 6, "n_head": 12, "vocab_size": VOCABULARY}
    found.add("bloom", "BloomForCausalLM", small, wide)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99}
    wide = {"hidden_size": 768, "num_hidden_layers": 4, "vocab_size": VOCABULARY}
    found.add("mamba", "MambaForCausalLM", {**small, "state_size": 8}, wide)
    found.add("rwkv", "RwkvForCausalLM", small, wide)


def _both(found: _Added) -> None:
    small = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99}
    start = {"decoder_start_token_id": 0, "pad_token_id": 0}
    found.add("t5", "T5ForConditionalGeneration", {**small, **start}, start)

    def sides(layers: int, heads: int, width: int) -> dict[str, Any]:
        numbers = {"layers": layers, "attention_heads": heads, "ffn_dim": width}
        return {f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in numbers.items()}

    small = {"d_model": 32, "vocab_size": 99, **sides(2, 4, 64)}
    found.add("bart", "BartForConditionalGeneration", small, {"d_model": 768, **sides(6, 12, 3072)})
    small |= {"max_source_positions": 20, "bos_token_id": 1, "eos_token_id": 1}
    found.add(
        "whisper",
        "WhisperForConditionalGeneration",
        {**small, "pad_token_id": 0, "decoder_start_token_id": 1},
        {},
        (speech(40, 7, 99), speech(3000, LENGTH, 50_000, BATCH)),
    )


def _not_text(found: _Added) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    picture = {"image_size": 32, "patch_size": 8}
    inputs = pixels(32), pixels(224, BATCH)
    found.add("vit", "ViTForImageClassification", {**sizes, **picture}, {}, inputs)
    small: dict[str, Any] = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
    found.add("swin", "SwinForImageClassification", {**small, "window_size": 4}, {}, inputs)
    small = {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]}
    found.add("convnext", "ConvNextForImageClassification", small, {}, inputs)
    small |= {"num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 16}
    found.add("segformer", "SegformerForSemanticSegmentation", small, {}, inputs)
    small = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    found.add("resnet", "ResNetForImageClassification", small, {}, inputs)
    small = {
        **sizes,
        "conv_dim": [8, 8, 8],
        "conv_stride": [5, 4, 4],
        "conv_kernel": [10, 8, 4],
        "vocab_size": 32,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "mask_time_prob": 0.0,
    }
    found.add("wav2vec2", "Wav2Vec2ForCTC", small, {}, (sound(1600), sound(32_000, BATCH)))
    small = {
        "text_config": {**TEXT, "projection_dim": 16, "eos_token_id": 2},
        "vision_config": {**sizes, **picture},
        "projection_dim": 16,
    }
    found.add("clip", "CLIPModel", small, {}, (pairs(99, 8, 32), pairs(49_000, 77, 224, BATCH)))
