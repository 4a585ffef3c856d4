"""The models of the package, and models by import path."""

import pytest
import torch

import manual_backprop as mb
from manual_backprop.errors import BadInput
from manual_backprop.training.learner import Learner
from manual_backprop.training.models import MODELS, build
from manual_backprop.training.tasks import try_out

DIGITS, MNIST, COLOUR = (1, 8, 8), (1, 28, 28), (3, 32, 32)


class Foreign(torch.nn.Module):
    """A module of torch.nn that knows nothing of this package."""

    def __init__(self, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, width), torch.nn.Tanh(), torch.nn.Linear(width, num_classes)
        )

    def forward(self, input):
        return self.layers(input)


def foreign(num_classes: int = 10, **options) -> torch.nn.Module:
    return Foreign(num_classes, **options)


def not_annotated():
    return 5


def not_a_module(classes: int) -> int:
    return classes


@pytest.mark.parametrize("shape", [DIGITS, MNIST, COLOUR])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "activation": "GELU"}])
def test_models_read_every_shape_and_are_explicit_throughout(name, shape, options):
    model = build(name, shape, 7, options)
    try_out(model, shape, 7)
    report = mb.audit(model, torch.randn(3, *shape))
    assert report.autograd == 0
    assert report.explicit > 3


def test_options_shape_the_models():
    linears = [
        m for m in build("mlp", DIGITS, 10, {"hidden": [5, 6, 7], "norm": True}) if isinstance(m, torch.nn.Linear)
    ]
    assert [m.out_features for m in linears] == [5, 6, 7, 10]
    cnn = build("cnn", MNIST, 10, {"channels": [4, 8], "kernels": [5, 3], "strides": [2, 1], "pools": 2, "hidden": [9]})
    convolutions = [m for m in cnn if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.stride) for m in convolutions] == [
        (4, (5, 5), (2, 2)),
        (8, (3, 3), (1, 1)),
    ]
    try_out(cnn, MNIST, 10)
    resnet = build("resnet", DIGITS, 10, {"widths": [4, 8], "blocks": 3})
    assert sum(isinstance(m, torch.nn.Conv2d) for m in resnet.modules()) == 1 + 2 * 6 + 1


def test_a_residual_block_adds_its_input():
    block = build("resnet", DIGITS, 10, {"widths": [4]})[3].eval()
    torch.nn.init.zeros_(block.body[0].weight)
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(images), images.relu())


@pytest.mark.parametrize("name", ["Foreign", "foreign"])
def test_models_by_import_path_are_told_what_they_ask_for_and_converted(name):
    classifier = Learner(f"{__name__}.{name}", {"width": 6}, DIGITS, 3)
    assert classifier.net.layers[1].out_features == 6
    assert mb.audit(classifier.net, torch.randn(2, *DIGITS)).autograd == 0
    left = Learner(f"{__name__}.{name}", {"width": 6}, DIGITS, 3, convert=False)
    assert type(left.net.layers[1]) is torch.nn.Linear


def test_a_module_itself():
    net = Foreign(10)
    assert Learner(net).net is net


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_lazy_models_are_filled_in_before_the_optimizer_sees_them():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))
    classifier = Learner(net)
    assert classifier.net[1].weight.shape == (10, 64)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("restnet", {}, "Unknown model 'restnet'. Did you mean 'resnet'"),
        ("mlp", {"hiden": [3]}, "Unknown option of model mlp 'hiden'. Did you mean 'hidden'"),
        ("mlp", {"activation": "RelU"}, "Unknown activation 'RelU'. Did you mean 'ReLU'"),
        ("cnn", {"channels": [4, 8], "pools": [1, 2, 2]}, r"cnn: pools=\[1, 2, 2\] has 3 numbers for 2 convolutions"),
        ("cnn", {"channels": [4] * 5, "pools": 2}, "nothing is left of 8 x 8 images"),
        ("no.such.module.Net", {}, "module no.such.module cannot be imported"),
        ("torch.nn.Linea", {}, "Unknown name in torch.nn: 'Linea'. Did you mean 'Linear'"),
        ("torch.nn.Linear", {"in_features": 3}, "Model torch.nn.Linear cannot be built"),
        (f"{__name__}.not_a_module", {}, "is annotated to return int"),
        (f"{__name__}.not_annotated", {}, "gave a int, expected a torch.nn.Module"),
        ("torch..nn", {}, "Unknown name in torch|cannot be imported"),
        ("mlp", {"hidden": [0]}, r"model.net_args.hidden=0: give 1 or more"),
        ("mlp", {"hidden": [-3, 5]}, r"model.net_args.hidden=-3: give 1 or more"),
        ("mlp", {"hidden": "many"}, r"model.net_args.hidden='many': expected whole numbers"),
        ("mlp", {"hidden": [2.5]}, r"model.net_args.hidden=\[2.5\]: expected whole numbers"),
        ("mlp", {"hidden": [None]}, r"model.net_args.hidden=\[None\]: expected whole numbers"),
        ("cnn", {"dropout": -1}, "model.net_args.dropout=-1: give 0 to 1"),
        ("mlp", {"dropout": float("nan")}, "model.net_args.dropout=nan: give 0 to 1"),
        ("resnet", {"dropout": "0.5"}, "model.net_args.dropout='0.5': give 0 to 1"),
        ("cnn", {"channels": [0]}, r"model.net_args.channels=0: give 1 or more"),
        ("cnn", {"channels": []}, r"model.net_args.channels=\[\]: expected whole numbers"),
        ("cnn", {"strides": 0}, r"model.net_args.strides=0: give 1 or more"),
        ("cnn", {"kernels": "3"}, r"model.net_args.kernels='3': expected whole numbers"),
        ("cnn", {"pools": 0}, r"model.net_args.pools=0: give 1 or more"),
        ("cnn", {"paddings": -1}, r"model.net_args.paddings=-1: give 0 or more"),
        ("cnn", {"hidden": [0]}, r"model.net_args.hidden=0: give 1 or more"),
        ("resnet", {"widths": []}, r"model.net_args.widths=\[\]: expected whole numbers"),
        ("resnet", {"widths": [8, 0]}, r"model.net_args.widths=0: give 1 or more"),
        ("resnet", {"blocks": 0}, r"model.net_args.blocks=0: give 1 or more"),
        ("resnet", {"activation": 3}, "Unknown activation '3'"),
    ],
)
def test_bad_models(name, options, message):
    with pytest.raises(BadInput, match=message):
        build(name, DIGITS, 10, options)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (torch.nn.Linear(5, 10), r"Linear cannot read images of shape \(1, 8, 8\)"),
        (torch.nn.Flatten(), r"Flatten gives \(2, 64\) for 2 images, expected logits of shape \(2, 10\)"),
    ],
)
def test_models_that_do_not_fit_the_images(net, message):
    with pytest.raises(BadInput, match=message):
        Learner(net)
