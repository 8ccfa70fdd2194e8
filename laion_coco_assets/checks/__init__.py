"""The rules every output must keep: one .sql file a rule, run by DuckDB."""
