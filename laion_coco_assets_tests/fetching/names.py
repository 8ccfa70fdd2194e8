"""A name server on loopback that answers as a test tells it to, a changing answer included."""

import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Self

#: Addresses of one answer; None is SERVFAIL.
Answer = Sequence[str] | None

_A, _AAAA = b"\0\1", b"\0\x1c"


class NameServer:
    """Answers A and AAAA queries over UDP from a table of names. What is not in it does not exist.

    A name with a list of answers gives them in turn, one a look-up (its A query), and then the last of them for ever.
    """

    def __init__(self, table: Mapping[str, Answer | list[Answer]]) -> None:
        self._table = table
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            if not query:
                return
            end = query.index(b"\0", 12)
            labels, at = [], 12
            while at < end:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels).lower(), query[end + 1 : end + 3]
            answer = self._answer(name, kind)
            packed = [ip_address(ip).packed for ip in answer or () if (":" in ip) == (kind == _AAAA)]
            code = 2 if answer is None else 0 if name in self._table else 3
            records = b"".join(
                b"\xc0\x0c" + kind + b"\0\1\0\0\0\0" + len(address).to_bytes(2, "big") + address for address in packed
            )
            header = query[:2] + bytes([0x81, 0x80 | code]) + b"\0\1" + len(packed).to_bytes(2, "big") + b"\0\0\0\0"
            self._socket.sendto(header + query[12 : end + 5] + records, sender)

    def _answer(self, name: str, kind: bytes) -> Answer:
        self.asked[name] += kind == _A
        answers = self._table.get(name, [])
        if answers and not isinstance(answers[0], str):
            return answers[min(max(self.asked[name] - 1, 0), len(answers) - 1)]  # type: ignore[return-value]
        return answers  # type: ignore[return-value]
