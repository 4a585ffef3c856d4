"""The parser of the training commands: short errors that name what was meant."""

import argparse
import inspect
import re
from itertools import chain
from typing import Any

import torch
from jsonargparse import DefaultHelpFormatter
from pytorch_lightning.cli import LightningArgumentParser

from ..errors import BadInput, nearest

MOST_CLASSES = 30
"""Classes that help lists for an option; of torch.nn.Module there are hundreds."""


class Formatter(DefaultHelpFormatter):
    """jsonargparse's help without its longest lists."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, listed, classes = super()._get_help_string(action).partition(", known subclasses: ")
        if classes.count(",") >= MOST_CLASSES:
            return f"{text})"
        return text + listed + classes


class Parser(LightningArgumentParser):
    """Lightning's parser, whose errors name the nearest known option, optimizer or scheduler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": Formatter, **kwargs})

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> Any:
        """Without jsonargparse's sub-configs: a file named mlp or cpu would be read in place of the word."""
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if isinstance(ex, BadInput):  # of a parser inside this one
            raise ex
        message = _shorter(message.strip())
        below = [action.choices.values() for action in self._actions if isinstance(action.choices, dict)]
        actions = [action for parser in (self, *chain(*below)) for action in parser._actions]
        options = [name[2:] for action in actions for name in action.option_strings if name.startswith("--")]
        torch_classes = [*torch.optim.__all__, *torch.optim.lr_scheduler.__all__]
        classes = [getattr(torch.optim, n, None) or getattr(torch.optim.lr_scheduler, n, None) for n in torch_classes]
        arguments = {name for cls in classes if isinstance(cls, type) for name in inspect.signature(cls).parameters}
        hints = []
        for pattern, known, prefix in (
            (r"(?<![\w.])--([\w.]+)", options, "--"),
            (r"does not accept option [\"']([\w.]+)[\"']", options, ""),
            (r"import path string: (\w+)", torch_classes, ""),
            (r"[Oo]ption [\"'](\w+)[\"'] is not accepted", sorted(arguments), ""),
        ):
            for word in re.findall(pattern, message):
                if word not in known and "Did you mean" not in message and (guess := nearest(word, known)):
                    hints.append(f"Did you mean {prefix}{guess} in place of {prefix}{word}?")
        raise BadInput("\n".join([message, *dict.fromkeys(hints)])) from ex


def _shorter(message: str) -> str:
    """In one line what jsonargparse says in nine of a value that is of none of several types."""
    wrong = re.findall(r"^ *- (.*)", message, re.MULTILINE)
    types, value = re.search(r"Subtypes: \[(.*)\]", message), re.search(r"Given value: (.*)", message)
    if not (wrong and types and value and all(line.startswith("Expected a ") for line in wrong)):
        return message
    expected = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>|typing\.", r"\1", types.group(1)).replace("NoneType", "null")
    return f"{'.'.join(re.findall(r'Parser key .([^ ]+).:', message))}={value.group(1)}: expected one of {expected}."
