"""Formulas of the docstrings as Markdown with LaTeX between dollars; the notation is that of notation.py."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from .notation import FUNCTIONS, INDICES, NAMES, RELATIONS, SUMS, NotationError, Token, tokens

WIDE = re.compile(r"\\(text|operatorname|sum|prod|max|log|ln|sin|cos|tan)")
JOINER = "\u2060"  # no line ends between a formula and the comma behind it
PUNCTUATION = re.compile(r"((?:[,;:.] ?)*)(.*?)((?: ?[,;:.])*)")


class Typesetter:
    """Recursive descent over the tokens of one statement."""

    def __init__(self, statement: str, found: list[Token] | None = None) -> None:
        self.statement, self.at, self.bars = statement, 0, 0
        self.found = tokens(statement) if found is None else found

    def peek(self, ahead: int = 0) -> Token | None:
        return self.found[self.at + ahead] if self.at + ahead < len(self.found) else None

    def take(self, text: str | None = None) -> Token:
        token = self.peek()
        if token is None or (text is not None and token.text != text):
            raise NotationError(
                f"got: {token.text if token else 'the end'!r}; expected: {text!r} in {self.statement!r}"
            )
        self.at += 1
        return token

    def error(self, token: Token | None, expected: str) -> NotationError:
        got = repr(token.text) if token else "the end"
        return NotationError(f"got: {got}; expected: {expected} in {self.statement!r}")

    def pieces(self, closing: str = "") -> Iterator[tuple[bool, str]]:
        """(is text, LaTeX or words) up to the closing mark or the end."""
        while (token := self.peek()) is not None and not (closing and token.text == closing):
            if token.word:
                yield True, re.sub(r"\b\w+_\w+", r"`\g<0>`", re.sub(r"^(\w)(-|'s)", r"$\1$\2", self.take().text))
            elif token.text == "(" and (words := self.remark()):
                yield True, words
            elif token.text == "." and token.tight:  # the end of a sentence
                yield False, self.take().text
            elif token.text in RELATIONS:
                yield False, RELATIONS[self.take().text]
            elif token.text == "/" and self.beside_a_word():  # as in `l / length of the target`
                self.take()
                yield False, "/"
            else:
                yield False, self.product()

    def beside_a_word(self) -> bool:
        following = self.peek(1)
        return bool((self.at and self.found[self.at - 1].word) or (following and following.word))

    def remark(self) -> str:
        """The words of (an aside), which is text; empty where the bracket holds a formula."""
        end = self.end_of_remark()
        if not end:
            return ""
        aside = self.found[self.at + 1 : end]
        self.at = end + 1
        return f"({within(self.statement, aside)})"

    def end_of_remark(self) -> int:
        """Where the bracket ahead closes, if two of what it holds are words; else 0."""
        depth = 0
        for end in range(self.at, len(self.found)):
            depth += {"(": 1, ")": -1}.get(self.found[end].text, 0)
            if depth == 0:
                words = sum(token.word for token in self.found[self.at + 1 : end])
                return end if words >= 2 else 0
        return 0

    def inside(self, closing: str) -> str:
        """The tokens up to a closing mark, words included, as LaTeX."""
        shown = mathematics(self.pieces(closing))
        self.take(closing)
        return shown

    def product(self) -> str:
        """A product: factors side by side, and their divisor."""
        factors: list[str] = []
        while (token := self.peek()) is not None and not token.word:
            if token.text == "/":
                following = self.peek(1)
                if not factors or following is None or following.word:
                    break
                self.take()
                if token.tight and following.tight:
                    factors[-1:] = [rf"\frac{{{factors[-1]}}}{{{self.factor()}}}"]
                else:
                    factors = [rf"\frac{{{spaced(bare(factors))}}}{{{spaced(bare([self.factor()]))}}}"]
            elif token.kind in ("number", "name") or token.text in "([|":
                if factors and (self.closes_bar() if token.text == "|" else self.end_of_remark()):
                    break
                factors.append(self.factor())
            else:
                break
        if not factors:
            raise NotationError(
                f"got: {token.text if token else 'the end'!r}; expected: a factor in {self.statement!r}"
            )
        return spaced(factors)

    def closes_bar(self) -> bool:
        """Whether the bar ahead ends |x|: one is open, and no factor begins behind it without a space."""
        following = self.peek(1)
        return self.bars > 0 and not (
            following is not None and following.tight and following.kind in ("name", "number")
        )

    def factor(self) -> str:
        token = self.take()
        if token.kind == "name" and token.text in SUMS and self.sums():
            return self.sum(SUMS[token.text])
        if token.text == "sqrt":
            return rf"\sqrt{{{spaced(bare([self.factor()]))}}}"
        if token.text in ("floor", "ceil") and self.called():
            self.take("(")
            return rf"\left\l{token.text} {self.inside(')')} \right\r{token.text}"
        if token.kind == "number":
            base = re.sub(r"^1?(.*)e(-?)0*(\d+)$", r"\g<1>10^{\2\3}", token.text.replace("...", r"\ldots "))
        elif token.kind == "name":
            base = name(token.text)
            if token.text.endswith("_"):
                opening = self.take().text
                below = self.inside(")" if opening == "(" else "}")
                base = f"{base[:-1]}, {below}}}" if "_{" in base else f"{base}_{{{below}}}"
        elif token.text == "(":
            base = rf"\left( {self.inside(')')} \right)"
        elif token.text == "[":
            base = rf"\left[ {self.brackets()} \right]"
        elif token.text == "|":
            self.bars += 1
            base = rf"\left| {self.inside('|')} \right|"
            self.bars -= 1
        else:
            raise self.error(token, "a factor")
        return self.behind(base)

    def sums(self) -> bool:
        """Whether a range or a summand follows the name that was taken: else it is a number called max."""
        following = self.peek()
        return (
            following is not None
            and not following.tight
            and (following.text in ("over", "along", "of", "(", "|") or self.found[self.at - 1].text == "sum")
        )

    def brackets(self) -> str:
        """An interval or a list: [a, b] and the half open [a, b)."""
        shown = mathematics(self.pieces_to_bracket())
        self.take()
        return shown

    def pieces_to_bracket(self) -> Iterator[tuple[bool, str]]:
        half_open = ")" in [t.text for t in self.found[self.at :]] and "]" not in [
            t.text for t in self.found[self.at :]
        ]
        yield from self.pieces(")" if half_open else "]")

    def called(self) -> bool:
        following = self.peek()
        return following is not None and following.tight and following.text == "("

    def behind(self, base: str) -> str:
        """Indices, arguments, primes and powers that follow without a space."""
        while (following := self.peek()) is not None and following.tight:
            if following.text == "'":
                self.take()
                base += "'"
            elif following.text in "²³":
                base += "^{2}" if self.take().text == "²" else "^{3}"
            elif following.kind == "subscript":
                base += f"_{{{subscript(self.take().text[1:])}}}"
            elif following.text == "^":
                self.take()
                base += f"^{{{self.power()}}}"
            elif following.text == "(" and not base[-1].isdigit():
                self.take()
                base += rf"\left( {self.inside(')')} \right)"
            elif following.text == "[":
                self.take()
                base += f"[{self.inside(']')}]"
            else:
                break
        return base

    def power(self) -> str:
        sign = ""
        while (token := self.peek()) is not None and token.text in ("-", "+"):
            sign += self.take().text
        if token is None or token.word or (sign and not token.tight):  # A^+, the pseudoinverse
            return sign
        if token.text == "(":
            self.take()
            return sign + self.inside(")")
        if token.kind == "name" and token.text in ("T", "H"):
            self.take()
            return sign + {"T": r"\top", "H": "H"}[token.text]
        raised = self.factor()
        following = self.peek()
        if token.kind == "number" and following is not None and following.tight and following.kind == "name":  # e^2x
            raised += self.factor()
        return sign + raised

    def sum(self, sign: str) -> str:
        """A sign, its range below, and the factors summed up."""
        following, below = self.peek(), ""
        if following is not None and following.text in ("over", "along"):
            self.take()
            below = f"_{{{mathematics(self.range())}}}"
        if (following := self.peek()) is not None and following.text == "of":
            self.take()
        return rf"{sign}{below} {self.product()}"

    def range(self) -> Iterator[tuple[bool, str]]:
        start = self.at
        while (token := self.peek()) is not None and token.text != "of":
            self.take()
        yield from Typesetter(self.statement, self.found[start : self.at]).pieces()


def name(text: str) -> str:
    """A name with its subscripts."""
    if text in NAMES:
        return NAMES[text]
    base, *below = text.rstrip("_").split("_")
    if base == "log" and below:  # log_softmax, log_probs
        return rf"\text{{{text}}}"
    if base in FUNCTIONS and not below:
        return FUNCTIONS[base]
    letter = re.fullmatch(r"([^\W\d_])(\u0302?)(\d*)", base)
    if base in NAMES:
        shown = NAMES[base]
    elif letter:
        plain = unicodedata.normalize("NFD", letter[1] + letter[2])  # ŝ is an s with a hat
        shown = rf"\hat{{{plain[0]}}}" if len(plain) > 1 else letter[1]
        below = [letter[3], *below] if letter[3] else below
    elif below and base not in ("grad", "norm"):
        return rf"\text{{{text}}}"
    else:
        shown = rf"\text{{{base}}}"
    if not below:
        return shown
    return f"{shown}_{{{','.join(map(subscript, below))}}}"


def subscript(text: str) -> str:
    """Indices in italics, names upright."""
    if text.isdigit() or len(text) == 1 or (set(text) <= INDICES and len(text) == 2):
        return text
    return NAMES.get(text) or rf"\text{{{text}}}"


def spaced(factors: list[str]) -> str:
    """Factors side by side, with a thin space around names of several letters."""
    shown = factors[0]
    for before, factor in pairwise(factors):
        shown += (r" \, " if WIDE.search(before + factor) else " ") + factor
    return shown


def bare(factors: list[str]) -> list[str]:
    """Without the brackets around a whole numerator or denominator."""
    if len(factors) == 1 and (match := re.fullmatch(r"\\left\( (.*) \\right\)", factors[0])):
        inner, depth = match[1], 0
        for found in re.finditer(r"\\left\b|\\right\b", inner):
            depth += 1 if found[0] == r"\left" else -1
            if depth < 0:
                return factors
        return [inner]
    return factors


def joined(pieces: Iterator[tuple[bool, str]]) -> Iterator[tuple[bool, str]]:
    """Merges neighbouring pieces of one kind."""
    kind, parts = False, list[str]()
    for text, words in pieces:
        if parts and text != kind:
            yield kind, " ".join(parts)
            parts = []
        kind = text
        parts.append(words)
    if parts:
        yield kind, " ".join(parts)


def mathematics(pieces: Iterator[tuple[bool, str]]) -> str:
    """Words and formulas as one piece of LaTeX."""
    return " ".join(rf"\text{{ {words} }}" if text else words for text, words in joined(pieces))


def typeset(statement: str) -> str:
    """One statement as Markdown: words with formulas between dollars. Raises NotationError."""
    return within(statement, tokens(statement))


def within(statement: str, found: list[Token]) -> str:
    """The same for a part of a statement."""
    shown: list[str] = []
    for text, words in joined(Typesetter(statement, found).pieces()):
        if text:
            shown.append(words.replace('"', "`"))
            continue
        before, body, after = PUNCTUATION.fullmatch(words).groups()  # type: ignore[union-attr]
        if before and shown:  # a comma belongs to the word in front of it
            shown[-1] += before.strip()
        if body:
            shown.append(f"${body}$")
        if after:
            shown[-1] += JOINER + after.strip()
    return " ".join(shown).replace(r"\cdot", ".")
