"""How a count is written for people."""


def counted(number: int, what: str) -> str:
    """`1 shard`, `2,000 shards`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
