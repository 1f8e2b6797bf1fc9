"""The kinds of values that an organization's YAML file may hold. A leaf: who declares a key finds its type here."""
