"""Textbook names of arguments and results of some rules, where a program has no better name for them."""

from __future__ import annotations

ARGUMENTS = {
    ("ScaledDotProductAttention", "query"): "q",
    ("ScaledDotProductAttention", "key"): "k",
    ("ScaledDotProductAttention", "value"): "v",
    ("ScaledDotProductAttention", "mask"): "mask",
    ("LSTM", "hx"): "h0",
    ("LSTM", "cx"): "c0",
    ("GRU", "hx"): "h0",
    ("RNN", "hx"): "h0",
}
"""Rule and argument -> the name of a value that is computed for it by views and copies alone."""

RESULTS = {
    ("LSTM", "recursion"): ("delta_a", "delta_r", "delta_h0", "delta_c0"),
    ("GRU", "recursion"): ("delta_p", "delta_q", "delta_h0"),
    ("RNN", "recursion"): ("delta_a", "delta_h0"),
}
"""Rule and function -> the names of what it returns."""

RULES = {"ScaledDotProductAttention": "attention"}
"""Rule -> the name of its output."""
