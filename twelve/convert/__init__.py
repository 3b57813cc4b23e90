"""Published and foreign weights to bundles; nothing that serves may import it."""
