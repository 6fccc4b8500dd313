"""Key delivery: rules, names, line, desk."""
