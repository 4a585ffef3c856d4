"""Recurrent layers by explicit backpropagation through time. A rule is one layer in one direction, over all steps.

Sequences are packed, as in torch's PackedSequence: the rows of the first step, then the rows of the second, and so on.
`sizes` holds the number of rows of each step, which never grows; in (T, N, I) each step has N. A sequence that has
ended keeps its last state. In reverse order, a sequence that has not begun keeps its initial state.

    W, b    weight_ih, bias_ih: they act on the input
    U, b'   weight_hh, bias_hh: they act on the previous state
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose, differentiated_again
from ..engine.terms import flat, not_differentiated, total, widen
from ._through_time import (
    Sizes,
    added,
    apart,
    backwards,
    finished,
    first_state,
    in_order,
    joined,
    moved_products,
    order,
    parts,
    plus,
    renewed,
    shaped,
    shifted,
    wide,
)
from .linear import Linear


class RNN(Rule):
    """h_t = phi(a_t),   a_t = W x_t + b + U h_{t-1} + b',   phi = tanh or relu

    input (T, N, I) or packed (S, I)   hx (N, H)   weight_ih (H, I)   weight_hh (H, H)   biases (H) or None
    output, delta (T, N, H) or (S, H)   hy (N, H): the last state of each row

    delta_h_t = delta_t + U^T delta_a_{t+1}      (of the last step: delta_t + delta_hy)
    delta_a_t = phi'(a_t) delta_h_t,   phi' = 1 - h_t^2, or 1 but 0 where h_t <= 0
    delta_x_t = W^T delta_a_t                    delta_hx  = U^T delta_a_1
    grad_W    = sum over t of delta_a_t x_t^T    grad_U    = sum over t of delta_a_t h_{t-1}^T
    grad_b    = grad_b' = sum over t of delta_a_t

    Source: Werbos 1990, "Backpropagation through time: what it does and how to do it"; Elman 1990.
    """

    results = ("output", "hy")
    autocast = LOWER

    def forward(
        input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, activation: str, sizes: Sizes, reverse: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        tensors = wide(flat(input), hx, weight_ih, weight_hh, bias_ih, bias_hh)
        output, hy = choose(RNN.run)(*tensors, activation, sizes, reverse)
        return shaped(output, input), hy.to(input.dtype)

    def run(
        input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, activation: str, sizes: Sizes, reverse: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        products, h, outputs = F.linear(input, weight_ih, bias_ih).split(sizes), hx, {}
        for t in order(sizes, reverse):
            a = products[t] + F.linear(h[: sizes[t]], weight_hh, bias_hh)
            outputs[t] = a.tanh() if activation == "tanh" else a.relu()
            h = renewed(h, outputs[t])
        return joined(outputs), apart(h)

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, hx, weight_ih, weight_hh, _, _, ctx.activation, ctx.sizes, ctx.reverse = inputs
        of_input, of_hx, ih, hh, *_ = ctx.needs_input_grad
        ctx.rows, again = len(hx), weight_hh if of_hx or len(ctx.sizes) > 1 else None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(
            input if ih else None, hx if hh else None, weight_ih if of_input else None, again, output[0]
        )

    # written by hand, like `setup_context`: one recursion gives the gradients of all arguments
    def backward(ctx: Any, delta: Tensor | None, delta_hy: Tensor | None) -> tuple:
        needs, options = ctx.needs_input_grad, (ctx.activation, ctx.sizes, ctx.reverse)
        delta, delta_h, input, hx, weight_ih, weight_hh, output = widen(delta, delta_hy, *ctx.saved_tensors)
        states = flat(output)
        delta_h = states.new_zeros(ctx.rows, states.shape[1]) if delta_h is None else delta_h
        deltas, delta_h = choose(RNN.recursion)(
            None if delta is None else flat(delta), delta_h, states, weight_hh, *options
        )
        x = None if input is None else flat(input)
        before = None if hx is None else shifted(states, hx, ctx.sizes, ctx.reverse)
        found = added([], gradients(needs, deltas, deltas, x, before, weight_ih, 2), 0)
        found[1] = delta_h if needs[1] else None
        return *finished(found, ctx.saved_tensors[-1]), None, None, None

    def recursion(
        delta: Tensor | None, delta_h: Tensor, output: Tensor, weight_hh: Tensor | None, activation: str, sizes: Sizes,
        reverse: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """delta_a (S, H), delta_hx; delta_hx is not computed if weight_hh is None (a single step)"""
        states, found = output.split(sizes), {}
        for t, delta_t in backwards(delta, sizes, reverse):
            found[t] = plus(delta_h[: sizes[t]], delta_t) * RNN.slope(states[t], activation)
            if weight_hh is not None:
                delta_h = renewed(delta_h, found[t] @ weight_hh)
        return joined(found), delta_h

    def slope(h: Tensor, activation: str) -> Tensor:
        """phi'; 1 for NaN, as in torch"""
        return 1 - h * h if activation == "tanh" else (~(h <= 0)).to(h.dtype)

    def grad_weight(deltas: Tensor, factors: Tensor) -> Tensor:
        return deltas.T @ factors

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, hx, weight_ih, weight_hh, _, _, activation, sizes, reverse = inputs
        states, t_h, moved = flat(output[0]), tangents[1], {}
        before = shifted(states, hx, sizes, reverse)
        t_a = moved_products(tangents[0], tangents[2], tangents[4], flat(input), weight_ih)
        t_a = total(t_a, moved_products(None, tangents[3], tangents[5], before, weight_hh))
        t_h = torch.zeros_like(hx) if t_h is None else t_h
        for t, t_a_t in in_order(t_a, sizes, reverse):
            h = states.split(sizes)[t]
            moved[t] = plus(t_h[: sizes[t]] @ weight_hh.T, t_a_t) * RNN.slope(h, activation)
            t_h = renewed(t_h, moved[t])
        return shaped(joined(moved), output[0]), t_h.clone()


class GRU(Rule):
    """h_t = (1 - z) n + z h_{t-1},   r = sigma(p_r + q_r),   z = sigma(p_z + q_z),   n = tanh(p_n + r q_n)
    p_t = W x_t + b,   q_t = U h_{t-1} + b',   each of three parts r, z, n

    input (T, N, I) or packed (S, I)   hx (N, H)   weight_ih (3 H, I)   weight_hh (3 H, H)   biases (3 H) or None
    output, delta (T, N, H) or (S, H)   hy (N, H): the last state of each row   gates (S, 4 H): r, z, n, q_n

    delta_h_t = delta_t + z_{t+1} delta_h_{t+1} + U^T delta_q_{t+1}      (of the last step: delta_t + delta_hy)
    delta_p_n = (1 - z) (1 - n^2) delta_h        delta_q_n = r delta_p_n
    delta_p_r = delta_q_r = r (1 - r) q_n delta_p_n
    delta_p_z = delta_q_z = z (1 - z) (h_{t-1} - n) delta_h
    delta_x_t = W^T delta_p_t                    delta_hx  = z_1 delta_h_1 + U^T delta_q_1
    grad_W    = sum over t of delta_p_t x_t^T    grad_U    = sum over t of delta_q_t h_{t-1}^T
    grad_b    = sum over t of delta_p_t          grad_b'   = sum over t of delta_q_t

    With a `segment`, the gates are not saved: the backward recomputes them, `segment` steps at a time.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", r applied after U as in
    cuDNN; Werbos 1990, "Backpropagation through time: what it does and how to do it".
    """

    results = ("output", "hy", "gates")
    autocast = LOWER

    def forward(
        input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, sizes: Sizes, reverse: bool, segment: int,
    ) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
        x, h, *weights = wide(flat(input), hx, weight_ih, weight_hh, bias_ih, bias_hh)
        outputs = {}
        for part in parts(sizes, reverse, segment):
            outputs[part.begin], h, gates = choose(GRU.run)(part.of(x), h, *weights, part.sizes, reverse)
        return shaped(joined(outputs), input), h.to(input.dtype), None if segment else gates.to(input.dtype)

    def run(
        input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, sizes: Sizes, reverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        products, h, outputs, gates = F.linear(input, weight_ih, bias_ih).split(sizes), hx, {}, {}
        for t in order(sizes, reverse):
            before = h[: sizes[t]]
            gates[t] = GRU.gates(products[t], F.linear(before, weight_hh, bias_hh))
            _, z, n, _ = gates[t].chunk(4, -1)
            outputs[t] = n + z * (before - n)
            h = renewed(h, outputs[t])
        return joined(outputs), apart(h), joined(gates)

    def gates(products: Tensor, inner: Tensor) -> Tensor:
        """r, z, n and q_n"""
        p_r, p_z, p_n = products.chunk(3, -1)
        q_r, q_z, q_n = inner.chunk(3, -1)
        r, z = (p_r + q_r).sigmoid(), (p_z + q_z).sigmoid()
        return torch.cat([r, z, (p_n + r * q_n).tanh(), q_n], -1)

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        *tensors, ctx.sizes, ctx.reverse, ctx.segment = inputs
        not_differentiated(ctx, output[2])
        ctx.save_for_backward(*tensors, output[0], output[2])

    # written by hand, like `setup_context`: one recursion gives the gradients of all arguments
    def backward(ctx: Any, delta: Tensor | None, delta_hy: Tensor | None, _: Any) -> tuple:
        needs = ctx.needs_input_grad
        delta, delta_h, input, hx, *weights, output, gates = widen(delta, delta_hy, *ctx.saved_tensors)
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        delta_h = torch.zeros_like(hx) if delta_h is None else delta_h
        before, again = shifted(flat(output), hx, ctx.sizes, ctx.reverse), differentiated_again()
        found: list = []
        for part in reversed(parts(ctx.sizes, ctx.reverse, 0 if again else ctx.segment)):
            x, h = part.of(flat(input)), part.of(before)
            if again:
                gates = GRU.gates(F.linear(x, weight_ih, bias_ih), F.linear(h, weight_hh, bias_hh))
            elif ctx.segment:
                gates = choose(GRU.run)(x, first_state(h, hx, part, ctx.reverse), *weights, part.sizes, ctx.reverse)[2]
            delta_p, delta_q, delta_h = choose(GRU.recursion)(
                None if delta is None else part.of(flat(delta)), delta_h, gates, h, weight_hh, part.sizes, ctx.reverse
            )
            found = added(found, gradients(needs, delta_p, delta_q, x, h, weight_ih, 2), part.begin)
        found[1] = delta_h if needs[1] else None
        return *finished(found, ctx.saved_tensors[-2]), None, None, None

    def recursion(
        delta: Tensor | None, delta_h: Tensor, gates: Tensor, before: Tensor, weight_hh: Tensor, sizes: Sizes,
        reverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """delta_p and delta_q (S, 3 H), delta_hx"""
        states, gates_of, outer, inner = before.split(sizes), gates.split(sizes), {}, {}
        for t, delta_t in backwards(delta, sizes, reverse):
            r, z, n, q = gates_of[t].chunk(4, -1)
            dh = plus(delta_h[: sizes[t]], delta_t)
            delta_n = dh * (1 - z) * (1 - n * n)
            delta_r = delta_n * q * r * (1 - r)
            delta_z = dh * (states[t] - n) * z * (1 - z)
            outer[t] = torch.cat([delta_r, delta_z, delta_n], -1)
            inner[t] = torch.cat([delta_r, delta_z, delta_n * r], -1)
            delta_h = renewed(delta_h, dh * z + inner[t] @ weight_hh)
        return joined(outer), joined(inner), delta_h

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, hx, weight_ih, weight_hh, bias_ih, bias_hh, sizes, reverse, _ = inputs
        t_h, moved = tangents[1], {}
        before = shifted(flat(output[0]), hx, sizes, reverse)
        gates = GRU.gates(F.linear(flat(input), weight_ih, bias_ih), F.linear(before, weight_hh, bias_hh)).split(sizes)
        t_p = moved_products(tangents[0], tangents[2], tangents[4], flat(input), weight_ih)
        t_p = plus(before.new_zeros(len(before), len(weight_ih)), t_p)
        t_q = moved_products(None, tangents[3], tangents[5], before, weight_hh)
        t_q_of = dict(in_order(t_q, sizes, reverse))
        t_h = torch.zeros_like(hx) if t_h is None else t_h
        for t in order(sizes, reverse):
            t_before, h = t_h[: sizes[t]], before.split(sizes)[t]
            r, z, n, q = gates[t].chunk(4, -1)
            q_r, q_z, q_n = plus(t_before @ weight_hh.T, t_q_of[t]).chunk(3, -1)
            p_r, p_z, p_n = t_p.split(sizes)[t].chunk(3, -1)
            t_r, t_z = (p_r + q_r) * r * (1 - r), (p_z + q_z) * z * (1 - z)
            t_n = (p_n + t_r * q + r * q_n) * (1 - n * n)
            moved[t] = t_n * (1 - z) + t_z * (h - n) + z * t_before
            t_h = renewed(t_h, moved[t])
        return shaped(joined(moved), output[0]), t_h.clone(), None


def gradients(
    needs: tuple[bool, ...], deltas: Tensor, inner: Tensor, input: Any, before: Any, weight_ih: Any, weight: int
) -> list[Tensor | None]:
    """delta_input, None for each initial state, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh.

    deltas, inner: the deltas of the products with the input and with the previous state. input, before and weight_ih
    may be None if no gradient in `needs` uses them. weight: the position of weight_ih among the arguments.
    """
    of_input, (ih, hh, b_ih, b_hh) = needs[0], needs[weight : weight + 4]
    grad_bias = Linear.grad_bias(deltas) if b_ih else None
    return [
        choose(Linear.delta_input)(deltas, weight_ih) if of_input else None,
        *[None] * (weight - 1),
        choose(RNN.grad_weight)(deltas, input) if ih else None,
        choose(RNN.grad_weight)(inner, before) if hh else None,
        grad_bias,
        None
        if not b_hh
        else grad_bias.clone()
        if grad_bias is not None and inner is deltas
        else Linear.grad_bias(inner),
    ]
