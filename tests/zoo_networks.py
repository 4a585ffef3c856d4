"""The networks of the zoo, of vision here and of text in `zoo_text.py`: random weights, nothing downloaded."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

Build = Callable[[], torch.nn.Module]
Inputs = Callable[[torch.dtype], tuple[tuple, dict[str, Any]]]


@dataclass(frozen=True)
class Network:
    """One network: how it is built, and a batch for it.

    The step in float64 runs on small inputs. What a step keeps is measured on what the network is meant for:
    `usual_inputs`, eight of them, and `usual_build` where the network itself is small here.
    """

    build: Build
    inputs: Inputs
    usual_build: Build
    usual_inputs: Inputs


NETWORKS: dict[str, Network] = {}
BATCH = 8
"""Of the inputs on which bytes are measured."""


def images(size: int, batch: int = 2, channels: int = 3) -> Inputs:
    return lambda dtype: ((torch.randn(batch, channels, size, size, dtype=dtype),), {})


def video(frames: int, size: int, batch: int = 2) -> Inputs:
    return lambda dtype: ((torch.randn(batch, 3, frames, size, size, dtype=dtype),), {})


def detection(size: int, batch: int = 2) -> Inputs:
    def make(dtype: torch.dtype) -> tuple[tuple, dict[str, Any]]:
        pictures = [torch.rand(3, size, size, dtype=dtype) for _ in range(batch)]
        box = torch.tensor([[4.0, 4.0, size - 8.0, size - 8.0]], dtype=dtype)
        masks = torch.zeros(1, size, size, dtype=torch.uint8)
        masks[:, 4 : size - 8, 4 : size - 8] = 1
        keypoints = torch.tensor([[[8.0, 8.0, 1.0]] * 17])
        target = {"boxes": box, "labels": torch.tensor([1]), "masks": masks, "keypoints": keypoints}
        return (pictures, [dict(target) for _ in pictures]), {}

    return make


DETECTED = 320
"""Pixels of each side of the eight pictures on which the bytes of a detection network are measured."""


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
        build = partial(models.get_model, name, weights=None, **extra)
        usual = 299 if name == "inception_v3" else 224
        NETWORKS[f"torchvision:{name}"] = Network(build, images(size), build, images(usual, BATCH))
    for name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        build = partial(models.get_model, name, weights=None, weights_backbone=None)
        NETWORKS[f"torchvision:{name}"] = Network(build, images(64), build, images(224, BATCH))
    for name in (
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fcos_resnet50_fpn",
        "retinanet_resnet50_fpn",
        "ssd300_vgg16",
        "ssdlite320_mobilenet_v3_large",
        "maskrcnn_resnet50_fpn",
        "keypointrcnn_resnet50_fpn",
    ):
        build = partial(models.get_model, name, weights=None, weights_backbone=None)
        sized = [
            build if name.startswith("ssd") else partial(build, min_size=size, max_size=size) for size in (64, DETECTED)
        ]
        NETWORKS[f"torchvision:{name}"] = Network(sized[0], detection(64), sized[1], detection(DETECTED, BATCH))
    for name, (small, usual) in {
        "r3d_18": ((4, 32), (16, 112)),
        "mc3_18": ((4, 32), (16, 112)),
        "r2plus1d_18": ((4, 32), (16, 112)),
        "s3d": ((16, 224), (16, 224)),
        "mvit_v2_s": ((16, 224), (16, 224)),
        "swin3d_t": ((4, 64), (16, 224)),
    }.items():
        build = partial(models.get_model, name, weights=None)
        NETWORKS[f"torchvision:{name}"] = Network(build, video(*small), build, video(*usual, BATCH))


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
        build = partial(timm.create_model, name, pretrained=False)
        usual = timm.get_pretrained_cfg(name).input_size[-1]
        NETWORKS[f"timm:{name}"] = Network(build, images(size), build, images(usual, BATCH))


def _transformers() -> None:
    from .zoo_text import networks

    NETWORKS.update(networks())


for _library, _add in (("torchvision", _torchvision), ("timm", _timm), ("transformers", _transformers)):
    if importlib.util.find_spec(_library) is not None:
        _add()
