"""convert and revert: only classes change; exact types only; whole torchvision networks equal in loss and gradients."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn.utils import prune

import manual_backprop as mb
from manual_backprop.convert import as_twin, table


def network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Linear(8, 3)))


def gradients(model: torch.nn.Module, x: Tensor) -> list[Tensor]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(model(x).square().sum(), parameters))


def reasons(model: torch.nn.Module) -> dict[str, str]:
    return {left.name: left.reason for left in mb.conversion_report(model).left}


def test_only_the_classes_change() -> None:
    model = network().eval()
    calls: list[str] = []
    model[0].register_forward_hook(lambda *_: calls.append("forward"))
    model[0].register_full_backward_hook(lambda *_: calls.append("backward"))
    model.register_buffer("extra", torch.ones(2))
    before = {name: id(value) for name, value in [*model.named_parameters(), *model.named_buffers()]}
    attributes = [dict(vars(m)) for m in model.modules()]
    assert mb.convert(model) is model
    assert [type(m) for m in model.modules()] == [
        torch.nn.Sequential, mb.nn.Linear, mb.nn.ReLU, torch.nn.Sequential, mb.nn.Linear
    ]  # fmt: skip
    assert {name: id(value) for name, value in [*model.named_parameters(), *model.named_buffers()]} == before
    assert all(vars(m)[k] is v for m, old in zip(model.modules(), attributes, strict=True) for k, v in old.items())
    assert not any(m.training for m in model.modules())
    model(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert calls == ["forward", "backward"]
    assert mb.revert(model) is model
    assert [type(m) for m in model.modules()] == [type(m) for m in network().modules()]


def test_the_root_itself_and_converting_twice() -> None:
    layer = torch.nn.Linear(4, 3)
    assert type(mb.convert(mb.convert(layer))) is mb.nn.Linear
    assert type(mb.revert(mb.revert(layer))) is torch.nn.Linear


def test_an_optimizer_and_a_checkpoint_made_before_stay_valid() -> None:
    model = network()
    optimizer, saved = torch.optim.SGD(model.parameters(), 0.1), copy.deepcopy(model.state_dict())
    mb.convert(model)(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, saved["0.weight"])
    model.load_state_dict(saved, strict=True)
    assert torch.equal(model[0].weight, saved["0.weight"])
    assert type(pickle.loads(pickle.dumps(model))[0]) is mb.nn.Linear


def test_tied_weights_and_shared_modules_stay_one() -> None:
    shared = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(shared, torch.nn.Tanh(), shared, torch.nn.Linear(4, 4)).double()
    model[3].weight = shared.weight
    x = torch.randn(2, 4, dtype=torch.float64)
    expected = gradients(model, x)
    mb.convert(model)
    assert type(model[0]) is mb.nn.Linear
    assert model[0] is model[2]
    assert model[3].weight is model[0].weight
    for ours, theirs in zip(gradients(model, x), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)  # float64, sums in another order


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrizations_are_kept_and_copies_left_alone(norm: str) -> None:
    model = getattr(torch.nn.utils.parametrizations, norm)(torch.nn.Linear(4, 4)).double().eval()
    other, dynamic = copy.deepcopy(model), type(model)
    x = torch.randn(3, 4, dtype=torch.float64)
    mb.convert(model)
    assert isinstance(model, mb.nn.Linear)
    assert type(other) is dynamic
    assert torch.nn.utils.parametrize.is_parametrized(model, "weight")
    for ours, theirs in zip(gradients(model, x), gradients(other, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)  # float64, sums in another order
    assert isinstance(copy.deepcopy(model), mb.nn.Linear)
    mb.revert(model)
    assert not isinstance(model, mb.nn.Linear)
    assert type(model).__bases__ == (torch.nn.Linear,)
    torch.nn.utils.parametrize.remove_parametrizations(mb.convert(model), "weight")
    assert type(model) is mb.nn.Linear
    assert isinstance(model.weight, torch.nn.Parameter)
    assert other(x).shape == (3, 4), "a copy that shared the old class still has its property"


def old_norm(name: str) -> Callable[[torch.nn.Module], torch.nn.Module]:
    return getattr(torch.nn.utils, name)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_the_older_norms_that_work_by_hooks(norm: str) -> None:
    torch.manual_seed(0)
    model = old_norm(norm)(torch.nn.Linear(4, 4)).double().eval()
    x = torch.randn(3, 4, dtype=torch.float64)
    expected = gradients(model, x)
    assert type(mb.convert(model)) is mb.nn.Linear
    assert model(x).grad_fn.name() == "LinearBackward"
    for ours, theirs in zip(gradients(model, x), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)  # float64, sums in another order


def test_pruned_weights_stay_pruned() -> None:
    model = torch.nn.Linear(4, 3)
    prune.l1_unstructured(model, "weight", amount=5)
    mb.convert(model)
    model(torch.randn(2, 4)).sum().backward()
    assert int((model.weight == 0).sum()) == 5
    assert bool((model.weight_orig.grad[model.weight == 0] == 0).all())


def test_lazy_modules_become_ours_when_they_see_data() -> None:
    model = mb.convert(torch.nn.Sequential(torch.nn.LazyLinear(3), torch.nn.ReLU()))
    assert type(model[0]) is mb.nn.LazyLinear
    output = model(torch.randn(2, 5))
    assert output.grad_fn.next_functions[0][0].name() == "LinearBackward", "already in the first call"
    assert type(model[0]) is mb.nn.Linear
    assert model[0].weight.shape == (3, 5)
    assert type(mb.revert(mb.convert(torch.nn.LazyLinear(3)))) is torch.nn.LazyLinear


def test_layers_without_a_rule_and_subclasses_are_left_reported_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Own(torch.nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    class Ours(mb.nn.Linear): ...

    class New(torch.nn.Module):
        __module__ = "torch.nn.modules.new"

    model = torch.nn.ModuleDict({"own": Own(4, 4), "new": New(), "linear": torch.nn.Linear(4, 4)})
    model["ours"] = Ours(4, 4)
    model["patched"] = torch.nn.Linear(4, 4)
    model["patched"].forward = lambda input: input
    with caplog.at_level(logging.WARNING, "manual_backprop"):
        mb.convert(model)
    assert isinstance(model["own"], Own)
    assert model["own"](torch.ones(2, 4)).grad_fn.name() == "MulBackward", "its forward runs on rules"
    assert type(model["patched"]) is torch.nn.Linear
    assert type(model["linear"]) is mb.nn.Linear
    report = mb.conversion_report(model)
    assert report.converted == 3
    assert set(reasons(model)) == {"new", "patched"}
    assert "no rule yet" in reasons(model)["new"]
    assert "replaced on the instance" in reasons(model)["patched"]
    assert "new (torch.nn.modules.new." in str(report)
    assert str(report) in caplog.text
    caplog.clear()
    mb.revert(model)
    assert type(model["ours"]) is Ours
    assert type(model["own"]) is Own
    assert "ours (" in caplog.text, "a subclass of ours cannot become torch's, and revert says so"


def test_nothing_is_logged_when_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    model = mb.convert(network())
    assert not caplog.records
    assert str(mb.conversion_report(model)) == "3 modules run on rules, 0 are left as they are"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_and_script_modules_are_left() -> None:
    quantized = torch.ao.quantization.quantize_dynamic(network())
    assert "quantized" in reasons(mb.convert(quantized))["0"]
    script = mb.convert(torch.jit.script(network()))
    assert list(reasons(script)) == ["(the model)"]
    assert "script" in reasons(script)["(the model)"]
    assert "torch.nn.Linear" not in str(type(script))


def test_anything_but_a_module_is_refused() -> None:
    for function in (mb.convert, mb.revert, mb.conversion_report):
        with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module\. got: list"):
            function([torch.nn.Linear(2, 2)])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"got: the class Linear\. Make an instance"):
            function(torch.nn.Linear)  # type: ignore[arg-type]


def test_the_table_holds_every_layer_of_ours() -> None:
    both = [name for name in mb.nn._LAYERS if hasattr(torch.nn, name)]
    ours = {name for name in both if getattr(mb.nn, name) is not getattr(torch.nn, name)}
    ours |= {"NonDynamicallyQuantizableLinear", "_WeightNorm", "_SpectralNorm", "_Orthogonal"}  # torch.nn hides them
    assert {cls.__name__ for cls in table().values()} == ours
    assert all(issubclass(ours, twin) and ours.__name__ == twin.__name__ for twin, ours in table().items())


def test_as_twin_gives_the_classes_back_also_after_an_error() -> None:
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    model = mb.convert(torch.nn.Sequential(*network(), normed))
    before = [type(m) for m in model.modules()]

    def fail() -> None:
        with as_twin(model):
            assert not [m for m in model.modules() if isinstance(m, tuple(table().values()))]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [type(m) for m in model.modules()] == before


def vision_transformer(num_classes: int) -> torch.nn.Module:
    model = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=num_classes
    )
    torch.nn.init.normal_(model.heads.head.weight, std=0.1)  # torchvision's zeros would let no delta through
    return model


NETWORKS: dict[str, Callable[..., torch.nn.Module]] = {
    **{name: getattr(torchvision.models, name) for name in ("resnet18", "vgg11_bn", "mobilenet_v2")},
    "vision_transformer": vision_transformer,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "vgg11_bn" else []) for name in NETWORKS]
)
def test_torchvision_networks_in_float64(name: str) -> None:
    """Equal loss; every gradient within 1e-9 of the unconverted copy's (norm of the difference over norm): float64 sums
    in another order, many layers deep."""
    torch.manual_seed(0)
    theirs = NETWORKS[name](num_classes=10).double()
    ours = mb.convert(copy.deepcopy(theirs))
    report = mb.conversion_report(ours)
    assert not report.left, str(report)
    x, y = torch.randn(4, 3, 64, 64, dtype=torch.float64), torch.arange(4)
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)  # float64 rounding
    for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None, key
        assert b.grad is not None, key
        # a convolution's bias in front of a BatchNorm has gradient 0 up to rounding: then absolute
        assert float((a.grad - b.grad).norm()) <= 1e-9 * float(b.grad.norm()) + 1e-14, key
    for (key, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14, msg=key)  # float64 rounding
