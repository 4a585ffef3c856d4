"""One training step of Perceptron, written out: x (4, 8), t (4,); torch 2.14.1.

forward(p, ...) returns the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


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
        return output

    def delta_input(delta, weight):
        # the vector on the right: on the left, torch squeezes an axis in place, which older versions of vmap refuse
        return delta @ weight

    def grad_weight(delta, input):
        return delta.T @ input

    def grad_bias(delta):
        return delta.sum(0)


class ReLU:
    """y = max(0, x)

    input, output, delta (*)

    delta_input = delta where y > 0, else 0      (0 at the kink, as in torch)

    Source: Fukushima 1969, "Visual feature extraction by a multilayered network of analog threshold elements";
    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    def forward(input):
        return torch.where(input <= 0, 0, input)

    def delta_input(delta, output):
        return torch.where(output <= 0, 0.0, delta)


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
    p["fc1.weight"] = 0.354 * torch.randn((6, 8))
    p["fc1.bias"] = torch.randn((6,))
    p["fc2.weight"] = 0.408 * torch.randn((3, 6))
    p["fc2.bias"] = torch.rand((3,)) + 0.5
    x = 0.354 * torch.randn((4, 8))
    t = torch.randint(3, (4,))

    def loss_of(p):
        torch.manual_seed(1)   # masks of dropout are the same each time
        return forward(p, x, t)[0]

    torch.manual_seed(1)
    loss, kept = forward(p, x, t)
    grad = backward(p, kept)
    print(f"loss {loss.item():.6f}")
    for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]:
        v = torch.randn_like(p[name])
        step = 1e-5 * v / v.norm()
        difference = (loss_of({**p, name: p[name] + step}) - loss_of({**p, name: p[name] - step})) / 2
        print(f"{name:40} gradient {(grad[name] * step).sum().item():+.6e}   difference {difference.item():+.6e}")


if __name__ == "__main__":
    main()
