"""Commands that fit into a file each."""
