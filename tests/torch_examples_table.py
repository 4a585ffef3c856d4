"""The examples of pytorch/examples: what of each is run, and why some are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import torch_examples_data as data


@dataclass(frozen=True)
class Example:
    """One example: a folder of the checkout, and commands that run in a copy of it."""

    folder: str
    commands: tuple[str, ...]
    prepare: Callable[[Path], None] | None = None
    """Writes the data into the copy."""
    given: str = ""
    """What the data are, for the page."""
    steps: int | None = None
    """A script that cannot be told to stop is ended after so many backward calls."""
    mnist: str = ""
    """Where it looks for MNIST, from its folder."""
    parallel: bool = False
    """The commands run at the same time, as processes that talk to one another."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of the environment that it needs with today's torch."""
    unset: str = ""
    """Why losses cannot be compared."""

    @property
    def name(self) -> str:
        return f"{self.folder}: {self.commands[0]}"


def language(model: str, lr: float = 5) -> Example:
    return Example(
        "word_language_model",
        (f"main.py --model {model} --epochs 1 --log-interval 5 --lr {lr}", "generate.py --words 40 --log-interval 10"),
        data.short_text,
        "cut short: 240, 60 and 60 lines of its test text",
    )


EXAMPLES = (
    Example("mnist", ("main.py --epochs 2 --log-interval 1",), mnist="../data"),
    Example("mnist_rnn", ("main.py --epochs 2 --log-interval 1",), mnist="../data"),
    Example("mnist_hogwild", ("main.py --epochs 2 --num-processes 1",), mnist="../data"),
    Example(
        "mnist_forward_forward",
        ("main.py --epochs 20 --train_size 1000 --test_size 500 --log-interval 1",),
        mnist="data",
    ),
    Example("siamese_network", ("main.py --epochs 1 --log-interval 1",), mnist="../data"),
    Example("vae", ("main.py --epochs 3 --log-interval 1",), mnist="../data"),
    Example(
        "dcgan",
        ("main.py --dataset mnist --dataroot . --niter 1 --workers 0 --ngf 8 --ndf 8 --manualSeed 1",),
        mnist=".",
    ),
    Example("regression", ("main.py",)),
    Example("reinforcement_learning", ("reinforce.py --log-interval 1",), steps=15),
    Example("reinforcement_learning", ("actor_critic.py --log-interval 1",), steps=15),
    Example(
        "time_sequence_prediction",
        ("generate_sine_wave.py", "train.py"),
        given="its own, a NumPy array, which `torch.load` must be allowed to read",
        steps=6,
        environment=(("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"),),
    ),
    Example("gcn", ("main.py --epochs 20 --val-every 1",), data.cora_by_request, "made up, in the form of Cora"),
    Example("gat", ("main.py --epochs 5 --val-every 1 --num-heads 2",), data.cora, "made up, in the form of Cora"),
    Example(
        "super_resolution",
        (
            "main.py --upscale_factor 3 --batchSize 2 --testBatchSize 2 --nEpochs 2 --lr 0.001 --threads 0",
            "super_resolve.py --input_image dataset/BSDS300/images/test/0.png --model model_epoch_2.pth "
            "--output_filename out.png",
        ),
        data.pictures("dataset/BSDS300/images/train", "dataset/BSDS300/images/test"),
        "made-up pictures",
    ),
    Example(
        "imagenet",
        ("main.py . --epochs 2 --batch-size 4 --workers 0 --print-freq 1 --seed 1 --lr 0.01",),
        data.pictures("train/a", "train/b", "val/a", "val/b"),
        "made-up pictures",
    ),
    Example(
        "fast_neural_style",
        (
            "neural_style/neural_style.py train --dataset pictures --style-image pictures/a/0.png "
            "--save-model-dir saved --epochs 1 --batch-size 2 --image-size 64 --log-interval 1",
        ),
        data.style,
        "made-up pictures, a VGG-16 of random weights",
    ),
    *[language(model) for model in ("LSTM", "GRU", "RNN_TANH", "Transformer")],
    language("RNN_RELU", lr=0.5),
    *[
        Example("fx", (f"{script}.py",))
        for script in (
            "custom_tracer", "inline_function", "invert", "module_tracer", "primitive_library", "profiling_tracer",
            "proxy_based_graph_creation", "replace_op", "subgraph_rewriter_basic_use", "wrap_output_dynamically",
        )
    ],
    Example("distributed/rpc/rl", ("main.py --log-interval 1",), steps=10),
    Example("distributed/rpc/rnn", ("main.py",), unset="its data are uninitialized memory"),
    Example(
        "distributed/rpc/parameter_server",
        ("rpc_parameter_server.py --world_size 2 --rank 0", "rpc_parameter_server.py --world_size 2 --rank 1"),
        mnist="../data",
        parallel=True,
    ),
)  # fmt: skip

LEFT_OUT = {
    "cpp": "C++",
    "fx/native_interpreter": "needs a C++ library that is built first; no layer of torch.nn is in it",
    "language_translation": "downloads Multi30k and needs torchtext, which is no longer made",
    "legacy/snli": "downloads SNLI and GloVe, and needs torchtext, which is no longer made",
    "distributed/ddp": "needs two GPUs",
    "distributed/ddp-tutorial-series": "needs CUDA",
    "distributed/FSDP": "needs CUDA, and downloads T5 and WikiHow",
    "distributed/FSDP2": "needs two GPUs",
    "distributed/minGPT-ddp": "needs a GPU",
    "distributed/rpc/batch": "needs CUDA",
    "distributed/rpc/ddp_rpc": "needs two GPUs",
    "distributed/rpc/pipeline": "needs two GPUs",
    "distributed/tensor_parallelism": "needs two GPUs",
}
"""Folder -> why it is not run."""
