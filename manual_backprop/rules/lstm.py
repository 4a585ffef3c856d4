"""LSTM by explicit backpropagation through time. The layout of sequences is described in recurrent.py."""

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
    copied,
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
from .recurrent import RNN, gradients


class LSTM(Rule):
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

    With a `segment`, the forward saves the outputs, and c only before every `segment` steps. The backward recomputes
    gates and cells, one segment at a time.

    Source: Hochreiter, Schmidhuber 1997, "Long short-term memory", with the f of Gers et al. 2000; R: Sak et al. 2014;
    Werbos 1990, "Backpropagation through time"; segments: Chen et al. 2016, "Training deep nets with sublinear memory".
    """

    results = ("output", "hy", "cy", "gates", "cells")
    autocast = LOWER

    def forward(
        input: Tensor, hx: Tensor, cx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, weight_hr: Tensor | None, sizes: Sizes, reverse: bool, segment: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:  # fmt: skip
        x, h, c, *weights = wide(flat(input), hx, cx, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
        outputs, entries = {}, {}
        for part in parts(sizes, reverse, segment):
            entries[part.begin] = c
            outputs[part.begin], h, c, gates, cells = choose(LSTM.run)(part.of(x), h, c, *weights, part.sizes, reverse)
        kept = (None, torch.stack(list(entries.values()))) if segment else (gates.to(input.dtype), cells)
        return shaped(joined(outputs), input), h.to(input.dtype), c.to(cx.dtype), kept[0], kept[1].to(cx.dtype)

    def run(
        input: Tensor, hx: Tensor, cx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, weight_hr: Tensor | None, sizes: Sizes, reverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        products, h, c = F.linear(input, weight_ih, bias_ih).split(sizes), hx, cx
        outputs, gates, cells = {}, {}, {}
        for t in order(sizes, reverse):
            n = sizes[t]
            gates[t] = LSTM.gates(products[t] + F.linear(h[:n], weight_hh, bias_hh))
            i, f, g, o = gates[t].chunk(4, -1)
            cells[t] = f * c[:n] + i * g
            m = o * cells[t].tanh()
            outputs[t] = m if weight_hr is None else m @ weight_hr.T
            h, c = renewed(h, outputs[t]), renewed(c, cells[t])
        return joined(outputs), apart(h), c, joined(gates), copied(joined(cells), c)

    def gates(a: Tensor) -> Tensor:
        """i, f, g, o"""
        i, f, g, o = a.chunk(4, -1)
        return torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], -1)

    def cells(gates: Tensor, c: Tensor, sizes: Sizes, reverse: bool) -> Tensor:
        """Every c_t, from the gates and c_{t-1}."""
        gates_of, found = gates.split(sizes), {}
        for t in order(sizes, reverse):
            i, f, g, _ = gates_of[t].chunk(4, -1)
            found[t] = f * c[: sizes[t]] + i * g
            c = renewed(c, found[t])
        return joined(found)

    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        *tensors, ctx.sizes, ctx.reverse, ctx.segment = inputs
        not_differentiated(ctx, *output[3:])
        ctx.save_for_backward(*tensors, output[0], *output[3:])

    # written by hand, like `setup_context`: one recursion gives the gradients of all arguments
    def backward(ctx: Any, delta: Tensor | None, delta_hy: Tensor | None, delta_cy: Tensor | None, *_: Any) -> tuple:
        needs = ctx.needs_input_grad
        delta, delta_h, delta_c, *saved = widen(delta, delta_hy, delta_cy, *ctx.saved_tensors)
        input, hx, cx, *weights, output, gates, cells = saved
        weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
        delta_h = torch.zeros_like(hx) if delta_h is None else delta_h
        delta_c = torch.zeros_like(cx) if delta_c is None else delta_c
        before, again = shifted(flat(output), hx, ctx.sizes, ctx.reverse), differentiated_again()
        found: list = []
        entries, c = cells, cx
        for k, part in reversed(list(enumerate(parts(ctx.sizes, ctx.reverse, 0 if again else ctx.segment)))):
            x, h = part.of(flat(input)), part.of(before)
            if again:
                gates = LSTM.gates(F.linear(x, weight_ih, bias_ih) + F.linear(h, weight_hh, bias_hh))
                cells = LSTM.cells(gates, c, part.sizes, ctx.reverse)
            elif ctx.segment:
                first, c = first_state(h, hx, part, ctx.reverse), entries[k]
                *_, gates, cells = choose(LSTM.run)(x, first, c, *weights, part.sizes, ctx.reverse)
            states = delta_h, delta_c, gates, cells, c, weight_hh, weight_hr
            deltas, delta_r, delta_h, delta_c = choose(LSTM.recursion)(
                None if delta is None else part.of(flat(delta)), *states, part.sizes, ctx.reverse
            )
            new = gradients(needs, deltas, deltas, x, h, weight_ih, 3)
            new.append(choose(RNN.grad_weight)(delta_r, gates.chunk(4, -1)[3] * cells.tanh()) if needs[7] else None)
            found = added(found, new, part.begin)
        found[1], found[2] = delta_h if needs[1] else None, delta_c if needs[2] else None
        return *finished(found, ctx.saved_tensors[-3]), None, None, None

    def recursion(
        delta: Tensor | None, delta_h: Tensor, delta_c: Tensor, gates: Tensor, cells: Tensor, cx: Tensor,
        weight_hh: Tensor, weight_hr: Tensor | None, sizes: Sizes, reverse: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:  # fmt: skip
        """delta_a (S, 4 H), delta_h (S, P) if there is a projection, delta_hx, delta_cx"""
        before = shifted(cells, cx, sizes, reverse).split(sizes)
        gates_of, cells_of = gates.split(sizes), cells.split(sizes)
        found, projected = {}, {}
        for t, delta_t in backwards(delta, sizes, reverse):
            n, y = sizes[t], cells_of[t].tanh()
            i, f, g, o = gates_of[t].chunk(4, -1)
            projected[t] = plus(delta_h[:n], delta_t)
            dm = projected[t] if weight_hr is None else projected[t] @ weight_hr
            dc = delta_c[:n] + dm * o * (1 - y * y)
            found[t] = torch.cat(
                [dc * g * i * (1 - i), dc * before[t] * f * (1 - f), dc * i * (1 - g * g), dm * y * o * (1 - o)], -1
            )
            delta_h, delta_c = renewed(delta_h, found[t] @ weight_hh), renewed(delta_c, dc * f)
        return joined(found), None if weight_hr is None else joined(projected), delta_h, delta_c

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, hx, cx, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, sizes, reverse, _ = inputs
        t_h, t_c, t_r, moved = tangents[1], tangents[2], tangents[7], {}
        before = shifted(flat(output[0]), hx, sizes, reverse)
        gates = LSTM.gates(F.linear(flat(input), weight_ih, bias_ih) + F.linear(before, weight_hh, bias_hh))
        cells = LSTM.cells(gates, cx, sizes, reverse)
        c_before = shifted(cells, cx, sizes, reverse).split(sizes)
        gates_of, cells_of = gates.split(sizes), cells.split(sizes)
        t_a = moved_products(tangents[0], tangents[3], tangents[5], flat(input), weight_ih)
        t_a = total(t_a, moved_products(None, tangents[4], tangents[6], before, weight_hh))
        t_h = torch.zeros_like(hx) if t_h is None else t_h
        t_c = torch.zeros_like(cx) if t_c is None else t_c
        for t, t_a_t in in_order(t_a, sizes, reverse):
            n, y = sizes[t], cells_of[t].tanh()
            i, f, g, o = gates_of[t].chunk(4, -1)
            a_i, a_f, a_g, a_o = plus(t_h[:n] @ weight_hh.T, t_a_t).chunk(4, -1)
            t_f, t_g = f * (1 - f) * a_f * c_before[t], (1 - g * g) * a_g * i
            t_cell = f * t_c[:n] + t_f + t_g + i * (1 - i) * a_i * g
            t_m = o * (1 - o) * a_o * y + o * (1 - y * y) * t_cell
            if weight_hr is not None:
                t_m = plus(t_m @ weight_hr.T, None if t_r is None else (o * y) @ t_r.T)
            moved[t] = t_m
            t_h, t_c = renewed(t_h, moved[t]), renewed(t_c, t_cell)
        return shaped(joined(moved), output[0]), t_h.clone(), t_c.clone(), None, None
