"""One training step of GPT, written out: x (2, 6), t (12,); torch 2.14.1.

forward(p, ...) returns the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

from __future__ import annotations

import math
import torch
import torch.nn.functional as F

unsafe_view = torch.ops.aten._unsafe_view.default
flash_attention_for_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
BETA = 0.7978845608028654
KAPPA = 0.044715


def widen(*tensors):
    """bfloat16 and float16 tensors as float32; the rest as it is."""
    return [v for v in tensors]


def above_diagonal(scores):
    """(L, T), True where the key comes after the query."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)


def in_opmath(formula, delta, *args):
    """Run a formula with bfloat16 and float16 tensors widened to float32; the result has the dtype of `delta`.

    Several roundings to 8 bits would add up; ATen's kernels, too, compute such formulas in float32 and round once.
    """
    return formula(delta, *args)


def class_axis():
    """The axis of the classes in (C,) or (N, C, *)."""
    return 1


def per_row(delta, target):
    """What every single row has to do with the loss.

    Its label (0 where it is ignored), the delta of its loss (0 where it is ignored; for a mean, divided by the sum of
    the weights that count), and the same times the weight of its label.
    """
    target = target
    kept = target != -100
    labels = torch.where(kept, target, 0)
    delta = delta / kept.sum()
    row = torch.where(kept, delta, 0.0)
    return labels, row, row


def flat(tensor):
    """(*, K) as a matrix (product of *, K)."""
    return tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])


def matrix(tensor):
    """(*, K) as a matrix; a vector as one row of it."""
    return flat(tensor)


def last():
    """The normalized axes."""
    return tuple(range(-len((8,)), 0))


def sum_to(tensor, shape):
    """Undo broadcasting: sum over the axes along which a tensor of `shape` was repeated."""
    return tensor.sum_to_size(shape)


def added_up(values, index, rows):
    """Row v of the result: the sum of the values whose index is v, in their order."""
    zeros = values.new_zeros((rows, *values.shape[1:]))
    return zeros.index_add_(0, index, values)


class Embedding:
    """y = W[i], row i of the table for each index i

    input (*), indices   weight (V, D)   output, delta (*, D)   padding_idx: a row that receives no gradient, or -1

    grad_weight[v] = sum over * with i = v of delta     0 for v = padding_idx
    with scale_grad_by_freq divided by the number of times v was looked up

    With sparse=True a sparse gradient holds one entry for each index, in place of a row for each v. A second derivative
    is divided by the number of times once, as in torch: the derivative of grad_weight, right to left, is not.
    Source: Bengio, Ducharme, Vincent, Jauvin 2003, "A neural probabilistic language model": a product with one-hot
    rows.
    """

    def forward(input, weight):
        return torch.embedding(weight, input, -1)

    def grad_weight(delta, input, weight_shape):
        return in_opmath(Embedding.dense_grad_weight, delta, input, weight_shape, -1, False)

    def dense_grad_weight(delta, input, shape, padding_idx, scale_grad_by_freq):
        index, delta = input.reshape(-1), delta.reshape(input.numel(), delta.shape[-1])
        return added_up(delta, index, shape[0])


class Add:
    """y = a + alpha b

    input, other (*, broadcast) or number   output, delta (*)

    delta_input = delta     delta_other = alpha delta     each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    def forward(input, other):
        return torch.add(input, other, alpha=1)


class LayerNorm:
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over the last axes,   invstd = 1 / sqrt(var + eps)

    input, output, delta (*, normalized_shape)   weight, bias (normalized_shape) or None   mean, invstd (*, 1, ...)

    delta_input  = invstd (w delta - mean(w delta) - x̂ mean(w delta x̂))     means over the normalized axes
    grad_weight  = sum over * of delta x̂
    grad_bias    = sum over * of delta

    Source: Ba, Kiros, Hinton 2016, "Layer Normalization".
    """

    def forward(input, weight, bias):
        return torch.native_layer_norm(input, (8,), weight, bias, 1e-05)

    def delta_input(delta, input, weight, mean, invstd):
        axes = last()
        normalized = (input - mean) * invstd
        scaled = weight * delta
        along_one = scaled.mean(axes, keepdim=True)
        along_normalized = normalized * (scaled * normalized).mean(axes, keepdim=True)
        return invstd * (scaled - along_one - along_normalized)

    def grad_weight(delta, input, mean, invstd):
        return sum_to(delta * ((input - mean) * invstd), torch.Size((8,)))

    def grad_bias(delta):
        return sum_to(delta, torch.Size((8,)))


class Linear:
    """y = x W^T + b

    input (*, I)   weight (O, I) or (I,)   bias (O,) or () or None   output, delta (*, O) or (*)

    delta_input  = delta W
    grad_weight  = sum over * of delta^T x
    grad_bias    = sum over * of delta

    Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"; in matrix form
    Wikipedia, "Backpropagation", section Matrix multiplication.
    """

    def forward(input, weight, bias):
        output = F.linear(input, weight, bias)
        if input.dim() != 2 and (output._is_view()):  # a view of a matrix
            return unsafe_view(output, output.shape)
        return output

    def delta_input(delta, weight):
        # the vector on the right: on the left, torch squeezes an axis in place, which older versions of vmap refuse
        return delta @ weight

    def grad_weight(delta, input):
        return matrix(delta).T @ matrix(input)

    def grad_bias(delta):
        return matrix(delta).sum(0)


class ScaledDotProductAttention:
    """Y = D(P) V,   P = softmax(S) along the keys,   S = scale Q K^T + mask,   D drops weights with probability p

    query (*, L, E)   key (*, T, E)   value (*, T, F)   mask (*, L, T), broadcast, bool (False: -inf) or added
    is_causal: query l sees the keys t <= l   output, delta (*, L, F)   lse (*, L): log of the sum of e^S
    kept (*, L, T): the weights that dropout keeps

    delta_weights = noise delta V^T,   noise = 1 / (1 - p) where kept, else 0
    delta_scores  = P (delta_weights - sum along the keys of P delta_weights) = P (delta_weights - delta . Y)
    delta_query   = scale delta_scores K
    delta_key     = scale delta_scores^T Q
    delta_value   = (noise P)^T delta
    delta_mask    = delta_scores, summed over broadcast axes

    A query that sees no key has weights 0. Y and lse are saved, from which the backward recomputes P.
    Source: Vaswani et al. 2017, "Attention is all you need"; delta . Y and lse: Dao 2023, "FlashAttention-2".
    """

    def forward(query, key, value):
        kept = None
        output, lse = ScaledDotProductAttention.fused(query, key, value)
        return output, lse, kept

    def fused(query, key, value):
        attention = flash_attention_for_cpu
        options = 0.0, True
        return attention(query, key, value, *options, attn_mask=None, scale=0.5)

    def scores(query, key):
        scores = (0.5 * query) @ key.mT
        scores = scores.masked_fill(above_diagonal(scores), -math.inf)
        return scores

    def weights(scores):
        unseen = (scores == -math.inf).all(-1, keepdim=True)  # softmax would be 0 / 0
        scores = scores.masked_fill(unseen, 0)
        lse = scores.logsumexp(-1).masked_fill(unseen.squeeze(-1), 0)
        return scores.softmax(-1).masked_fill(unseen, 0), lse.masked_fill(lse == math.inf, math.nan)

    def deltas(delta, query, key, value, mask):
        delta, query, key, value, mask = widen(delta, query, key, value, mask)
        scores = ScaledDotProductAttention.scores(query, key)
        weights, _ = ScaledDotProductAttention.weights(scores)  # recomputed without lse, which has no derivative
        delta_value = ScaledDotProductAttention.delta_value(delta, weights)
        delta_weights = (delta @ value.mT)
        delta_scores = ScaledDotProductAttention.delta_scores(delta_weights, weights)
        return (
            ScaledDotProductAttention.delta_query(delta_scores, key),
            ScaledDotProductAttention.delta_key(delta_scores, query),
            delta_value,
            None,
        )

    def delta_scores(delta_weights, weights):
        return weights * (delta_weights - (weights * delta_weights).sum(-1, keepdim=True))

    def delta_value(delta, noisy_weights):
        return noisy_weights.mT @ delta

    def delta_query(delta_scores, key):
        return 0.5 * (delta_scores @ key)

    def delta_key(delta_scores, query):
        return 0.5 * (delta_scores.mT @ query)


class GELU:
    """y = x Phi(x), Phi the normal distribution; with approximate="tanh" y = x (1 + tanh u) / 2 = x sigma(2 u)

    input, output, delta (*)   approximate: "none" or "tanh"

    delta_input = (Phi(x) + x phi(x)) delta,   Phi(x) = erfc(-x / sqrt 2) / 2, phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
    with "tanh"   (s + x s (1 - s) 2 u') delta,   s = sigma(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)

    Source: Hendrycks, Gimpel 2016, "Gaussian error linear units".
    """

    def forward(input):
        return in_opmath(GELU.output_tanh, input)

    def output_tanh(input):
        return input * torch.sigmoid(2 * BETA * input * (1 + KAPPA * (input * input)))

    def delta_input(delta, input):
        square = input * input
        s = torch.sigmoid(2 * BETA * input * (1 + KAPPA * square))
        return delta * (s + input * s * (1 - s) * (2 * BETA * (1 + 3 * KAPPA * square)))


class CrossEntropyLoss:
    """l_n = - w_t log p_nt with p = softmax(x) and the label t of row n; their sum, or it over the sum of the w_t;
    with smoothing e: l_n = (1 - e) (- w_t log p_nt) - e / C sum over c of w_c log p_nc

    input (C,) or (N, C, *), logits   target () or (N, *): int64 or uint8, labels 0 .. C-1 or ignore_index, for which
    the loss is 0   weight (C,) or None   reduction: "none", "mean" or "sum"
    output, delta as target, or () when reduced

    delta_input = w_t (p - onehot(t)) delta for each row that is not ignored, else 0;
    with smoothing (1 - e) of that + e / C (p sum over c of w_c - w) delta;
    with delta over the sum of the w_t in place of delta for a mean

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; smoothing:
    Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    def forward(input, target):
        """The loss, and the logarithms of the softmax."""
        axis, target = class_axis(), target
        log_probs = input.log_softmax(axis)
        loss = F.nll_loss(log_probs, target, None, ignore_index=-100, reduction="mean")
        return loss, log_probs

    def delta_input(delta, log_probs, target):
        axis = class_axis()
        labels, row, at_label = per_row(delta, target)
        labels, row, at_label = labels.unsqueeze(axis), row.unsqueeze(axis), at_label.unsqueeze(axis)
        delta_input = log_probs.exp() * at_label
        # a fresh tensor that no derivative looks at: the one-hot term can be written into it
        return delta_input.scatter_add_(axis, labels, -at_label)


def forward(p, x, t):
    wte = Embedding.forward(x, p["wte.weight"])   # (2, 6, 8)
    arange = torch.arange(6)   # (6,)
    wpe = Embedding.forward(arange, p["wpe.weight"])   # (6, 8)
    add = Add.forward(wte, wpe)   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_1, ln_1_mean, ln_1_invstd = LayerNorm.forward(add, weight=p["block.ln_1.weight"], bias=p["block.ln_1.bias"])
    z_qkv = Linear.forward(ln_1, p["block.qkv.weight"], p["block.qkv.bias"])   # (2, 6, 24)
    block_split, block_split_2, block_split_3 = z_qkv.split(8, -1)   # (2, 6, 8), (2, 6, 8), (2, 6, 8)
    block_transpose = block_split.reshape([2, 6, 2, 4]).transpose(1, 2)   # (2, 2, 6, 4)
    block_transpose_2 = block_split_2.reshape([2, 6, 2, 4]).transpose(1, 2)   # (2, 2, 6, 4)
    block_transpose_3 = block_split_3.reshape([2, 6, 2, 4]).transpose(1, 2)   # (2, 2, 6, 4)
    # (2, 2, 6, 4), (2, 2, 6)
    block_scaled_dot_product_attention, block_lse, _ = ScaledDotProductAttention.forward(block_transpose, block_transpose_2, block_transpose_3)
    block_reshape = block_scaled_dot_product_attention.transpose(1, 2).reshape([2, 6, 8])   # (2, 6, 8)
    z_proj = Linear.forward(block_reshape, p["block.proj.weight"], p["block.proj.bias"])   # (2, 6, 8)
    block_add = Add.forward(add, z_proj)   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_2, ln_2_mean, ln_2_invstd = LayerNorm.forward(
        block_add, weight=p["block.ln_2.weight"], bias=p["block.ln_2.bias"]
    )
    z_fc = Linear.forward(ln_2, p["block.fc.weight"], p["block.fc.bias"])   # (2, 6, 32)
    a_block = GELU.forward(z_fc)   # (2, 6, 32)
    z_fc_proj = Linear.forward(a_block, p["block.fc_proj.weight"], p["block.fc_proj.bias"])   # (2, 6, 8)
    block_add_2 = Add.forward(block_add, z_fc_proj)   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_f, ln_f_mean, ln_f_invstd = LayerNorm.forward(block_add_2, weight=p["ln_f.weight"], bias=p["ln_f.bias"])
    z_head = Linear.forward(ln_f, p["head.weight"], bias=None)   # (2, 6, 11)
    loss, log_probs = CrossEntropyLoss.forward(z_head.reshape([12, 11]), t)   # (), (12, 11)
    kept = (
        loss, log_probs, t, ln_f, block_add_2, ln_f_mean, ln_f_invstd, a_block, z_fc, ln_2, block_add, ln_2_mean,
        ln_2_invstd, block_reshape, block_transpose, block_transpose_2, block_transpose_3,
        block_scaled_dot_product_attention, block_lse, ln_1, add, ln_1_mean, ln_1_invstd, arange, x
    )
    return loss, kept


def backward(p, kept):
    (
        loss, log_probs, t, ln_f, block_add_2, ln_f_mean, ln_f_invstd, a_block, z_fc, ln_2, block_add, ln_2_mean,
        ln_2_invstd, block_reshape, block_transpose, block_transpose_2, block_transpose_3,
        block_scaled_dot_product_attention, block_lse, ln_1, add, ln_1_mean, ln_1_invstd, arange, x
    ) = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_reshape = CrossEntropyLoss.delta_input(delta_loss, log_probs, t)   # (12, 11)
    delta_z_head = delta_reshape.reshape((2, 6, 11))   # (2, 6, 11)
    delta_ln_f = Linear.delta_input(delta_z_head, p["head.weight"])   # (2, 6, 8)
    grad["head.weight"] = Linear.grad_weight(delta_z_head, ln_f)   # (11, 8)
    # (2, 6, 8)
    delta_block_add_2 = LayerNorm.delta_input(delta_ln_f, block_add_2, p["ln_f.weight"], ln_f_mean, ln_f_invstd)
    grad["ln_f.weight"] = LayerNorm.grad_weight(delta_ln_f, block_add_2, ln_f_mean, ln_f_invstd)   # (8,)
    grad["ln_f.bias"] = LayerNorm.grad_bias(delta_ln_f)   # (8,)
    delta_a_block = Linear.delta_input(delta_block_add_2, p["block.fc_proj.weight"])   # (2, 6, 32)
    grad["block.fc_proj.weight"] = Linear.grad_weight(delta_block_add_2, a_block)   # (8, 32)
    grad["block.fc_proj.bias"] = Linear.grad_bias(delta_block_add_2)   # (8,)
    delta_z_fc = GELU.delta_input(delta_a_block, z_fc)   # (2, 6, 32)
    delta_ln_2 = Linear.delta_input(delta_z_fc, p["block.fc.weight"])   # (2, 6, 8)
    grad["block.fc.weight"] = Linear.grad_weight(delta_z_fc, ln_2)   # (32, 8)
    grad["block.fc.bias"] = Linear.grad_bias(delta_z_fc)   # (32,)
    # (2, 6, 8)
    delta_block_add_ln_2 = LayerNorm.delta_input(
        delta_ln_2, block_add, p["block.ln_2.weight"], ln_2_mean, ln_2_invstd
    )
    grad["block.ln_2.weight"] = LayerNorm.grad_weight(delta_ln_2, block_add, ln_2_mean, ln_2_invstd)   # (8,)
    grad["block.ln_2.bias"] = LayerNorm.grad_bias(delta_ln_2)   # (8,)
    delta_block_add = delta_block_add_2 + delta_block_add_ln_2   # (2, 6, 8)   branches: block, ln_2
    delta_block_reshape = Linear.delta_input(delta_block_add, p["block.proj.weight"])   # (2, 6, 8)
    grad["block.proj.weight"] = Linear.grad_weight(delta_block_add, block_reshape)   # (8, 8)
    grad["block.proj.bias"] = Linear.grad_bias(delta_block_add)   # (8,)
    # (2, 2, 6, 4)
    delta_block_scaled_dot_product_attention = delta_block_reshape.reshape((2, 6, 2, 4)).transpose(1, 2)
    # (2, 2, 6, 4), (2, 2, 6, 4), (2, 2, 6, 4)
    delta_block_transpose, delta_block_transpose_2, delta_block_transpose_3, _ = ScaledDotProductAttention.deltas(delta_block_scaled_dot_product_attention, block_transpose, block_transpose_2, block_transpose_3, mask=None)
    # (2, 6, 24)
    delta_z_qkv = torch.cat(
        [delta_block_transpose.transpose(1, 2).reshape((2, 6, 8)), delta_block_transpose_2.transpose(1, 2).reshape((2, 6, 8)), delta_block_transpose_3.transpose(1, 2).reshape((2, 6, 8))],
        2
    )
    delta_ln_1 = Linear.delta_input(delta_z_qkv, p["block.qkv.weight"])   # (2, 6, 8)
    grad["block.qkv.weight"] = Linear.grad_weight(delta_z_qkv, ln_1)   # (24, 8)
    grad["block.qkv.bias"] = Linear.grad_bias(delta_z_qkv)   # (24,)
    # (2, 6, 8)
    delta_add_ln_1 = LayerNorm.delta_input(delta_ln_1, add, p["block.ln_1.weight"], ln_1_mean, ln_1_invstd)
    grad["block.ln_1.weight"] = LayerNorm.grad_weight(delta_ln_1, add, ln_1_mean, ln_1_invstd)   # (8,)
    grad["block.ln_1.bias"] = LayerNorm.grad_bias(delta_ln_1)   # (8,)
    delta_add = delta_block_add + delta_add_ln_1   # (2, 6, 8)   branches: block, ln_1
    delta_wpe = delta_add.sum_to_size(torch.Size([6, 8]))   # (6, 8)
    grad["wpe.weight"] = Embedding.grad_weight(delta_wpe, arange, weight_shape=p["wpe.weight"].shape)   # (6, 8)
    grad["wte.weight"] = Embedding.grad_weight(delta_add, x, weight_shape=p["wte.weight"].shape)   # (11, 8)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    p["wte.weight"] = 0.354 * torch.randn((11, 8))
    p["wpe.weight"] = 0.354 * torch.randn((6, 8))
    p["block.ln_1.weight"] = torch.rand((8,)) + 0.5
    p["block.ln_1.bias"] = 0.1 * torch.randn((8,))
    p["block.ln_2.weight"] = torch.rand((8,)) + 0.5
    p["block.ln_2.bias"] = 0.1 * torch.randn((8,))
    p["block.qkv.weight"] = 0.354 * torch.randn((24, 8))
    p["block.qkv.bias"] = torch.randn((24,))
    p["block.proj.weight"] = 0.354 * torch.randn((8, 8))
    p["block.proj.bias"] = torch.randn((8,))
    p["block.fc.weight"] = 0.354 * torch.randn((32, 8))
    p["block.fc.bias"] = torch.randn((32,))
    p["block.fc_proj.weight"] = 0.177 * torch.randn((8, 32))
    p["block.fc_proj.bias"] = torch.randn((8,))
    p["ln_f.weight"] = torch.rand((8,)) + 0.5
    p["ln_f.bias"] = 0.1 * torch.randn((8,))
    p["head.weight"] = 0.354 * torch.randn((11, 8))
    x = torch.randint(11, (2, 6))
    t = torch.randint(11, (12,))

    def loss_of(p):
        torch.manual_seed(1)   # masks of dropout are the same each time
        return forward(p, x, t)[0]

    torch.manual_seed(1)
    loss, kept = forward(p, x, t)
    grad = backward(p, kept)
    print(f"loss {loss.item():.6f}")
    for name in [
        "wte.weight", "block.ln_1.weight", "block.ln_2.weight", "block.qkv.weight", "block.proj.bias",
        "block.fc.bias", "block.fc_proj.bias", "head.weight"
    ]:
        v = torch.randn_like(p[name])
        step = 1e-5 * v / v.norm()
        difference = (loss_of({**p, name: p[name] + step}) - loss_of({**p, name: p[name] - step})) / 2
        print(f"{name:40} gradient {(grad[name] * step).sum().item():+.6e}   difference {difference.item():+.6e}")


if __name__ == "__main__":
    main()
