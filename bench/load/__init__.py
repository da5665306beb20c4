"""The load driver: what the benchmarks beside it have in common."""
