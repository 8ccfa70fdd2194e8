"""The rules every output must keep: one .sql file per rule, run by DuckDB."""
