"""One training step of LastStep, written out: x (2, 4, 3), t (2,); torch 2.14.1.

forward(p, ...) gives the loss and what the backward reads; backward(p, kept) the gradient of each parameter.
z: weighted inputs, a: activations, delta_v: derivative of the loss by v. Behind each line: the shape.
"""

import torch
import torch.nn.functional as F


def flat(tensor):
    """(*, K) as a matrix (product of *, K)."""
    return tensor if tensor.dim() == 2 else tensor.reshape(tensor.shape[:-1].numel(), tensor.shape[-1])


def joined(pieces):
    """The rows of all pieces in one tensor, in the order of the keys."""
    listed = [pieces[key] for key in sorted(pieces)]
    return torch.cat(listed)


def backwards(rows):
    """(index, rows) of each step, in the reverse order."""
    listed = rows.split(2)
    return ((t, listed[t]) for t in range(3, -1, -1))


class LSTM:
    """h_t = o tanh(c_t), or R (o tanh(c_t)) where there is R,   c_t = f c_{t-1} + i g
    i, f, o = sigma(a_i), sigma(a_f), sigma(a_o),   g = tanh(a_g),   a_t = W x_t + b + U h_{t-1} + b'
    input (T, N, I) or packed (S, I)   hx (N, P)   cx (N, H)   weight_ih (4 H, I)   weight_hh (4 H, P)
    biases (4 H) or None   weight_hr R (P, H) or None: P = H   output, delta (T, N, P) or (S, P)
    hy (N, P), cy (N, H): the last states of each row   gates (S, 4 H): i, f, g, o   cells (S, H): every c_t
    delta_h_t = delta_t + U^T delta_a_{t+1}      (of the last step: delta_t + delta_hy)
    delta_m_t = delta_h_t, or R^T delta_h_t      the delta of m_t = o tanh(c_t)
    delta_c_t = f_{t+1} delta_c_{t+1} + o (1 - tanh(c_t)^2) delta_m_t      (of the last step with delta_cy)
    delta_a_i = i (1 - i) g delta_c              delta_a_f = f (1 - f) c_{t-1} delta_c
    delta_a_g = (1 - g^2) i delta_c              delta_a_o = o (1 - o) tanh(c_t) delta_m
    delta_x_t = W^T delta_a_t                    delta_hx  = U^T delta_a_1           delta_cx = f_1 delta_c_1
    grad_W    = sum over t of delta_a_t x_t^T    grad_U    = sum over t of delta_a_t h_{t-1}^T
    grad_b    = grad_b' = sum over t of delta_a_t         grad_R = sum over t of delta_h_t m_t^T
    Source: Hochreiter, Schmidhuber 1997, "Long short-term memory", with the f of Gers et al. 2000."""

    def forward(input, hx, cx, weight_ih, weight_hh, bias_ih, bias_hh):
        x = flat(input)
        products, h, c = F.linear(x, weight_ih, bias_ih).split(2), hx, cx
        outputs, gates, cells = {}, {}, {}
        for t in range(4):
            gates[t] = LSTM.gates(products[t] + F.linear(h, weight_hh, bias_hh))
            i, f, g, o = gates[t].chunk(4, -1)
            cells[t] = f * c + i * g
            m = o * cells[t].tanh()
            outputs[t] = m
            h, c = outputs[t], cells[t]
        outputs, gates, cells = joined(outputs), joined(gates), joined(cells)
        return outputs.reshape(*input.shape[:-1], outputs.shape[-1]), gates, cells

    def gates(a):
        """i, f, g, o"""
        i, f, g, o = a.chunk(4, -1)
        return torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], -1)

    def recursion(delta, delta_h, delta_c, gates, cells, cx, weight_hh):
        """delta_a (S, 4 H), delta_h (S, P) if there is a projection, delta_hx, delta_cx"""
        before = torch.cat([cx, cells[:6]]).split(2)
        gates_of, cells_of = gates.split(2), cells.split(2)
        found = {}
        for t, delta_t in backwards(delta):
            y = cells_of[t].tanh()
            i, f, g, o = gates_of[t].chunk(4, -1)
            dm = delta_h + delta_t
            dc = delta_c + dm * o * (1 - y * y)
            found[t] = torch.cat([
                dc * g * i * (1 - i), dc * before[t] * f * (1 - f), dc * i * (1 - g * g), dm * y * o * (1 - o)], -1)
            delta_h, delta_c = found[t] @ weight_hh, dc * f
        return joined(found)


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
        return flat(delta).T @ flat(input)
    def grad_bias(delta):
        return flat(delta).sum(0)


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
    lstm_transpose = x.transpose(0, 1)   # (4, 2, 3)
    h0, = x.new_zeros([1, 2, 5]).unbind()   # (2, 5)
    c0, = x.new_zeros([1, 2, 5]).unbind()   # (2, 5)
    lstm, lstm_gates, lstm_cells = LSTM.forward(   # (4, 2, 5), (8, 20), (8, 5)
        lstm_transpose, h0, c0, p["lstm.weight_ih_l0"], p["lstm.weight_hh_l0"], p["lstm.bias_ih_l0"],
        p["lstm.bias_hh_l0"])
    part = lstm.transpose(0, 1)[:, -1]   # (2, 5)
    z_fc = Linear.forward(part, p["fc.weight"], p["fc.bias"])   # (2, 4)
    loss, log_probs = CrossEntropyLoss.forward(z_fc, t)   # (), (2, 4)
    kept = (loss, log_probs, t, part, h0, c0, lstm, lstm_transpose, lstm_gates, lstm_cells)
    return loss, kept


def backward(p, kept):
    loss, log_probs, t, part, h0, c0, lstm, lstm_transpose, lstm_gates, lstm_cells = kept
    grad = {}
    delta_loss = torch.ones_like(loss)   # ()
    delta_z_fc = CrossEntropyLoss.delta_input(delta_loss, log_probs, t)   # (2, 4)
    delta_part = Linear.delta_input(delta_z_fc, p["fc.weight"])   # (2, 5)
    grad["fc.weight"] = Linear.grad_weight(delta_z_fc, part)   # (4, 5)
    grad["fc.bias"] = Linear.grad_bias(delta_z_fc)   # (4,)
    delta_lstm_padded = delta_part.new_zeros((2, 4, 5))   # (2, 4, 5)
    delta_lstm_padded[:, 3] = delta_part
    delta_a = LSTM.recursion(   # (8, 20)
        delta_lstm_padded.transpose(0, 1).reshape(8, 5), torch.zeros_like(h0), torch.zeros_like(c0), lstm_gates,
        lstm_cells, c0, p["lstm.weight_hh_l0"])
    grad["lstm.bias_ih_l0"] = Linear.grad_bias(delta_a)   # (20,)
    grad["lstm.weight_ih_l0"] = delta_a.T @ lstm_transpose.reshape(8, 3)   # (20, 3)
    grad["lstm.weight_hh_l0"] = delta_a.T @ torch.cat([h0, lstm.reshape(8, 5)[:6]])   # (20, 5)
    grad["lstm.bias_hh_l0"] = grad["lstm.bias_ih_l0"].clone()   # (20,)
    return grad


def main():
    """Gradients beside finite differences, each along a random direction."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    p = {}
    p["lstm.weight_ih_l0"] = torch.randn((20, 3)) / 3 ** 0.5
    p["lstm.weight_hh_l0"] = torch.randn((20, 5)) / 5 ** 0.5
    p["lstm.bias_ih_l0"] = 0.5 * torch.randn((20,))
    p["lstm.bias_hh_l0"] = 0.5 * torch.randn((20,))
    p["fc.weight"] = torch.randn((4, 5)) / 5 ** 0.5
    p["fc.bias"] = 0.5 * torch.randn((4,))
    x = torch.randn((2, 4, 3)) / 12 ** 0.5
    t = torch.randint(4, (2,))

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
