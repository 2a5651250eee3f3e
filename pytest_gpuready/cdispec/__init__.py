"""CDI specs as the readers of a node see them: YAML with lines, the specification's rules, and how devices resolve."""
