"""Values and rules: pure, synchronous, told the time, never asking for it."""
