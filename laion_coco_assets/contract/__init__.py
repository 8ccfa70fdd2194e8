"""What every part agrees on: a profile's settings, a stage's columns, keys, fingerprints and reasons. Opens no stage file."""
