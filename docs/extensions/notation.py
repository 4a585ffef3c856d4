"""Typesets the formulas of the docstrings: `delta_input = y (1 - y) delta` becomes text with LaTeX between dollars.

The notation, as the docstrings of the rules use it:

* Factors stand side by side: `w delta` is a product. `a / b c` is a over b, times c: a slash takes what is multiplied
  to the left of it and one factor to the right. Without spaces (`1/2`, `dy/dx`) it takes its two neighbours alone.
* `name_sub` is a subscript, `x^n`, `x^(n - 1)`, `W^T` and `A^H` are powers, transposes and conjugate transposes.
* `f(x)` without a space is a call, `x[n, c]` an element; `w (x - y)` with a space is a product.
* `sum over j of ...`, `sum along dim of ...`, `sum of ...` are sums; so with `product` and `max`.
* `delta`, `alpha`, `sigma` and the like are Greek letters; other names of several letters are set upright.
* Words (`where`, `else`, `the`) are words: outside of brackets they end a formula, inside they are part of it.
* Three spaces or a new line begin the next statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

GREEK_LETTERS = ("alpha", "beta", "gamma", "delta", "sigma", "theta", "phi", "tau", "mu", "pi", "Phi", "Gamma", "Sigma")
GREEK = {name: "\\" + name for name in GREEK_LETTERS}
NAMES = {
    **GREEK,
    "eps": r"\varepsilon",
    "lambd": r"\lambda",
    "inf": r"\infty",
    "infinity": r"\infty",
    "log_alpha": r"\log\alpha",
    "log_beta": r"\log\beta",
}
# names of several letters that stand for a number or a tensor; all others are words
VARIABLES = set(NAMES) | {
    *("bias", "bound", "clamp", "conj", "count", "dF", "digamma", "dilation", "dots", "dx", "dy", "diag", "divisor"),
    *("gap", "grad", "indices", "initial", "inner", "invrms", "invstd", "kept", "kernel", "logabsdet", "lse", "margin"),
    *("mask", "max", "mean", "min", "noise", "norm", "onehot", "pad", "padding", "polygamma", "probs", "scale", "sign"),
    *("skew", "softmax", "source", "std", "stride", "sums", "sym", "threshold", "value", "var", "weight", "weights"),
    "zeta",
}
FUNCTIONS = {
    **{name: "\\" + name for name in ("log", "ln", "sin", "cos", "tan", "sinh", "cosh", "tanh", "det", "exp")},
    **{name: "\\" + name for name in ("arcsin", "arccos", "arctan")},
    **{name: rf"\operatorname{{{name}}}" for name in ("arsinh", "arcosh", "artanh", "erf", "erfc", "erfcx", "sgn")},
    **{name: rf"\operatorname{{{name}}}" for name in ("Re", "Im")},
    "log2": r"\log_2",
    "log10": r"\log_{10}",
}
SUMS = {"sum": r"\sum", "product": r"\prod", "max": r"\max"}
RELATIONS = {
    "=": "=", ":=": ":=", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", "->": r"\to", "+": "+",
    "-": "-", "+-": r"\pm", ",": ",", ";": ";", ":": ":", "...": r"\ldots", "..": r"\ldots", ".": r"\cdot",
    "·": r"\cdot", "×": r"\times", "*": r"\ast", "//": "/\\!/", "?": "?", "!": "!",
}  # fmt: skip
# what may follow the variable a; before other words "a" is the article
AFTER_A = set("where and or is are there with in at for of to stays from over so by as along near on".split())  # noqa: SIM905
INDICES = set("abcdefgijklmnopqrstuvxyz") - {"x"}

TOKEN = re.compile(
    r"""(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?(?:\.\.\.)?)
    | (?P<subscript>_[^\W_]+)
    | (?P<code>`[^`]*`|"[^"]*")
    | (?P<ordinal>[a-z]-(?:th|norm)\b)
    | (?P<name>(?:[^\W\d_]\u0302?)+\d*(?:_[^\W_]+|_(?=[({]))*)
    | (?P<mark>\.\.\.|:=|<=|>=|!=|->|\+-|//|\.\.|[-+=<>,;:.·×*?!/^()\[\]{}|'²³])""",
    re.VERBOSE,
)

POSSESSIVE = re.compile(r"'s\b|(?<=s)'(?= )")
OF_A_LETTER = re.compile(r"'s\b")


@dataclass(frozen=True)
class Token:
    """A piece of a statement; `tight`: no space stands before it. `word`: it is text, not mathematics."""

    text: str
    kind: str
    tight: bool
    word: bool = False


class NotationError(ValueError):
    """A formula does not follow the notation."""


def statements(formula: str) -> Iterator[str]:
    """The statements of a paragraph of formulas: separated by line breaks or by three spaces or more."""
    for line in re.sub(r" +(:?=) ", r" \1 ", formula).split("\n"):
        for part in re.split(r"(?<![,;]) {3,}", line.strip()):
            if part.strip():
                yield part.strip()


def tokens(statement: str) -> list[Token]:
    """Splits a statement into tokens. Raises NotationError at a character that the notation does not have."""
    found, at = [], 0
    while at < len(statement):
        if statement[at].isspace():
            at += 1
            continue
        match = TOKEN.match(statement, at)
        if match is None:
            raise NotationError(
                f"got: {statement[at]!r} in {statement!r}; expected: a name, a number or one of the marks"
            )
        end = match.end()
        possessive = (POSSESSIVE if len(match[0]) > 2 else OF_A_LETTER).match(statement, end)
        if possessive and match.lastgroup == "name":
            end = possessive.end()
        tight = at > 0 and not statement[at - 1].isspace()
        found.append(Token(statement[at:end], match.lastgroup or "", tight, bool(possessive)))
        at = end
    for i, token in enumerate(found):
        found[i] = replace(token, word=token.word or is_word(found, i))
    return found


def is_word(found: list[Token], i: int) -> bool:
    """Whether the token is text: an article, a word, a name in quotes."""
    token = found[i]
    if token.kind in ("code", "ordinal"):
        return True
    if token.kind != "name":
        return False
    following = found[i + 1] if i + 1 < len(found) else None
    if following is not None and following.text in "([^" and following.tight and following.text != "|":
        return False
    name = token.text
    if name in ("a", "A"):
        return following is not None and (following.kind in ("code", "ordinal") or begins_a_noun(following.text))
    if len(name) == 1 or "_" in name or name in FUNCTIONS or name in ("sqrt", "floor", "ceil", "trunc"):
        return False
    if re.fullmatch(r"[^\W\d_]\u0302?\d*|d[xywguF]|[A-Z]\d", name):
        return False
    if name in SUMS and sums_up(found, i):
        return False
    if name in GREEK:
        return False
    return name not in VARIABLES or (name not in NAMES and i > 0 and found[i - 1].word and found[i - 1].text != "of")


def begins_a_noun(text: str) -> bool:
    """Whether `a` in front of this name is the article, rather than the variable a."""
    if text in ("mean", "value", "mask", "maximum", "softmax", "source"):
        return True
    variables = AFTER_A | VARIABLES | set(FUNCTIONS) | {"sqrt"}
    return len(text) > 1 and text.isalpha() and text.islower() and text not in variables


def sums_up(found: list[Token], i: int) -> bool:
    """Whether `sum` begins a sum of factors, as in `sum over j of x_j`; in `the sum of all` it is a word."""
    rest = [token.text for token in found[i + 1 :]]
    if not rest or (found[i].text == "max" and rest[0] not in ("over",)):
        return False
    if rest[0] in ("over", "along"):
        if "of" not in rest or any(mark in rest[: rest.index("of")] for mark in (";", ".")):
            return False
        rest = rest[rest.index("of") :]
    if rest[0] == "of":
        rest = rest[1:]
    at = len(found) - len(rest)
    return bool(rest) and (found[at].text in "(|" or (found[at].kind != "mark" and not is_word(found, at)))
