# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 vectors of tests/vectors: frames as they stand there become bytes, and lines on what must become of them, verdicts.

The grammar is at the top of tests/vectors/h2_request.txt. Frames are put together here byte by byte, since a library
that writes only legal ones cannot write these.
"""
import pathlib
import re
import struct
from dataclasses import dataclass, field

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
         "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
SETTING = {"HEADER_TABLE_SIZE": 1, "ENABLE_PUSH": 2, "MAX_CONCURRENT_STREAMS": 3, "INITIAL_WINDOW_SIZE": 4, "MAX_FRAME_SIZE": 5,
           "MAX_HEADER_LIST_SIZE": 6, "ENABLE_CONNECT_PROTOCOL": 8}
FRAME_BYTES = 16384

_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_NAMED = {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}
_WORD = re.compile(r'(?:[^\s"]|"(?:\\.|[^"\\])*")+')
_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def code_name(code):
    return CODES[code] if code < len(CODES) else str(code)


def unquote(word):
    """abc, "a\\r\\x00" or name="...", and "x"*N: as bytes."""
    times = re.fullmatch(r'(.*")\*(\d+)', word, re.S)
    if times:
        return unquote(times[1]) * int(times[2])
    if not word.endswith('"'):
        return word.encode("latin-1")
    text = _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else _NAMED.get(m[1], m[1]), word[word.index('"') + 1:-1])
    return text.encode("latin-1")


def integer(value, bits, first=0):
    """An HPACK integer with a prefix of so many bits."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name, value, how="literal"):
    """One field, its name and value as they are; how: literal, indexed (added to the table), never, huffman."""
    out = integer(0, *{"literal": (4, 0), "indexed": (6, 0x40), "never": (4, 0x10), "huffman": (4, 0)}[how])
    for part in (name, value):
        if how == "huffman":
            part = _huffman.encode(part)
        out += integer(len(part), 7, 0x80 if how == "huffman" else 0) + part
    return out


def frame(kind, flags, stream, payload=b"", length=None):
    return struct.pack(">I", len(payload) if length is None else length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(pairs=(), flags=0):
    return frame(SETTINGS, flags, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def request_block(method, path, authority, scheme="http"):
    pairs = [(b":method", method), (b":scheme", scheme.encode()), (b":path", path)] + ([(b":authority", authority)] if authority != b"-" else [])
    return b"".join(literal(k, v) for k, v in pairs)


class Headers:
    """A frame with a header block that is still being filled."""

    def __init__(self, kind, stream, words):
        self.kind, self.stream, self.block = kind, stream, b""
        values = dict(w.split("=", 1) for w in words if "=" in w)
        self.flags = (0 if "more" in words else END_HEADERS) | (END_STREAM if "end" in words else 0)
        self.pad, self.split = values.get("pad"), int(values.get("split", FRAME_BYTES))
        self.before = struct.pack(">I", int(values["promised"])) if "promised" in values else b""
        if "depends" in values:
            self.flags |= PRIORITIZED
            self.before = _dependency(values["depends"])

    def done(self):
        block, parts = self.block, []
        first, rest = block[:self.split], block[self.split:]
        while rest:
            parts.append(rest[:self.split])
            rest = rest[self.split:]
        payload = self.before + first
        flags = self.flags
        if self.pad is not None:
            flags, payload = flags | PADDED, bytes([int(self.pad)]) + payload + bytes(int(self.pad))
        if not parts:
            return frame(self.kind, flags, self.stream, payload)
        out = frame(self.kind, flags & ~END_HEADERS, self.stream, payload)
        for i, p in enumerate(parts):
            out += frame(CONTINUATION, flags & END_HEADERS if i == len(parts) - 1 else 0, self.stream, p)
        return out


def _dependency(text):
    """3/16, exclusive 3!/16"""
    on, _, weight = text.partition("/")
    return struct.pack(">IB", int(on.rstrip("!")) | (1 << 31 if on.endswith("!") else 0), int(weight or 16) - 1)


class Verdict:
    """What becomes of one stream: one of several ways that are all right."""

    def __init__(self, line):
        words = _WORD.findall(line)
        self.stream = int(words.pop(0)[1:]) if words[0].startswith("@") else None
        self.maybe = words[0] == "maybe"
        words = words[self.maybe:]
        self.ways, at = [], 0
        for i in [*(i for i, w in enumerate(words) if w == "or"), len(words)]:
            self.ways += _ways(words[at:i])
            at = i + 1

    @property
    def passes(self):
        return next((w for w in self.ways if w["how"] == "pass"), None)

    @property
    def closes(self):
        return not self.maybe and all(w["how"] in ("close", "end") for w in self.ways)


def _ways(words):
    how, *words = words
    if how == "malformed":  # RFC 9113 8.1.1: a stream error; an answer that says so may come first
        return [{"how": "reset", "codes": ["PROTOCOL_ERROR"]}, {"how": "status", "status": 400}]
    if how in ("reset", "close"):
        return [{"how": how, "codes": words[0].split(",") if words else []}]
    if how == "status":
        return [{"how": how, "status": int(words[0])}]
    if how == "pass":
        many = [w.split("=", 1) for w in words if re.match(r'(body|trailer|has|struck|status)=', w)]
        plain = [unquote(w).decode("latin-1") for w in words if not re.match(r'(body|trailer|has|struck|status)=', w)]
        listed = {k: [unquote(v) for n, v in many if n == k] for k in ("body", "trailer", "has", "struck", "status")}
        texts = {k: [v.decode("latin-1") for v in listed[k]] for k in ("trailer", "has", "struck")}
        return [{"how": how, "words": plain, "body": b"".join(listed["body"]), **texts}]
    if how in ("end", "lost", "cut", "again"):
        return [{"how": how}]
    raise ValueError(f"no such verdict: {how}")


@dataclass
class Case:
    name: str
    steps: list = field(default_factory=list)  # bytes, or ("wait", stream)
    verdicts: list = field(default_factory=list)
    flags: dict = field(default_factory=dict)
    streams: list = field(default_factory=list)  # those it opens
    preface: bytes = PREFACE + settings()

    @property
    def raw(self):
        return b"".join(s for s in self.steps if isinstance(s, bytes))

    @property
    def group(self):
        return self.name.split("-")[0]

    def verdict(self, stream):
        return next((v for v in self.verdicts if v.stream == stream), None)

    @property
    def legal(self):
        return bool(self.verdicts) and all(w["how"] in ("pass", "lost") for v in self.verdicts for w in v.ways) and any(v.passes for v in self.verdicts)

    @property
    def closes(self):
        return any(v.closes for v in self.verdicts)


class _Reader:
    """Lines of a catalogue, one after the other."""

    def __init__(self):
        self.cases, self.open = [], None

    def flush(self):
        if self.open:
            self.emit(self.open.done())
            self.open = None

    def emit(self, raw):
        steps = self.cases[-1].steps
        if steps and isinstance(steps[-1], bytes):
            steps[-1] += raw
        else:
            steps.append(raw)

    def line(self, line):
        word, _, rest = line.partition(" ")
        times = 1
        if word == "repeat":
            n, _, line = rest.partition(" ")
            times, (word, _, rest) = int(n), line.partition(" ")
        words = _WORD.findall(rest)
        if word in ("f", "i", "n", "h", "s", ":", "block"):
            raw = self.fields(word, words)
            self.open.block += raw * times
            return
        self.flush()
        if word == "case":
            self.cases.append(Case(rest))
        elif word.startswith("@") or word in ("pass", "reset", "status", "malformed", "close", "end", "lost", "maybe", "cut", "again"):
            v = Verdict(line)
            if v.stream is None:
                v.stream = next((s for s in self.cases[-1].streams if not self.cases[-1].verdict(s)), 0)
            self.cases[-1].verdicts.append(v)
        elif word in ("last", "preface", "method", "hangs_up"):
            if word == "preface":
                self.cases[-1].preface = unquote(rest)
            else:
                self.cases[-1].flags[word] = rest
        elif word == "wait":
            self.cases[-1].steps.append(("wait", int(words[0])))
        else:
            for _ in range(times):
                self.flush()
                self.frame(word, words)

    @staticmethod
    def fields(word, words):
        if word == "block":
            return unquote(words[0])
        if word == "s":
            return literal(b":status", unquote(words[0]))
        if word == ":":
            return request_block(*(unquote(w) for w in words[:3]))
        return literal(unquote(words[0]), unquote(words[1]) if len(words) > 1 else b"", {"f": "literal", "i": "indexed", "n": "never", "h": "huffman"}[word])

    def frame(self, word, words):
        case = self.cases[-1]
        if word in ("headers", "continuation", "promise"):
            stream = int(words[0])
            if word == "headers" and stream not in case.streams and not ("trailers" in words):
                case.streams.append(stream)
            self.open = Headers({"headers": HEADERS, "continuation": CONTINUATION, "promise": PUSH_PROMISE}[word], stream, words[1:])
            if word == "continuation":
                self.open.flags &= ~END_STREAM
        elif word == "many":
            for stream in range(1, 2 * int(words[0]), 2):
                case.streams.append(stream)
                self.emit(frame(HEADERS, END_HEADERS, stream, request_block(b"POST", b"/many/%d" % stream, b"a")))
        elif word == "data":
            body = b"".join(unquote(w) for w in words[1:] if w.endswith('"') or re.search(r'"\*\d+$', w))
            flags, pad = END_STREAM if "end" in words else 0, next((int(w[4:]) for w in words if w.startswith("pad=")), None)
            if pad is not None:
                flags, body = flags | PADDED, bytes([pad]) + body + bytes(pad)
            self.emit(frame(DATA, flags, int(words[0]), body))
        elif word == "settings":
            pairs = [w.split("=") for w in words if "=" in w]
            self.emit(settings([(SETTING.get(k) or int(k), int(v)) for k, v in pairs], ACK if "ack" in words else 0))
        elif word == "window":
            self.emit(frame(WINDOW_UPDATE, 0, int(words[0]), struct.pack(">I", int(words[1]))))
        elif word == "rst":
            self.emit(frame(RST_STREAM, 0, int(words[0]), struct.pack(">I", CODES.index(words[1]))))
        elif word == "goaway":
            self.emit(frame(GOAWAY, 0, 0, struct.pack(">II", int(words[0]), CODES.index(words[1]))))
        elif word == "ping":
            self.emit(frame(PING, ACK if "ack" in words else 0, 0, unquote(words[-1])))
        elif word == "priority":
            self.emit(frame(PRIORITY, 0, int(words[0]), _dependency(words[1])))
        elif word == "frame":  # TYPE FLAGS STREAM "payload" [length=N]
            kind, flags, stream = (int(w, 0) for w in words[:3])
            length = next((int(w[7:]) for w in words if w.startswith("length=")), None)
            self.emit(frame(kind, flags, stream, b"".join(unquote(w) for w in words[3:] if '"' in w), length))
        elif word == "bytes":
            self.emit(unquote(words[0]))
        else:
            raise ValueError(f"no such line: {word}")


def load(name):
    """All cases of tests/vectors/NAME."""
    reader = _Reader()
    for n, line in enumerate((VECTORS / name).read_text().splitlines(), 1):
        if not line or line.startswith("# ") or line == "#":
            continue
        try:
            reader.line(line.strip())
        except Exception as e:
            raise ValueError(f"{name}:{n}: {line}: {e}") from e
    reader.flush()
    names = [c.name for c in reader.cases]
    assert len(set(names)) == len(names), f"{name}: twice: {[n for n in names if names.count(n) > 1]}"
    return reader.cases
