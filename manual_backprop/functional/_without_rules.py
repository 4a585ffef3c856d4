"""Functions of torch.nn.functional that need no rule: manual_backprop.functional has torch's own."""

CONSTANT = frozenset(("native_channel_shuffle", "one_hot", "scaled_grouped_mm", "scaled_mm"))
"""Functions without a derivative in torch: on integers, on floats of 8 bits or fewer, or for inference only."""

HELPERS = frozenset(
    (
        "assert_int_or_pair", "boolean_dispatch", "handle_torch_function", "has_torch_function",
        "has_torch_function_unary", "has_torch_function_variadic",
    )
)  # fmt: skip
"""Helper functions, which compute nothing."""
