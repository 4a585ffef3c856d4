"""One training step of GPT, written out: x (2, 6), t (12,); torch 2.14.1.

forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

import math
import torch
import torch.nn.functional as F

BETA = 0.7978845608028654
KAPPA = 0.044715


def matrix(tensor):
    """(*, K) as a matrix; a vector becomes its only row."""
    return tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])


class Embedding:
    """y = W[i], row i of the table for each index i
    input (*), indices   weight (V, D)   output, delta (*, D)   padding_idx: a row that receives no gradient, or -1
    grad_weight[v] = sum over * with i = v of delta     0 for v = padding_idx
    Source: Bengio, Ducharme, Vincent, Jauvin 2003, "A neural probabilistic language model"."""

    def forward(input, weight):
        return torch.embedding(weight, input, -1)

    def grad_weight(delta, input, weight_shape):
        index, delta = input.reshape(-1), delta.reshape(input.numel(), delta.shape[-1])
        return delta.new_zeros((weight_shape[0], *delta.shape[1:])).index_add_(0, index, delta)


class LayerNorm:
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over the last axes,   invstd = 1 / sqrt(var + eps)
    input, output, delta (*, normalized_shape)   weight, bias (normalized_shape) or None   mean, invstd (*, 1, ...)
    delta_input  = invstd (w delta - mean(w delta) - x̂ mean(w delta x̂))     means over the normalized axes
    grad_weight  = sum over * of delta x̂
    grad_bias    = sum over * of delta
    Source: Ba, Kiros, Hinton 2016, "Layer Normalization"."""

    def forward(input, weight, bias):
        return torch.native_layer_norm(input, (8,), weight, bias, 1e-05)

    def delta_input(delta, input, weight, mean, invstd):
        normalized = (input - mean) * invstd
        scaled = weight * delta
        along_one = scaled.mean((-1,), keepdim=True)
        along_normalized = normalized * (scaled * normalized).mean((-1,), keepdim=True)
        return invstd * (scaled - along_one - along_normalized)

    def grad_weight(delta, input, mean, invstd):
        return (delta * ((input - mean) * invstd)).sum_to_size(8)
    def grad_bias(delta):
        return delta.sum_to_size(8)


class Linear:
    """y = x W^T + b
    input (*, I)   weight (O, I) or (I,)   bias (O,) or () or None   output, delta (*, O) or (*)
    delta_input  = delta W
    grad_weight  = sum over * of delta^T x
    Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"."""

    def forward(input, weight, bias):
        return F.linear(input, weight, bias)
    def delta_input(delta, weight):
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
    Source: Vaswani et al. 2017, "Attention is all you need"; delta . Y and lse: Dao 2023, "FlashAttention-2"."""

    def forward(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.5)

    def deltas(delta, query, key, value):
        scores = 0.5 * query @ key.mT
        scores = scores.masked_fill(
            torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1), -math.inf)
        unseen = (scores == -math.inf).all(-1, keepdim=True)   # softmax would be 0 / 0
        weights = scores.masked_fill(unseen, 0).softmax(-1).masked_fill(unseen, 0)
        delta_value = weights.mT @ delta
        delta_weights = delta @ value.mT
        delta_scores = weights * (delta_weights - (weights * delta_weights).sum(-1, keepdim=True))
        delta_query = 0.5 * (delta_scores @ key)
        delta_key = 0.5 * (delta_scores.mT @ query)
        return delta_query, delta_key, delta_value


class GELU:
    """y = x Phi(x), Phi the normal distribution; with approximate="tanh" y = x (1 + tanh u) / 2 = x sigma(2 u)
    input, output, delta (*)   approximate: "none" or "tanh"
    delta_input = (Phi(x) + x phi(x)) delta,   Phi(x) = erfc(-x / sqrt 2) / 2, phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
    with "tanh"   (s + x s (1 - s) 2 u') delta,   s = sigma(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
    Source: Hendrycks, Gimpel 2016, "Gaussian error linear units"."""

    def forward(input):
        return input * torch.sigmoid(2 * BETA * input * (1 + KAPPA * (input * input)))

    def delta_input(delta, input):
        square = input * input
        s = torch.sigmoid(2 * BETA * input * (1 + KAPPA * square))
        return delta * (s + input * s * (1 - s) * (2 * BETA * (1 + 3 * KAPPA * square)))


class CrossEntropyLoss:
    """l_n = - w_t log p_nt with p = softmax(x) and the label t of row n; their sum, or it over the sum of the w_t
    input (C,) or (N, C, *), logits   target () or (N, *): int64 or uint8, labels 0 .. C-1 or ignore_index, for which
    the loss is 0   weight (C,) or None   reduction: "none", "mean" or "sum"
    output, delta as target, or () when reduced
    delta_input = w_t (p - onehot(t)) delta for each row that is not ignored, else 0;
    with delta over the sum of the w_t in place of delta for a mean
    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"."""

    def forward(input, target):
        log_probs = input.log_softmax(1)
        loss = F.nll_loss(log_probs, target)
        return loss, log_probs

    def delta_input(delta, log_probs, target):
        kept = target != -100
        labels = torch.where(kept, target, 0)
        delta = delta / kept.sum()
        row = torch.where(kept, delta, 0.0)
        labels, at_label = labels.unsqueeze(1), row.unsqueeze(1)
        return (log_probs.exp() * at_label).scatter_add_(1, labels, -at_label)


def forward(p, x, t):
    wte = Embedding.forward(x, p["wte.weight"])   # (2, 6, 8)
    arange = torch.arange(6)   # (6,)
    wpe = Embedding.forward(arange, p["wpe.weight"])   # (6, 8)
    add = wte + wpe   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_1, ln_1_mean, ln_1_invstd = LayerNorm.forward(add, p["block.ln_1.weight"], p["block.ln_1.bias"])
    z_qkv = Linear.forward(ln_1, p["block.qkv.weight"], p["block.qkv.bias"])   # (2, 6, 24)
    block_split, block_split_2, block_split_3 = z_qkv.split(8, -1)   # (2, 6, 8), (2, 6, 8), (2, 6, 8)
    q = block_split.reshape(2, 6, 2, 4).transpose(1, 2)   # (2, 2, 6, 4)
    k = block_split_2.reshape(2, 6, 2, 4).transpose(1, 2)   # (2, 2, 6, 4)
    v = block_split_3.reshape(2, 6, 2, 4).transpose(1, 2)   # (2, 2, 6, 4)
    block_attention = ScaledDotProductAttention.forward(q, k, v)   # (2, 2, 6, 4)
    block_reshape = block_attention.transpose(1, 2).reshape(2, 6, 8)   # (2, 6, 8)
    z_proj = Linear.forward(block_reshape, p["block.proj.weight"], p["block.proj.bias"])   # (2, 6, 8)
    block_add = add + z_proj   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_2, ln_2_mean, ln_2_invstd = LayerNorm.forward(block_add, p["block.ln_2.weight"], p["block.ln_2.bias"])
    z_fc = Linear.forward(ln_2, p["block.fc.weight"], p["block.fc.bias"])   # (2, 6, 32)
    a_block = GELU.forward(z_fc)   # (2, 6, 32)
    z_fc_proj = Linear.forward(a_block, p["block.fc_proj.weight"], p["block.fc_proj.bias"])   # (2, 6, 8)
    block_add_2 = block_add + z_fc_proj   # (2, 6, 8)
    # (2, 6, 8), (2, 6, 1), (2, 6, 1)
    ln_f, ln_f_mean, ln_f_invstd = LayerNorm.forward(block_add_2, p["ln_f.weight"], p["ln_f.bias"])
    z_head = Linear.forward(ln_f, p["head.weight"], bias=None)   # (2, 6, 11)
    loss, log_probs = CrossEntropyLoss.forward(z_head.reshape(12, 11), t)   # (), (12, 11)
    kept = (loss, log_probs, t, ln_f, block_add_2, ln_f_mean, ln_f_invstd, a_block, z_fc, ln_2, block_add, ln_2_mean,
            ln_2_invstd, block_reshape, q, k, v, ln_1, add, ln_1_mean, ln_1_invstd, arange, x)
    return loss, kept


def backward(p, kept):
    (loss, log_probs, t, ln_f, block_add_2, ln_f_mean, ln_f_invstd, a_block, z_fc, ln_2, block_add, ln_2_mean,
     ln_2_invstd, block_reshape, q, k, v, ln_1, add, ln_1_mean, ln_1_invstd, arange, x) = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_reshape = CrossEntropyLoss.delta_input(delta_loss, log_probs, t)   # (12, 11)
    delta_z_head = delta_reshape.reshape(2, 6, 11)   # (2, 6, 11)
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
    delta_block_add_ln_2 = LayerNorm.delta_input(delta_ln_2, block_add, p["block.ln_2.weight"], ln_2_mean, ln_2_invstd)
    grad["block.ln_2.weight"] = LayerNorm.grad_weight(delta_ln_2, block_add, ln_2_mean, ln_2_invstd)   # (8,)
    grad["block.ln_2.bias"] = LayerNorm.grad_bias(delta_ln_2)   # (8,)
    delta_block_add = delta_block_add_2 + delta_block_add_ln_2   # (2, 6, 8)   branches: block, ln_2
    grad["block.proj.weight"] = Linear.grad_weight(delta_block_add, block_reshape)   # (8, 8)
    grad["block.proj.bias"] = Linear.grad_bias(delta_block_add)   # (8,)
    # (2, 6, 2, 4)
    delta_block_attention_reshape = Linear.delta_input(delta_block_add, p["block.proj.weight"]).reshape(2, 6, 2, 4)
    delta_block_attention = delta_block_attention_reshape.transpose(1, 2)   # (2, 2, 6, 4)
    # (2, 2, 6, 4), (2, 2, 6, 4), (2, 2, 6, 4)
    delta_q, delta_k, delta_v = ScaledDotProductAttention.deltas(delta_block_attention, q, k, v)
    delta_z_qkv = torch.cat([   # (2, 6, 24)
        delta_q.transpose(1, 2).reshape(2, 6, 8), delta_k.transpose(1, 2).reshape(2, 6, 8),
        delta_v.transpose(1, 2).reshape(2, 6, 8)], 2)
    delta_ln_1 = Linear.delta_input(delta_z_qkv, p["block.qkv.weight"])   # (2, 6, 8)
    grad["block.qkv.weight"] = Linear.grad_weight(delta_z_qkv, ln_1)   # (24, 8)
    grad["block.qkv.bias"] = Linear.grad_bias(delta_z_qkv)   # (24,)
    # (2, 6, 8)
    delta_add_ln_1 = LayerNorm.delta_input(delta_ln_1, add, p["block.ln_1.weight"], ln_1_mean, ln_1_invstd)
    grad["block.ln_1.weight"] = LayerNorm.grad_weight(delta_ln_1, add, ln_1_mean, ln_1_invstd)   # (8,)
    grad["block.ln_1.bias"] = LayerNorm.grad_bias(delta_ln_1)   # (8,)
    delta_add = delta_block_add + delta_add_ln_1   # (2, 6, 8)   branches: block, ln_1
    delta_wpe = delta_add.sum_to_size(6, 8)   # (6, 8)
    grad["wpe.weight"] = Embedding.grad_weight(delta_wpe, arange, p["wpe.weight"].shape)   # (6, 8)
    grad["wte.weight"] = Embedding.grad_weight(delta_add, x, p["wte.weight"].shape)   # (11, 8)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    for at, shape in {"wte.": (11, 8), "wpe.": (6, 8), "head.": (11, 8)}.items():
        p[at + "weight"] = torch.randn(shape) / math.prod(shape[1:]) ** 0.5
    for at, shape in {"block.ln_1.": (8,), "block.ln_2.": (8,), "ln_f.": (8,)}.items():
        p[at + "weight"] = torch.rand(shape) + 0.5
        p[at + "bias"] = 0.5 * torch.randn(shape)
    for at, shape in {
        "block.qkv.": (24, 8), "block.fc.": (32, 8), "block.fc_proj.": (8, 32), "block.proj.": (8, 8)
    }.items():
        p[at + "weight"] = torch.randn(shape) / math.prod(shape[1:]) ** 0.5
        p[at + "bias"] = 0.5 * torch.randn(shape[:1])
    x = torch.randint(11, (2, 6))
    t = torch.randint(11, (12,))

    loss, kept = forward(p, x, t)
    grad = backward(p, kept)
    print(f"loss {loss.item():.6f}")
    for name in list(grad)[::3]:
        step = torch.randn_like(p[name])
        step *= 1e-5 / step.norm()
        ahead, behind = (forward({**p, name: p[name] + change}, x, t)[0] for change in (step, -step))
        gradient, difference = (grad[name] * step).sum(), (ahead - behind) / 2
        print(f"{name:40} gradient {gradient.item():+.6e}   difference {difference.item():+.6e}")


if __name__ == "__main__":
    main()
