"""One training step of LeNet5, written out: x (2, 1, 28, 28), t (2,); torch 2.14.1.

forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

from functools import reduce
import math
import torch
import torch.nn.functional as F


class Conv:
    """y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride p + dilation k - padding]
    input (N, C, *) or (C, *)   weight (O, C/G, *)   bias (O,) or None   output, delta (N, O, *) or (O, *)
    delta_input[n, c, i] = sum over o, k, p with i = stride p + dilation k - padding of weight[o, c, k] delta[n, o, p]
                           (the transposed convolution of delta)
    grad_weight[o, c, k] = sum over n, p of delta[n, o, p] x[n, c, stride p + dilation k - padding]
                           (a convolution with batch and channels exchanged, and stride and dilation exchanged)
    grad_bias[o]         = sum over n, p of delta[n, o, p]
    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition"."""

    def forward(input, weight, bias, padding):
        return torch.conv2d(input, weight, bias, (1, 1), padding)
    def delta_input(delta, weight):
        return torch.conv_transpose2d(delta, weight)

    def grad_weight(delta, input, padding):
        # the channels as the batch, and the batch of each group as channels: (C/G, G N, *)
        batch, channels, *size = input.shape
        by_group = input.reshape(batch, 1, channels, *size)
        by_channel = by_group.transpose(0, 2).reshape(channels, batch, *size)
        found = torch.conv2d(by_channel, delta.transpose(0, 1), None, (1, 1), padding)
        return found.transpose(0, 1)

    def grad_bias(delta):
        return delta.sum((0, 2, 3))


class Tanh:
    """y = tanh(x)
    input, output, delta (*)
    delta_input = (1 - y^2) delta
    Source: Wikipedia, "Hyperbolic functions", section Derivatives."""

    def forward(input):
        return torch.tanh(input)
    def delta_input(delta, output):
        return delta * (1 - output * output)


class AvgPool:
    """y[n, c, p] = sum over k of x[n, c, stride p + k - padding] / divisor[p]
    input (N, C, *) or (C, *)   output, delta (N, C, *) or (C, *)   padding: at most half of the window
    delta_input[n, c, i] = sum of delta[n, c, p] / divisor[p] over k and p with stride p + k - padding = i
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition" (subsampling layers)."""

    def forward(input):
        return F.avg_pool2d(input, (2, 2), (2, 2), (0, 0), False, True, None)

    def delta_input(delta, input_shape):
        size = input_shape[-2:]
        counts = []
        for outputs, n in zip(delta.shape[-2:], size, strict=True):
            begin = torch.arange(outputs, device=delta.device) * 2
            end = (begin + 2).clamp(max=n)
            counts.append(end - begin)
        divisor = reduce(lambda product, vector: product.unsqueeze(-1) * vector, counts).to(delta.dtype)
        delta = delta / divisor
        for axis in range(2):
            delta = AvgPool.spread(delta, axis - 2, size[axis])
        return delta

    def spread(delta, axis, size):
        """Add each element to all positions of its window, along one (negative) axis."""
        last = 2 * (delta.shape[axis] - 1)   # where the last window begins
        full = last + 2
        spread = delta.new_zeros(*delta.shape[:axis], full, *delta.shape[4 + axis + 1:])
        for k in range(2):
            place = (..., slice(k, k + last + 1, 2), *[slice(None)] * (-1 - axis))
            spread[place].add_(delta)
        return F.pad(spread, [0, 0] * (-1 - axis) + [0, size - full])


class Linear:
    """y = x W^T + b
    input (*, I)   weight (O, I) or (I,)   bias (O,) or () or None   output, delta (*, O) or (*)
    delta_input  = delta W
    grad_weight  = sum over * of delta^T x
    grad_bias    = sum over * of delta
    Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"."""

    def forward(input, weight, bias):
        return F.linear(input, weight, bias)
    def delta_input(delta, weight):
        return delta @ weight
    def grad_weight(delta, input):
        return delta.T @ input
    def grad_bias(delta):
        return delta.sum(0)


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
    z_conv1 = Conv.forward(x, p["conv1.weight"], p["conv1.bias"], padding=(2, 2))   # (2, 6, 28, 28)
    a_tanh = Tanh.forward(z_conv1)   # (2, 6, 28, 28)
    pool1 = AvgPool.forward(a_tanh)   # (2, 6, 14, 14)
    z_conv2 = Conv.forward(pool1, p["conv2.weight"], p["conv2.bias"], padding=(0, 0))   # (2, 16, 10, 10)
    a_tanh_2 = Tanh.forward(z_conv2)   # (2, 16, 10, 10)
    pool2 = AvgPool.forward(a_tanh_2)   # (2, 16, 5, 5)
    reshape = pool2.reshape(2, 400)   # (2, 400)
    z_fc1 = Linear.forward(reshape, p["fc1.weight"], p["fc1.bias"])   # (2, 120)
    a_tanh_3 = Tanh.forward(z_fc1)   # (2, 120)
    z_fc2 = Linear.forward(a_tanh_3, p["fc2.weight"], p["fc2.bias"])   # (2, 84)
    a_tanh_4 = Tanh.forward(z_fc2)   # (2, 84)
    z_fc3 = Linear.forward(a_tanh_4, p["fc3.weight"], p["fc3.bias"])   # (2, 10)
    loss, log_probs = CrossEntropyLoss.forward(z_fc3, t)   # (), (2, 10)
    kept = (loss, log_probs, t, a_tanh_4, a_tanh_3, reshape, a_tanh_2, pool1, a_tanh, x)
    return loss, kept


def backward(p, kept):
    loss, log_probs, t, a_tanh_4, a_tanh_3, reshape, a_tanh_2, pool1, a_tanh, x = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_z_fc3 = CrossEntropyLoss.delta_input(delta_loss, log_probs, t)   # (2, 10)
    delta_a_tanh_4 = Linear.delta_input(delta_z_fc3, p["fc3.weight"])   # (2, 84)
    grad["fc3.weight"] = Linear.grad_weight(delta_z_fc3, a_tanh_4)   # (10, 84)
    grad["fc3.bias"] = Linear.grad_bias(delta_z_fc3)   # (10,)
    delta_z_fc2 = Tanh.delta_input(delta_a_tanh_4, a_tanh_4)   # (2, 84)
    delta_a_tanh_3 = Linear.delta_input(delta_z_fc2, p["fc2.weight"])   # (2, 120)
    grad["fc2.weight"] = Linear.grad_weight(delta_z_fc2, a_tanh_3)   # (84, 120)
    grad["fc2.bias"] = Linear.grad_bias(delta_z_fc2)   # (84,)
    delta_z_fc1 = Tanh.delta_input(delta_a_tanh_3, a_tanh_3)   # (2, 120)
    grad["fc1.weight"] = Linear.grad_weight(delta_z_fc1, reshape)   # (120, 400)
    grad["fc1.bias"] = Linear.grad_bias(delta_z_fc1)   # (120,)
    delta_pool2 = Linear.delta_input(delta_z_fc1, p["fc1.weight"]).reshape(2, 16, 5, 5)   # (2, 16, 5, 5)
    delta_a_tanh_2 = AvgPool.delta_input(delta_pool2, a_tanh_2.shape)   # (2, 16, 10, 10)
    delta_z_conv2 = Tanh.delta_input(delta_a_tanh_2, a_tanh_2)   # (2, 16, 10, 10)
    delta_pool1 = Conv.delta_input(delta_z_conv2, p["conv2.weight"])   # (2, 6, 14, 14)
    grad["conv2.weight"] = Conv.grad_weight(delta_z_conv2, pool1, padding=(0, 0))   # (16, 6, 5, 5)
    grad["conv2.bias"] = Conv.grad_bias(delta_z_conv2)   # (16,)
    delta_a_tanh = AvgPool.delta_input(delta_pool1, a_tanh.shape)   # (2, 6, 28, 28)
    delta_z_conv1 = Tanh.delta_input(delta_a_tanh, a_tanh)   # (2, 6, 28, 28)
    grad["conv1.weight"] = Conv.grad_weight(delta_z_conv1, x, padding=(2, 2))   # (6, 1, 5, 5)
    grad["conv1.bias"] = Conv.grad_bias(delta_z_conv1)   # (6,)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    for at, shape in {
        "conv1.": (6, 1, 5, 5), "conv2.": (16, 6, 5, 5), "fc1.": (120, 400), "fc2.": (84, 120), "fc3.": (10, 84)
    }.items():
        p[at + "weight"] = torch.randn(shape) / math.prod(shape[1:]) ** 0.5
        p[at + "bias"] = 0.5 * torch.randn(shape[:1])
    x = torch.randn((2, 1, 28, 28)) / 784 ** 0.5
    t = torch.randint(10, (2,))

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
