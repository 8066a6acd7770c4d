"""What can be said of files before they are applied, by what the backends know."""
