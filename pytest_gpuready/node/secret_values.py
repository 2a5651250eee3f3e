"""Values of secrets, by position: what stands behind a secret's name.

What may stand between a name and its value is tried from the strictest form to the loosest: a sign (`=`, `:`, `=>`,
`:=` and the like), the next line, an argument of its own, a space. A value in clean quotes ends with them. Any other
value ends where its line or word does, whatever quotes it holds.
"""

from __future__ import annotations

import re

from pytest_gpuready import budget
from pytest_gpuready.node.secret_maps import Mappings
from pytest_gpuready.node.secret_names import Name, find_name, has_names
from pytest_gpuready.node.secret_text import FAR, KEY_LINE, QUOTE, REACH, UNTIL_BREAK, line_end, next_line

#: A sign between a name and its value, as in TOML, JSON, YAML, Go, shells; and what people type instead.
_SIGN = re.compile(
    rb"(?P<quote>\\{0,7}[\"'`])?(?:\\{1,2}(?=[:=]))?"
    rb"(?P<sep>(?:[ \t]{0,64}\r?\n)?[ \t]{0,64}(?:[:?+~!]?[:=][:=>~]{0,3}|[-=]>)[ \t]{0,64}(?:[:=][ \t]{0,64})?)"
)
#: The pair of Kubernetes and Go: `name: DB_PASSWORD` and `value: …`.
_PAIR = re.compile(
    rb"(?:\\{0,7}[\"'])?[ \t]{0,16},?(?:\\n|\s){0,64}(?P<quote>\\{0,7}[\"'])?(?P<key>(?i:value))(?:\\{0,7}[\"'])?"
    rb"(?P<sep>[ \t]{0,16}[:=][ \t]{0,16})"
)
#: The same the other way round, from the value on; another item, object or table is another pair.
_PAIR_BEFORE = re.compile(
    rb"(?i:value)(?:\\{0,7}[\"'])?[ \t]{0,16}[:=][ \t]{0,16}(?P<value>.*?)[\s,]{0,64}(?:\\n)?"
    rb"(?:\\{0,7}[\"'])?(?i:name)(?:\\{0,7}[\"'])?[ \t]{0,16}[:=][ \t]{0,16}(?:\\{0,7}[\"'])?\Z",
    re.DOTALL,
)
_ENDS_AS_NAME = re.compile(rb"(?i:name)(?:\\{0,7}[\"'])?[ \t]{0,16}[:=][ \t]{0,16}(?:\\{0,7}[\"'])?\Z")
_NEXT_PAIR = re.compile(rb"\n[ \t#]*(?:-[ \t]|\[\[|\[[A-Za-z])|\}[\s,]*\{")
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
_SPACE = re.compile(rb"[ \t]{1,64}")
_WORD_BEHIND = re.compile(rb"\][A-Za-z0-9]")
#: A line that goes on in the next one.
_CONTINUED = re.compile(rb"\\\r?\n[ \t]*")
#: A value in the next field of a line, and alone on the next line.
_FIELD = re.compile(rb"(?P<mark>[|;,])(?P<value>[^\s\0\"'|;,&]+)")
_NEXT_WORD = re.compile(
    rb"[ \t]*\r?\n[ \t]*(?P<value>[^\s\0\"'#\[\]{}()<>-][^\s\0\"'\[\]{}()<>]{3,})[ \t]*(?=[\r\n]|\Z)"
)
_PICKED = re.compile(rb"(?=\S{0,256}[0-9A-Z])(?!\S{0,256}[:=](?:\s|\Z))")
#: What tells an option of Windows' programs from a path.
_SWITCHED = re.compile(rb"(?:^|[\s\0\"',])/$")
_MOUNTED = re.compile(rb"r[ow]\b")
_XML = re.compile(rb">(?P<value>[^<\r\n]{1,4096})</")
_FIRST_ON_LINE = re.compile(rb"(?:^|\n|\r)[ \t>#*-]*[\"']?$")
_UNTIL_SPACE = re.compile(rb"(?:[^\s\0\"']|[\"'](?=[A-Za-z0-9]))*")
_UNTIL_AMPERSAND = re.compile(rb"[^\s\0\"'&]*")
_UNTIL_SPACE_OR_KEY = re.compile(rb"[^\s\0]*(?:[ \t]{1,64}(?![^\s\0=]{1,64}=)[^\s\0]+)*")
#: In Go's `{Password:two words Username:u}` a value ends before the next name.
_GO_BEFORE = re.compile(rb"^$|[\s{\[(,;&\"']")
_UNTIL_BLANK = re.compile(rb"[^\s\0\"']*")
_GO_WORDS = re.compile(rb"[ \t][^\r\n\0\"'{}\[\]]{1,128}?(?:(?=[ \t][A-Za-z_][A-Za-z0-9_]{0,63}:)|(?=[\]}]))")
#: How a value begins that is not a bare word: a string, a list, a line's end, a table or map with names of its own.
_OPENS = re.compile(
    rb"(?P<quote>\\{0,7}[\"'])|(?P<list>\[(?!redacted\]))|(?P<end>[\r\n]|\Z)|\0|"
    rb"(?P<lone>\{[ \t]{0,16}(?=(?P<mark>[\"'])[^\"'\r\n]{0,256}(?P=mark)[ \t]{0,16}[},]))|"
    rb"(?P<map>&?map\[|&\{|"
    rb"\{(?=[ \t\r\n]{0,64}(?:[\"'}\\]|\Z|[A-Za-z_][A-Za-z0-9_.-]{0,64}[ \t]{0,16}[:=])))"
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
#: How far before the name its value may begin.
_PAIR_REACH = 4096


def find_values(data: bytes, lower: bytes) -> list[tuple[int, int, bool]]:
    """Return the spans of values behind secrets' names, and whether each is cleanly delimited."""
    return _Values(data, lower).found() if has_names(lower) else []


class _Values(Mappings):
    """The values that stand behind a secret's name, found in one pass from left to right."""

    def __init__(self, data: bytes, lower: bytes) -> None:
        super().__init__(data, lower)
        self.name: Name | None = None
        self.has_nul = b"\0" in data

    def found(self) -> list[tuple[int, int, bool]]:
        """Return the spans."""
        position = 0
        while name := find_name(self.data, self.lower, position):
            budget.check()
            position = name.after
            if name.secret:
                self.name, self.weak = name, name.weak
                self._above = self.data[name.begin : name.end]
                self._pair_before(name.begin)
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
        if self._table_behind(begin, end):
            return end
        if self._before(begin, 1) == b"<" and (xml := _XML.match(data, end)):
            return self._take(*xml.span("value"))
        return self._after_space(name)

    def _pair_before(self, begin: int) -> None:
        """`value: …` before `name: DB_PASSWORD`."""
        if not _ENDS_AS_NAME.search(self._before(begin, 48)):
            return
        start = self.lower.rfind(b"value", max(0, begin - _PAIR_REACH), begin)
        pair = _PAIR_BEFORE.match(self.data, start, begin) if start >= 0 else None
        if pair is None or _NEXT_PAIR.search(self.data, start, begin):
            return
        value = pair["value"]
        at, quote = pair.start("value"), QUOTE.match(value)
        whole = quote is not None and len(value) > len(quote[0]) and value.endswith(quote[0])
        inside = len(quote[0]) if quote is not None and whole else 0
        self._take(at + inside, at + len(value) - inside, clean=inside > 0)

    def _argument(self, end: int) -> int:
        """`--token VALUE`, and what lists of arguments make of it."""
        quoted = _ARGUMENT_QUOTED.match(self.data, end)
        if quoted is not None:
            quote = QUOTE.match(self.data, quoted.end())
            assert quote is not None  # noqa: S101 - what follows the space is one
            return self._string(quoted.end(), quote[0], strict=False)
        word = _ARGUMENT.match(self.data, end)
        if word is None:
            below = _NEXT_WORD.match(self.data, end)
            return self._take(*below.span("value")) if below and _PICKED.match(below["value"]) else end
        at = word.start("value")
        if word["record"] is not None:
            return self._take(at, self._line_end(at), clean=True)
        close = word["nul"] or word["open"] or word["list"] or word["item"]
        stop = self.data.find(close, at, at + FAR) if close else -1
        return self._take(at, stop if stop >= 0 else word.end(), clean=True)

    def _after_space(self, name: Name) -> int:
        """`password "x"`: a sign is missing. A sentence about a secret holds none."""
        data, end = self.data, name.end
        space = _SPACE.match(data, end + (data[end : end + 1] in (b'"', b"'")))
        if space is None:
            return self._in_next_field(name)
        at, before = space.end(), self._before(name.begin)
        if continued := _CONTINUED.match(data, at):
            word = _UNTIL_SPACE.match(data, continued.end())
            return self._take(*word.span()) if word and self._is_picked(*word.span(), name) else end
        if name.password and (verb := _IS.match(data, at)):
            at = verb.end()
        first = _FIRST_ON_LINE.search(before) is not None
        quote = QUOTE.match(data, at)
        if quote is not None:
            inline = before.rstrip(b" \t")[-1:] in (b"{", b",")
            return self._quoted_after_space(at, quote[0], first=first, certain=name.password or inline)
        stop = self._line_end(at)
        if not first or (name.weak and not name.password):
            return self._until(_UNTIL_SPACE, at) if name.password and _RANDOM.match(data, at) else end
        if _PROSE.match(data, at) or data[at : at + 1] in (b"(", b"[", b"{", b"<", b"-", b"|"):
            return end
        several = _SPACE.search(data, at, min(stop, at + REACH)) is not None
        if several and b"#" in before.rpartition(b"\n")[2] and not _RANDOM.search(data, at, min(stop, at + FAR)):
            return end
        return self._take(at, stop)

    def _is_picked(self, at: int, end: int, name: Name) -> bool:
        """Whether the word here looks picked as a secret: a password has a digit or a capital, others are random."""
        return (_PICKED if name.password else _RANDOM).match(self.data, at, end) is not None

    def _in_next_field(self, name: Name) -> int:
        """`password|x` and `password,x`, and a word alone on the line after the name's."""
        data, end = self.data, name.end
        first = _FIRST_ON_LINE.search(self._before(name.begin)) is not None
        if data[name.begin : end].lower() == b"passwd" or not (first or name.password):
            return end
        field = _FIELD.match(data, end)
        if field is not None and self._is_picked(*field.span("value"), name) and (first or len(field["value"]) >= 8):
            return self._take(*field.span("value"))
        return self._on_next_line(name, end) if first else end

    def _on_next_line(self, name: Name, at: int) -> int:
        word = _NEXT_WORD.match(self.data, at)
        if word is None or not self._is_picked(*word.span("value"), name):
            return at
        return self._take(*word.span("value"))

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
        if continued := _CONTINUED.match(data, at):
            at = continued.end()
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
        if opens["map"] is not None:
            self._braces(opens.end())
        if opens["end"] is not None:
            return self._below(begin, at, indented=b"=" not in separator, quoted=sign["quote"] is not None)
        return at

    def _unquoted(self, begin: int, at: int, sign: re.Match[bytes], *, first: bool) -> int:
        """A name in quotes is JSON's; `name:` without a space behind is Go's, or a port or a time."""
        separator = sign["sep"]
        if sign["quote"] is not None:
            return self._until(UNTIL_BREAK, at)
        if b"=" in separator or b">" in separator:
            return self._assigned(begin, at, glued=separator == b"=", first=first)
        if self._before(begin, 1) == b"/":
            return self._switched(begin, at) if separator == b":" else at  # an error about a path
        if separator[-1:] in b" \t":
            return self._block_or_line(begin, at) if first else self._word(begin, at)
        return self._go(begin, at)

    def _switched(self, begin: int, at: int) -> int:
        """`/password:x`. A mount is none: `/token:/token`, `/token:ro`."""
        option = _SWITCHED.search(self._before(begin, 2))
        mounted = self.data.startswith(b"/", at) or _MOUNTED.match(self.data, at)
        return at if option is None or mounted else self._until(_UNTIL_SPACE, at)

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

    def _word(self, begin: int, at: int) -> int:
        """`name: value` within a line: a word, or all that the same quotes hold."""
        close = self._opened(begin, at)
        return self._take(at, close, clean=True) if close >= 0 else self._until(UNTIL_BREAK, at)

    def _assigned(self, begin: int, at: int, *, glued: bool, first: bool) -> int:
        """NAME=value: to the next space; in a list of strings or among NULs (an environment) to that string's end."""
        data = self.data
        close = self._opened(begin, at)
        if close >= 0:
            return self._take(at, close, clean=True)
        if self.has_nul and self._before(begin, 1) in (b"", b"\0"):
            nul = data.find(b"\0", at, at + FAR)
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

    def _below(self, begin: int, at: int, *, indented: bool, quoted: bool) -> int:
        """A sign at the end of a line: the value stands on the next, or the items of a list do on the next ones."""
        data, place = self.data, next_line(self.data, at)
        indent = begin - (data.rfind(b"\n", max(0, begin - REACH), begin) + 1)
        last = at
        while place < min(len(data), at + FAR):
            stop = line_end(data, place)
            line = data[place:stop]
            text = line.lstrip(b" \t")
            if not text.strip():
                place = next_line(data, stop)
                continue
            inside, item = stop - len(text), text.startswith(b"- ")
            deeper = inside - place > indent
            if last == at and text.startswith(b"[") and (quoted or deeper):
                return self._list(inside + 1)
            if item:
                inside += len(text) - len(text[2:].lstrip(b" \t"))
            quote = QUOTE.match(data, inside)
            belongs = deeper or item or (last == at and (not indented or quote is not None))
            if last == at and deeper and indented and KEY_LINE.match(line):
                self._lines(place, indent)
            if not belongs or KEY_LINE.match(line):
                break
            last = max(at + 1, self._take(inside, stop) if quote is None else self._string(inside, quote[0]))
            if (quoted or not indented) and not item:
                break
            place = next_line(data, line_end(data, last))
        return last if last > at or self.name is None else self._on_next_line(self.name, at)
