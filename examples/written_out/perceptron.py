"""One training step of Perceptron, written out: x (4, 8), t (4,); torch 2.14.1.

forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

import torch
import torch.nn.functional as F


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


class ReLU:
    """y = max(0, x)
    input, output, delta (*)
    delta_input = delta where y > 0, else 0      (0 at the kink, as in torch)
    Source: Fukushima 1969, "Visual feature extraction by a multilayered network of analog threshold elements"."""

    def forward(input):
        return torch.where(input <= 0, 0, input)
    def delta_input(delta, output):
        return torch.where(output <= 0, 0.0, delta)


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
    z_fc1 = Linear.forward(x, p["fc1.weight"], p["fc1.bias"])   # (4, 6)
    a_relu = ReLU.forward(z_fc1)   # (4, 6)
    z_fc2 = Linear.forward(a_relu, p["fc2.weight"], p["fc2.bias"])   # (4, 3)
    loss, log_probs = CrossEntropyLoss.forward(z_fc2, t)   # (), (4, 3)
    kept = (loss, log_probs, t, a_relu, x)
    return loss, kept


def backward(p, kept):
    loss, log_probs, t, a_relu, x = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_z_fc2 = CrossEntropyLoss.delta_input(delta_loss, log_probs, t)   # (4, 3)
    delta_a_relu = Linear.delta_input(delta_z_fc2, p["fc2.weight"])   # (4, 6)
    grad["fc2.weight"] = Linear.grad_weight(delta_z_fc2, a_relu)   # (3, 6)
    grad["fc2.bias"] = Linear.grad_bias(delta_z_fc2)   # (3,)
    delta_z_fc1 = ReLU.delta_input(delta_a_relu, a_relu)   # (4, 6)
    grad["fc1.weight"] = Linear.grad_weight(delta_z_fc1, x)   # (6, 8)
    grad["fc1.bias"] = Linear.grad_bias(delta_z_fc1)   # (6,)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    p["fc1.weight"] = torch.randn((6, 8)) / 8 ** 0.5
    p["fc1.bias"] = 0.5 * torch.randn((6,))
    p["fc2.weight"] = torch.randn((3, 6)) / 6 ** 0.5
    p["fc2.bias"] = torch.rand((3,)) + 0.5
    x = torch.randn((4, 8)) / 8 ** 0.5
    t = torch.randint(3, (4,))

    loss, kept = forward(p, x, t)
    grad = backward(p, kept)
    print(f"loss {loss.item():.6f}")
    for name in grad:
        step = torch.randn_like(p[name])
        step *= 1e-5 / step.norm()
        ahead, behind = (forward({**p, name: p[name] + change}, x, t)[0] for change in (step, -step))
        gradient, difference = (grad[name] * step).sum(), (ahead - behind) / 2
        print(f"{name:40} gradient {gradient.item():+.6e}   difference {difference.item():+.6e}")


if __name__ == "__main__":
    main()
