"""Settings of everything, and how a YAML file becomes them."""
