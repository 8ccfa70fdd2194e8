"""What every stage is made of: its declaration, its file, rows carried over, figures for people. Knows nothing of Dagster."""
