"""What the rows of the suite cannot say of attention and transformers: fast paths, nested tensors, convert, hooks,
errors, dropout, memory."""

from __future__ import annotations

import copy
import io
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb
from manual_backprop.convert import as_twin

FAST = {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"}


class Operators(TorchDispatchMode):
    """The names of the operators called, and the elements of the largest tensor of floating point numbers made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.names.add(func.name())
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor) and part.is_floating_point() and not part.is_nested:
                self.largest = max(self.largest, part.numel())
        return result


def pair(name: str, *args: Any, seed: int = 0, **kwargs: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Ours and torch's, of the same initial values, in float64."""
    made = []
    for namespace in (mb.nn, torch.nn):
        torch.manual_seed(seed)
        made.append(getattr(namespace, name)(*args, dtype=torch.float64, **kwargs))
    return made[0], made[1]


def tokens(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(ours: Any, theirs: Any) -> None:
    """float64, sums in another order."""
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def gradients(model: torch.nn.Module, *inputs: Any, **kwargs: Any) -> list[Tensor]:
    output = model(*inputs, **kwargs)
    loss = sum((o * torch.linspace(-1, 1, o.numel(), dtype=o.dtype).view(o.shape)).sum() for o in flat(output))
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True))


def flat(output: Any) -> list[Tensor]:
    return [o for o in (output if isinstance(output, tuple) else (output,)) if o is not None]


def layer_pair(**kwargs: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    return pair("TransformerEncoderLayer", 8, 2, 16, batch_first=True, **kwargs)


# the fast paths


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluation_without_derivatives_is_torchs_own_forward(mode: Any) -> None:
    x, hidden = tokens(3, 5, 8), torch.arange(5) >= torch.tensor([[5], [3], [2]])
    for ours, theirs in (layer_pair(), pair("MultiheadAttention", 8, 2, batch_first=True)):
        inputs, options = ((x,), {}) if "Layer" in type(ours).__name__ else ((x, x, x), {"key_padding_mask": hidden})
        for model in (ours.eval(), theirs.eval()):
            with mode(), Operators() as seen:
                results = flat(model(*inputs, **options))
            assert seen.names & FAST
            model.results = results
        assert all(torch.equal(a, b) for a, b in zip(ours.results, theirs.results, strict=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
def test_the_fast_path_is_taken_where_torch_takes_it(training: bool, recorded: bool) -> None:
    for model in layer_pair():
        model.train(training).requires_grad_(recorded)
        with Operators() as seen:
            model(tokens(2, 5, 8))
        assert bool(seen.names & FAST) == (not training and not recorded)


def test_the_fast_path_is_not_taken_for_the_sake_of_an_input_or_a_mask_that_requires_a_gradient() -> None:
    ours, theirs = layer_pair()
    for model in (ours.eval().requires_grad_(False), theirs.eval().requires_grad_(False)):
        x = tokens(2, 5, 8).requires_grad_()
        (model.found,) = torch.autograd.grad(model(x).square().sum(), x)
    close(ours.found, theirs.found)
    mask = torch.zeros(5, 5, dtype=torch.float64, requires_grad=True)
    ours(tokens(2, 5, 8), mask).square().sum().backward()  # torch takes its fast path here and loses the gradient
    assert mask.grad is not None
    assert mask.grad.abs().max() > 0


def test_evaluation_under_vmap_and_forward_mode_takes_the_rules() -> None:
    ours, theirs = layer_pair()
    ours.eval().requires_grad_(False)
    x = tokens(4, 2, 5, 8)
    close(torch.func.vmap(ours)(x), torch.stack([theirs.eval()(each) for each in x]))
    value, moved = torch.func.jvp(ours, (x[0],), (x[1],))
    numeric = (theirs(x[0] + 1e-6 * x[1]) - theirs(x[0] - 1e-6 * x[1])) / 2e-6
    torch.testing.assert_close(moved, numeric.detach(), rtol=1e-6, atol=1e-7)  # central differences, 1e-10 / 1e-6
    close(value, theirs(x[0]).detach())


@pytest.mark.parametrize("training", [True, False])
def test_compiled_in_one_graph(training: bool) -> None:
    model = layer_pair(dropout=0.0)[0].train(training)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.set_grad_enabled(training):
        close(compiled(tokens(2, 5, 8)), model(tokens(2, 5, 8)))


def test_hooks_on_submodules_turn_the_fast_path_off_and_run() -> None:
    for model in layer_pair():
        called: list[str] = []
        for name, child in model.named_modules():
            child.register_forward_hook(lambda *_, name=name, called=called: called.append(name))
        for eval_mode in (False, True):
            called.clear()
            with torch.no_grad():
                model.train(not eval_mode)(tokens(2, 5, 8))
            # torch reads the output projection's weights and never calls it
            assert " ".join(called) == "self_attn dropout1 norm1 linear1 dropout linear2 dropout2 norm2 "


# nested tensors

NESTED = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype:UserWarning")


@NESTED
def test_nested_tensors_in_evaluation_as_torch_has_them() -> None:
    nested = torch.nested.nested_tensor([tokens(4, 8), tokens(2, 8)])
    for ours, theirs in (layer_pair(), pair("MultiheadAttention", 8, 2, batch_first=True)):
        results = []
        for model in (ours.eval(), theirs.eval()):
            with torch.no_grad():
                layer = isinstance(model, torch.nn.TransformerEncoderLayer)
                out = model(nested) if layer else model(nested, nested, nested, None, False)[0]
            assert out.is_nested
            results.append(out.to_padded_tensor(0.0))
        assert torch.equal(*results)


@NESTED
def test_nested_tensors_with_derivatives_are_refused() -> None:
    nested = torch.nested.nested_tensor([tokens(4, 8), tokens(2, 8)])
    for model in layer_pair():
        with pytest.raises(AssertionError, match="does not support NestedTensor outside of its fast path"):
            model(nested)
    ours, theirs = layer_pair(norm_first=True)
    with pytest.raises(AssertionError, match="does not support NestedTensor outside of its fast path"):
        theirs(nested)
    with pytest.raises(TypeError, match=r"rule for plain tensors only, got a nested one: pass .*to_padded_tensor"):
        ours(nested)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_an_encoder_packs_padded_samples_in_evaluation_as_torch_does() -> None:
    x, hidden = tokens(3, 5, 8), torch.arange(5) >= torch.tensor([[5], [3], [2]])
    encoders = [
        namespace.TransformerEncoder(layer, 2)
        for namespace, layer in zip((mb.nn, torch.nn), layer_pair(dropout=0.0), strict=True)
    ]
    outputs = []
    for encoder in encoders:
        with torch.no_grad(), Operators() as seen:
            outputs.append(encoder.eval()(x, src_key_padding_mask=hidden))
        assert "aten::_nested_tensor_from_mask" in seen.names
    assert torch.equal(*outputs)
    assert bool((outputs[0][1, 3:] == 0).all())
    found = [gradients(encoder.train(), x, src_key_padding_mask=hidden) for encoder in encoders]
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


# one seed, one result


@pytest.mark.parametrize("norm_first", [True, False])
def test_dropout_follows_torchs_random_stream(norm_first: bool) -> None:
    """On the CPU; on CUDA torch's fused attention draws in an order of its own."""
    found = []
    for model in layer_pair(dropout=0.3, norm_first=norm_first):
        torch.manual_seed(7)
        found.append(gradients(model, tokens(3, 5, 8)))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_of_one_tensor_with_dropout(need_weights: bool) -> None:
    found = []
    for model in pair("MultiheadAttention", 8, 2, dropout=0.3, batch_first=True):
        torch.manual_seed(7)
        x = tokens(3, 5, 8)
        found.append(gradients(model, x, x, x, need_weights=need_weights))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


def test_checkpointing_that_runs_the_first_forward_without_gradients() -> None:
    found = []
    model, _ = layer_pair(dropout=0.3)
    for reentrant in (True, False):
        torch.manual_seed(7)
        x = tokens(3, 5, 8).requires_grad_()
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


# convert and revert


def decoder_and_encoder() -> torch.nn.Transformer:
    torch.manual_seed(0)
    return torch.nn.Transformer(8, 2, 1, 2, 16, 0.0, torch.nn.GELU(), batch_first=True, dtype=torch.float64)


def test_convert_replaces_every_part_and_revert_puts_it_back() -> None:
    model = decoder_and_encoder()
    before = [type(m) for m in model.modules()]
    inputs = tokens(2, 5, 8), tokens(2, 3, 8)
    expected = gradients(model, *inputs)
    attributes = [dict(vars(m)) for m in model.modules()]
    report = mb.conversion_report(mb.convert(model))
    assert not report.left, str(report)
    plain = {torch.nn.ModuleList}
    assert all(type(m) in plain or type(m).__module__.startswith("manual_backprop.nn") for m in model.modules())
    assert all(vars(m)[k] is v for m, old in zip(model.modules(), attributes, strict=True) for k, v in old.items())
    assert mb.audit(model, *inputs).autograd == 0
    for ours, theirs in zip(gradients(model, *inputs), expected, strict=True):
        close(ours, theirs)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(m) for m in other.modules()] == [type(m) for m in model.modules()]
        assert torch.equal(other(*inputs), model(*inputs))
    assert [type(m) for m in mb.revert(model).modules()] == before


def test_every_way_to_call_attention_is_rules_alone() -> None:
    x, memory = tokens(3, 2, 8), tokens(5, 2, 8)
    bias = pair("MultiheadAttention", 8, 2, add_bias_kv=True, add_zero_attn=True, dropout=0.1)[0]
    other = pair("MultiheadAttention", 8, 2, kdim=8, vdim=4, batch_first=True)[0]
    mask, padding = (torch.zeros(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 5), (2, 5)))
    audits = [
        mb.audit(bias, x, memory, memory, padding, True, mask),
        mb.audit(bias, x, memory, memory, padding, False, mask),
        mb.audit(bias, x[:, 0], memory[:, 0], memory[:, 0]),
        mb.audit(other, x.transpose(0, 1), memory.transpose(0, 1), memory.transpose(0, 1)[..., :4]),
    ]
    assert [audit.autograd for audit in audits] == [0, 0, 0, 0]


def test_what_a_vision_transformer_computes_between_its_layers_stays_autograds_until_explicit() -> None:
    model = torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128)
    x = torch.randn(2, 3, 32, 32)
    mb.convert(model)

    def autograds() -> dict[str, int]:
        counts: Counter[str] = Counter()
        for row in mb.audit(model, x).rows:
            counts[row.node] += row.count if row.kind == "autograd" else 0
        return {node: count for node, count in counts.items() if count}

    assert autograds() == {"CatBackward0": 1, "AddBackward0": 5}
    with mb.explicit():
        assert autograds() == {}


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("kind", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_a_file_names_our_function_and_memory_torch_s(kind: str, activation: str) -> None:
    layer = getattr(mb.nn, kind)(8, 2, 16, activation=activation)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    ours = getattr(mb.functional, activation)
    assert f"{ours.__module__}.{activation}" in names
    assert not any(name.startswith("torch.nn.functional") or name.startswith("torch._C") for name in names)
    file.seek(0)
    for copied in (torch.load(file, weights_only=False), copy.deepcopy(layer)):
        assert copied.activation is layer.activation is getattr(torch.nn.functional, activation)


def test_constructors_make_their_parts_ours_and_leave_what_they_are_given() -> None:
    activation, encoder = torch.nn.GELU(), torch.nn.Identity()
    layer = mb.nn.TransformerEncoderLayer(8, 2, 16, activation=activation)
    assert layer.activation is activation
    assert type(activation) is torch.nn.GELU
    assert type(layer.self_attn.out_proj).__module__ == "manual_backprop.nn.linear"
    model = mb.nn.Transformer(8, 2, 1, 1, 16, custom_encoder=encoder, batch_first=True)
    assert type(model.encoder) is torch.nn.Identity
    assert type(model.decoder.layers[0].multihead_attn) is mb.nn.MultiheadAttention
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    stack = mb.nn.TransformerEncoder(theirs, 2, torch.nn.LayerNorm(8))
    assert type(theirs) is torch.nn.TransformerEncoderLayer
    assert type(stack.norm) is torch.nn.LayerNorm
    assert {type(copied) for copied in stack.layers} == {mb.nn.TransformerEncoderLayer}
    assert mb.audit(layer, torch.randn(3, 2, 8)).autograd == 0, "a module of torch's as activation runs on its rule"


@pytest.mark.parametrize(
    "activation", [torch.relu, torch.nn.functional.gelu, lambda x: torch.tanh(x) * 2, torch.nn.ReLU(inplace=True)]
)
def test_activations_that_are_callables(activation: Any) -> None:
    ours, theirs = layer_pair(activation=activation, dropout=0.0)
    assert mb.audit(ours, tokens(2, 5, 8)).autograd == 0
    for a, b in zip(gradients(ours, tokens(2, 5, 8)), gradients(theirs, tokens(2, 5, 8)), strict=True):
        close(a, b)


def test_a_subclass_of_a_users_own_stays_and_its_parts_are_converted() -> None:
    class Own(torch.nn.TransformerEncoderLayer):
        def forward(self, src: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return 2 * super().forward(src, *args, **kwargs)

    torch.manual_seed(0)
    model = Own(8, 2, 16, 0.0, batch_first=True, dtype=torch.float64)
    x = tokens(2, 5, 8)
    expected, fast = gradients(model, x), model.eval()(x).detach()
    mb.convert(model.train())
    assert isinstance(model, Own)
    assert type(model.self_attn) is mb.nn.MultiheadAttention
    assert mb.conversion_report(model).left == ()
    for ours, theirs in zip(gradients(model, x), expected, strict=True):
        close(ours, theirs)
    close(model.eval()(x).detach(), fast)


def test_tied_and_parametrized_weights() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.TransformerEncoderLayer(8, 2, 8, 0.0) for _ in range(2))).double()
    model[1].self_attn.in_proj_weight = model[0].self_attn.in_proj_weight
    model[1].linear2.weight = model[1].linear1.weight
    torch.nn.utils.parametrizations.weight_norm(model[0].self_attn, "in_proj_weight")
    torch.nn.utils.parametrizations.orthogonal(model[0].self_attn.out_proj)
    x = tokens(5, 2, 8)
    expected = gradients(model, x)
    mb.convert(model)
    assert isinstance(model[0].self_attn, mb.nn.MultiheadAttention)
    for ours, theirs in zip(gradients(model, x), expected, strict=True):
        close(ours, theirs)
    with torch.no_grad():
        close(model.eval()(x), mb.revert(copy.deepcopy(model))(x))


# errors


ATTENTION_ERRORS = [
    ((tokens(3, 2, 4), tokens(5, 2, 8), tokens(5, 2, 8)), {}, "was expecting embedding dimension of 8, but got 4"),
    ((tokens(3, 2, 8), tokens(5, 2, 8), tokens(4, 2, 8)), {}, "does not match value"),
    ((tokens(3, 2, 8), tokens(5, 8), tokens(5, 8)), {}, "expected `key` and `value` to be 3-D"),
    ((tokens(3, 2, 2, 8),) * 3, {}, "unbatched 2D or batched 3D tensor"),
    ((tokens(3, 2, 8),) * 3, {"attn_mask": torch.zeros(2, 3)}, r"shape of the 2D attn_mask .* should be \(3, 3\)"),
    ((tokens(3, 2, 8),) * 3, {"attn_mask": torch.zeros(2, 3, 3)}, r"3D attn_mask .* should be \(4, 3, 3\)"),
    ((tokens(3, 2, 8),) * 3, {"attn_mask": torch.zeros(3, 3).int()}, "only bool and floating types of attn_mask"),
    ((tokens(3, 2, 8),) * 3, {"key_padding_mask": torch.zeros(2, 4)}, r"Expected key_padd.* to be 3|\(2, 3\)"),
    ((tokens(3, 2, 8),) * 3, {"is_causal": True}, "Need attn_mask if specifying the is_causal hint"),
]


@pytest.mark.parametrize(("inputs", "options", "message"), ATTENTION_ERRORS)
def test_errors_have_torchs_type_and_both_say_why(inputs: tuple, options: dict, message: str) -> None:
    raised = []
    for model in pair("MultiheadAttention", 8, 2):
        with pytest.raises((AssertionError, RuntimeError), match=message) as error:
            model(*inputs, **options)
        raised.append(type(error.value))
    assert raised[0] is raised[1]


def test_errors_of_the_constructors() -> None:
    for namespace in (mb.nn, torch.nn):
        with pytest.raises(AssertionError, match="embed_dim must be divisible by num_heads"):
            namespace.MultiheadAttention(7, 2)
        with pytest.raises(ValueError, match="must be greater than 0"):
            namespace.MultiheadAttention(0, 2)
        with pytest.raises(RuntimeError, match="activation should be relu/gelu, not tanh"):
            namespace.TransformerEncoderLayer(8, 2, activation="tanh")
        with pytest.raises(RuntimeError, match="batch number of src and tgt must be equal"):
            namespace.Transformer(8, 2, 1, 1, 8, batch_first=True)(torch.ones(2, 3, 8), torch.ones(3, 3, 8))


def test_masks_of_two_kinds_are_warned_of_as_by_torch() -> None:
    x = tokens(3, 2, 8)
    for model in pair("MultiheadAttention", 8, 2):
        with pytest.warns(UserWarning, match="mismatched key_padding_mask and attn_mask"):
            model(x, x, x, torch.zeros(2, 3).bool(), attn_mask=torch.zeros(3, 3, dtype=torch.float64))


# memory


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_layer_saves_less_than_torchs(dropout: float) -> None:
    layer = mb.nn.TransformerEncoderLayer(64, 4, 256, dropout, batch_first=True)
    assert mb.saved_bytes(layer, torch.randn(8, 128, 64)).ratio <= (0.35 if dropout else 0.85)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_no_floating_point_number_for_each_pair_of_tokens(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manual_backprop.kernels.attention.BLOCK", 2**17)
    layer = mb.nn.TransformerEncoderLayer(8, 1, 8, dropout, batch_first=True)
    with Operators() as seen:
        layer(torch.randn(1, 2048, 8)).sum().backward()
    assert seen.largest <= 2**17 < 2048**2 / 16
    with as_twin(layer), Operators() as theirs:
        layer(torch.randn(1, 2048, 8)).sum().backward()
    assert (theirs.largest >= 2048**2) == bool(dropout), "the tool sees what torch holds"
