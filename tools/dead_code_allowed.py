"""Names that `vulture` reports as dead but are used, with the reason for each. Delete anything else that it reports."""
# ruff: noqa: B018, F821

# Base classes for users: the classes in docs/extending.md inherit from them.
SimpleRanker
SimpleCaptioner

# The profile `demo` names it by its dotted path, under `resources`.
demo_resources

# Tests compare them with the documents: docs/FETCHING.md, docs/OPERATIONS.md.
DESCRIPTIONS
longest_s

# Called or read by a library: torch, asyncio, io, rich, typer.
forward
need_weights
allow_tf32
connection_made
data_received
writable
render
__signature__
__annotations__

# A parameter that `__exit__` must have.
traceback

# Imported only for types in quotes.
DuckDBPyConnection

# Members of an enumeration that the command line chooses by value.
BLIP
CLIP_L
RN50X64

# Tests count with it how often a batch was made smaller.
backed_off

# Settings that reach the fetcher by name: see `Settings.fetch_deployment`.
host_spacing
fetch_requests_per_host
fetch_look_ahead
fetch_byte_budget
fetch_decode_workers
fetch_decode_timeout_s
fetch_backoff_s
fetch_max_backoff_s
fetch_breaker_failures
fetch_breaker_open_s
fetch_nameservers
fetch_ca_file
