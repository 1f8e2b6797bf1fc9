"""The asset graph: one module per group, each asset a thin function over one organization's step."""
