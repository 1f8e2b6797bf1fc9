"""Stand-in for Upflow's API: what its documents say, and, where they say nothing, what code that uses it relies on."""
