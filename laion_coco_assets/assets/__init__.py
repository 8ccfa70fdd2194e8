"""One module per stage, in pipeline order: read, call, write, attach metadata. The only place where Dagster meets the stages."""
