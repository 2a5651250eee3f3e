"""Values of secrets, by position: what stands behind a secret's name.

What may stand between a name and its value is tried from the strictest form to the loosest: a sign (`=`, `:`, `=>`,
`:=` and the like), the next line, an argument of its own, a space. A value in clean quotes ends with them. Any other
value ends where its line or word does, whatever quotes it holds.
"""

from __future__ import annotations

import re

from pytest_gpuready.node.secret_names import Name, find_name, has_names, is_harmless

#: How far back a line's beginning, and how far on the end of a value is looked for, in bytes.
_REACH, _FAR = 64, 65536
#: How many lines a string that its own line does not close may take.
_MOST_LINES = 16

_BREAK = re.compile(rb"[\r\n]")
_QUOTE = re.compile(rb"\\{0,7}[\"']")
#: A sign between a name and its value, as in TOML, JSON, YAML, Go, shells; and what people type instead.
_SIGN = re.compile(
    rb"(?P<quote>\\{0,7}[\"'`])?(?P<sep>(?:[ \t]{0,64}\r?\n)?[ \t]{0,64}(?:[:?+~!]?[:=][:=>~]{0,3}|[-=]>)[ \t]{0,64}"
    rb"(?:[:=][ \t]{0,64})?)"
)
#: The pair of Kubernetes and Go: `name: DB_PASSWORD` and `value: …`.
_PAIR = re.compile(
    rb"(?:\\{0,7}[\"'])?[ \t]{0,16},?(?:\\n|\s){0,64}(?P<quote>\\{0,7}[\"'])?(?P<key>(?i:value))(?:\\{0,7}[\"'])?"
    rb"(?P<sep>[ \t]{0,16}[:=][ \t]{0,16})"
)
#: An argument's value as an argument of its own: after a space or NUL, in a list's next string, in the next record
#: of the list of processes, in the next item of a YAML list.
_ARGUMENT = re.compile(
    rb"(?:[ \t]*\\\r?\n[ \t]*(?!#)|[ \t]+|,|(?P<nul>\0)|(?P<open>\\{0,7}[\"'])[ \t]*,?\s{1,64}(?P=open)|"
    rb"(?P<list>\\{0,7}[\"']),(?P=list)|(?P<item>[\"']?)\r?\n[ \t]*-[ \t]+(?P=item)|(?P<record>\r?\narg ))"
    rb"(?!--[A-Za-z]|-(?:[a-z][a-z0-9-]*|[A-Z])(?:[=\s\0\"']|\Z)|\[redacted\])"
    rb"(?P<value>[^\s\0\"'|>&;](?:[^\s\0\"']|[\"'](?=[A-Za-z0-9]))*)"
)
_RECORD = re.compile(rb"(?:^|\n)arg $")
_ARGUMENT_QUOTED = re.compile(rb"[ \t]+(?=[\"'])")
_OPENED = re.compile(rb"\\{0,7}[\"']$")
_SPACE = re.compile(rb"[ \t]{1,64}")
_XML = re.compile(rb">(?P<value>[^<\r\n]{1,4096})</")
_BLOCK = re.compile(rb"(?:[!&][^\s]{0,64}[ \t]+)?[|>][0-9+-]{0,2}[ \t]*(?:#[^\r\n]*)?\r?\n")
_FIRST_ON_LINE = re.compile(rb"(?:^|\n|\r)[ \t>#*-]*[\"']?$")
_UNTIL_SPACE = re.compile(rb"(?:[^\s\0\"']|[\"'](?=[A-Za-z0-9]))*")
_UNTIL_AMPERSAND = re.compile(rb"[^\s\0\"'&]*")
_UNTIL_SPACE_OR_KEY = re.compile(rb"[^\s\0]*(?:[ \t]{1,64}(?![^\s\0=]{1,64}=)[^\s\0]+)*")
_UNTIL_BREAK = re.compile(rb"(?:[^\s\0\"',}\]]|[\"'}\]](?=[A-Za-z0-9]))*")
#: In Go's `{Password:two words Username:u}` a value ends before the next name.
_GO_BEFORE = re.compile(rb"^$|[\s{\[(,;&\"']")
_UNTIL_BLANK = re.compile(rb"[^\s\0\"']*")
_GO_WORDS = re.compile(rb"[ \t][^\r\n\0\"'{}\[\]]{1,128}?(?:(?=[ \t][A-Za-z_][A-Za-z0-9_]{0,63}:)|(?=[\]}]))")
#: How a value begins that is not a bare word: a string, a list, a line's end, a table or map with names of its own.
_OPENS = re.compile(
    rb"(?P<quote>\\{0,7}[\"'])|(?P<list>\[(?!redacted\]))|(?P<end>[\r\n]|\Z)|\0|&?map\[|&\{|"
    rb"(?P<lone>\{[ \t]{0,16}(?=(?P<mark>[\"'])[^\"'\r\n]{0,256}(?P=mark)[ \t]{0,16}[},]))|"
    rb"\{[ \t\r\n]{0,64}(?:[\"'}\\]|\Z|[A-Za-z_][A-Za-z0-9_.-]{0,64}[ \t]{0,16}[:=])"
)
_WORD_BEHIND = re.compile(rb"\][A-Za-z0-9]")
_BETWEEN = re.compile(rb"[\s,]*")
_ELEMENT = re.compile(rb"[^\s,\]\"']+")
_ELEMENT_ALONE = re.compile(rb"[^\s,\]\"']+(?=[ \t]*(?:[,\]]|\r?\n[ \t]*\]))")
#: What may follow a string that ends as it should: in a file, and within a line of a log.
_CLEAN_END = re.compile(
    rb"[ \t]{0,64}(?:[\r\n\0,}\])#;:|&<>\\]|[ \t]\\{0,7}[\"']|[ \t]-|[ \t][A-Za-z0-9_.-]{1,64}=|"
    rb"[\"']{1,3}(?![A-Za-z0-9])|\Z)"
)
_CLEAN_END_IN_LINE = re.compile(rb"[^A-Za-z0-9]|\Z")
#: The next line has a name of its own.
_KEY_LINE = re.compile(
    rb"[ \t]*(?:-[ \t]+)?(?:[\"']?[A-Za-z0-9_./-]{1,128}[\"']?(?:[ \t]*:(?=\s|\Z)|[ \t]*=[ \t]*[\"'\[{A-Za-z0-9]|"
    rb"[\"'][ \t]*[:=])|[\[{}\]#])"
)
#: Words that make `secret is …` and `token for …` a sentence.
_PROSE = re.compile(
    rb"(?:(?i:is|isn't|are|not|was|were|has|have|for|to|in|of|on|at|from|and|or|with|by|as|that|will|can|cannot|must|"
    rb"may|should|expired|invalid|validation|authentication|required|missing|found|failed|error|does|doesn't|did|"
    rb"already|review|reviews|request|requests|used|using|file|files|needed|ok|set|unset|empty|based|rotation|"
    rb"controller|manager|store|provider|cache|plugin|mismatch|changed|created|deleted|updated)\b)"
)
_IS = re.compile(
    rb"(?i:is|was|set to)[ \t]{1,8}(?=[\"']|(?=[^\s\"']{0,128}[0-9])(?=[^\s\"']{0,128}[A-Za-z])[^\s\"']{12})"
)
_SENTENCE = re.compile(rb"[ \t]{1,16}(?:" + _PROSE.pattern + rb")")
_RANDOM = re.compile(rb"(?=[^\s\"']{0,128}[0-9])(?=[^\s\"']{0,128}[A-Za-z])[^\s\"'/]{12,}")
#: What follows the colon of an image, a port or a time.
_VERSION = re.compile(
    rb"(?:v?[0-9][0-9.]{0,32}(?:-[a-z0-9.]{1,64})?|latest|stable|main|edge)[\])},;\"']*(?:\s|\Z)|[0-9]+/"
)


def find_values(data: bytes, lower: bytes) -> list[tuple[int, int, bool]]:
    """Return the spans of values behind secrets' names, and whether each is cleanly delimited."""
    return _Values(data, lower).found() if has_names(lower) else []


class _Values:
    """The values that stand behind a secret's name, found in one pass from left to right."""

    def __init__(self, data: bytes, lower: bytes) -> None:
        self.data, self.lower = data, lower
        self.spans: list[tuple[int, int, bool]] = []
        self.weak = False
        self.has_nul = b"\0" in data
        self._line = (0, -1)

    def found(self) -> list[tuple[int, int, bool]]:
        """Return the spans."""
        position = 0
        while name := find_name(self.data, self.lower, position):
            position = name.after
            if name.secret:
                self.weak = name.weak
                position = max(position, self._value(name))
        return self.spans

    def _value(self, name: Name) -> int:
        """Note the value behind the name, if there is one; return where to go on."""
        data, begin, end = self.data, name.begin, name.end
        sign = _SIGN.match(data, end)
        if sign is not None:
            return self._after_sign(begin, sign)
        if data.startswith(b"-", begin):
            return self._argument(end)
        pair = _PAIR.match(data, end)
        if pair is not None:
            return self._after_sign(pair.start("key"), pair)
        if self._before(begin, 1) == b"<" and (xml := _XML.match(data, end)):
            return self._take(*xml.span("value"))
        return self._after_space(name)

    def _before(self, begin: int, most: int = _REACH) -> bytes:
        return self.data[max(0, begin - most) : begin]

    def _argument(self, end: int) -> int:
        """`--token VALUE`, and what lists of arguments make of it."""
        quoted = _ARGUMENT_QUOTED.match(self.data, end)
        if quoted is not None:
            quote = _QUOTE.match(self.data, quoted.end())
            assert quote is not None  # noqa: S101 - what follows the space is one
            return self._string(quoted.end(), quote[0], strict=False)
        word = _ARGUMENT.match(self.data, end)
        if word is None:
            return end
        at = word.start("value")
        if word["record"] is not None:
            return self._take(at, self._line_end(at), clean=True)
        close = word["nul"] or word["open"] or word["list"] or word["item"]
        stop = self.data.find(close, at, at + _FAR) if close else -1
        return self._take(at, stop if stop >= 0 else word.end(), clean=True)

    def _after_space(self, name: Name) -> int:
        """`password "x"`: a sign is missing. A sentence about a secret holds none."""
        data, end = self.data, name.end
        space = _SPACE.match(data, end + (data[end : end + 1] in (b'"', b"'")))
        if space is None:
            return end
        at, before = space.end(), self._before(name.begin)
        if name.password and (verb := _IS.match(data, at)):
            at = verb.end()
        first = _FIRST_ON_LINE.search(before) is not None
        quote = _QUOTE.match(data, at)
        if quote is not None:
            inline = before.rstrip(b" \t")[-1:] in (b"{", b",")
            return self._quoted_after_space(at, quote[0], first=first, certain=name.password or inline)
        stop = self._line_end(at)
        if not first or (name.weak and not name.password):
            return self._until(_UNTIL_SPACE, at) if name.password and _RANDOM.match(data, at) else end
        if _PROSE.match(data, at) or data[at : at + 1] in (b"(", b"[", b"{", b"<", b"-", b"|"):
            return end
        several = _SPACE.search(data, at, min(stop, at + _REACH)) is not None
        if several and b"#" in before.rpartition(b"\n")[2] and not _RANDOM.search(data, at, min(stop, at + _FAR)):
            return end
        return self._take(at, stop)

    def _quoted_after_space(self, at: int, quote: bytes, *, first: bool, certain: bool) -> int:
        close = self.data.find(quote, at + len(quote), self._line_end(at))
        sentence = close >= 0 and _SENTENCE.match(self.data, close + len(quote)) is not None
        random = not self.weak and _RANDOM.match(self.data, at + len(quote)) is not None
        if certain or (not sentence and (first or random)):
            return self._string(at, quote, strict=first)
        return at

    def _after_sign(self, begin: int, sign: re.Match[bytes]) -> int:
        """`name = value` in all its forms."""
        data, at, separator = self.data, sign.end(), sign["sep"]
        first = _FIRST_ON_LINE.search(self._before(begin)) is not None
        opens = _OPENS.match(data, at)
        if opens is None:
            return self._unquoted(begin, at, sign, first=first)
        if opens["quote"] is not None:
            return self._string(at, opens["quote"], strict=first)
        if opens["lone"] is not None:
            return self._string(opens.end(), data[opens.end() : opens.end() + 1])
        if opens["list"] is not None:
            end = self._list(at + 1)
            return self._until(_UNTIL_SPACE, end + 1) if _WORD_BEHIND.match(data, end) else end
        if opens["end"] is not None:
            return self._below(begin, at, indented=b"=" not in separator, quoted=sign["quote"] is not None)
        return at

    def _unquoted(self, begin: int, at: int, sign: re.Match[bytes], *, first: bool) -> int:
        """A name in quotes is JSON's; `name:` without a space behind is Go's, or a port or a time."""
        separator = sign["sep"]
        if sign["quote"] is not None:
            return self._until(_UNTIL_BREAK, at)
        if b"=" in separator or b">" in separator:
            return self._assigned(begin, at, glued=separator == b"=", first=first)
        if self._before(begin, 1) == b"/":
            return at  # an error about a path
        if separator[-1:] in b" \t":
            return self._block_or_line(begin, at) if first else self._word(begin, at)
        return self._go(begin, at)

    def _go(self, begin: int, at: int) -> int:
        """`{Password:x Username:u}` and `map[password:x]`."""
        if not _GO_BEFORE.search(self._before(begin, 1)) or _VERSION.match(self.data, at):
            return at
        value = _UNTIL_BLANK.match(self.data, at)
        assert value is not None  # noqa: S101 - it matches nothing too
        text = value[0].rstrip(b"}])\"',;")
        words = _GO_WORDS.match(self.data, value.end()) if text == value[0] else None
        end = at + len(text) if words is None else words.end()
        return max(self._take(at, end), value.end())

    def _until(self, pattern: re.Pattern[bytes], at: int) -> int:
        """Take what the pattern matches here."""
        value = pattern.match(self.data, at)
        assert value is not None  # noqa: S101 - such a pattern matches nothing too
        return self._take(at, value.end())

    def _word(self, begin: int, at: int) -> int:
        """`name: value` within a line: a word, or all that the same quotes hold."""
        close = self._opened(begin, at)
        return self._take(at, close, clean=True) if close >= 0 else self._until(_UNTIL_BREAK, at)

    def _opened(self, begin: int, at: int) -> int:
        """Where the string ends that begins with the name; -1: no string does."""
        opened = _OPENED.search(self._before(begin, 8))
        return -1 if opened is None else self.data.find(opened[0], at, self._line_end(at))

    def _string(self, at: int, quote: bytes, *, strict: bool = True) -> int:
        r"""A string in quotes; three of them hold lines. In `\"…\"` the escape of the quotes is the string's own.

        Where another text than a string's end follows the quote, it was one of the secret's own.
        """
        data = self.data
        if data.startswith(quote * 3, at):
            close = data.find(quote * 3, at + 3)
            return self._take(at + 3, close if close >= 0 else len(data), clean=close >= 0) + 3
        begin = at + len(quote)
        end = self._line_end(begin)
        ending = _CLEAN_END if strict else _CLEAN_END_IN_LINE
        close = self._close(quote, begin, end)
        broken = False
        while close >= 0 and not ending.match(data, close + len(quote)):
            broken = True
            close = self._close(quote, close + 1, end)
        if close >= 0:
            return self._take(begin, close, clean=not broken) + len(quote)
        return self._unclosed(quote, begin, end)

    def _close(self, quote: bytes, begin: int, end: int) -> int:
        close = self.data.find(quote, begin, end)
        while quote == b'"' and close > begin and _backslashes(self.data, begin, close) % 2:
            close = self.data.find(quote, close + 1, end)
        return close

    def _unclosed(self, quote: bytes, begin: int, end: int) -> int:
        """A string that its line does not close: that line, and those up to its end if it has one."""
        data, place = self.data, _next_line(self.data, end)
        for _ in range(_MOST_LINES):
            if place >= len(data) or _KEY_LINE.match(data, place):
                break
            stop = _line_end(data, place)
            close = self._close(quote, place, stop)
            if close >= 0:
                if _CLEAN_END.match(data, close + len(quote)) and b"=" not in data[place:close].rstrip(b"="):
                    return self._take(begin, close)
                break
            place = _next_line(data, stop)
        return self._take(begin, end)

    def _list(self, at: int) -> int:
        """The elements of a list, which may stand on lines of their own. Without an end it ends at the next name."""
        data, place, end = self.data, at, min(len(self.data), at + _FAR)
        while place < end:
            between = _BETWEEN.match(data, place)
            assert between is not None  # noqa: S101 - it matches nothing too
            place = between.end()
            fresh = b"\n" in between[0]
            if data[place : place + 1] == b"]" or (fresh and _KEY_LINE.match(data, place)):
                break
            quote = _QUOTE.match(data, place)
            if quote is not None:
                place = self._string(place, quote[0])
                continue
            element = (_ELEMENT_ALONE if fresh else _ELEMENT).match(data, place)
            if element is None:
                break
            place = self._take(place, element.end())
        return max(at, place)

    def _assigned(self, begin: int, at: int, *, glued: bool, first: bool) -> int:
        """NAME=value: to the next space; in a list of strings or among NULs (an environment) to that string's end."""
        data = self.data
        close = self._opened(begin, at)
        if close >= 0:
            return self._take(at, close, clean=True)
        if self.has_nul and self._before(begin, 1) in (b"", b"\0"):
            nul = data.find(b"\0", at, at + _FAR)
            if nul >= 0 and (begin or data.endswith(b"\0") or self._line_end(at) > nul):
                return self._take(at, nul, clean=True)
        if _RECORD.search(self._before(begin, 5)):
            return self._take(at, self._line_end(at), clean=True)
        option = data[begin : begin + 1] == b"-" and data[begin : begin + 2] != b"- "
        if first and not option:
            return self._until(_UNTIL_SPACE_OR_KEY, at) if glued else self._take(at, self._line_end(at))
        before = self._before(begin).rstrip(b" \t")[-1:]
        value = (_UNTIL_AMPERSAND if before in (b"?", b"&") else _UNTIL_SPACE).match(data, at)
        assert value is not None  # noqa: S101 - it matches nothing too
        return self._take(at, value.end(), clean=glued and before not in (b"{", b",", b"[", b"("))

    def _block_or_line(self, begin: int, at: int) -> int:
        """`name: value` on a line of its own: YAML or a header. A block's lines are those that are further in."""
        data = self.data
        start = data.rfind(b"\n", 0, begin) + 1
        indent = begin - start
        block = _BLOCK.match(data, at)
        if block is None:
            end = self._take(at, self._line_end(at))
            place = _next_line(data, end)
        else:
            place = end = block.end()
        while place < min(len(data), at + _FAR):
            stop = _line_end(data, place)
            line = data[place:stop]
            inside = len(line) - len(line.lstrip(b" "))
            if (line.strip() and inside <= indent) or (block is None and (not line.strip() or _KEY_LINE.match(line))):
                break
            end = self._take(place + inside, stop)
            place = _next_line(data, stop)
        return max(end, at)

    def _below(self, begin: int, at: int, *, indented: bool, quoted: bool) -> int:
        """A sign at the end of a line: the value stands on the next, or the items of a list do on the next ones."""
        data, place = self.data, _next_line(self.data, at)
        indent = begin - (data.rfind(b"\n", max(0, begin - _REACH), begin) + 1)
        last = at
        while place < min(len(data), at + _FAR):
            stop = _line_end(data, place)
            line = data[place:stop]
            text = line.lstrip(b" \t")
            if not text.strip():
                place = _next_line(data, stop)
                continue
            inside, item = stop - len(text), text.startswith(b"- ")
            deeper = inside - place > indent
            if last == at and text.startswith(b"[") and (quoted or deeper):
                return self._list(inside + 1)
            if item:
                inside += len(text) - len(text[2:].lstrip(b" \t"))
            quote = _QUOTE.match(data, inside)
            belongs = deeper or item or (last == at and (not indented or quote is not None))
            if not belongs or _KEY_LINE.match(line):
                break
            last = max(at + 1, self._take(inside, stop) if quote is None else self._string(inside, quote[0]))
            if (quoted or not indented) and not item:
                break
            place = _next_line(data, _line_end(data, last))
        return last

    def _line_end(self, at: int) -> int:
        begin, end = self._line
        if not begin <= at <= end:
            self._line = (at, _line_end(self.data, at))
        return self._line[1]

    def _take(self, begin: int, end: int, *, clean: bool = False) -> int:
        """Note a span to be blanked, unless it is harmless; its end."""
        if end > begin and not is_harmless(self.data[begin:end], weak=self.weak):
            self.spans.append((begin, end, clean))
        return max(begin, end)


def _line_end(data: bytes, at: int) -> int:
    found = _BREAK.search(data, at)
    return len(data) if found is None else found.start()


def _next_line(data: bytes, end: int) -> int:
    return end + 2 if data[end : end + 2] == b"\r\n" else end + 1


def _backslashes(data: bytes, begin: int, at: int) -> int:
    run = data[max(begin, at - 64) : at]
    return len(run) - len(run.rstrip(b"\\"))
