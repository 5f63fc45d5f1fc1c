"""Search over action sequences."""
