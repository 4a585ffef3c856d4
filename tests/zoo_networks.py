"""The networks of the zoo: small inputs, random weights, nothing downloaded."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Inputs = Callable[[torch.dtype], tuple[tuple, dict[str, Any]]]
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], Inputs]] = {}


def images(size: int, batch: int = 2, channels: int = 3) -> Inputs:
    return lambda dtype: ((torch.randn(batch, channels, size, size, dtype=dtype),), {})


def video(frames: int, size: int) -> Inputs:
    return lambda dtype: ((torch.randn(2, 3, frames, size, size, dtype=dtype),), {})


def detection(size: int) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        pictures = [torch.rand(3, size, size, dtype=dtype) for _ in range(2)]
        box = torch.tensor([[4.0, 4.0, size - 8.0, size - 8.0]], dtype=dtype)
        masks = torch.zeros(1, size, size, dtype=torch.uint8)
        masks[:, 4 : size - 8, 4 : size - 8] = 1
        keypoints = torch.tensor([[[8.0, 8.0, 1.0]] * 17])
        target = {"boxes": box, "labels": torch.tensor([1]), "masks": masks, "keypoints": keypoints}
        return (pictures, [dict(target) for _ in pictures]), {}

    return make


def _torchvision() -> None:
    models = importlib.import_module("torchvision.models")
    for name, size in {
        "alexnet": 96,
        "vgg11_bn": 64,
        "resnet18": 64,
        "resnext50_32x4d": 64,
        "wide_resnet50_2": 64,
        "densenet121": 64,
        "googlenet": 96,
        "inception_v3": 299,
        "mobilenet_v2": 64,
        "mobilenet_v3_small": 64,
        "mnasnet0_5": 64,
        "shufflenet_v2_x0_5": 64,
        "squeezenet1_1": 64,
        "efficientnet_b0": 64,
        "efficientnet_v2_s": 64,
        "regnet_y_400mf": 64,
        "convnext_tiny": 64,
        "vit_b_16": 224,
        "swin_t": 64,
        "swin_v2_t": 64,
        "maxvit_t": 224,
    }.items():
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        NETWORKS[f"torchvision:{name}"] = (partial(models.get_model, name, weights=None, **extra), images(size))
    for name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        build = partial(models.get_model, name, weights=None, weights_backbone=None)
        NETWORKS[f"torchvision:{name}"] = (build, images(64))
    for name in (
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fcos_resnet50_fpn",
        "retinanet_resnet50_fpn",
        "ssd300_vgg16",
        "ssdlite320_mobilenet_v3_large",
        "maskrcnn_resnet50_fpn",
        "keypointrcnn_resnet50_fpn",
    ):
        small = {} if name.startswith("ssd") else {"min_size": 64, "max_size": 64}
        build = partial(models.get_model, name, weights=None, weights_backbone=None, **small)
        NETWORKS[f"torchvision:{name}"] = (build, detection(64))
    for name, shape in {
        "r3d_18": (4, 32),
        "mc3_18": (4, 32),
        "r2plus1d_18": (4, 32),
        "s3d": (16, 224),
        "mvit_v2_s": (16, 224),
        "swin3d_t": (4, 64),
    }.items():
        NETWORKS[f"torchvision:{name}"] = (partial(models.get_model, name, weights=None), video(*shape))


def _timm() -> None:
    timm = importlib.import_module("timm")
    for name, size in {
        "convnext_atto": 64,
        "convnextv2_atto": 64,
        "efficientnet_lite0": 64,
        "tf_efficientnetv2_b0": 64,
        "mobilenetv3_small_050": 64,
        "mobilenetv4_conv_small": 64,
        "regnetx_002": 64,
        "regnetz_b16": 64,
        "resnet18d": 64,
        "resnetv2_50": 64,
        "seresnet18": 64,
        "nf_resnet26": 64,
        "nfnet_f0": 64,
        "ghostnet_050": 64,
        "levit_128s": 224,
        "deit_tiny_patch16_224": 224,
        "vit_tiny_patch16_224": 224,
        "beit_base_patch16_224": 224,
        "swin_s3_tiny_224": 224,
        "mixer_s32_224": 224,
        "resmlp_12_224": 224,
        "gmlp_ti16_224": 224,
        "poolformer_s12": 64,
        "pvt_v2_b0": 64,
        "edgenext_xx_small": 64,
        "mobilevit_xxs": 64,
        "cspresnet50": 64,
        "dla34": 64,
        "hrnet_w18_small": 64,
        "xcit_nano_12_p16_224": 224,
        "coatnet_nano_rw_224": 224,
        "fastvit_t8": 64,
        "repvgg_a0": 64,
        "efficientformer_l1": 224,
        "cait_xxs24_224": 224,
        "volo_d1_224": 224,
    }.items():
        NETWORKS[f"timm:{name}"] = (
            partial(timm.create_model, name, pretrained=False),
            images(size),
        )


TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}


def tokens(vocabulary: int = 99, length: int = 12, decoder: bool = False, labels: bool = True) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        ids = torch.randint(2, vocabulary, (2, length))
        named = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        named["attention_mask"][0, -3:] = 0
        if labels:
            named["labels"] = ids
        if decoder:
            named["decoder_input_ids"] = ids
        return (), named

    return make


def pixels(size: int, **more: Any) -> Inputs:
    return lambda dtype: ((), {"pixel_values": torch.randn(2, 3, size, size, dtype=dtype), **more})


def _transformers() -> None:
    t = importlib.import_module("transformers")

    def add(name: str, model: str, config: str, inputs: Inputs, **options: Any) -> None:
        if not (hasattr(t, model) and hasattr(t, config)):
            return
        NETWORKS[f"transformers:{name}"] = (lambda: getattr(t, model)(getattr(t, config)(**options)), inputs)

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
        config = model.removesuffix("ForMaskedLM") + "Config"
        extra: dict[str, Any] = {"embedding_size": 32} if name in ("electra", "albert", "roformer", "convbert") else {}
        if name == "mobilebert":
            extra = {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32}
        if name == "squeezebert":
            extra = {"embedding_size": 32}
        add(name, model, config, tokens(), **TEXT, **extra)
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
        config = model.removesuffix("ForCausalLM") + "Config"
        extra = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
        if name == "falcon":
            del extra["head_dim"]
        if name == "mixtral":
            extra["experts_implementation"] = "eager"  # the grouped matmul of torch takes no float64
        add(name, model, config, tokens(), **TEXT, **extra)
    add("gpt2", "GPT2LMHeadModel", "GPT2Config", tokens(), n_embd=32, n_layer=2, n_head=4, vocab_size=99)
    add(
        "gpt_neo",
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        tokens(),
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        vocab_size=99,
    )
    add("opt", "OPTForCausalLM", "OPTConfig", tokens(), **TEXT, ffn_dim=64, word_embed_proj_dim=32)
    add("bloom", "BloomForCausalLM", "BloomConfig", tokens(), hidden_size=32, n_layer=2, n_head=4, vocab_size=99)
    add(
        "distilbert",
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        tokens(),
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        vocab_size=99,
    )
    add(
        "xlnet", "XLNetLMHeadModel", "XLNetConfig", tokens(), d_model=32, n_layer=2, n_head=4, d_inner=64, vocab_size=99
    )
    add(
        "mamba",
        "MambaForCausalLM",
        "MambaConfig",
        tokens(),
        hidden_size=32,
        num_hidden_layers=2,
        vocab_size=99,
        state_size=8,
    )
    add("rwkv", "RwkvForCausalLM", "RwkvConfig", tokens(), hidden_size=32, num_hidden_layers=2, vocab_size=99)
    add(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        tokens(),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        vocab_size=99,
        decoder_start_token_id=0,
        pad_token_id=0,
    )
    add(
        "bart",
        "BartForConditionalGeneration",
        "BartConfig",
        tokens(),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=99,
    )
    add(
        "vit",
        "ViTForImageClassification",
        "ViTConfig",
        pixels(32),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    add(
        "swin",
        "SwinForImageClassification",
        "SwinConfig",
        pixels(32),
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
    )
    add(
        "convnext",
        "ConvNextForImageClassification",
        "ConvNextConfig",
        pixels(32),
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
    )
    add(
        "segformer",
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        pixels(32),
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
    )
    add(
        "resnet",
        "ResNetForImageClassification",
        "ResNetConfig",
        pixels(32),
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
    )
    add(
        "whisper",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        lambda dtype: (
            (),
            {
                "input_features": torch.randn(2, 80, 40, dtype=dtype),
                "decoder_input_ids": torch.randint(2, 99, (2, 7)),
                "labels": torch.randint(2, 99, (2, 7)),
            },
        ),
        vocab_size=99,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
    )
    add(
        "wav2vec2",
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        lambda dtype: ((), {"input_values": torch.randn(2, 1600, dtype=dtype), "labels": torch.randint(1, 30, (2, 2))}),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=[8, 8, 8],
        conv_stride=[5, 4, 4],
        conv_kernel=[10, 8, 4],
        vocab_size=32,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
    )
    add(
        "clip",
        "CLIPModel",
        "CLIPConfig",
        lambda dtype: (
            (),
            {
                "input_ids": torch.randint(2, 99, (2, 8)),
                "pixel_values": torch.randn(2, 3, 32, 32, dtype=dtype),
                "return_loss": True,
            },
        ),
        text_config={**TEXT, "projection_dim": 16, "eos_token_id": 2},
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=16,
    )


for _library, _add in (("torchvision", _torchvision), ("timm", _timm), ("transformers", _transformers)):
    if importlib.util.find_spec(_library) is not None:
        _add()
