"""Tools for developers, run from a checkout. Not part of the wheel."""
