"""The parser of the training commands: its errors are short and suggest the option that was probably meant."""

import argparse
import re
from itertools import chain
from typing import Any

import torch
from jsonargparse import DefaultHelpFormatter
from pytorch_lightning.cli import LightningArgumentParser

from ..errors import BadInput, nearest

MOST_CLASSES = 30
"""Help lists the known subclasses of an option's type up to this many; torch.nn.Module has hundreds."""


class Formatter(DefaultHelpFormatter):
    """jsonargparse's help without the longest lists of subclasses."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, listed, classes = super()._get_help_string(action).partition(", known subclasses: ")
        if classes.count(",") >= MOST_CLASSES:
            return f"{text})"
        return text + listed + classes


class Parser(LightningArgumentParser):
    """Lightning's parser. Its errors also name the nearest known option, optimizer or scheduler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": Formatter, **kwargs})

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> Any:
        """Turns jsonargparse's sub-configs off: with them, a file named mlp or cpu is read in place of that value."""
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if isinstance(ex, BadInput):  # raised by a parser nested in this one
            raise ex
        message = _shorter(message.strip())
        below = [action.choices.values() for action in self._actions if isinstance(action.choices, dict)]
        actions = [action for parser in (self, *chain(*below)) for action in parser._actions]
        options = [name[2:] for action in actions for name in action.option_strings if name.startswith("--")]
        torch_classes = [*torch.optim.__all__, *torch.optim.lr_scheduler.__all__]
        # jsonargparse parses the options of one class with a separate parser, which has no subcommands
        of_class = [] if below or "config" in options else options
        hints = []
        for pattern, known, prefix in (
            (r"(?<![\w.])--([\w.]+)", options, "--"),
            (r"does not accept option [\"']([\w.]+)[\"']", options, ""),
            (r"(?s)model\..*import path string: (\w+)", torch_classes, ""),
            (r"[Oo]ption [\"'](\w+)[\"'] is not accepted", of_class, ""),
        ):
            for word in re.findall(pattern, message):
                if word not in known and "Did you mean" not in message and (guess := nearest(word, known)):
                    hints.append(f"Did you mean {prefix}{guess} in place of {prefix}{word}?")
        raise BadInput("\n".join([message, *dict.fromkeys(hints)])) from ex


def _shorter(message: str) -> str:
    """Shortens jsonargparse's message (about nine lines) for a value that matches none of the expected types."""
    wrong = re.findall(r"^ *- (.*)", message, re.MULTILINE)
    types, value = re.search(r"Subtypes: \[(.*)\]", message), re.search(r"Given value: (.*)", message)
    key = ".".join(re.findall(r"Parser key .([^ ]+).:", message))
    if wrong and types and value and all(line.startswith("Expected a ") for line in wrong):
        expected = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>|typing\.", r"\1", types.group(1)).replace("NoneType", "null")
        return f"{key}={value.group(1)}: expected one of {expected}."
    # expected a type or null: leave out the line which says that the value is not null
    if of_type := re.search(r"Errors:\n *- ((?:(?!\n *- ).)*)\n *- Expected a <class 'NoneType'>", message, re.DOTALL):
        lines = [line.strip() for line in re.sub(r'Parser key "\w+":', "", of_type.group(1)).splitlines()]
        sentences = " ".join(line if line[-1] in ".:?" else f"{line}." for line in filter(None, lines))
        given = f"={value.group(1)}" if value and re.fullmatch(r"[\w.]+", value.group(1)) else ""
        return f"{key}{given}: {sentences}"
    return message
