"""The `vedette` command."""
