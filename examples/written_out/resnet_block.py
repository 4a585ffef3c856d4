"""One training step of ResidualBlock, written out: x (2, 4, 6, 6), t (2, 4, 6, 6); torch 2.14.1.

forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

import math
import torch
import torch.nn.functional as F


def spread(values):
    return values.reshape(values.shape + (1, 1))


def count(input):
    """The number of elements (N, C, *) per channel, at least 1, since sums over an empty batch are divided by it."""
    return max(input.shape[0] * input.shape[2:].numel(), 1)


class Conv:
    """y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride p + dilation k - padding]
    input (N, C, *) or (C, *)   weight (O, C/G, *)   bias (O,) or None   output, delta (N, O, *) or (O, *)
    delta_input[n, c, i] = sum over o, k, p with i = stride p + dilation k - padding of weight[o, c, k] delta[n, o, p]
                           (the transposed convolution of delta)
    grad_weight[o, c, k] = sum over n, p of delta[n, o, p] x[n, c, stride p + dilation k - padding]
                           (a convolution with batch and channels exchanged, and stride and dilation exchanged)
    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition"."""

    def forward(input, weight):
        return torch.conv2d(input, weight, None, (1, 1), (1, 1))
    def delta_input(delta, weight):
        return torch.conv_transpose2d(delta, weight, None, (1, 1), (1, 1))

    def grad_weight(delta, input):
        # the channels as the batch, and the batch of each group as channels: (C/G, G N, *)
        batch, channels, *size = input.shape
        by_group = input.reshape(batch, 1, channels, *size)
        by_channel = by_group.transpose(0, 2).reshape(channels, batch, *size)
        found = torch.conv2d(by_channel, delta.transpose(0, 1), None, (1, 1), (1, 1))
        return found.transpose(0, 1)


class BatchNorm:
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var of a channel over N and *,   invstd = 1 / sqrt(var + eps)
    input, output, delta (N, C, *)   weight, bias, running_mean, running_var (C,) or None   mean, invstd (C,)
    grad_bias   = sum of delta       over N and *, n elements per channel
    grad_weight = sum of delta x̂
    delta_input = w invstd (delta - grad_bias / n - x̂ grad_weight / n)
    Source: Ioffe, Szegedy 2015, "Batch Normalization", section 3."""

    def forward(input, weight, bias, running_mean, running_var):
        """Also updates the running statistics in place: running += momentum (batch - running). For this, the variance
        of the batch is the unbiased one."""
        return torch.native_batch_norm(input, weight, bias, running_mean, running_var, True, 0.1, 1e-05)

    def grad_weight(delta, input, mean, invstd):
        return invstd * (delta * (input - spread(mean))).sum((2, 3)).sum(0)
    def grad_bias(delta):
        return delta.sum((2, 3)).sum(0)

    def delta_input(delta, input, weight, mean, invstd, grad_weight, grad_bias):
        normalized = (input - spread(mean)) * spread(invstd)
        along_one, along_normalized = grad_bias / count(input), grad_weight / count(input)
        scale = weight * invstd
        return spread(scale) * (delta - spread(along_one) - normalized * spread(along_normalized))


class ReLU:
    """y = max(0, x)
    input, output, delta (*)
    delta_input = delta where y > 0, else 0      (0 at the kink, as in torch)
    Source: Fukushima 1969, "Visual feature extraction by a multilayered network of analog threshold elements"."""

    def forward(input):
        return torch.where(input <= 0, 0, input)
    def delta_input(delta, output):
        return torch.where(output <= 0, 0.0, delta)


class MSELoss:
    """l = (x - y)^2, or the mean or sum of all
    input, target (*)   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced
    delta_input = 2 (x - y) delta      delta_target = 2 (y - x) delta      with delta / n in place of delta for a mean
    Source: Legendre 1805, "Nouvelles méthodes pour la détermination des orbites des comètes" (least squares)."""

    def forward(input, target):
        return F.mse_loss(input, target, reduction="mean")
    def delta_input(delta, input, target):
        return (input - target) * (2 * (delta / max(input.numel(), 1)))


def forward(p, x, t):
    z_conv1 = Conv.forward(x, p["conv1.weight"])   # (2, 4, 6, 6)
    p["bn1.num_batches_tracked"].add_(1)
    bn1, bn1_mean, bn1_invstd = BatchNorm.forward(   # (2, 4, 6, 6), (4,), (4,)
        z_conv1, p["bn1.weight"], p["bn1.bias"], p["bn1.running_mean"], p["bn1.running_var"])
    a_relu = ReLU.forward(bn1)   # (2, 4, 6, 6)
    z_conv2 = Conv.forward(a_relu, p["conv2.weight"])   # (2, 4, 6, 6)
    p["bn2.num_batches_tracked"].add_(1)
    bn2, bn2_mean, bn2_invstd = BatchNorm.forward(   # (2, 4, 6, 6), (4,), (4,)
        z_conv2, p["bn2.weight"], p["bn2.bias"], p["bn2.running_mean"], p["bn2.running_var"])
    a_relu_2 = ReLU.forward(x + bn2)   # (2, 4, 6, 6)
    loss = MSELoss.forward(a_relu_2, t)   # ()
    kept = (loss, a_relu_2, t, z_conv2, bn2_mean, bn2_invstd, a_relu, z_conv1, bn1_mean, bn1_invstd, x)
    return loss, kept


def backward(p, kept):
    loss, a_relu_2, t, z_conv2, bn2_mean, bn2_invstd, a_relu, z_conv1, bn1_mean, bn1_invstd, x = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_a_relu_2 = MSELoss.delta_input(delta_loss, a_relu_2, t)   # (2, 4, 6, 6)
    delta_add = ReLU.delta_input(delta_a_relu_2, a_relu_2)   # (2, 4, 6, 6)
    grad["bn2.weight"] = BatchNorm.grad_weight(delta_add, z_conv2, bn2_mean, bn2_invstd)   # (4,)
    grad["bn2.bias"] = BatchNorm.grad_bias(delta_add)   # (4,)
    delta_z_conv2 = BatchNorm.delta_input(   # (2, 4, 6, 6)
        delta_add, z_conv2, p["bn2.weight"], bn2_mean, bn2_invstd, grad["bn2.weight"], grad["bn2.bias"])
    delta_a_relu = Conv.delta_input(delta_z_conv2, p["conv2.weight"])   # (2, 4, 6, 6)
    grad["conv2.weight"] = Conv.grad_weight(delta_z_conv2, a_relu)   # (4, 4, 3, 3)
    delta_bn1 = ReLU.delta_input(delta_a_relu, a_relu)   # (2, 4, 6, 6)
    grad["bn1.weight"] = BatchNorm.grad_weight(delta_bn1, z_conv1, bn1_mean, bn1_invstd)   # (4,)
    grad["bn1.bias"] = BatchNorm.grad_bias(delta_bn1)   # (4,)
    delta_z_conv1 = BatchNorm.delta_input(   # (2, 4, 6, 6)
        delta_bn1, z_conv1, p["bn1.weight"], bn1_mean, bn1_invstd, grad["bn1.weight"], grad["bn1.bias"])
    grad["conv1.weight"] = Conv.grad_weight(delta_z_conv1, x)   # (4, 4, 3, 3)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    for at, shape in {"conv1.": (4, 4, 3, 3), "conv2.": (4, 4, 3, 3)}.items():
        p[at + "weight"] = torch.randn(shape) / math.prod(shape[1:]) ** 0.5
    for at, shape in {"bn1.": (4,), "bn2.": (4,)}.items():
        p[at + "weight"] = torch.rand(shape) + 0.5
        p[at + "bias"] = 0.5 * torch.randn(shape)
        p[at + "running_mean"] = 0.5 * torch.randn(shape)
        p[at + "running_var"] = torch.rand(shape) + 0.5
        p[at + "num_batches_tracked"] = torch.randint(1, ())
    x = torch.randn((2, 4, 6, 6)) / 144 ** 0.5
    t = torch.randn((2, 4, 6, 6)) / 144 ** 0.5

    def run(p):
        return forward({n: v.clone() for n, v in p.items()}, x, t)   # copies: the forward writes into them

    loss, kept = run(p)
    grad = backward(p, kept)
    print(f"loss {loss.item():.6f}")
    for name in grad:
        step = torch.randn_like(p[name])
        step *= 1e-5 / step.norm()
        ahead, behind = (run({**p, name: p[name] + change})[0] for change in (step, -step))
        gradient, difference = (grad[name] * step).sum(), (ahead - behind) / 2
        print(f"{name:40} gradient {gradient.item():+.6e}   difference {difference.item():+.6e}")


if __name__ == "__main__":
    main()
